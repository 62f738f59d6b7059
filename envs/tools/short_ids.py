"""Short names for ids: the second account of a conversation is `acc_2` to the agent and `acc_28605` to the tools.

An agent chooses rows; copying five digits without a slip is a skill of its own, which small models learn last. A name
is given when an id is first shown, so nothing can be reached by counting that was not read before.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

_WHOLE: Final = re.compile(r"(?<![A-Za-z0-9_])([a-z]+)_\d{5}(?!\d)")
_SHORT: Final = re.compile(r"(?<![A-Za-z0-9_])[a-z]+_\d{1,4}(?!\d)")


class ShortIds:
    """The names given in one conversation; cost: linear in the text.

    >>> ids = ShortIds()
    >>> ids.shorten("acc_28605 and acc_28606, pay_1, again acc_28605")
    'acc_1 and acc_2, pay_1, again acc_1'
    >>> ids.restore({"account_id": "acc_2", "payee_id": "pay_1"})
    {'account_id': 'acc_28606', 'payee_id': 'pay_1'}
    >>> ids.shorten("acc_28606 or acc_28607", known_only=True)
    'acc_2 or acc_28607'
    """

    def __init__(self) -> None:
        self._short: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self._given: Counter[str] = Counter()

    def shorten(self, text: str, *, known_only: bool = False) -> str:
        """The text with short names; ids it mentions first get one, unless only known ones are to be shortened."""
        if not known_only:
            for found in _WHOLE.finditer(text):
                self._name(found[0], found[1])
        return _WHOLE.sub(lambda found: self._short.get(found[0], found[0]), text)

    def _name(self, whole: str, prefix: str) -> None:
        if whole not in self._short:
            self._given[prefix] += 1
            short = f"{prefix}_{self._given[prefix]}"
            self._short[whole], self._whole[short] = short, whole

    def restore(self, value: Any) -> Any:
        """A JSON value with whole ids in its texts; names that were never given stay."""
        if isinstance(value, str):
            return _SHORT.sub(lambda found: self._whole.get(found[0], found[0]), value)
        if isinstance(value, list):
            return [self.restore(member) for member in value]
        if isinstance(value, dict):
            return {name: self.restore(member) for name, member in value.items()}
        return value
