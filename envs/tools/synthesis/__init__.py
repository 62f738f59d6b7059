"""Tasks written from live servers: a graph of what each tool needs, and conversations that walk along it."""
