"""Training recipes, one TOML file per experiment."""
