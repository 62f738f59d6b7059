"""Policies and rollouts: who acts, and how episodes are collected."""
