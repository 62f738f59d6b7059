"""How the store's schema came to be, one revision per file, run by `palaestra.agents.store.database.upgrade`."""
