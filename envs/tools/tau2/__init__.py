"""tau2-bench, optional, in a process of its own: it needs Python 3.12 and much that is not wanted here."""
