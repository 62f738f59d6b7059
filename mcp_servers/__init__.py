"""Stateful tool servers: the lowest layer. Errors and injected sources live here because every layer uses them."""
