"""Training without labels: expectation-maximisation over the distinct patterns of candidate pairs.

Every class learns what tells it from the others, and has the shares of unrelated pairs elsewhere: a class that may learn
everything swallows the one beside it. What unrelated pairs share is not learned from candidates, which are chosen to
agree, but from the frequencies of values (exact agreement) and from random pairs (the rest).
docs/decisions/latent-classes.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.levels import MISSING, Patterns, compare, outcomes, unpacked
from firstring.identity.comparison.spec import CLASSES, OF_HOUSEHOLD, Comparison, Spec
from firstring.identity.comparison.statistics import BANDS
from firstring.identity.model.anchors import CONTACTS, Bound, bounded, bounds, telling
from firstring.identity.model.model import RATES, SAME, UNRELATED, Floats, Model, cell_names, coarse, outcome_names

PSEUDO_PAIRS: Final = 20.0
"""Weight of where training starts, in pairs: what few pairs show is not taken for a law."""
CELL_PSEUDO_PAIRS: Final = 200.0
"""The same for the mix of classes in a cell."""
CELL_BOUND: Final = 2.0
"""How far (nats) a class may be more or less frequent in a cell than independent comparisons say. Contact points that
unrelated people share follow their names and ages, so that a cell by itself takes coincidences for people."""
RARE_START: Final = 0.005
"""Pairs of each class of OF_HOUSEHOLD for each record where training starts."""
RARE_MOST: Final = 0.01
"""The same for each pair of the class household, at the most: of 100 pairs of people who live together, one has one given
name and one was born on one day. Without a bound both classes take in what only looks like it."""
RANDOM_PAIRS: Final = 1_000_000
ROUNDS: Final = 200
_SEED: Final = 1
_SETTLED: Final = 1e-4
_FLOOR: Final = 0.1
"""Share of an agreement's rate that is unrelated pairs' at the least, however many of the pairs are explained."""
_ENOUGH: Final = 100
_NO_RATE: Final = 1e-12
_HOUSEHOLD: Final = CLASSES.index("household")
_RARE: Final = [CLASSES.index(name) for name in OF_HOUSEHOLD]


class Observed(NamedTuple):
    """Distinct patterns of candidate pairs, how many pairs have each, and whether those met under a profile key."""

    patterns: Patterns
    counts: Floats
    by_profile: NDArray[np.bool_]


def random_rates(comparisons: Sequence[Comparison], table: Table, pairs: int = RANDOM_PAIRS) -> list[Floats]:
    """Share of each outcome among all pairs of records that state the fields; (outcomes with missing first), [0] is 0.

    Exact agreement by the frequencies of the values, which is without error; the rest by random pairs, or by all pairs
    where there are fewer.
    """
    if table.rows * (table.rows - 1) // 2 <= pairs:
        left, right = np.triu_indices(table.rows, 1)
        pairs = len(left)
    else:
        rng = np.random.default_rng(_SEED)
        left = rng.integers(0, table.rows, pairs)
        right = rng.integers(0, table.rows - 1, pairs)
        right = right + (right >= left)
    found = []
    for comparison in comparisons:
        seen = np.zeros(outcomes(comparison).radix)
        for start in range(0, pairs, 1 << 19):
            part = slice(start, start + (1 << 19))
            seen += np.bincount(compare(comparison, table, left[part], right[part]), minlength=len(seen))
        found.append(_rates(comparison, table, seen))
    return found


def _rates(comparison: Comparison, table: Table, seen: Floats) -> Floats:
    stated = max(seen[1:].sum(), 1.0)
    share = stated / seen.sum()
    of = outcomes(comparison)
    rates = np.zeros(of.radix)
    known = np.zeros(of.radix, bool)
    for level in comparison.levels:
        start = of.first[level.name]
        if not level.banded:
            continue
        place = slice(start, start + BANDS)
        known[place] = True
        by_band = _coincidence(comparison, level.name, table) / share
        # Part of the agreements go to a nearer level (the same postcode, and the address too).
        drawn = seen[place].sum() / stated
        if drawn * stated >= _ENOUGH and by_band.sum() > 0:
            by_band *= min(1.0, drawn / by_band.sum())
        rates[place] = by_band
    rest = ~known
    rest[MISSING] = False
    rest_seen = np.where(rest, seen + 0.5, 0.0)
    rates += rest_seen / rest_seen.sum() * max(1.0 - rates.sum(), _NO_RATE)
    rates[1:] = np.maximum(rates[1:], _NO_RATE)
    return np.asarray(rates / rates.sum())


_CONTAINS: Final = {"postcode": "home", "address": "home", "email_local": "email"}


def _coincidence(comparison: Comparison, level: str, table: Table) -> Floats:
    """For each octave, the share of all pairs of records that agree on a value of it."""
    name = {"home": "home", "postcode": "postcode", "address": "address", "city": "city", "local": "email_local"}.get(
        level, comparison.columns[0]
    )
    if not table.has(name):
        return np.zeros(BANDS)
    column = table.column(name)
    counted = np.ones(len(column.values), bool)
    if comparison.kind == "email" and name == "email":
        counted = table.several_names()[:-1] == (level == "exact_several")
    by_band = _agreeing(table, name, counted)
    inner = _CONTAINS.get(name)
    if inner is not None and table.has(inner) and by_band.sum() > 0:
        within = table.column(inner)
        shared = _agreeing(table, inner, np.ones(len(within.values), bool)).sum()
        by_band *= max(_FLOOR, 1.0 - shared / by_band.sum())
    return by_band


def _agreeing(table: Table, name: str, counted: NDArray[np.bool_]) -> Floats:
    rows = table.rows
    counts = table.column(name).counts.astype(np.float64)
    # Whole numbers up to 2^53 add up exactly: the order of the values, which is that of arrival, leaves no trace.
    pairs = np.where(counted, counts * (counts - 1), 0.0)
    return np.asarray(np.bincount(table.bands(name)[:-1], weights=pairs, minlength=BANDS) / (rows * (rows - 1.0)))


# --- expectation and maximisation ----------------------------------------------------------------------------------


class Fit(NamedTuple):
    """Expected pairs of each class, shares by comparison (classes, outcomes with missing first), rounds taken."""

    pairs: Floats
    shares: list[Floats]
    rounds: int


def starting_shares(comparison: Comparison, rates: Floats, spread: Floats) -> Floats:
    """Where training starts. spread: for each outcome of a banded level, the share of its octave (records holding it)."""
    of = outcomes(comparison)
    found = np.tile(rates, (len(CLASSES), 1))
    for number, learned in enumerate(comparison.learned_by):
        if not learned:
            continue
        for level in comparison.levels:
            start = of.first[level.name]
            share = comparison.starting(level)[number]
            place = slice(start, start + (BANDS if level.banded else 1))
            found[number, place] = share * spread[place]
        found[number] = np.maximum(found[number], _NO_RATE)
        found[number] /= found[number][1:].sum()
    found[:, MISSING] = 1.0
    return found


def spreads(comparison: Comparison, table: Table) -> Floats:
    """How the records that share a value with another spread over the octaves of each banded level; 1 for the rest."""
    of = outcomes(comparison)
    found = np.ones(of.radix)
    for level in comparison.levels:
        if level.banded:
            by_band = _holders(comparison, level.name, table) + 0.01 / BANDS
            start = of.first[level.name]
            found[start : start + BANDS] = by_band / by_band.sum()
    return found


def _holders(comparison: Comparison, level: str, table: Table) -> Floats:
    name = {"home": "home", "postcode": "postcode", "address": "address", "city": "city", "local": "email_local"}.get(
        level, comparison.columns[0]
    )
    if not table.has(name):
        return np.zeros(BANDS)
    column = table.column(name)
    shared = np.where(column.counts > 1, column.counts, 0).astype(np.float64)
    by_band = np.bincount(table.bands(name)[:-1], weights=shared, minlength=BANDS)
    return np.asarray(by_band / max(by_band.sum(), 1.0), np.float64)


def expectation_maximisation(
    comparisons: Sequence[Comparison],
    observed: Observed,
    rates: Sequence[Floats],
    start: Sequence[Floats],
    records: int,
    rounds: int = ROUNDS,
) -> Fit:
    """Fits the classes to the patterns. Deterministic: the patterns are in order, and sums run in that order.

    How often what one person states is unlike is bounded by `anchors.bounds`.
    """
    rows = unpacked(comparisons, observed.patterns)
    most = bounds(comparisons, rows, observed.counts)
    total = records * (records - 1) / 2
    pairs = np.zeros(len(CLASSES))
    pairs[[SAME, _HOUSEHOLD]] = 0.5 * records
    pairs[list(RATES)] = min(records, 1e-4 * total)
    pairs[_RARE] = RARE_START * records
    pairs[UNRELATED] = max(total - pairs.sum(), 1.0)
    shares = [one.copy() for one in start]
    done = 0
    while done < rounds:
        done += 1
        _, posterior = expected(pairs, shares, rows)
        weight = posterior * observed.counts
        new_pairs = np.maximum(weight.sum(axis=1), 1e-3)
        new_pairs[_RARE] = np.minimum(new_pairs[_RARE], RARE_MOST * new_pairs[_HOUSEHOLD])
        new_pairs[UNRELATED] = max(total - new_pairs[:UNRELATED].sum(), 1.0)
        for place, rate in enumerate(rates):
            of_pairs = new_pairs / total
            shares[place] = _maximised(
                comparisons[place], rows[place], weight, start[place], rate, of_pairs, most.get(place)
            )
        moved = np.abs(np.log(new_pairs / pairs)).max()
        pairs = new_pairs
        if moved < _SETTLED:
            break
    return Fit(pairs, shares, done)


def expected(pairs: Floats, shares: Sequence[Floats], rows: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """(ln of expected pairs, posterior), each (classes, patterns)."""
    joint = np.repeat(np.log(pairs)[:, None], rows.shape[1], axis=1)
    for place, share in enumerate(shares):
        joint += np.log(share)[:, rows[place]]
    posterior = np.exp(joint - joint.max(axis=0))
    posterior /= posterior.sum(axis=0)
    return joint, posterior


def _maximised(
    comparison: Comparison,
    row: NDArray[np.uint8],
    weight: Floats,
    start: Floats,
    rate: Floats,
    shares: Floats,
    most: Bound | None,
) -> Floats:
    found = np.empty_like(start)
    explained = np.zeros(start.shape[1])
    learned, like = comparison.learned_by, comparison.like
    for number in range(UNRELATED):
        if not learned[number]:
            continue
        if like[number] == number:
            # All that are of a household teach it; that twins share a birth date as one person does, teaches nothing of one.
            of = [number, *(other for other in _RARE if like[other] == number)] if number == _HOUSEHOLD else [number]
            counts = np.bincount(row, weights=weight[of].sum(axis=0), minlength=start.shape[1])
            counts = counts + PSEUDO_PAIRS * start[number]
            counts[MISSING] = 0.0
            found[number] = counts / counts.sum()
            if number == SAME and most is not None:
                found[number] = bounded(found[number], *most)
            if number == _HOUSEHOLD and comparison.profile:
                found[number] = _spread_as(comparison, found[number], found[SAME])
        else:
            found[number] = found[like[number]]
        explained += shares[number] * found[number]
    unrelated = np.maximum(rate - explained, _FLOOR * rate)
    unrelated[MISSING] = 0.0
    found[UNRELATED] = unrelated / unrelated.sum()
    for number in range(UNRELATED):
        if not learned[number]:
            found[number] = found[UNRELATED]
    found = np.maximum(found, 1e-15)
    found[:, MISSING] = 1.0
    return found


def _spread_as(comparison: Comparison, shares: Floats, like: Floats) -> Floats:
    """Shares of a class whose banded levels are as often as they are, and spread over the octaves of rarity as in `like`.

    That two who live together are the only ones of their family name makes them the only ones of their address too:
    counted as if one were news beside the other, few records of a household would make one person of it.
    """
    first = outcomes(comparison).first
    found = shares.copy()
    for level in comparison.levels:
        if level.banded:
            octaves = slice(first[level.name], first[level.name] + BANDS)
            found[octaves] = shares[octaves].sum() * like[octaves] / max(like[octaves].sum(), _NO_RATE)
    return found


# --- cells -----------------------------------------------------------------------------------------------------------


def cell_corrections(
    comparisons: Sequence[Comparison], observed: Observed, fit: Fit, rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """How the mix of classes in each cell differs from what independent comparisons say, as ln by class.

    Within a cell the classes differ by rarity and by the contact points, whose shares stay as they are; only the mix is
    learned, from pairs that met under a profile key (whether those meet does not depend on the contact points) and
    that state a contact point (the others show nothing of the mix).
    """
    contacts = [place for place, one in enumerate(comparisons) if one.kind in CONTACTS]
    chosen = observed.by_profile & (unpacked(comparisons, observed.patterns)[contacts] != MISSING).any(axis=0)
    if not chosen.any():
        return {}
    rows = unpacked(comparisons, observed.patterns[chosen])
    counts = observed.counts[chosen]
    names, cell = cell_names(comparisons, rows)
    base, _ = expected(fit.pairs, fit.shares, rows)
    prior = np.repeat(np.log(fit.pairs)[:, None], len(names), axis=1)
    first = np.unique(cell, return_index=True)[1]
    for place, comparison in enumerate(comparisons):
        if comparison.profile:
            groups = coarse(comparison)
            of_group = np.stack([fit.shares[place][:, groups == group].sum(axis=1) for group in range(4)], axis=1)
            of_group[:, 0] = 1.0
            prior += np.log(np.maximum(of_group, 1e-300))[:, groups[rows[place][first]]]
    mix0 = np.exp(prior - prior.max(axis=0))
    mix0 /= mix0.sum(axis=0)
    mix = mix0.copy()
    held = np.bincount(cell, weights=counts, minlength=len(names))
    for _ in range(rounds):
        joint = base + np.log(np.maximum(mix / mix0, 1e-300))[:, cell]
        posterior = np.exp(joint - joint.max(axis=0))
        posterior /= posterior.sum(axis=0)
        new = np.stack(
            [np.bincount(cell, weights=posterior[number] * counts, minlength=len(names)) for number in range(len(CLASSES))]
        )
        new = (new + CELL_PSEUDO_PAIRS * mix0) / (held + CELL_PSEUDO_PAIRS)
        moved = np.abs(new - mix).max()
        mix = new
        if moved < _SETTLED:
            break
    corrections = np.log(np.maximum(mix, 1e-12) / np.maximum(mix0, 1e-12))
    corrections -= corrections[UNRELATED]
    corrections = np.clip(corrections, -CELL_BOUND, CELL_BOUND)
    return {name: [round(float(one), 6) for one in corrections[:, place]] for place, name in enumerate(names)}


def _telling(comparisons: Sequence[Comparison], observed: Observed, table: Table) -> Observed:
    """The pairs to learn classes from (`anchors.telling`), each counted for as many as it stands for."""
    chosen, share = telling(comparisons, unpacked(comparisons, observed.patterns), observed.counts, table)
    return Observed(observed.patterns[chosen], observed.counts[chosen] / share, observed.by_profile[chosen])


def trained(spec: Spec, comparisons: Sequence[Comparison], table: Table, observed: Observed, *, cells: bool = True) -> Model:
    """A model of the table's records out of the patterns of their candidate pairs."""
    rates = random_rates(comparisons, table)
    start = [starting_shares(one, rate, spreads(one, table)) for one, rate in zip(comparisons, rates, strict=True)]
    fit = expectation_maximisation(comparisons, _telling(comparisons, observed, table), rates, start, table.rows)
    corrections = cell_corrections(comparisons, observed, fit) if cells else {}
    records = table.rows
    total = records * (records - 1) / 2
    rates_of = {field: float(f"{fit.pairs[at] / total:.6g}") for at, field in RATES.items()}
    shares = {
        comparison.name: {
            name: [float(f"{one:.6g}") for one in share[:, place + 1]]
            for place, name in enumerate(outcome_names(comparison))
        }
        for comparison, share in zip(comparisons, fit.shares, strict=True)
    }
    return Model(
        spec=spec,
        records=records,
        pairs_per_record={
            name: float(f"{fit.pairs[at] / records:.6g}")
            for at, name in enumerate(CLASSES)
            if at not in RATES and at != UNRELATED
        },
        namesake_rate=rates_of["namesake_rate"],
        local_rate=rates_of["local_rate"],
        neighbour_rate=rates_of["neighbour_rate"],
        compatriot_rate=rates_of["compatriot_rate"],
        shares=shares,
        cells=corrections,
    )
