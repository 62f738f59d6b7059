"""From trajectories to weights."""
