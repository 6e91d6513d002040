"""Text as it is kept and as it is compared.

Kept: Unicode NFC, white space collapsed, invisible format characters removed, case preserved.
Compared (`fold`): case-folded, in Latin letters without diacritics, apostrophes dropped, other punctuation a space.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

from firstring import limits
from firstring.identity.canonical.scripts import latin, ukrainian

CACHE_VALUES: Final = 32_768
"""Entries of each cache of canonical values; about 8 MB each when full."""


class Refused(NamedTuple):
    """Why a value has no canonical form. Returned and cached, so that garbage is cheap the second time."""

    code: str
    message: str


_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŋ": "n"}
)
"""Letters that NFKD does not take apart."""
_OTHER_SCRIPTS = re.compile("[^\u0000-\u036f\u1e00-\u1eff\u2000-\u2bff\U0001f000-\U0001ffff]+")
"""Letters that are not Latin; symbols are no letters."""
_APOSTROPHES = re.compile(r"['’ʼʻ`´.]+")
_NOT_WORD = re.compile(r"[\W_]+")
_JOINERS = "\u200c\u200d"
"""Zero-width joiners are part of the spelling of Persian and Indic names."""


def clean(text: str, *, lines: bool = False) -> str | Refused:
    """`text` as it is kept: NFC, white space collapsed (kept with `lines`); refused: control characters, too long."""
    if len(text) > limits.FIELD_CHARS:
        return Refused("too_long", f"longer than {limits.FIELD_CHARS} characters")
    if text.isascii() and text.isprintable():
        return text.strip() if lines or "  " not in text else " ".join(text.split())
    kept: list[str] = []
    for char in text:
        category = unicodedata.category(char)
        if char in "\t\n\r":
            kept.append(char if lines else " ")
        elif category == "Cc":
            return Refused("control_character", "holds a NUL byte or another control character")
        elif category == "Cs":
            return Refused("not_unicode", "holds half of a surrogate pair")
        elif category != "Cf" or char in _JOINERS:
            kept.append(char)
    normal = unicodedata.normalize("NFC", "".join(kept))
    # NFC may lengthen a text (singletons and compositions excluded from it), so the bound is checked again.
    if len(normal) > limits.FIELD_CHARS:
        return Refused("too_long", f"longer than {limits.FIELD_CHARS} characters")
    return normal.strip() if lines else " ".join(normal.split())


@lru_cache(maxsize=CACHE_VALUES)
def fold(text: str) -> str:
    """The form in which names and places are compared: 'José  O’Neill-Ruiz' -> 'jose oneill ruiz'."""
    folded = text.casefold()
    if not folded.isascii():
        # Marks of other scripts are vowels and the like, so those are read before marks are dropped.
        folded = _OTHER_SCRIPTS.sub(_latin, ukrainian(unicodedata.normalize("NFKC", folded).casefold().translate(_LETTERS)))
        decomposed = unicodedata.normalize("NFKD", folded).casefold().translate(_LETTERS)
        folded = "".join(char for char in decomposed if not unicodedata.combining(char))
    folded = _NOT_WORD.sub(" ", _APOSTROPHES.sub("", folded))
    if not folded.isascii():
        folded = _NOT_WORD.sub(" ", _APOSTROPHES.sub("", latin(folded)))
    return folded.strip()


def _latin(match: re.Match[str]) -> str:
    return latin(match[0])


def one_edit(left: str, right: str) -> bool:
    """Whether at most one insertion, deletion, substitution or swap of neighbours turns `left` into `right`."""
    if left == right:
        return True
    if len(left) > len(right):
        left, right = right, left
    if len(right) - len(left) > 1:
        return False
    start = 0
    while start < len(left) and left[start] == right[start]:
        start += 1
    if len(left) < len(right):
        return left[start:] == right[start + 1 :]
    swapped = left[start : start + 2] == right[start : start + 2][::-1] and left[start + 2 :] == right[start + 2 :]
    return swapped or left[start + 1 :] == right[start + 1 :]
