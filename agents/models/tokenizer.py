"""The tiny policy's tokenizer: byte-level BPE, trained by us; Sokoban boards are short and position-aligned.

A compact H x W board (border all walls, rows joined by a newline) always becomes

    1 (top wall, newline, left wall) + (H-2)(W-2) (one per interior cell) + (H-3) (row boundaries) + 1 (bottom wall)

tokens, whatever stands in its cells: 21 for 6x6. So the k-th token of every board of a size is the same cell, which
is what a small attention model can learn from. A pre-tokenizer regex cuts the board into these pieces and fixed
merges make each piece one token; ordinary text goes through the usual word, digit and punctuation pieces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from palaestra.mcp_servers.errors import ConfigError

PAD, END = "<|pad|>", "<|end|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
CONTROL_TOKENS = (PAD, END, *ROLE_TOKENS)
TAGS = ("think", "action", "progress", "tool_call", "tool_response")
TAG_TOKENS = tuple(token for tag in TAGS for token in (f"<{tag}>", f"</{tag}>"))

BOARD_WIDTHS = range(5, 13)
_CELL = "[#_O√XPS]"
_WALLS = f"#{{{BOARD_WIDTHS.start},{BOARD_WIDTHS.stop - 1}}}"
# Order matters: a right wall is the only wall before a newline; an all-wall row is the bottom if no row follows.
_BOARD_PIECES = (
    rf"(?<!{_CELL}){_WALLS}\n#",
    rf"#\n{_WALLS}(?!{_CELL}|\n#)",
    r"#\n#",
    rf"(?<={_CELL}){_CELL}(?={_CELL})",
)
_ID_PIECES = (r" (?=\p{L}{2,5}_\p{N}{5})", r"\p{L}{2,5}_(?=\p{N}{5})")
_REST = (r" ?[^\s\p{L}\p{N}#]+", r"#+", r"\s+(?!\S)", r"\s+")
_PIECES = "|".join((*_BOARD_PIECES, r" ?\p{L}+", r"\p{N}", *_REST))
_PIECES_WITH_IDS = "|".join((*_BOARD_PIECES, *_ID_PIECES, r" ?\p{L}+", r"\p{N}{1,2}", *_REST))
_NUMBER_MERGES = [(first, second) for first in "0123456789" for second in "0123456789"]


def _byte_symbols() -> list[str]:
    """The printable stand-ins of bytes 0..255 of byte-level BPE, in byte order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _symbols(text: str) -> list[str]:
    table = _byte_symbols()
    return [table[byte] for byte in text.encode()]


def _board_merges() -> list[tuple[str, str]]:
    """Merges that turn every board piece into one token; ranked first, so that no learned merge cuts in."""
    newline = _symbols("\n")[0]
    boundary = f"#{newline}#"
    first, second, third = _symbols("√")
    merges = [(newline, "#"), ("#", newline + "#"), (first, second), (first + second, third)]
    for width in range(1, BOARD_WIDTHS.stop - 1):
        merges.append(("#", "#" * (width - 1) + boundary))
        merges.append((boundary + "#" * (width - 1), "#"))
    return merges


def learn_merges(words: Mapping[tuple[str, ...], int], count: int) -> list[tuple[str, str]]:
    """Byte-pair encoding: repeatedly merge the most frequent adjacent pair; ties go to the smaller pair.

    The result depends on the words and weights alone, not on library, process or order. Cost grows with the number
    of merges times the words that hold the merged pair.

    Source: arXiv 1508.07909, algorithm 1.
    Raises: ConfigError "corpus" if fewer than `count` merges can be learned.

    >>> learn_merges({("a", "b", "c"): 2, ("b", "c"): 1}, 2)
    [('b', 'c'), ('a', 'bc')]
    """
    live = dict(words)
    pairs: Counter[tuple[str, str]] = Counter()
    for word, weight in live.items():
        for pair in pairwise(word):
            pairs[pair] += weight
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] <= 0:
            raise ConfigError(
                "corpus", f"the corpus yields only {len(merges)} merges of {count}: lower vocab_size or add text"
            )
        merges.append(best)
        for word in [word for word in live if best in pairwise(word)]:
            weight = live.pop(word)
            merged = merge_pair(word, best)
            live[merged] = live.get(merged, 0) + weight
            for pair in pairwise(word):
                pairs[pair] -= weight
            for pair in pairwise(merged):
                pairs[pair] += weight
    return merges


def merge_pair(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The word with every occurrence of the pair, from the left, joined to one symbol.

    >>> merge_pair(("a", "a", "a", "b"), ("a", "a"))
    ('aa', 'a', 'b')
    """
    merged: list[str] = []
    position = 0
    while position < len(word):
        if word[position : position + 2] == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(word[position])
            position += 1
    return tuple(merged)


def _pre_tokenizer(pieces: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def train_tokenizer(corpus: Mapping[str, int], vocab_size: int, *, ids: bool = False) -> Tokenizer:
    """A tokenizer with exactly `vocab_size` ids, in this order: control tokens, tags, 256 bytes, merges.

    Control tokens are special (never produced from text if the caller asks so); tags are ordinary added tokens, one
    id each. decode(encode(text)) == text for every text.

    Args:
        corpus: text -> weight.
        vocab_size: number of ids, at least 298 (16 added, 256 bytes, 26 for boards), with `ids` at least 398.
        ids: make pairs of digits one token each, and the letters of an identifier like "eml_29862" a piece of its own,
            so that copying one is to find its first token again and go on from there: a model of two layers learns
            that, and with single digits it does not.
    Raises: ConfigError "vocab_size" if too small; "corpus" if the text cannot fill the vocabulary.
    """
    added = CONTROL_TOKENS + TAG_TOKENS
    fixed = _board_merges() + (_NUMBER_MERGES if ids else [])
    learned = vocab_size - len(added) - 256 - len(fixed)
    if learned < 0:
        raise ConfigError("vocab_size", f"vocab_size={vocab_size} is below the minimum {vocab_size - learned}")
    splitter = _pre_tokenizer(_PIECES_WITH_IDS if ids else _PIECES)
    words: Counter[tuple[str, ...]] = Counter()
    for text, weight in corpus.items():
        for piece, _ in splitter.pre_tokenize_str(text):
            words[tuple(piece)] += weight
    for pair in fixed:
        words = _apply(words, pair)
    merges = fixed + learn_merges(words, learned)
    tokens = [*added, *_byte_symbols(), *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in CONTROL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in TAG_TOKENS])
    return tokenizer


def _apply(words: Mapping[tuple[str, ...], int], pair: tuple[str, str]) -> Counter[tuple[str, ...]]:
    merged: Counter[tuple[str, ...]] = Counter()
    for word, weight in words.items():
        merged[merge_pair(word, pair)] += weight
    return merged
