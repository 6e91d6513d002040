"""A text as tokens: bounded, without accents, the same however it was typed."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

TEXT_CHARS: Final = 2_000
"""What is read of one text, in characters: the start of what is longer."""
TOKENS: Final = 400
"""What is read of one text, in words."""

_TOKEN: Final = re.compile(
    r"[^\W\d_]+(?:['’\-][^\W\d_]+)*"  # words, with apostrophes and hyphens inside
    r"|\d+"
    r"|>?[:;]['’]?-?[()D/]|<3"  # emoticons
    r"|[!?]+|[.,;:\n]"
    r"|[\u2600-\u27bf\U0001f300-\U0001faff]"  # emoji
)
_QUIET: Final = re.compile(r"https?://\S+|www\.\S+|@\w{1,64}|(?<!\S)[^\s@]{1,64}@\S{1,100}|<[^<>\s][^<>]{0,200}>")
"""Addresses, mentions and mark-up: nobody's mood."""
_LONG: Final = re.compile(r"(.)\1{2,}")


class Token(NamedTuple):
    """plain: without accents and capitals. shouted: in capitals, of more than one letter."""

    plain: str
    shouted: bool


def bounded(text: str) -> str:
    """The part of the text that is read: no control characters, at most TEXT_CHARS."""
    text = text[: 2 * TEXT_CHARS]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\n" if c in "\r\n" else " " if c.isspace() else "" for c in text)
    return _QUIET.sub(" ", text)[:TEXT_CHARS]


def tokens(text: str) -> list[Token]:
    """The tokens of a bounded text, at most TOKENS."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        word = match.group()
        if len(found) == TOKENS:
            break
        found.append(Token(plain(word), len(word) > 1 and word.isupper() and word.isalpha()))
    return found


@lru_cache(maxsize=16_384)
def plain(word: str) -> str:
    """Lower case, without accents, ’ as ', a letter at most twice in a row: "Soooo" is "soo", "déçu" is "decu"."""
    text = word.casefold().replace("’", "'")
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return _LONG.sub(r"\1\1", text) if len(text) > 3 else text
