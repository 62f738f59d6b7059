"""Episode handles: 256-bit random tokens, kept only as their hash.

The one value that does not derive from the seed. Whoever holds it and the principal it was opened for may use the
episode; nobody else can guess or derive it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable

TOKEN_BYTES = 32
_WORD = "A-Za-z0-9_-"
SHAPE = re.compile(rf"(?<![{_WORD}])([{_WORD}]{{43}}|[0-9a-f]{{32}})(?![{_WORD}])", re.ASCII)
"""A handle, or a session id of the protocol's 2025-11-25 revision."""

TokenSource = Callable[[int], str]


def new_token(source: TokenSource = secrets.token_urlsafe) -> str:
    """A handle: 43 URL-safe characters that carry 256 bits."""
    return source(TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    """What a store keeps of a handle: looking it up by hash leaks no prefix through time."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def same(first: str, second: str) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(first.encode("utf-8", "surrogatepass"), second.encode("utf-8", "surrogatepass"))


def redact(text: str) -> str:
    """A text with everything that could be a handle or a session id blotted out, for logs.

    >>> redact("episode " + "a" * 43)
    'episode [handle]'
    """
    return SHAPE.sub("[handle]", text)
