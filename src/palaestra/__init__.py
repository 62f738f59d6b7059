"""Palaestra: where language agents train.

Importing the package registers its environments with Gymnasium:

>>> import gymnasium, palaestra
>>> gymnasium.register_envs(palaestra)
>>> "palaestra/Sokoban-v0" in gymnasium.registry
True
"""

from palaestra.envs.registration import register_all
from palaestra.version import VERSION as __version__

register_all()

__all__ = ["__version__"]
