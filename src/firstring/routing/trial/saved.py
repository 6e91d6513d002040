"""Handle time saved by recognising callers: measured, with its interval, by comparing those who were recognised with
others who called for the same reasons, on the same channels, at the same hours, and were served by the same agents.

Who is recognised is not left to chance, so this is an adjusted comparison, no trial: what differs between the two beside
these may still be in it. Doubly robust (augmented inverse propensities; Robins, Rotnitzky and Zhao 1994), each half of
the contacts predicted by the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.contact import Value
from firstring.proof.effects import Interval
from firstring.routing.fit.regression import Factor, Floats, factor, linear, logistic, odds

ENOUGH: Final = 100
"""Contacts of each sort, before anything is said."""
Z: Final = 1.959963984540054
LEAST: Final = 0.02
"""Contacts that could hardly have been otherwise (by a probability below this) are left out: nothing compares with them."""
SPREAD: Final = 1.0


class Handled(NamedTuple):
    """A contact that somebody answered. hour: of the day, UTC."""

    recognised: bool
    handle_s: float
    channel: str
    intent: str
    language: str
    agent_id: int
    hour: int


class Saved(Value, frozen=True):
    """recognised, others: contacts compared, and their plain means in seconds; crude: the plain difference; adjusted: what
    being recognised saves, in seconds a contact (None where there are too few); left_out: contacts without their like."""

    recognised: int
    others: int
    mean_recognised_s: float
    mean_others_s: float
    crude: Interval | None
    adjusted: Interval | None
    left_out: int
    warnings: tuple[str, ...] = ()


def saved(contacts: Sequence[Handled]) -> Saved:
    """What being recognised saves. Positive: recognised contacts are shorter."""
    treated = np.array([one.recognised for one in contacts], dtype=bool)
    seconds = np.array([one.handle_s for one in contacts], dtype=np.float64)
    counts = (int(treated.sum()), int((~treated).sum()))
    if min(counts) < ENOUGH:
        mean = [float(seconds[which].mean()) if which.any() else math.nan for which in (treated, ~treated)]
        said = f"At least {ENOUGH} contacts that were recognised and as many that were not are needed."
        return Saved(*counts, mean[0], mean[1], None, None, 0, (said,))
    means = (float(seconds[treated].mean()), float(seconds[~treated].mean()))
    error = math.sqrt(seconds[treated].var(ddof=1) / counts[0] + seconds[~treated].var(ddof=1) / counts[1])
    crude = means[1] - means[0]
    chances, as_recognised, as_other = _predicted(contacts, treated, seconds)
    kept = (chances > LEAST) & (chances < 1.0 - LEAST)
    warnings = [
        "Who is recognised is not left to chance: this is adjusted for reason, channel, language, hour and agent only."
    ]
    adjusted: Interval | None = None
    if kept.sum() >= 2 * ENOUGH:
        effect = (as_other - as_recognised)[kept]
        left = np.where(treated, -(seconds - as_recognised) / chances, (seconds - as_other) / (1.0 - chances))[kept]
        each = effect + left
        half = Z * float(each.std(ddof=1)) / math.sqrt(len(each))
        adjusted = Interval(float(each.mean()), float(each.mean()) - half, float(each.mean()) + half)
    left_out = int((~kept).sum())
    if left_out > 0.1 * len(contacts):
        warnings.append(f"{left_out:,} contacts have no like of the other sort, and are left out.")
    return Saved(*counts, *means, Interval(crude, crude - Z * error, crude + Z * error), adjusted, left_out, tuple(warnings))


def _predicted(contacts: Sequence[Handled], treated: NDArray[np.bool_], seconds: Floats) -> tuple[Floats, Floats, Floats]:
    """The probability of being recognised, and seconds if recognised and if not: each half by the other."""
    columns = {
        "channel": [one.channel for one in contacts],
        "intent": [one.intent for one in contacts],
        "language": [one.language for one in contacts],
        "hour": [str(one.hour) for one in contacts],
        "agent": [str(one.agent_id) for one in contacts],
    }
    factors = [factor(name, values, spread=SPREAD) for name, values in columns.items()]
    chances, as_recognised, as_other = (np.zeros(len(contacts)) for _ in range(3))
    halves = np.arange(len(contacts)) % 2
    for half in (0, 1):
        rest, here = halves != half, halves == half
        chances[here] = odds(_linear(factors, rest, here, treated.astype(np.float64), is_odds=True))
        as_recognised[here] = _linear(factors, rest & treated, here, seconds, is_odds=False)
        as_other[here] = _linear(factors, rest & ~treated, here, seconds, is_odds=False)
    return chances, as_recognised, as_other


def _linear(
    factors: Sequence[Factor], rows: NDArray[np.bool_], asked: NDArray[np.bool_], values: Floats, *, is_odds: bool
) -> Floats:
    """The linear predictor for the rows asked, learned from `rows`."""
    own = [one._replace(codes=one.codes[rows]) for one in factors]
    answers = values[rows]
    offset = np.zeros(len(answers))
    if is_odds:
        fitted = logistic(own, answers, offset)
    else:
        spread = float(max(answers.std(), 1.0))
        scaled = linear([one._replace(spread=spread) for one in own], answers, offset, spread**2)
        fitted = scaled
    found = np.full(int(asked.sum()), fitted.intercept)
    for one in factors:
        found += np.array([0.0, *fitted.effects[one.name].values()])[one.codes[asked]]
    return found
