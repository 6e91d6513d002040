"""Names of persons: taken apart, and brought to the forms in which they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from firstring.identity import nicknames
from firstring.identity.text import CACHE_VALUES, fold

_TITLES: Final = frozenset(
    (
        "mr", "mrs", "ms", "miss", "mx", "dr", "prof", "professor", "sir", "dame", "rev", "hr", "frau", "herr", "mevr",
        "dhr", "mme", "mlle", "m", "sr", "sra", "srta", "don", "dona",
    )
)  # fmt: skip
_SUFFIXES: Final = {
    "jr": "jr", "junior": "jr", "jnr": "jr", "sr": "sr", "senior": "sr", "snr": "sr",
    "ii": "ii", "2nd": "ii", "iii": "iii", "3rd": "iii", "iv": "iv", "4th": "iv",
}  # fmt: skip
_PARTICLES: Final = frozenset(
    (
        "van", "von", "de", "der", "den", "del", "della", "di", "da", "das", "do", "dos", "du", "la", "las", "le",
        "les", "los", "ten", "ter", "te", "zu", "zum", "zur", "af", "av", "al", "el", "bin", "ibn", "bint", "ben",
        "mac", "mc", "st", "san", "santa", "y", "e",
    )
)  # fmt: skip


class PersonName(NamedTuple):
    """A name in the form in which names are compared (see `text.fold`); an unknown part is empty.

    given: the first given name; root: its formal name (bob -> robert); whole: the whole name where it could not be
    taken apart (a name written without spaces), else empty.
    """

    given: str = ""
    root: str = ""
    middle: str = ""
    family: str = ""
    suffix: str = ""
    whole: str = ""

    @property
    def key(self) -> str:
        """Root and family name as one text, for composite keys; empty when either is unknown or only an initial."""
        if len(self.root) > 1 and self.family:
            return f"{self.root}\x1f{self.family}"
        return self.whole


def name_of(fields: Mapping[str, Any]) -> PersonName:
    """The name stated by canonical fields; parts stated on their own win over what full_name says."""
    get = fields.get
    return parse(
        get("full_name") or "",
        get("given_name") or "",
        get("middle_name") or "",
        get("family_name") or "",
        get("suffix") or "",
    )


@lru_cache(maxsize=CACHE_VALUES)
def parse(full: str, given: str, middle: str, family: str, suffix: str) -> PersonName:
    """Compare form of a name given in parts, whole, or both."""
    whole = ""
    folded_given, folded_middle = fold(given), fold(middle)
    folded_family, family_suffix = _cut_suffix(fold(family).split())
    stated = fold(suffix)
    folded_suffix = _SUFFIXES.get(stated, stated) or family_suffix
    if full and not (folded_given and folded_family):
        split = _split_full(full)
        folded_given, folded_family = folded_given or split.given, folded_family or split.family
        folded_middle, folded_suffix = folded_middle or split.middle, folded_suffix or split.suffix
        whole = split.whole
    first, _, rest = folded_given.partition(" ")
    if rest and not folded_middle:
        folded_middle = rest
    if first and folded_family:
        whole = ""
    return PersonName(first, nicknames.root(first), folded_middle, folded_family, folded_suffix, whole)


def _cut_suffix(words: list[str]) -> tuple[str, str]:
    """A folded family name and the suffix at its end; a single word is never taken for a suffix."""
    if len(words) > 1 and words[-1] in _SUFFIXES:
        return " ".join(words[:-1]), _SUFFIXES[words[-1]]
    return " ".join(words), ""


def _split_full(full: str) -> PersonName:
    """'Given Middle Family Jr', 'Family, Given', 'Jan van der Berg'. One word that is not Latin is a whole name."""
    before, comma, after = full.partition(",")
    words, given_part = fold(before).split(), fold(after).split()
    if comma and given_part and given_part[0] not in _SUFFIXES:
        family, suffix = _cut_suffix(words)
        given_words = [word for word in given_part if word not in _TITLES or word == given_part[-1]]
        if len(given_words) > 1 and given_words[-1] in _SUFFIXES:
            suffix = _SUFFIXES[given_words.pop()]
        return PersonName(given_words[0], "", " ".join(given_words[1:]), family, suffix)
    words += given_part
    while len(words) > 2 and words[0] in _TITLES:
        words.pop(0)
    titled = len(words) == 2 and words[0] in _TITLES
    suffix = ""
    if len(words) > 2 and words[-1] in _SUFFIXES:
        suffix = _SUFFIXES[words.pop()]
    if not words:
        return PersonName()
    if len(words) == 1:
        word = words[0]
        return PersonName(whole=word) if not word.isascii() and len(word) > 1 else PersonName(given=word)
    if titled:
        return PersonName(family=words[1])
    start = len(words) - 1
    while start > 1 and words[start - 1] in _PARTICLES:
        start -= 1
    return PersonName(words[0], "", " ".join(words[1:start]), " ".join(words[start:]), suffix)
