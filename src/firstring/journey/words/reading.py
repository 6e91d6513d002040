"""Reading a text: mood by a lexicon with negation, degree, contrast, capitals and emoji (in the manner of Hutto and
Gilbert 2014), urgency and topic by the words that name them. In a language that is not known there is no opinion.

Nothing in a text is ever followed: it is counted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from firstring.journey.words.language import Language, language_in
from firstring.journey.words.lexicon import LANGUAGES, Lexicon, Meaning, lexicon, meaning_of
from firstring.journey.words.tokens import Token, bounded, tokens

LANGUAGE_KNOWN: Final = 0.5
"""A text whose language is less sure is not read."""
STATED: Final = 0.95
"""The confidence in a language that somebody stated."""
NEGATED: Final = -0.6
NEGATED_BAD: Final = -0.3
"""What a negation makes of praise, and of blame: "not bad" is hardly praise."""
NEGATION_REACH: Final = 3
"""Words before a word in which a negation counts for it; behind it, one fewer, where the language has it there."""
NEGATES_BEHIND: Final = frozenset(("de", "nl"))
SHOUTED: Final = 1.25
CALLED: Final = 1.08
"""What capitals, and each exclamation mark up to three, make of the mood."""
BEFORE_BUT: Final = 0.6
AFTER_BUT: Final = 1.3
HALF: Final = 4.0
"""Points at which the mood is at .71 of its end."""
SURE_BASE: Final = -0.35
SURE_BY_POINTS: Final = 0.8
SURE_BY_CONFLICT: Final = -1.0
SURE_MOST: Final = 0.9
"""Confidence that the sign is right, by log(1 + points) and by the share that says the opposite: see docs/words.md."""
SURE_IN: Final = {"it": 0.83, "fr": 0.95}
"""What confidence in the mood is worth in languages in which it was found to be too high; 1 in the others."""
TOPIC_UNTOLD: Final = 0.8
"""Words of topics that one expects beside those that were found: one word alone gives 1 / 1.8."""
PRESSES: Final = 0.6
"""Confidence in an urgency that somebody wrote."""


class Words(NamedTuple):
    """What was read. None: no opinion. sentiment: -1 to 1; urgency: 0 to 1; each with its confidence, 0 to 1."""

    language: str | None = None
    language_confidence: float = 0.0
    sentiment: float | None = None
    sentiment_confidence: float = 0.0
    topic: str | None = None
    topic_confidence: float = 0.0
    urgency: float | None = None
    urgency_confidence: float = 0.0

    @property
    def says_something(self) -> bool:
        return self.sentiment is not None or self.topic is not None or self.urgency is not None

    def properties(self) -> dict[str, Any]:
        """As properties of an event: what there is no opinion on is left out, figures have three digits."""
        found: dict[str, Any] = {}
        for name in ("language", "sentiment", "topic", "urgency"):
            value = getattr(self, name)
            if value is not None:
                found[name] = round(value, 3) if isinstance(value, float) else value
                found[f"{name}_confidence"] = round(getattr(self, f"{name}_confidence"), 3)
        return found


def read_words(text: str, language: str | None = None) -> Words:
    """What a text says. language: as somebody stated it (a tag such as de-AT). Raises nothing, whatever the text is."""
    text = bounded(text)
    spoken = _spoken(language_in(text), language)
    if spoken is None:
        return Words()
    if spoken.code not in LANGUAGES or spoken.confidence < LANGUAGE_KNOWN:
        return Words(spoken.code, spoken.confidence) if spoken.confidence >= LANGUAGE_KNOWN else Words()
    found = _found(tokens(text), lexicon(spoken.code), spoken.code)
    sentiment, sentiment_confidence = _sentiment(found)
    topic, topic_confidence = _topic(found)
    urgency = _urgency(found)
    return Words(
        spoken.code,
        spoken.confidence,
        sentiment,
        sentiment_confidence * spoken.confidence * SURE_IN.get(spoken.code, 1.0),
        topic,
        topic_confidence * spoken.confidence,
        urgency,
        PRESSES * spoken.confidence if urgency is not None else 0.0,
    )


def _spoken(heard: Language | None, stated: str | None) -> Language | None:
    """The language of the text: what was stated, unless the text is surely in another."""
    tag = stated.replace("_", "-").split("-")[0].lower() if stated else ""
    if heard is None or not (tag.isascii() and tag.isalpha() and 2 <= len(tag) <= 3):
        return heard
    return heard if heard.code != tag and heard.confidence >= STATED else Language(tag, max(STATED, heard.confidence))


def warm() -> None:
    """Reads the model of languages and the lexicons, which takes half a second: before the first text comes."""
    for language in LANGUAGES:
        read_words("ok", language)


class _Said(NamedTuple):
    """One word or phrase that says something. points: its mood, with everything about it. is_negated: "no hurry"."""

    meaning: Meaning
    points: float
    is_negated: bool


def _found(words: Sequence[Token], known: Lexicon, language: str) -> list[_Said]:
    meanings: list[tuple[int, int, Meaning]] = []
    place = 0
    while place < len(words):
        size, meaning = _at(words, place, known, language)
        if meaning is not None:
            meanings.append((place, size, meaning))
        place += size
    by_place = {place: meaning for place, _, meaning in meanings}
    turn = max((place for place, _, meaning in meanings if meaning.turns), default=None)
    called = min(3, sum(len(token.plain) for token in words if token.plain[0] in "!"))
    all_shouted = all(token.shouted for token in words if len(token.plain) > 1 and token.plain.isalpha())
    said: list[_Said] = []
    for place, size, meaning in meanings:
        points = meaning.sentiment
        is_negated = False
        if points or meaning.urgency:
            degree, is_negated = _degree(words, by_place, place, size, points, language)
            points *= degree
            points *= SHOUTED if words[place].shouted and not all_shouted else 1.0
            points *= CALLED**called
            if turn is not None:
                points *= BEFORE_BUT if place < turn else AFTER_BUT
        said.append(_Said(meaning, points, is_negated))
    return said


def _at(words: Sequence[Token], place: int, known: Lexicon, language: str) -> tuple[int, Meaning | None]:
    """(tokens taken, meaning) of the longest phrase or the word at a place."""
    word = words[place].plain
    for phrase, meaning in known.phrases.get(word, ()):
        if tuple(token.plain for token in words[place : place + len(phrase)]) == phrase:
            return len(phrase), meaning
    return 1, meaning_of(language, word)


def _degree(
    words: Sequence[Token], by_place: dict[int, Meaning], place: int, size: int, points: float, language: str
) -> tuple[float, bool]:
    """(what the words around it make of its mood, whether they negate it). A comma or a full stop ends what counts."""
    degree = 1.0
    negations = 0
    for before in range(place - 1, max(-1, place - 1 - NEGATION_REACH), -1):
        if words[before].plain[0] in ".,;:!?\n":
            break
        meaning = by_place.get(before)
        if meaning is not None:
            negations += meaning.negates
            if before >= place - 2:
                degree *= meaning.scale
    if language in NEGATES_BEHIND and points > 0 and not negations:
        for behind in range(place + size, min(len(words), place + size + NEGATION_REACH - 1)):
            if words[behind].plain[0] in ".,;:!?\n":
                break
            meaning = by_place.get(behind)
            negations += meaning is not None and meaning.negates
    is_negated = negations % 2 == 1
    if is_negated:
        degree *= NEGATED if points > 0 else NEGATED_BAD
    return degree, is_negated


def _sentiment(found: Sequence[_Said]) -> tuple[float | None, float]:
    """(mood, confidence that its sign is right)."""
    up = math.fsum(one.points for one in found if one.points > 0)
    down = -math.fsum(one.points for one in found if one.points < 0)
    total = up - down
    if abs(total) < 1e-9:
        return None, 0.0
    mood = total / math.hypot(total, HALF)
    conflict = min(up, down) / max(up, down)
    sure = SURE_BASE + SURE_BY_POINTS * math.log1p(abs(total)) + SURE_BY_CONFLICT * conflict
    return mood, min(SURE_MOST, 1.0 / (1.0 + math.exp(-sure)))


def _topic(found: Sequence[_Said]) -> tuple[str | None, float]:
    """(topic, confidence): the one with the most words; the first of equals by name."""
    counts: dict[str, int] = {}
    for one in found:
        if one.meaning.topic:
            counts[one.meaning.topic] = counts.get(one.meaning.topic, 0) + 1
    if not counts:
        return None, 0.0
    topic = min(counts, key=lambda name: (-counts[name], name))
    return topic, counts[topic] / (sum(counts.values()) + TOPIC_UNTOLD)


def _urgency(found: Sequence[_Said]) -> float | None:
    """Each different degree of urgency counts once."""
    degrees = {one.meaning.urgency for one in found if one.meaning.urgency and not one.is_negated}
    return 1.0 - math.prod(1.0 - degree for degree in degrees) if degrees else None


_TABLE: Final = (
    (LANGUAGE_KNOWN, STATED, NEGATED, NEGATED_BAD, NEGATION_REACH, SHOUTED, CALLED, BEFORE_BUT, AFTER_BUT, HALF),
    (SURE_BASE, SURE_BY_POINTS, SURE_BY_CONFLICT, SURE_MOST, tuple(SURE_IN.items()), TOPIC_UNTOLD, PRESSES),
)


def version() -> str:
    """The version of the lexicons and figures that texts are read with, out of their content."""
    content = repr((_TABLE, [lexicon(language) for language in LANGUAGES]))
    return "words-" + hashlib.sha256(content.encode()).hexdigest()[:12]
