"""Programmatic rewards: pure functions of a trajectory, never of what a model claims. Imports no torch."""
