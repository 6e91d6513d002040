"""`firstring bench journey --reasons FOLDER`: the text model on labelled sentences, and what reading a text costs.

FOLDER holds train.csv and test.csv with the columns text and category, such as Banking77 (Casanueva et al. 2020, CC BY
4.0), which is not part of this project.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from firstring.bench.measures import Measure, pair
from firstring.bulk.words.training import Report, examples_in, train
from firstring.journey.words import read_words
from firstring.journey.words.textmodel import UNKNOWN, TextModel

ACCURACY: Final = 0.91
SENTENCE_MS: Final = 2.0
_STRANGE: Final = (
    "what is the weather like in rome tomorrow",
    "please play the next song",
    "who won the football match yesterday",
    "quel est le meilleur restaurant du quartier",
    "ich suche einen guten zahnarzt in der nähe",
    "tell me a joke about penguins",
)


def measured(folder: Path, say: Callable[[str], None]) -> list[Measure]:
    """Trains on one file, measures on the other; both ways of reading are timed, sentence by sentence."""
    examples = examples_in(folder / "train.csv", "text", "category")
    fresh = examples_in(folder / "test.csv", "text", "category")
    say(f"training on {len(examples.texts):,} sentences of {len(set(examples.labels))} labels")
    started = time.perf_counter()
    model, report = train(examples)
    trained_s = time.perf_counter() - started
    say(f"asking {len(fresh.texts):,} others")
    return [*_of_reasons(model, report, fresh.texts, fresh.labels, trained_s), *_of_words(fresh.texts)]


def _of_reasons(model: TextModel, report: Report, texts: list[str], labels: list[str], trained_s: float) -> list[Measure]:
    took: list[float] = []
    right = 0
    said = 0.0
    bins: dict[int, tuple[float, int]] = {}
    for text, label in zip(texts, labels, strict=True):
        started = time.perf_counter()
        found = model.read(text)
        took.append((time.perf_counter() - started) * 1000.0)
        guess = max(model.labels, key=found.__getitem__)
        right += guess == label
        share = found[guess] / (1.0 - found[UNKNOWN])
        said += share
        total, hits = bins.get(int(share * 9.999), (0.0, 0))
        bins[int(share * 9.999)] = total + share, hits + (guess == label)
    error = sum(abs(total - hits) for total, hits in bins.values()) / len(texts)
    strange = sum(max(found, key=found.__getitem__) == UNKNOWN for found in map(model.read, _STRANGE))
    note = f"{len(texts):,} sentences, {len(model.labels)} labels"
    return [
        Measure("reasons: right label", "", right / len(texts), ACCURACY, "higher", note),
        Measure(
            "reasons: calibration error", "", error, None, "lower", f"ten bins; says {said / len(texts):.3f} on average"
        ),
        Measure("reasons: odd sentences unknown", "", strange / len(_STRANGE), None, "higher", f"of {len(_STRANGE)}"),
        *pair("reasons: one sentence", took, SENTENCE_MS, None),
        Measure("reasons: training", "s", trained_s, None, "lower", f"{report.features:,} features"),
    ]


def _of_words(texts: list[str]) -> list[Measure]:
    read_words(texts[0])  # loads the model of languages
    took = []
    for text in texts:
        started = time.perf_counter()
        read_words(text)
        took.append((time.perf_counter() - started) * 1000.0)
    return pair("words: one sentence", took, SENTENCE_MS, None)
