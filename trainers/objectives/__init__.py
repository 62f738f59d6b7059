"""Objectives as pure tensor functions behind six registries; `objective.Objective` puts them together."""
