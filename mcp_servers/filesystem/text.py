"""Looking into texts and names: lines, words, wildcards, differences. Pure functions."""

from __future__ import annotations

from difflib import unified_diff
from typing import Final, NamedTuple

SHOWN: Final = 200
MAX_DIFF_LINES: Final = 1000


def lines_of(content: str) -> list[str]:
    r"""The lines of a text, without their ends; only a line feed ends a line.

    >>> lines_of("a\n\nb\n"), lines_of("")
    (['a', '', 'b'], [])
    """
    lines = content.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def matches_wildcards(name: str, pattern: str) -> bool:
    """Whether a whole name matches a pattern: "*" is any run of characters, "?" any one, the rest itself.

    Goes back to the last "*" only, so the cost is at most the product of the lengths.

    >>> matches_wildcards("report.md", "re*t.?d"), matches_wildcards("report.md", "*.txt")
    (True, False)
    """
    at = place = 0
    star, resume = -1, 0
    while at < len(name):
        # "*" first: a name may itself hold one, which must not be taken for a plain character of the pattern.
        if place < len(pattern) and pattern[place] == "*":
            star, resume = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", name[at]):
            at, place = at + 1, place + 1
        elif star >= 0:
            resume += 1
            at, place = resume, star + 1
        else:
            return False
    return all(character == "*" for character in pattern[place:])


class Difference(NamedTuple):
    """How two texts differ, by line."""

    added: int
    removed: int
    diff: str


def difference(old: str, new: str, old_path: str, new_path: str) -> Difference:
    """The unified diff from one text to another and how many lines it adds and removes."""
    hunks = list(unified_diff(lines_of(old), lines_of(new), old_path, new_path, lineterm=""))
    body = hunks[2:]
    added = sum(line.startswith("+") for line in body)
    removed = sum(line.startswith("-") for line in body)
    return Difference(added, removed, "\n".join(hunks))


def shortened(line: str) -> str:
    """A line cut so that a long one does not crowd out the others."""
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
