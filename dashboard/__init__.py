"""Looking at runs: the self-contained HTML report."""
