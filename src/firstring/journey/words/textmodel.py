"""Why somebody writes or calls, out of their words: TF-IDF of words and characters, logistic regression, calibrated.

It is trained by scikit-learn on one's own labels (bulk/words/training) and kept as numbers; here it is scored, by the
same rules: n-grams of one and two words, of three to five characters inside words, 1 + log of their counts, each part of
length one. What is known of a text decides how much is said: `unknown` gets the rest.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.journey.words.tokens import bounded

UNKNOWN: Final = "unknown"
HEARD: Final = 0.95
"""How much a text all of whose words are known counts; of one that cannot be read at all nothing follows."""
UNKNOWN_PRIOR: Final = 0.1
"""How many texts are about none of the labels, while training. Judgement."""
READ_CHARS: Final = 1_000
"""What is read of a text, in characters."""
WORD_GRAMS: Final = (1, 2)
CHAR_GRAMS: Final = (3, 5)
FORMAT: Final = 1

WORD: Final = r"\w+"
_WORD: Final = re.compile(WORD)
_DIGIT: Final = re.compile(r"\d")


def prepared(text: str) -> str:
    """The text as it is counted: without addresses, accents and capitals, each digit a 0 (no number becomes a word)."""
    text = bounded(text)[:READ_CHARS].casefold()
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return _DIGIT.sub("0", text)


def word_grams(text: str) -> list[str]:
    """The words of a prepared text, and each two that follow one another."""
    words = _WORD.findall(text)
    return words + [f"{left} {right}" for left, right in pairwise(words)]


def char_grams(text: str) -> list[str]:
    """The n-grams of the characters of each word, with the spaces around it."""
    found: list[str] = []
    for word in text.split():
        padded = f" {word} "
        for size in range(CHAR_GRAMS[0], CHAR_GRAMS[1] + 1):
            if len(padded) <= size:
                found.append(padded)
                break
            found += [padded[place : place + size] for place in range(len(padded) - size + 1)]
    return found


class Heard(NamedTuple):
    """What a text says of why they are in contact: how much likelier it is under each label, and under UNKNOWN, than on
    average, and how common each label is."""

    ratios: Mapping[str, float]
    shares: Mapping[str, float]


class TextModel(msgspec.Struct, frozen=True, eq=False):
    """A trained model. weights: (features, labels); idf: (features,): words first, then characters.

    heat: what the scores are divided by; known: (constant, by the logit of the likeliest label, by the share of words
    that training knew) of the odds that the text is about one of the labels; shares: of the labels, in training.
    """

    labels: tuple[str, ...]
    words: Mapping[str, int]
    chars: Mapping[str, int]
    idf: NDArray[np.float32]
    weights: NDArray[np.float32]
    intercept: NDArray[np.float32]
    shares: NDArray[np.float32]
    heat: float
    known: tuple[float, float, float]
    version: str

    def scores(self, text: str) -> tuple[NDArray[np.float64], float]:
        """(log-odds of each label before calibration, share of its words that training knew) of a text."""
        text = prepared(text)
        rows: list[int] = []
        values: list[float] = []
        words = Counter(word_grams(text))
        for counts, vocabulary in ((words, self.words), (Counter(char_grams(text)), self.chars)):
            _part(counts, vocabulary, self.idf, rows, values)
        found = self.intercept.astype(np.float64)
        if rows:
            found = found + np.asarray(values, dtype=np.float64) @ self.weights[rows].astype(np.float64)
        single = [word for word in words if " " not in word]
        return found, sum(word in self.words for word in single) / len(single) if single else 0.0

    def read(self, text: str) -> dict[str, float]:
        """The probability of each label, and of UNKNOWN; they sum to 1."""
        return self._read(text)[0]

    def _read(self, text: str) -> tuple[dict[str, float], float]:
        scores, coverage = self.scores(text)
        chances = softmax(scores / self.heat)
        knows = knows_of(float(chances.max()), coverage, self.known)
        found = {label: knows * float(chance) for label, chance in zip(self.labels, chances, strict=True)}
        found[UNKNOWN] = 1.0 - knows
        return found, coverage

    def heard(self, text: str) -> Heard:
        """What a text says, to be joined with what else is known (journey/reasons): probability by prior.

        Of words that training never met nothing follows, neither for a label nor for UNKNOWN: the ratios go to 1.
        """
        found, coverage = self._read(text)
        shares = {label: float(share) for label, share in zip(self.labels, self.shares, strict=True)}
        counts = HEARD * coverage
        ratios = {label: found[label] / max(1e-9, (1.0 - UNKNOWN_PRIOR) * share) for label, share in shares.items()}
        ratios[UNKNOWN] = found[UNKNOWN] / UNKNOWN_PRIOR
        return Heard({label: counts * ratio + 1.0 - counts for label, ratio in ratios.items()}, shares)

    def as_plain(self) -> dict[str, Any]:
        """Numbers and text, for MessagePack: no code is ever stored."""
        return {
            "format": FORMAT,
            "labels": list(self.labels),
            "words": _in_order(self.words),
            "chars": _in_order(self.chars),
            "idf": self.idf.tobytes(),
            "weights": self.weights.tobytes(),
            "intercept": self.intercept.tobytes(),
            "shares": self.shares.tobytes(),
            "heat": self.heat,
            "known": list(self.known),
        }


def from_plain(plain: Mapping[str, Any]) -> TextModel:
    """The model out of `as_plain`. Raises ValueError where its parts do not fit."""
    if plain.get("format") != FORMAT:
        raise ValueError("a text model of another format")
    labels = tuple(str(label) for label in plain["labels"])
    words = {str(gram): place for place, gram in enumerate(plain["words"])}
    chars = {str(gram): place + len(words) for place, gram in enumerate(plain["chars"])}
    size = len(words) + len(chars)
    idf, weights, intercept, shares = (
        np.frombuffer(plain[name], dtype="<f4") for name in ("idf", "weights", "intercept", "shares")
    )
    if (len(idf), len(weights), len(intercept), len(shares)) != (size, size * len(labels), len(labels), len(labels)):
        raise ValueError("the parts of a text model do not fit")
    heat, known = float(plain["heat"]), tuple(float(one) for one in plain["known"])
    if len(known) != 3 or not 0.0 < heat < math.inf:
        raise ValueError("the calibration of a text model is damaged")
    weights = weights.reshape(size, len(labels))
    version = version_of(labels, (idf, weights, intercept, shares), plain["words"], plain["chars"], heat, known)
    return TextModel(labels, words, chars, idf, weights, intercept, shares, heat, known, version)


def version_of(
    labels: tuple[str, ...],
    arrays: tuple[NDArray[np.float32], ...],
    words: list[str],
    chars: list[str],
    heat: float,
    known: tuple[float, ...],
) -> str:
    """The version of a model, out of its content."""
    digest = hashlib.sha256(repr((FORMAT, labels, words, chars, heat, known)).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return f"reasons-{digest.hexdigest()[:12]}"


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities out of log-odds, along the last axis."""
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float64)


def knows_of(highest: float, coverage: float, known: tuple[float, float, float]) -> float:
    """The probability that a text is about one of the labels."""
    score = known[0] + known[1] * logit(highest) + known[2] * coverage
    return 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, score))))


def logit(probability: float) -> float:
    """Log-odds, bounded to +-14."""
    probability = min(1.0 - 1e-6, max(1e-6, probability))
    return math.log(probability / (1.0 - probability))


def _part(
    counts: Mapping[str, int],
    vocabulary: Mapping[str, int],
    idf: NDArray[np.float32],
    rows: list[int],
    values: list[float],
) -> None:
    """Adds the features of one part, of length one."""
    found = [(vocabulary[gram], count) for gram, count in counts.items() if gram in vocabulary]
    if not found:
        return
    weighed = [(1.0 + math.log(count)) * float(idf[row]) for row, count in found]
    length = math.sqrt(math.fsum(value * value for value in weighed))
    rows += [row for row, _ in found]
    values += [value / length for value in weighed]


def _in_order(vocabulary: Mapping[str, int]) -> list[str]:
    return [gram for gram, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
