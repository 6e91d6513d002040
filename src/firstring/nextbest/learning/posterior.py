"""The chance that an action works, as a Beta posterior of the action in its context, drawn to the action, drawn to what was
declared; and the same of people to whom nothing was offered, which shows what happens by itself.

How far contexts of one action differ is not known: CONTEXT_STRENGTH says how many outcomes the action's own rate is worth in
each context (an assumption; at 50, a context with 50 outcomes counts half by its own). A declared chance is worth
DECLARED_STRENGTH outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from firstring.contact import Value
from firstring.nextbest.learning.logistic import STRENGTH, Logistic

DECLARED_STRENGTH: Final = 20.0
CONTEXT_STRENGTH: Final = 50.0
_JOIN: Final = "\x1f"


class Tally(Value, frozen=True):
    """How often something was tried, and how often it worked."""

    tried: float = 0.0
    worked: float = 0.0


class Learned(Value, frozen=True):
    """What was learned up to a moment: version, tallies by action, by action and context, and of people who were held out.

    models: of actions of which a logistic regression says more than the rate.
    """

    version: str = "unlearned"
    actions: dict[str, Tally] = msgspec.field(default_factory=dict)
    contexts: dict[str, Tally] = msgspec.field(default_factory=dict)
    held_out: dict[str, Tally] = msgspec.field(default_factory=dict)
    models: dict[str, Logistic] = msgspec.field(default_factory=dict)


UNLEARNED: Final = Learned()


class Beta(NamedTuple):
    """A Beta distribution."""

    alpha: float
    beta: float

    @property
    def mean(self) -> float:
        return self.alpha / (self.alpha + self.beta)


_NONE: Final = Tally()


def key_of(action: str, context: str) -> str:
    """The key of a tally of an action in a context."""
    return f"{action}{_JOIN}{context}"


def chance_of(learned: Learned, action: str, context: str, declared: float) -> Beta:
    """The posterior of an action's chance in a context. declared: in (0, 1], what it was said to be."""
    of_action = learned.actions.get(action)
    if of_action is None:
        return _posterior(declared, _NONE, _NONE)
    of_context = learned.contexts.get(key_of(action, context), _NONE) if learned.contexts else _NONE
    return _posterior(declared, of_action, of_context)


def modelled(model: Logistic, facts: Mapping[str, Any]) -> Beta:
    """The same by a regression."""
    chance = min(max(model.chance(facts), 1e-4), 1.0 - 1e-4)
    return Beta(STRENGTH * chance, STRENGTH * (1.0 - chance))


def base_of(learned: Learned, action: str, declared: float) -> float:
    """The mean of the rate at which it happens to those who were held out."""
    tally = learned.held_out.get(action, _NONE) if learned.held_out else _NONE
    return (DECLARED_STRENGTH * declared + tally.worked) / (DECLARED_STRENGTH + tally.tried)


def _posterior(declared: float, of_action: Tally, of_context: Tally) -> Beta:
    known = DECLARED_STRENGTH + of_action.tried
    mean = (DECLARED_STRENGTH * declared + of_action.worked) / known
    if not 1e-4 <= mean <= 1.0 - 1e-4:
        mean = 1e-4 if mean < 0.5 else 1.0 - 1e-4
    # The action's rate is itself uncertain: the fewer its outcomes, the less it says about a context.
    strength = 1.0 / (1.0 / CONTEXT_STRENGTH + 1.0 / known)
    alpha = strength * mean + of_context.worked
    beta = strength * (1.0 - mean) + of_context.tried - of_context.worked
    return Beta(alpha, beta)
