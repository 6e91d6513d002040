"""Labels correct a model: its weights and its calibration, with shrinkage, and never silently.

An answer about a pair says whether it is one person. What is learned is how the log-odds of a pair have to move, given
what the pair looks like: logistic regression with the model's log-odds as its offset. Which pairs were asked about
depended on what they look like and on what was stated of them; such a choice does not bias what is learned of pairs that
look like that (selection on observables), so every answer counts alike. Counting them by how unlikely they were to be
asked for would leave hardly anything: nearly all weight would lie on pairs of which everybody is sure. The shares of true
pairs that the report gives are about all pairs, not those asked about: there answers do count by that.

How much is taken over is decided by cross-validation: nothing, a monotone map of the log-odds, or weights and the map,
whichever foretells the answers best that it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.levels import outcomes, patterns, unpacked
from firstring.identity.comparison.spec import BlockingKey, Comparison
from firstring.identity.model.model import SAME, Floats, Model, calibrated, coarse, outcome_names, score, weights
from firstring.identity.model.training import Observed
from firstring.identity.persons.clustering import connected

Step = Literal["nothing", "calibration", "weights"]
STEPS: Final[tuple[Step, ...]] = ("nothing", "calibration", "weights")
"""What labels may change; "weights" is weights and then calibration."""
FEWEST: Final = 30
"""Answers below which nothing is changed: less cannot be cross-validated."""
FOLDS: Final = 5
BIN_EDGES: Final = (0.0, 0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
KNOTS: Final = (-8.0, -6.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Log-odds at which the map is learned; straight between, and beyond the ends shifted as at the end."""
_WEIGHT_SD: Final = 0.5
"""How far (nats) the weight of an agreement is thought to be wrong, before any answer."""
_MAP_SD: Final = 1.5
_MAP_STEP_SD: Final = 0.7
"""The same for the map at a knot, and from knot to knot."""
_GROUPS: Final = ("missing", "exact", "near", "different")
_SLOPE: Final = 0.05
_SEED: Final = 1
_NEWTON_ROUNDS: Final = 50


class Labelled(NamedTuple):
    """Answers about pairs of rows: left < right, whether one person, and how much each counts (any scale)."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    weight: Floats


class WeightChange(msgspec.Struct, frozen=True):
    """What an agreement of a group ("exact", "near", "different") weighs in the mean of the labelled pairs, in nats."""

    comparison: str
    group: str
    labels: int
    before_nats: float
    after_nats: float


class LabelBin(msgspec.Struct, frozen=True):
    """Labelled pairs that were stated from `low` to below `high`: what was stated before and is now, and what is true.

    stated_after comes from cross-validation: of each pair by a model that has not seen its answer.
    """

    low: float
    high: float
    labels: int
    stated_before: float
    stated_after: float
    found: float


class LabelReport(msgspec.Struct, frozen=True):
    """What labels changed, and why. losses: mean log loss (nats) of unseen answers by step. joined, parted: pairs that
    cross the threshold upwards and downwards."""

    labels: int
    same: int
    taken: Step
    losses: dict[str, float]
    weights: tuple[WeightChange, ...]
    calibration: tuple[LabelBin, ...]
    threshold: float
    joined: float
    parted: float


def relabelled(
    model: Model, table: Table, labelled: Labelled, observed: Observed, threshold: float
) -> tuple[Model, LabelReport]:
    """The model as the labels correct it, and what they changed. observed: pairs among which changes are counted."""
    comparisons = model.comparisons()
    found = patterns(comparisons, table, labelled.left, labelled.right)
    by_profile = meets_by_profile(model.spec.linking, table, labelled.left, labelled.right)
    scores = score(model, found, by_profile, model.records)
    groups = _grouped(comparisons, unpacked(comparisons, found))
    same = labelled.same.astype(np.float64)
    asked = _Asked(scores.log_odds, groups, same)
    losses, unseen = _cross_validated(asked, _folds(table.rows, labelled))
    taken: Step = min(STEPS, key=lambda step: losses[step]) if len(same) >= FEWEST else "nothing"
    fit = _fitted(asked, taken)
    corrected = _corrected(model, comparisons, fit)
    before = score(model, observed.patterns, observed.by_profile, model.records).log_odds >= _odds(threshold)
    after = score(corrected, observed.patterns, observed.by_profile, model.records).log_odds >= _odds(threshold)
    now = weights(model, found, scores.rival)
    report = LabelReport(
        labels=len(same),
        same=int(same.sum()),
        taken=taken,
        losses=losses,
        weights=_changes(comparisons, groups, now, fit.shifts),
        calibration=_bins(scores.log_odds, unseen[taken], same, labelled.weight),
        threshold=threshold,
        joined=float(observed.counts[after & ~before].sum()),
        parted=float(observed.counts[before & ~after].sum()),
    )
    return corrected, report


def meets_by_profile(
    keys: Sequence[BlockingKey], table: Table, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """For pairs of rows whether they share a value of a profile key among `keys`."""
    found = np.zeros(len(left), bool)
    for key in keys:
        if not key.profile or not all(table.has(part) for part in key.parts):
            continue
        shared = np.ones(len(left), bool)
        for part in key.parts:
            hashes = table.part(part)
            ones, others = hashes[left], hashes[right]
            shared &= ((ones[:, :, None] == others[:, None, :]) & (ones != 0)[:, :, None]).any(axis=(1, 2))
        found |= shared
    return found


# --- fitting -------------------------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    """log_odds as stated; groups: (pairs, features) 0 or 1; same 0 or 1."""

    log_odds: Floats
    groups: Floats
    same: Floats

    def part(self, rows: NDArray[np.bool_]) -> _Asked:
        return _Asked(self.log_odds[rows], self.groups[rows], self.same[rows])


class _Fit(NamedTuple):
    """shifts: nats by feature; knots: (stated, corrected) log-odds, () for none."""

    shifts: Floats
    knots: tuple[tuple[float, float], ...]

    def of(self, asked: _Asked) -> Floats:
        return calibrated(self.knots, asked.log_odds + asked.groups @ self.shifts)


def _fitted(asked: _Asked, step: Step) -> _Fit:
    shifts = np.zeros(asked.groups.shape[1])
    if step == "nothing":
        return _Fit(shifts, ())
    if step == "weights":
        precision = np.eye(len(shifts)) / _WEIGHT_SD**2
        shifts = _logistic(asked.groups, asked.log_odds, asked.same, precision)
    stated = asked.log_odds + asked.groups @ shifts
    hats = np.stack([np.interp(stated, KNOTS, row) for row in np.eye(len(KNOTS))], axis=1)
    steps = np.diff(np.eye(len(KNOTS)), axis=0)
    precision = np.eye(len(KNOTS)) / _MAP_SD**2 + steps.T @ steps / _MAP_STEP_SD**2
    moved = np.array(KNOTS) + _logistic(hats, stated, asked.same, precision)
    return _Fit(shifts, tuple(zip(KNOTS, _rising(moved).tolist(), strict=True)))


def _logistic(features: Floats, offset: Floats, same: Floats, precision: Floats) -> Floats:
    """Coefficients at the mode of the posterior: Newton's steps, halved until they gain."""
    found = np.zeros(features.shape[1])

    def loss(at: Floats) -> float:
        odds = offset + features @ at
        return float((np.logaddexp(0.0, odds) - same * odds).sum() + 0.5 * at @ precision @ at)

    now = loss(found)
    for _ in range(_NEWTON_ROUNDS):
        p = _probability(offset + features @ found)
        gradient = features.T @ (p - same) + precision @ found
        curvature = (features * (p * (1.0 - p))[:, None]).T @ features + precision
        step = np.linalg.solve(curvature, gradient)
        while (new := loss(found - step)) > now and np.abs(step).max() > 1e-9:
            step = step / 2.0
        found, gained, now = found - step, now - new, new
        if gained < 1e-9:
            break
    return found


def _rising(values: Floats) -> Floats:
    """The nearest rising values (pool adjacent violators; Ayer 1955), with a small slope so that order is kept."""
    slope = _SLOPE * np.array(KNOTS)
    blocks: list[list[float]] = []
    for value in (values - slope).tolist():
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            other, size = blocks[-1]
            blocks[-1] = [(mean * count + other * size) / (count + size), count + size]
    return np.concatenate([np.full(int(size), mean) for mean, size in blocks]) + slope


def _cross_validated(asked: _Asked, fold: NDArray[np.int64]) -> tuple[dict[str, float], dict[str, Floats]]:
    """(mean log loss by step, log-odds of each pair by step), each from a fit that has not seen the pair's answer."""
    unseen: dict[str, Floats] = {}
    losses: dict[str, float] = {}
    for step in STEPS:
        found = asked.log_odds.copy()
        for number in range(FOLDS):
            out = fold == number
            if out.any() and not out.all():
                found[out] = _fitted(asked.part(~out), step).of(asked.part(out))
        unseen[step] = found
        losses[step] = float((np.logaddexp(0.0, found) - asked.same * found).mean())
    return losses, unseen


def _folds(rows: int, labelled: Labelled) -> NDArray[np.int64]:
    """The fold of each answer: answers that hang together by records are in one."""
    used, place = np.unique(np.concatenate([labelled.left, labelled.right]), return_inverse=True)
    half = len(labelled.left)
    root = np.array(connected(len(used), place[:half].tolist(), place[half:].tolist()), np.int64)
    fold = np.random.default_rng(_SEED).permutation(len(used)) % FOLDS
    return np.asarray(fold[root[place[:half]]])


# --- into the model, and what is told ----------------------------------------------------------------------------------


def _features(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, int]]:
    return [(one, group) for one in comparisons for group in range(1, len(_GROUPS)) if (coarse(one) == group).any()]


def _grouped(comparisons: Sequence[Comparison], rows: NDArray[np.uint8]) -> Floats:
    place = {one.name: number for number, one in enumerate(comparisons)}
    columns = [coarse(one)[rows[place[one.name]]] == group for one, group in _features(comparisons)]
    return np.stack(columns, axis=1).astype(np.float64)


def _corrected(model: Model, comparisons: Sequence[Comparison], fit: _Fit) -> Model:
    """The shares of one person are multiplied: then every weight against every other class moves by the same."""
    if not fit.shifts.any() and not fit.knots:
        return model
    shift = {(one.name, group): value for (one, group), value in zip(_features(comparisons), fit.shifts, strict=True)}
    shares = {name: dict(of) for name, of in model.shares.items()}
    for comparison in comparisons:
        names = outcome_names(comparison)
        for name, group in zip(names, coarse(comparison)[1:].tolist(), strict=True):
            row = list(shares[comparison.name][name])
            row[SAME] = float(f"{row[SAME] * np.exp(shift[comparison.name, group]):.6g}")
            shares[comparison.name][name] = row
        assert len(names) == outcomes(comparison).radix - 1
    # A map on top of a map: what the earlier one gives goes through the new one.
    earlier = model.calibration
    knots = fit.knots
    if earlier and fit.knots:
        knots = tuple((x, float(calibrated(fit.knots, np.array([y]))[0])) for x, y in earlier)
    elif earlier:
        knots = earlier
    rounded = tuple((round(x, 6), round(y, 6)) for x, y in knots)
    return msgspec.structs.replace(model, shares=shares, calibration=rounded)


def _changes(
    comparisons: Sequence[Comparison], groups: Floats, now: dict[str, Floats], shifts: Floats
) -> tuple[WeightChange, ...]:
    found = []
    for number, (one, group) in enumerate(_features(comparisons)):
        inside = groups[:, number] > 0
        if inside.any():
            before = float(now[one.name][inside].mean())
            found.append(WeightChange(one.name, _GROUPS[group], int(inside.sum()), before, before + float(shifts[number])))
    return tuple(found)


def _bins(stated: Floats, after: Floats, same: Floats, weight: Floats) -> tuple[LabelBin, ...]:
    p, q = _probability(stated), _probability(after)
    bins = np.searchsorted(BIN_EDGES[1:-1], p, side="right")
    found = []
    for number in np.unique(bins).tolist():
        inside = bins == number
        of = weight[inside] / weight[inside].sum()
        found.append(
            LabelBin(
                BIN_EDGES[number], BIN_EDGES[number + 1], int(inside.sum()),
                float(of @ p[inside]), float(of @ q[inside]), float(of @ same[inside]),
            )
        )  # fmt: skip
    return tuple(found)


def _probability(log_odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -700, 700))))


def _odds(threshold: float) -> float:
    return float(np.log(threshold / (1.0 - threshold)))
