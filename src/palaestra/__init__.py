"""Palaestra: where language agents train.

Importing the package registers its environments with Gymnasium:

>>> import gymnasium, palaestra
>>> gymnasium.register_envs(palaestra)
>>> "palaestra/Sokoban-v0" in gymnasium.registry
True
"""

from importlib.metadata import PackageNotFoundError, version

from palaestra.envs.registration import register_all

try:
    __version__ = version("palaestra")
except PackageNotFoundError:  # a source tree on sys.path, not installed
    __version__ = "0+source"

register_all()

__all__ = ["__version__"]
