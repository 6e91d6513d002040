"""Training the model of reasons: scikit-learn on a file of texts and labels, with calibration on held-out texts.

Three fits: on four fifths of the texts, for accuracy and calibration; on four fifths of the labels, for how texts look
that are about none of them; and on everything, which is kept.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.errors import BadInput
from firstring.journey.words.textmodel import (
    CHAR_GRAMS,
    UNKNOWN,
    UNKNOWN_PRIOR,
    WORD,
    WORD_GRAMS,
    TextModel,
    knows_of,
    logit,
    prepared,
    softmax,
    version_of,
    word_grams,
)

C: Final = 10.0
"""Inverse strength of the regularisation: the best of 1, 3, 10, 30, 100 on held-out texts of Banking77."""
LABEL_CHARS: Final = 64
LABELS_MOST: Final = 500
EXAMPLES_LEAST: Final = 5
"""A label with fewer texts is left out, and said so."""
EXAMPLES_MOST: Final = 500_000
WEIGHTS_MOST: Final = 20_000_000
"""Features times labels: 80 MB."""
FOLD: Final = 5
KNOWN_BY_DEFAULT: Final = (-1.0, 0.8, 4.0)
"""Where there are too few labels to hold some out: judgement."""
SHARPEST: Final = 0.5
"""Calibration makes scores twice as sharp at most, however clear the held-out texts are."""
_TOLERANCE: Final = 1e-3


class Examples(NamedTuple):
    """Texts and their labels. left_out: rows without a text or a label; rare: labels with too few texts."""

    texts: list[str]
    labels: list[str]
    left_out: int = 0
    rare: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """What a training came to, on texts that were held out: nobody's words. error: of the calibration (ECE, ten bins);
    caught: the share of texts about no label that it calls unknown at even odds; kept: of those about one, that it does not.
    """

    examples: int
    labels: int
    left_out: int
    rare: tuple[str, ...]
    held_out: int
    accuracy: float
    log_loss: float
    error: float
    caught: float | None
    kept: float | None
    features: int


def examples_in(file: Path, text: str, label: str) -> Examples:
    """The examples of a CSV file with a head line. Raises BadInput file_unreadable, reasons_column_missing,
    reasons_too_few, reasons_too_many, reasons_label_invalid."""
    texts: list[str] = []
    labels: list[str] = []
    left_out = 0
    for said, named in _rows(file, text, label):
        if not said.strip() or not named.strip():
            left_out += 1
            continue
        name = named.strip().lower()
        if len(name) > LABEL_CHARS or name == UNKNOWN or not name.isprintable():
            message = f"A label is of {LABEL_CHARS} printable characters at most, and not {UNKNOWN}."
            raise BadInput(
                "reasons_label_invalid", message, where={"label": name[:LABEL_CHARS], "row": len(texts) + left_out}
            )
        texts.append(said)
        labels.append(name)
        if len(texts) > EXAMPLES_MOST:
            raise BadInput("reasons_too_many", f"More than {EXAMPLES_MOST:,} texts.", hint="Give a sample of them.")
    counts = Counter(labels)
    rare = tuple(sorted(name for name, count in counts.items() if count < EXAMPLES_LEAST))
    kept = [place for place, name in enumerate(labels) if name not in rare]
    if len(counts) - len(rare) < 2:
        raise BadInput(
            "reasons_too_few",
            f"Two labels with {EXAMPLES_LEAST} texts each are needed at least.",
            where={"file": str(file), "labels": len(counts), "texts": len(texts)},
            hint="Label more texts.",
        )
    if len(counts) - len(rare) > LABELS_MOST:
        raise BadInput("reasons_too_many", f"More than {LABELS_MOST} labels.", hint="Is that the column of the labels?")
    return Examples([texts[place] for place in kept], [labels[place] for place in kept], left_out, rare)


def _rows(file: Path, text: str, label: str) -> Iterator[tuple[str, str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            for name in (text, label):
                if name not in (reader.fieldnames or ()):
                    known = ", ".join(map(str, reader.fieldnames or ()))[:200]
                    raise BadInput(
                        "reasons_column_missing",
                        f"The file has no column {name[:64]}.",
                        where={"file": str(file)},
                        hint=f"There are: {known}. Name yours with --text and --label.",
                    )
            for row in reader:
                yield row[text] or "", row[label] or ""
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"The file cannot be read: {type(error).__name__}."
        raise BadInput("file_unreadable", message, where={"file": str(file)}, hint="Give a CSV file in UTF-8.") from error


def train(examples: Examples) -> tuple[TextModel, Report]:
    """The model and what it is worth. Deterministic: the same examples in the same order give the same version."""
    labels = sorted(set(examples.labels))
    place_of = {label: place for place, label in enumerate(labels)}
    y = np.asarray([place_of[label] for label in examples.labels])
    held = _held_out(y)
    heat, checked = _checked(examples.texts, y, held)
    known, caught, kept = _known(examples.texts, y, held, heat, len(labels))
    model = _fitted(examples.texts, y, tuple(labels), heat, known)
    report = Report(
        examples=len(examples.texts),
        labels=len(labels),
        left_out=examples.left_out,
        rare=examples.rare,
        held_out=int(held.sum()),
        accuracy=checked[0],
        log_loss=checked[1],
        error=checked[2],
        caught=caught,
        kept=kept,
        features=len(model.idf),
    )
    return model, report


def _held_out(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Every fifth text of each label."""
    held = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        held[np.flatnonzero(y == label)[FOLD - 1 :: FOLD]] = True
    return held


def _vectorizers(labels: int) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    common = {
        "preprocessor": prepared, "sublinear_tf": True, "min_df": 2, "dtype": np.float64,
        "max_features": max(1_000, WEIGHTS_MOST // (2 * labels)),
    }  # fmt: skip
    words = TfidfVectorizer(ngram_range=WORD_GRAMS, token_pattern=WORD, **common)
    return words, TfidfVectorizer(analyzer="char_wb", ngram_range=CHAR_GRAMS, **common)


class _Fit(NamedTuple):
    """A fit of scikit-learn: its vectorizers and its classifier."""

    words: Any
    chars: Any
    classifier: Any

    def scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-odds, a row a text and a column a label."""
        from scipy.sparse import hstack

        rows = hstack([self.words.transform(texts), self.chars.transform(texts)]).tocsr()
        return np.asarray(rows @ self.classifier.coef_.T + self.classifier.intercept_, dtype=np.float64)

    def coverage(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The share of each text's words that are known."""
        known = self.words.vocabulary_
        shares = []
        for text in texts:
            single = {gram for gram in word_grams(prepared(text)) if " " not in gram}
            shares.append(sum(word in known for word in single) / len(single) if single else 0.0)
        return np.asarray(shares)


def _fit(texts: Sequence[str], y: NDArray[Any]) -> _Fit:
    from scipy.sparse import hstack
    from sklearn.linear_model import LogisticRegression

    words, chars = _vectorizers(len(np.unique(y)))
    try:
        rows = hstack([words.fit_transform(texts), chars.fit_transform(texts)]).tocsr()
    except ValueError as error:  # nothing occurs twice
        raise BadInput("reasons_too_few", "The texts have no words in common.", hint="Give more texts.") from error
    return _Fit(words, chars, LogisticRegression(C=C, max_iter=200, tol=_TOLERANCE).fit(rows, y))


def _both(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two labels scikit-learn gives one score: the log-odds of the second."""
    return np.hstack([-scores / 2.0, scores / 2.0]) if scores.shape[1] == 1 else scores


def _checked(texts: Sequence[str], y: NDArray[Any], held: NDArray[np.bool_]) -> tuple[float, tuple[float, float, float]]:
    """(heat, (accuracy, log loss, calibration error)): of the held-out texts every other one gives the heat, the rest
    are what it is checked on."""
    fit = _fit([text for text, is_held in zip(texts, held, strict=True) if not is_held], y[~held])
    scores = _both(fit.scores([text for text, is_held in zip(texts, held, strict=True) if is_held]))
    truth = np.searchsorted(fit.classifier.classes_, y[held])
    tuned = np.arange(len(truth)) % 2 == 0
    if len(truth) < 2:
        tuned[:] = True
    heats = np.exp(np.linspace(math.log(SHARPEST), math.log(5.0), 81))
    heat = float(min(heats, key=lambda one: _log_loss(softmax(scores[tuned] / one), truth[tuned])))
    checked = ~tuned if (~tuned).any() else tuned
    chances = softmax(scores[checked] / heat)
    right = chances.argmax(1) == truth[checked]
    return heat, (float(right.mean()), _log_loss(chances, truth[checked]), _error(chances.max(1), right))


def _log_loss(chances: NDArray[np.float64], truth: NDArray[Any]) -> float:
    return float(-np.log(np.maximum(1e-12, chances[np.arange(len(truth)), truth])).mean())


def _error(said: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error in ten bins."""
    bins = np.minimum(9, (said * 10).astype(int))
    return float(sum(abs(said[bins == one].sum() - right[bins == one].sum()) for one in range(10)) / len(said))


def _known(
    texts: Sequence[str], y: NDArray[Any], held: NDArray[np.bool_], heat: float, labels: int
) -> tuple[tuple[float, float, float], float | None, float | None]:
    """What a text has to look like to be about one of the labels, learned by holding every fifth label out."""
    if labels < FOLD:
        return KNOWN_BY_DEFAULT, None, None
    from sklearn.linear_model import LogisticRegression

    strange = y % FOLD == 0
    if labels - len(np.unique(y[strange])) < 2:
        return KNOWN_BY_DEFAULT, None, None
    fit = _fit([texts[place] for place in np.flatnonzero(~held & ~strange).tolist()], y[~held & ~strange])
    asked = np.flatnonzero(held | strange)
    said = [texts[place] for place in asked.tolist()]
    highest = softmax(_both(fit.scores(said)) / heat).max(1)
    signs = np.column_stack([[logit(float(one)) for one in highest], fit.coverage(said)])
    known = ~strange[asked]
    if known.all() or not known.any():
        return KNOWN_BY_DEFAULT, None, None
    weights = np.where(known, (1.0 - UNKNOWN_PRIOR) / known.sum(), UNKNOWN_PRIOR / (~known).sum()) * len(known)
    # The likelier a label and the more words are known, the likelier it is one: anything else would be chance.
    found = LogisticRegression(C=1.0).fit(signs, known, sample_weight=weights)
    learned = (float(found.intercept_[0]), max(0.0, float(found.coef_[0][0])), max(0.0, float(found.coef_[0][1])))
    says = np.asarray([knows_of(float(one), float(share), learned) for one, share in zip(highest, signs[:, 1], strict=True)])
    return learned, float((says[~known] < 0.5).mean()), float((says[known] >= 0.5).mean())


def _fitted(
    texts: Sequence[str], y: NDArray[Any], labels: tuple[str, ...], heat: float, known: tuple[float, float, float]
) -> TextModel:
    fit = _fit(texts, y)
    words, chars = (
        [gram for gram, _ in sorted(one.vocabulary_.items(), key=lambda item: item[1])] for one in (fit.words, fit.chars)
    )
    weights = np.asarray(fit.classifier.coef_.T)
    intercept = np.asarray(fit.classifier.intercept_)
    if weights.shape[1] == 1:
        weights, intercept = np.hstack([-weights / 2.0, weights / 2.0]), np.hstack([-intercept / 2.0, intercept / 2.0])
    arrays = (
        np.concatenate([fit.words.idf_, fit.chars.idf_]).astype("<f4"),
        np.ascontiguousarray(weights).astype("<f4"),
        intercept.astype("<f4"),
        (np.bincount(y, minlength=len(labels)) / len(y)).astype("<f4"),
    )
    return TextModel(
        labels,
        {gram: place for place, gram in enumerate(words)},
        {gram: place + len(words) for place, gram in enumerate(chars)},
        *arrays,
        heat,
        known,
        version_of(labels, arrays, words, chars, heat, known),
    )
