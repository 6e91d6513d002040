"""The value of a policy by what another one logged: inverse propensities, normalised, doubly robust; with intervals.

    IPS    the mean of w r                              w = probability under the new policy / logged propensity
    SNIPS  the sum of w r over the sum of w
    DR     the mean of q(x) + w (r - q(x, a))           q: a model of the reward, fitted on the other half of the log

IPS is unbiased where every action that the new policy takes could have been logged; SNIPS trades a little bias for less
variance; DR is right where either the propensities or the model are. Intervals are of 95 %, by the normal approximation to
the mean of the influence function (Horvitz and Thompson 1952; Swaminathan and Joachims 2015; Dudik, Langford and Li 2011).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.errors import BadInput

Floats = NDArray[np.float64]
Z: Final = 1.959963984540054
RIDGE: Final = 1.0
LEVELS: Final = 50
"""Values of a column that become features of their own; further ones are one."""
FEW: Final = 100.0
"""Below this effective number of rows an estimate says little."""


class Logged(msgspec.Struct, frozen=True):
    """One decision that was logged. propensity: with which it was taken, in (0, 1]; reward: what it brought; facts: what was
    known, by name."""

    action: str
    propensity: float
    reward: float
    facts: dict[str, Any] = msgspec.field(default_factory=dict)


class Estimate(msgspec.Struct, frozen=True):
    """A mean reward for each decision, with its interval of 95 %."""

    value: float
    low: float
    high: float


class Evaluation(msgspec.Struct, frozen=True):
    """What a policy would have brought. logged: what the logging policy did. effective: how many rows the weights leave;
    overlap: the share of the new policy's choices that could have been logged at all."""

    rows: int
    logged: Estimate
    ips: Estimate
    snips: Estimate
    dr: Estimate
    effective: float
    most_weight: float
    overlap: float
    chosen: dict[str, float]
    """Action -> share of the decisions that the new policy would have made for it."""
    warnings: list[str]


def evaluated(
    log: Sequence[Logged],
    choices: Sequence[Mapping[str, float]],
    *,
    expected: Sequence[Mapping[str, float]] | None = None,
    possible: Sequence[Mapping[str, float]] | None = None,
) -> Evaluation:
    """The value of a policy. choices: for each row, action -> the probability with which the policy takes it (summing to 1).

    expected: for each row, action -> the reward that a model expects of it, of the logged action and of all choices; without
    it a model is fitted to the other half of the log. possible: for each row the actions that could have been logged then;
    without it every action that ever was.

    Raises BadInput log_empty, propensity_invalid.
    """
    if not log:
        raise BadInput("log_empty", "The log has no decision.", hint="Give rows with action, propensity and reward.")
    propensities = np.array([row.propensity for row in log])
    if not ((propensities > 0.0) & (propensities <= 1.0)).all():
        place = int(np.argmin((propensities > 0.0) & (propensities <= 1.0)))
        raise BadInput(
            "propensity_invalid",
            "A propensity is more than 0 and at most 1.",
            where={"row": place + 1},
            hint="Log the probability with which the action was taken.",
        )
    rewards = np.array([row.reward for row in log])
    taken = np.array([choice.get(row.action, 0.0) for row, choice in zip(log, choices, strict=True)])
    weights = taken / propensities
    model, chosen_model = _modelled(log, choices, rewards) if expected is None else _stated(log, choices, expected)
    total = float(weights.sum())
    snips = float(weights @ rewards) / total if total > 0.0 else math.nan
    known = dict.fromkeys((row.action for row in log), 1.0)
    could = [known] * len(log) if possible is None else possible
    covered = [sum(p for name, p in choice.items() if one.get(name)) for choice, one in zip(choices, could, strict=True)]
    overlap = float(np.mean(covered))
    shares: dict[str, float] = {}
    for choice in choices:
        for name, probability in choice.items():
            shares[name] = shares.get(name, 0.0) + probability / len(log)
    effective = total**2 / float(weights @ weights) if total > 0.0 else 0.0
    return Evaluation(
        rows=len(log),
        logged=_mean(rewards),
        ips=_mean(weights * rewards),
        snips=_interval(snips, weights * (rewards - snips) / (total / len(log))) if total > 0.0 else _nothing(),
        dr=_mean(chosen_model + weights * (rewards - model)),
        effective=effective,
        most_weight=float(weights.max()),
        overlap=overlap,
        chosen=dict(sorted(shares.items(), key=lambda one: -one[1])),
        warnings=_warnings(effective, overlap, float(weights.max()), len(log), float(weights.mean())),
    )


def _warnings(effective: float, overlap: float, most: float, rows: int, mean: float) -> list[str]:
    found = []
    if overlap < 0.999:
        found.append(
            f"{1.0 - overlap:.1%} of its choices are of actions that the log never took there: nothing is known of these."
        )
    if effective < FEW:
        found.append(f"The weights leave {effective:.0f} rows' worth of evidence: the intervals are not to be trusted.")
    if most > 0.05 * rows * max(mean, 1e-9) and rows > 1:
        found.append(f"A single row weighs {most:.0f} times: the logged propensities are small where this policy goes.")
    if overlap > 0.999 and abs(mean - 1.0) > 0.1 and effective >= FEW:
        found.append(f"The weights average {mean:.2f}, where true propensities would make 1: the propensities may be wrong.")
    return found


def _mean(values: Floats) -> Estimate:
    return _interval(float(values.mean()), values - values.mean())


def _interval(value: float, influence: Floats) -> Estimate:
    half = Z * float(np.sqrt(np.mean(influence**2) / max(len(influence) - 1, 1)))
    return Estimate(value, value - half, value + half)


def _nothing() -> Estimate:
    return Estimate(math.nan, math.nan, math.nan)


# --- the model of the reward ---------------------------------------------------------------------------------------


def _modelled(log: Sequence[Logged], choices: Sequence[Mapping[str, float]], rewards: Floats) -> tuple[Floats, Floats]:
    """q(x, a) of the logged action, and the mean of q(x, .) under the new policy: each half predicted by the other."""
    features = _features([row.facts for row in log])
    halves = np.arange(len(log)) % 2
    actions = sorted({row.action for row in log} | {name for choice in choices for name in choice})
    of_action = np.array([row.action for row in log])
    probabilities = {name: np.array([choice.get(name, 0.0) for choice in choices]) for name in actions}
    own, under = np.zeros(len(log)), np.zeros(len(log))
    for half in (0, 1):
        rest, here = halves != half, halves == half
        default = float(rewards[rest].mean()) if rest.any() else 0.0
        for name in actions:
            known = rest & (of_action == name)
            predicted = _ridge(features[known], rewards[known], features[here], default)
            under[here] += probabilities[name][here] * predicted
            mine = of_action[here] == name
            own[np.flatnonzero(here)[mine]] = predicted[mine]
    return own, under


def _stated(
    log: Sequence[Logged], choices: Sequence[Mapping[str, float]], expected: Sequence[Mapping[str, float]]
) -> tuple[Floats, Floats]:
    """The same by a model of somebody else's."""
    own = np.array([one[row.action] for row, one in zip(log, expected, strict=True)])
    under = np.array(
        [sum(p * one[name] for name, p in choice.items()) for choice, one in zip(choices, expected, strict=True)]
    )
    return own, under


def _ridge(features: Floats, rewards: Floats, asked: Floats, default: float) -> Floats:
    """Linear regression with a ridge, its mean not drawn to nothing; the default where nothing is known."""
    if len(rewards) < 2:
        return np.full(len(asked), float(rewards.mean()) if len(rewards) else default)
    centre, mean = features.mean(axis=0), float(rewards.mean())
    centred = features - centre
    gram = centred.T @ centred + RIDGE * np.eye(features.shape[1])
    slopes = np.linalg.solve(gram, centred.T @ (rewards - mean))
    found: Floats = mean + (asked - centre) @ slopes
    return found


def _features(facts: Sequence[Mapping[str, Any]]) -> Floats:
    """Numbers scaled to a deviation of one, and one column for each frequent value of a text."""
    names = sorted({name for row in facts for name in row})
    columns: list[Floats] = []
    for name in names:
        values = [row.get(name) for row in facts]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None):
            numbers = np.array([math.nan if value is None else float(value) for value in values])
            known = np.isfinite(numbers)
            deviation = float(numbers[known].std()) if known.any() else 0.0
            if deviation > 0.0:
                columns.append(np.where(known, (numbers - numbers[known].mean()) / deviation, 0.0))
            continue
        texts = [str(value) for value in values]
        common = sorted(set(texts), key=lambda text: (-texts.count(text), text))[:LEVELS] if len(set(texts)) <= 1_000 else []
        of_text = np.array(texts)
        columns += [(of_text == text).astype(float) for text in common[1:]]
    return np.stack(columns, axis=1) if columns else np.zeros((len(facts), 0))
