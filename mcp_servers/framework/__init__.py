"""The framework tool servers are written in."""
