"""Revisions, oldest first; each says what changed and why."""
