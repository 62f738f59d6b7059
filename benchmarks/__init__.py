"""One file per promised number; `palaestra bench` runs them."""
