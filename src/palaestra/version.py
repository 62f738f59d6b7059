"""Which release of Palaestra this is."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("palaestra")
except PackageNotFoundError:  # a source tree on sys.path, not installed
    VERSION = "0+source"
