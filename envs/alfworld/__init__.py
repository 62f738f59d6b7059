"""ALFWorld: household tasks in text, from an own state machine that reads and writes the original's game files."""
