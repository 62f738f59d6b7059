"""The trajectory store: every run's episodes, tokens, rewards and errors in one database."""

from palaestra.agents.store.check import find_damage
from palaestra.agents.store.database import Durability, upgrade_store
from palaestra.agents.store.query import Filters, IterationSummary, RolloutRecord, StoredRollout
from palaestra.agents.store.store import Receipt, RunRecord, Store

__all__ = [
    "Durability",
    "Filters",
    "IterationSummary",
    "Receipt",
    "RolloutRecord",
    "RunRecord",
    "Store",
    "StoredRollout",
    "find_damage",
    "upgrade_store",
]
