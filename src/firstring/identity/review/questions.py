"""Clerical review: which pairs to ask people about, and what their answers say of the probabilities that were stated.

Pairs are drawn, not picked, so that what is learned of the drawn ones can be said of all: most draws go to pairs that are
undecided, on which much hangs and which are of a pattern not asked about yet; a share of them goes to pairs of every
probability alike. The probability of each draw is kept with its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.ports import Random

Answer = Literal["same", "household", "different", "unknown"]
Floats: TypeAlias = NDArray[np.float64]

EVERY_SHARE: Final = 0.2
"""Share of draws that goes to pairs of every probability alike: by them calibration is measured."""
EDGES: Final = (0.0, 0.01, 0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Bins of stated probability."""
_SHARPNESS: Final = 2.0
"""Power of a pair's worth by which it is drawn: at 0 all are alike, the greater the surer the best comes first."""
_WILSON_Z: Final = 1.96
"""Of intervals: 95 % (Wilson 1927)."""


class Pool(NamedTuple):
    """Pairs to choose from, one entry each: stated probability; group (pairs of one cell); how many pairs of records would
    change if its verdict did."""

    probability: Floats
    group: NDArray[np.int64]
    hangs: NDArray[np.int64]


class Drawn(msgspec.Struct, frozen=True):
    """One question. place: in the pool; sampling_probability: of drawing it just then from the pairs that were left
    (`pool_pairs`); at_random: it came from the share of every probability."""

    place: int
    sampling_probability: float
    pool_pairs: int
    at_random: bool
    why: str


def worth(pool: Pool, asked: Mapping[int, int]) -> Floats:
    """How much an answer is worth: uncertainty (bits) x the pairs that hang on it x the pairs like it not asked about.

    asked: how many answers there are of each group already.
    """
    p = np.clip(pool.probability, 1e-9, 1 - 1e-9)
    bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    groups, of, counts = np.unique(pool.group, return_inverse=True, return_counts=True)
    known = np.array([asked.get(int(group), 0) for group in groups.tolist()], np.float64)
    like_it = np.log2(1.0 + counts) / (1.0 + known)
    return np.asarray(bits * np.log2(1.0 + np.maximum(pool.hangs, 1)) * like_it[of])


def draw_probabilities(pool: Pool, asked: Mapping[int, int], every_share: float = EVERY_SHARE) -> tuple[Floats, Floats]:
    """(of being drawn for its worth, of being drawn from the share of every probability); both together add up to 1."""
    value = worth(pool, asked) ** _SHARPNESS
    total = value.sum()
    bins = np.searchsorted(EDGES[1:-1], pool.probability, side="right")
    counts = np.bincount(bins, minlength=len(EDGES) - 1)
    every = 1.0 / (counts[bins] * np.count_nonzero(counts))
    if total <= 0.0:
        return np.zeros(len(value)), every
    return (1.0 - every_share) * value / total, every_share * every


def drawn(
    pool: Pool, count: int, random: Random, asked: Mapping[int, int] | None = None, every_share: float = EVERY_SHARE
) -> list[Drawn]:
    """Up to `count` questions, none twice; after each, the others of its group are worth less."""
    left = np.arange(len(pool.probability))
    known = dict(asked or {})
    found: list[Drawn] = []
    for _ in range(min(count, len(left))):
        now = Pool(pool.probability[left], pool.group[left], pool.hangs[left])
        by_worth, every = draw_probabilities(now, known, every_share)
        sums = np.cumsum(np.concatenate([by_worth, every]))
        at = min(int(np.searchsorted(sums, random.random() * sums[-1], side="right")), 2 * len(left) - 1)
        at_random, chosen = at >= len(left), at % len(left)
        place = int(left[chosen])
        group = int(pool.group[place])
        alike = int((now.group == group).sum())
        why = _why(float(pool.probability[place]), int(pool.hangs[place]), alike, known.get(group, 0), at_random)
        found.append(Drawn(place, float(by_worth[chosen] + every[chosen]), len(left), at_random, why))
        known[group] = known.get(group, 0) + 1
        left = np.delete(left, chosen)
    return found


def _why(probability: float, hangs: int, alike: int, asked: int, at_random: bool) -> str:
    if at_random:
        return "drawn from pairs of every probability, by which it is measured whether probabilities are right"
    parts = [f"stated {probability:.2f}"]
    if hangs > 1:
        parts.append(f"{hangs:,} pairs of records hang on it")
    parts.append(f"{alike:,} pairs like it" + (f", {asked:,} of them asked about" if asked else ", none asked about yet"))
    return "; ".join(parts)


# --- what answers say of the probabilities ---------------------------------------------------------------------------


class Answered(msgspec.Struct, frozen=True):
    """An answer beside what was stated: probability and sampling_probability as they were when it was asked."""

    answer: Answer
    probability: float
    sampling_probability: float
    pool_pairs: int


class Bin(msgspec.Struct, frozen=True):
    """Pairs stated from `low` to below `high`: their mean stated probability, the share that is one person, and the
    interval of that share (95 %); worth: how many pairs drawn evenly the answers amount to."""

    low: float
    high: float
    answers: int
    stated: float
    found: float
    found_from: float
    found_to: float
    worth: float


def calibration(answers: Sequence[Answered], edges: Sequence[float] = EDGES) -> list[Bin]:
    """What the stated probabilities come to, by bin with answers; "unknown" is left out.

    Each answer counts by how unlikely it was to be drawn (Hajek's ratio estimator), so that asking about the undecided
    does not make the others look undecided.
    """
    known = [one for one in answers if one.answer != "unknown"]
    if not known:
        return []
    stated = np.array([one.probability for one in known])
    same = np.array([one.answer == "same" for one in known], np.float64)
    weight = np.array([1.0 / (one.sampling_probability * one.pool_pairs) for one in known])
    bins = np.searchsorted(np.asarray(edges[1:-1]), stated, side="right")
    found: list[Bin] = []
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = bins == number
        if not inside.any():
            continue
        weights = weight[inside]
        total = float(weights.sum())
        share = float((weights * same[inside]).sum() / total)
        even = float(total**2 / (weights**2).sum())  # Kish 1965
        begin, end = _wilson(share, even)
        mean = float((weights * stated[inside]).sum() / total)
        found.append(Bin(low, high, int(inside.sum()), mean, share, begin, end, even))
    return found


def _wilson(share: float, count: float) -> tuple[float, float]:
    z2 = _WILSON_Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _WILSON_Z * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))
