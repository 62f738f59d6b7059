"""Sokoban: engine, levels, generators, solver, rendering, Gymnasium environments."""
