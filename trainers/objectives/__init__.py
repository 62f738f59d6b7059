"""Objectives as pure tensor functions behind six registries."""
