"""BFCL v4 multi-turn, played with the backends and judged by the checkers of the installed `bfcl-eval`.

Importing this needs nothing but Gymnasium; making the environment needs bfcl-eval, and says how to install it.
"""

from __future__ import annotations

from typing import Final

ENV_ID: Final = "palaestra/BFCL-MultiTurn-v0"
