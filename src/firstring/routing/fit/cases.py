"""Whom a contact may have been with and why, with probabilities: what is learned of, and by how much of each.

An uncertain contact teaches by expectation, as it is matched by expectation: the chance of what came of it is the mean of
the chances of the cases, each by its probability. How much of it each case may claim follows from what came of it (the
responsibilities of a mixture; Dempster, Laird and Rubin 1977). To count the likeliest case alone draws the effects of
customers and reasons towards one another, and to count each by its probability before anything came of it does too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.contact import Value
from firstring.routing.fit.asked import UNKNOWN, Asked, Person, segment_of

CASES: Final = 6
"""Different cases of one contact that are told apart; the likeliest ones, weighted up to 1."""
LEAST: Final = 0.01
"""A case that is less probable is left to the others."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Possible(Value, frozen=True, array_like=True):
    """One possibility: who (tier, band, facts), why (intent), whether the agent served them the last time or before."""

    weight: float
    intent: str = UNKNOWN
    tier: str = UNKNOWN
    band: str = UNKNOWN
    last_agent: bool = False
    met: bool = False
    facts: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def segment(self) -> str:
        return segment_of(self.tier, self.band)


def parts(asked: Asked) -> Iterator[tuple[str, Person | None, float]]:
    """Why and who, each with its probability: all persons with all reasons, and somebody unknown. They sum to 1."""
    named = sum(person.probability for person in asked.persons)
    scale = 1.0 / named if named > 1.0 else 1.0
    everyone: list[tuple[Person | None, float, tuple[tuple[str, float], ...]]] = [
        (person, person.probability * scale, person.intents) for person in asked.persons
    ]
    everyone.append((None, max(0.0, 1.0 - named * scale), asked.intents))
    for person, probability, intents in everyone:
        for intent, chance in intents:
            yield intent, person, probability * chance
        yield UNKNOWN, person, probability * (1.0 - sum(chance for _, chance in intents))


def possibilities(asked: Asked, agent_id: int) -> tuple[Possible, ...]:
    """What a contact that this agent had may have been, the likeliest first; weights sum to 1."""
    weights: dict[tuple[str, str, str, bool, bool, tuple[tuple[str, str], ...]], float] = {}
    key: tuple[str, str, str, bool, bool, tuple[tuple[str, str], ...]]

    for intent, person, weight in parts(asked):
        if weight <= 0.0:
            continue
        if person is None:
            key = (intent, UNKNOWN, UNKNOWN, False, False, ())
        else:
            is_last = person.last_agent == agent_id
            is_met = is_last or agent_id in person.met
            key = (intent, person.tier, person.band, is_last, is_met, tuple(sorted(person.facts.items())))
        weights[key] = weights.get(key, 0.0) + weight
    first = sorted(weights.items(), key=lambda one: (-one[1], one[0]))[:CASES]
    kept = [one for one in first if one[1] >= LEAST] or first[:1]
    total = sum(weight for _, weight in kept)
    return tuple(
        Possible(round(weight / total, 6), intent, tier, band, last, met, dict(facts))
        for (intent, tier, band, last, met, facts), weight in kept
    )


def claimed(prior: Floats, likelihood: Floats, of: Integers, count: int) -> Floats:
    """For each of n cases the share of its contact that it may claim, by what came of it. prior: its probability before;
    likelihood: of what came of it, were it this case; of: which of `count` contacts it is a case of. Sums to 1 for each."""
    joint = prior * np.maximum(likelihood, 1e-300)
    total = np.bincount(of, joint, count)
    found: Floats = joint / total[of]
    return found
