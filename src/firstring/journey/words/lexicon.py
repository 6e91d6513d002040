"""The words of each language that say something of mood, urgency and topic, out of the files of this folder.

The lists are our own, made for what customers write to a company. A line is `kind value: words`; `*` ends a stem, `_`
joins the words of a phrase. What is longer counts before what is shorter: "does_not_work" before "not".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

from firstring.journey.words.tokens import plain

LANGUAGES: Final = ("en", "de", "fr", "es", "it", "nl", "pt")
_STEM_MIN: Final = 3
_STEM_MAX: Final = 24
"""The longest beginning of a word that is looked up; no stem is longer."""
_KINDS: Final = frozenset(("sentiment", "urgency", "topic", "negator", "intensifier", "damper", "but"))


class Meaning(NamedTuple):
    """What a word says: any of these. sentiment: -4..4; urgency: 0..1; scale: of an intensifier or a damper."""

    sentiment: float = 0.0
    urgency: float = 0.0
    topic: str = ""
    negates: bool = False
    scale: float = 1.0
    turns: bool = False


class Lexicon(NamedTuple):
    """words: whole words; stems: beginnings of words; phrases: by their first word, longest first."""

    words: Mapping[str, Meaning]
    stems: Mapping[str, Meaning]
    phrases: Mapping[str, tuple[tuple[tuple[str, ...], Meaning], ...]]

    def meaning(self, word: str) -> Meaning | None:
        """What a plain word says, or None."""
        found = self.words.get(word)
        if found is not None:
            return found
        for size in range(min(len(word), _STEM_MAX), _STEM_MIN - 1, -1):
            found = self.stems.get(word[:size])
            if found is not None:
                return found
        return None


@lru_cache(maxsize=32_768)
def meaning_of(language: str, word: str) -> Meaning | None:
    """What a plain word says in one of LANGUAGES, or None."""
    return lexicon(language).meaning(word)


@lru_cache(maxsize=16)
def lexicon(language: str) -> Lexicon:
    """The lexicon of one of LANGUAGES; emoji are in each."""
    words: dict[str, Meaning] = {}
    stems: dict[str, Meaning] = {}
    phrases: dict[str, dict[tuple[str, ...], Meaning]] = {}
    for name in ("emoji", language):
        for line in resources.files(__package__).joinpath("lexicon", f"{name}.txt").read_text("utf-8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            head, _, listed = line.partition(": ")
            kind, _, value = head.partition(" ")
            if kind not in _KINDS:
                raise ValueError(f"{name}.txt: {kind} is no kind of word")
            for one in listed.split():
                _add(words, stems, phrases, kind, value, one)
    by_first = {
        first: tuple(sorted(of_first.items(), key=lambda item: (-len(item[0]), item[0])))
        for first, of_first in phrases.items()
    }
    return Lexicon(words, stems, by_first)


def _add(
    words: dict[str, Meaning],
    stems: dict[str, Meaning],
    phrases: dict[str, dict[tuple[str, ...], Meaning]],
    kind: str,
    value: str,
    word: str,
) -> None:
    parts = tuple(plain(part) for part in word.rstrip("*").split("_"))
    if len(parts) > 1:
        of_first = phrases.setdefault(parts[0], {})
        of_first[parts] = _with(of_first.get(parts, Meaning()), kind, value)
    else:
        held = stems if word.endswith("*") else words
        held[parts[0]] = _with(held.get(parts[0], Meaning()), kind, value)


def _with(meaning: Meaning, kind: str, value: str) -> Meaning:
    match kind:
        case "sentiment":
            return meaning._replace(sentiment=float(value))
        case "urgency":
            return meaning._replace(urgency=float(value))
        case "topic":
            return meaning._replace(topic=value)
        case "negator":
            return meaning._replace(negates=True)
        case "but":
            return meaning._replace(turns=True)
        case _:
            return meaning._replace(scale=float(value))
