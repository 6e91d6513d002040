"""A model in pictures: one HTML file that needs nothing else, no script, light and dark, from a phone to a laptop. Pure.

Bar charts are tables whose bars are drawn in their cells, so that what is seen can be read, too; line charts have their
table behind them. Weights are bits: log2 of how much likelier an outcome is for one person than for the other class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

import numpy as np

from firstring.identity.comparison.spec import CLASSES, Comparison
from firstring.identity.model.chartparts import Line, Rows, bar, line_chart, page, section, span_bar, table, table_behind
from firstring.identity.model.model import Model, outcome_names, table_of_shares

NATS_PER_BIT: Final = math.log(2.0)
_TINY: Final = 1e-12
_CHANGES: Final = 25
"""Changes shown of two models."""


class PairShown(NamedTuple):
    """One pair: its names, probability, the class it is weighed against, prior and weights (nats) by comparison."""

    left: str
    right: str
    probability: float
    against: str
    prior: float
    weights: Mapping[str, float]


class Bin(NamedTuple):
    """Pairs stated between two probabilities: their mean, how many, and how many of them are right (None: not known)."""

    low: float
    high: float
    stated: float
    pairs: int
    right: int | None = None


def charts(model: Model, *, pair: PairShown | None = None, bins: Sequence[Bin] = (), other: Model | None = None) -> str:
    """The file as text. pair, bins (of pairs) and other (a model to compare with) have sections where they are given."""
    parts = [_summary(model), _weights(model), _rarity(model), _classes(model)]
    if pair is not None:
        parts.append(_waterfall(pair))
    if bins:
        parts.append(_bins(bins))
    if other is not None:
        parts.append(_changed(other, model))
    return page(f"Model {model.version}", "".join(parts))


# --- weights -------------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """Bits of one outcome of a comparison: against unrelated pairs and against households; share among pairs of one."""

    level: str
    says: str
    octave: int | None
    bits: float
    against_household: float
    same: float
    unrelated: float


def weights_of(model: Model, comparison: Comparison) -> list[Outcome]:
    """The outcomes of a comparison, in the order of its spec."""
    shares = np.maximum(table_of_shares(model, comparison)[:, 1:], _TINY)
    bits = np.log2(shares[0] / shares[-1])
    household = np.log2(shares[0] / shares[CLASSES.index("household")])
    levels = {level.name: level for level in comparison.levels}
    found = []
    for place, name in enumerate(outcome_names(comparison)):
        level, _, octave = name.partition(" 2^-")
        found.append(
            Outcome(
                level, levels[level].says, int(octave) if octave else None, float(bits[place]), float(household[place]),
                float(shares[0, place]), float(shares[-1, place]),
            )
        )  # fmt: skip
    return found


def _levels(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """One row a level: a banded one with the shares of all its octaves together."""
    found: dict[str, list[Outcome]] = {}
    for one in outcomes:
        found.setdefault(one.level, []).append(one)
    rows = []
    for level, each in found.items():
        same, unrelated = math.fsum(one.same for one in each), math.fsum(one.unrelated for one in each)
        household = math.fsum(one.same / 2.0**one.against_household for one in each)
        rows.append(
            Outcome(level, each[0].says, None, math.log2(same / unrelated), math.log2(same / household), same, unrelated)
        )
    return rows


def _summary(model: Model) -> str:
    rows: Rows = [
        ("version", escape(model.version)),
        ("records", f"{model.records:,}"),
        ("comparisons", f"{len(model.comparisons())}"),
        ("keys of training, of linking", f"{len(model.spec.keys)}, {len(model.spec.linking)}"),
    ]
    return section("summary", "What this is", "", table("The model", ("entry", "value"), rows, numbers=0))


def _weights(model: Model) -> str:
    said = (
        "How much likelier each outcome is for two records of one person than for two unrelated ones, in bits: one bit "
        "doubles the odds. Household: the same against people who live together. Of one: how often pairs of one "
        "person come out so."
    )
    every = {one.name: _levels(weights_of(model, one)) for one in model.comparisons()}
    low, high = _reach(outcome.bits for outcomes in every.values() for outcome in outcomes)
    tables = []
    for name, outcomes in every.items():
        rows: Rows = [
            (
                f"{escape(one.level.replace('_', ' '))}<small class='says'>{escape(one.says)}</small>",
                bar(one.bits, low, high),
                _signed(one.bits), _signed(one.against_household), _percent(one.same),
            )
            for one in outcomes
        ]  # fmt: skip
        head = ("outcome", f"{low:+.0f} to {high:+.0f} bits", "bits", "household", "of one")
        tables.append(table(name.replace("_", " "), head, rows, numbers=3))
    return section("weights", "What each outcome is worth", said, "".join(tables))


def _rarity(model: Model) -> str:
    said = (
        "Sharing a rare value says more than sharing a common one. Each line is an outcome, by the octave of rarity: at "
        "10, one record in 1,024 has the value."
    )
    figures = []
    for comparison in model.comparisons():
        lines: dict[str, list[tuple[float, float]]] = {}
        for one in _learned(weights_of(model, comparison)):
            if one.octave is not None:
                lines.setdefault(one.level.replace("_", " "), []).append((float(one.octave), one.bits))
        if not lines:
            continue
        title = comparison.name.replace("_", " ")
        chart = line_chart(title, [Line(name, points) for name, points in lines.items()], "octave of rarity", "bits")
        by_octave = [dict(points) for points in lines.values()]
        octaves = sorted(set().union(*by_octave))
        rows: Rows = [
            (f"{octave:.0f}", *(f"{points[octave]:+.1f}" if octave in points else "" for points in by_octave))
            for octave in octaves
        ]
        figures.append(f"<figure>{chart}{table_behind(title, ('octave', *lines), rows)}</figure>")
    return section("rarity", "By how rare the shared value is", said, f'<div class="many">{"".join(figures)}</div>')


def _learned(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Without the octaves that no value of the training data has: they share the least share of unrelated pairs."""
    least: dict[str, list[float]] = {}
    for one in outcomes:
        least.setdefault(one.level, []).append(one.unrelated)
    empty = {level: min(shares) for level, shares in least.items() if shares.count(min(shares)) > 1}
    return [one for one in outcomes if one.unrelated > empty.get(one.level, 0.0)]


def _classes(model: Model) -> str:
    said = f"What two of {model.records:,} records are to one another, as training found. Bars are drawn on a scale of tens."
    pairs = model.class_pairs(model.records).tolist()
    high = max(1.0, math.log10(max(pairs)))
    rows: Rows = [
        (name, bar(max(0.0, math.log10(max(count, 1.0))), 0.0, high), f"{count:,.0f}", f"{count / model.records:,.4g}")
        for name, count in zip(CLASSES, pairs, strict=True)
    ]
    head = ("class", "tens", "pairs", "for each record")
    return section("classes", "How many pairs of each class there are", said, table("Classes", head, rows, numbers=2))


# --- pairs ---------------------------------------------------------------------------------------------------------


def _waterfall(pair: PairShown) -> str:
    said = (
        f"{pair.left} and {pair.right}: probability {pair.probability:.4f} of one person, weighed against the likeliest "
        f"other explanation, {pair.against}. Each bar begins where the one before it ended; above 0, one person is likelier."
    )
    steps = [("prior", pair.prior / NATS_PER_BIT), *((name, nats / NATS_PER_BIT) for name, nats in pair.weights.items())]
    ends = np.cumsum([bits for _, bits in steps]).tolist()
    low, high = _reach([0.0, *ends])
    rows: Rows = []
    for (name, bits), end in zip(steps, ends, strict=True):
        if bits or name == "prior":
            label = escape(name.replace("_", " "))
            rows.append((label, span_bar(end - bits, end, low, high), f"{bits:+.2f}", f"{end:+.2f}"))
    rows.append(("together", span_bar(0.0, ends[-1], low, high), f"{ends[-1]:+.2f}", f"{ends[-1]:+.2f}"))
    head = ("what", f"{low:+.0f} to {high:+.0f} bits", "bits", "so far")
    return section("pair", "One pair, step by step", escape(said), table("The pair's weights", head, rows, numbers=2))


def _bins(bins: Sequence[Bin]) -> str:
    known = [one for one in bins if one.right is not None and one.pairs]
    most = max(one.pairs for one in bins)
    rows: Rows = []
    for one in bins:
        right = "" if one.right is None or not one.pairs else _percent(one.right / one.pairs)
        between = "" if one.right is None or not one.pairs else " to ".join(map(_percent, wilson(one.right, one.pairs)))
        drawn = bar(math.log10(one.pairs + 1), 0.0, math.log10(most + 1))
        rows.append((f"{one.low:.3g} to {one.high:.3g}", drawn, f"{one.pairs:,}", _percent(one.stated), right, between))
    head = ("stated probability", "pairs, on a scale of tens", "pairs", "mean stated", "right", "95 % between")
    body = table("Pairs by stated probability", head, rows, numbers=4)
    said = "How many pairs the model states at which probability."
    if known:
        said += " A calibrated model is right as often as it states: its points lie on the diagonal."
        points = [(one.stated, one.right / one.pairs) for one in known if one.right is not None]
        found = Line("found", points, dots=True)
        chart = line_chart("Stated and found", [found, Line("calibrated", [(0.0, 0.0), (1.0, 1.0)], dashed=True)],
                           "stated", "right", x_range=_square(points), y_range=_square(points))  # fmt: skip
        body = f"<figure>{chart}</figure>{body}"
    return section("pairs", "Stated probabilities", said, body)


def _square(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return (math.floor(10 * min(min(point) for point in points)) / 10, 1.0)


def wilson(right: int, pairs: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z, share = 1.96, right / pairs
    middle = share + z * z / (2 * pairs)
    spread = z * math.sqrt(share * (1 - share) / pairs + z * z / (4 * pairs * pairs))
    return max(0.0, (middle - spread) / (1 + z * z / pairs)), min(1.0, (middle + spread) / (1 + z * z / pairs))


# --- two models ----------------------------------------------------------------------------------------------------


def _changed(before: Model, after: Model) -> str:
    was = {(one.name, row.level): row for one in before.comparisons() for row in _levels(weights_of(before, one))}
    now = {(one.name, row.level): row for one in after.comparisons() for row in _levels(weights_of(after, one))}
    both = sorted(
        ((now[key].bits - was[key].bits, key) for key in was.keys() & now.keys()), key=lambda one: (-abs(one[0]), one[1])
    )
    low, high = _reach([change for change, _ in both[:_CHANGES]])
    rows: Rows = [
        (
            f"{escape(name.replace('_', ' '))}<small>{escape(level.replace('_', ' '))}</small>", bar(change, low, high),
            _signed(was[name, level].bits), _signed(now[name, level].bits), f"{change:+.2f}",
        )
        for change, (name, level) in both[:_CHANGES]
    ]  # fmt: skip
    only = [f"{name.replace('_', ' ')}: {level.replace('_', ' ')}" for name, level in sorted(now.keys() ^ was.keys())]
    said = (
        f"From {before.version} ({before.records:,} records) to {after.version} ({after.records:,}): the "
        f"{len(rows)} largest changes of {len(both)} weights."
    )
    if only:
        said += f" In one of the two alone: {', '.join(only)}."
    head = ("outcome", f"{low:+.0f} to {high:+.0f} bits", "before", "after", "change")
    return section("changes", "Compared with another model", escape(said), table("Changes", head, rows, numbers=3))


def _reach(values: Iterable[float]) -> tuple[float, float]:
    """A scale from a whole number at or below all values to one at or above them; it holds 0."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = math.floor(min(0.0, *known)), math.ceil(max(0.0, *known))
    return (float(low), float(high)) if high > low else (-1.0, 1.0)


def _signed(bits: float) -> str:
    return f"{round(bits, 1) + 0.0:+.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else f"{100 * share:.1g} %"
