"""S-expressions, the notation of PDDL: text to nested lists of lower-case words and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256

from palaestra.envs.core.errors import TaskError

Expr = str | list["Expr"]

_COMMENT = re.compile(r";[^\n]*")
_TOKEN = re.compile(r"[()]|[^\s()]+")


def tokens(text: str) -> list[str]:
    """The words and brackets of a text, in lower case, without comments."""
    return _TOKEN.findall(_COMMENT.sub("", text).lower())


def parse(text: str, what: str) -> list[Expr]:
    """Read one bracketed expression; linear in the text.

    Raises: TaskError "bad_pddl" naming `what` if the brackets do not close, or close too often.

    >>> parse("(and (Holds ?a ?o)) ; comment", "goal")
    ['and', ['holds', '?a', '?o']]
    """
    outer: list[Expr] = []
    stack = [outer]
    for word in tokens(text):
        if word == "(":
            inner: list[Expr] = []
            stack[-1].append(inner)
            stack.append(inner)
        elif word == ")":
            stack.pop()
            if not stack:
                raise TaskError("bad_pddl", f"{what}: a bracket closes that was never opened")
        else:
            stack[-1].append(word)
    if len(stack) != 1:
        raise TaskError("bad_pddl", f"{what}: {len(stack) - 1} brackets never close; the file may be cut off")
    if len(outer) != 1 or isinstance(outer[0], str):
        raise TaskError("bad_pddl", f"{what}: expected one bracketed expression, found {len(outer)}")
    return outer[0]


def write(expression: Expr | Sequence[Expr]) -> str:
    """The text of an expression, on one line.

    >>> write(["and", ["holds", "?a", "?o"]])
    '(and (holds ?a ?o))'
    """
    return expression if isinstance(expression, str) else f"({' '.join([write(part) for part in expression])})"


def digest(text: str) -> str:
    """16 hex digits of what the text says: comments, blanks and case aside."""
    return sha256(" ".join(tokens(text)).encode()).hexdigest()[:16]
