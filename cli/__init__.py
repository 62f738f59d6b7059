"""The `palaestra` command, one file per verb."""
