"""Why this action and not another: who was gated and why, the factors, the losers, and what would have flipped the choice.

What would have flipped it is found by deriving the choice again with one thing changed: a gate that alone stands in an
action's way taken out, or one action's value multiplied. The smallest change is the one nearest to what was: of values the
smallest factor; a gate counts as a change by FACTOR_OF_A_GATE.
"""

from __future__ import annotations

import math
from typing import Final

from firstring.contact import ActionVerdict, Reason, Value
from firstring.nextbest.actions import Catalogue
from firstring.nextbest.arbitrate import EXPLORED, NONE, PRECEDENCE
from firstring.nextbest.decided import Decided, again
from firstring.nextbest.learning.posterior import Learned

FACTOR_OF_A_GATE: Final = 10.0
_STRUCTURAL: Final = frozenset(("not_applicable",))
"""Gates that say that the action is not for this person: taking them out means another person, not another choice."""


class Flip(Value, frozen=True):
    """A change that would have flipped the choice to `action`.

    what: "gate" (the gate `code` taken out), or "value" (its P x C x V x L `factor` times as much: `needed`, where it was
    `was`). text: the same for people.
    """

    action: str
    what: str
    text: str
    code: str = ""
    factor: float = 1.0
    was: float = 0.0
    needed: float = 0.0


class Trace(Value, frozen=True):
    """winner: the action, withheld or not; why: its reason. losers: the best first; flip: the smallest change that flips it.
    same: whether deriving it again gives the same decision."""

    winner: str
    outcome: str
    why: tuple[Reason, ...]
    losers: tuple[ActionVerdict, ...]
    flip: Flip | None
    same: bool


def trace_of(decided: Decided, actions: Catalogue, learned: Learned) -> Trace:
    """The trace of a decision, with the actions and what was learned at its time."""
    losers = [one for one in decided.chosen.considered if one.action != decided.action]
    losers.sort(key=lambda one: (-one.allowed, -PRECEDENCE[one.kind], -one.score, one.action))
    return Trace(
        decided.action,
        decided.outcome,
        decided.chosen.reasons,
        tuple(losers),
        flip_of(decided, actions),
        again(decided, actions, learned) == decided,
    )


def flip_of(decided: Decided, actions: Catalogue) -> Flip | None:
    """The smallest change that flips the choice; None where no single one does."""
    of_name = {one.action: one for one in decided.chosen.considered}
    winner = of_name.get(decided.action)
    found = [flip for one in of_name.values() if one is not winner and (flip := _flip(one, winner, actions)) is not None]
    return min(found, key=lambda flip: (abs(math.log(flip.factor)), flip.what, flip.action), default=None)


def _flip(loser: ActionVerdict, winner: ActionVerdict | None, actions: Catalogue) -> Flip | None:
    """What would make this one win: one gate less, or a higher score; None where neither does."""
    action = actions.by_name.get(loser.action)
    if action is None:
        return None
    codes = list(dict.fromkeys(reason.code for reason in loser.gated_by))
    if codes:
        if len(codes) > 1 or codes[0] in _STRUCTURAL:
            return None
        if codes[0] == "not_worth_it":
            return _worth_it(loser, winner, actions)
        if not _would_win(loser, winner, actions):
            return None
        text = f"Without “{loser.gated_by[0].text.rstrip('.')}” it would have been {loser.action}."
        return Flip(loser.action, "gate", text, codes[0], FACTOR_OF_A_GATE, loser.score, loser.score)
    if winner is None or _class(loser, actions) != _class(winner, actions) or not loser.score > 0.0:
        return None
    if loser.kind in EXPLORED and 0.0 < loser.propensity < 1.0 and loser.score > winner.score:
        text = f"Another draw: {loser.action} would have been drawn in {loser.propensity:.0%} of all."
        return Flip(loser.action, "draw", text, "", 1.0, loser.score, loser.score)
    factor = max(1.0, winner.score / loser.score)
    return _value_flip(loser, factor)


def _worth_it(loser: ActionVerdict, winner: ActionVerdict | None, actions: Catalogue) -> Flip | None:
    """A value that would have been worth the cost, and more than the winner's."""
    factors = loser.factors
    if factors is None or not loser.score > 0.0:
        return None
    uplift = max(factors.chance - factors.base, 0.0) / factors.chance * loser.score
    if not uplift > 0.0:
        return None
    factor = max(factors.cost / uplift, 1.0)
    if winner is not None and winner.action != NONE:
        if _class(loser, actions) < _class(winner, actions):
            return None
        if _class(loser, actions) == _class(winner, actions):
            factor = max(factor, winner.score / loser.score)
    return _value_flip(loser, factor)


def _value_flip(loser: ActionVerdict, factor: float) -> Flip:
    factor *= 1.0 + 1e-9
    needed = loser.score * factor
    text = (
        f"Worth {needed:.2f} instead of {loser.score:.2f} ({factor:.2f} times as much), it would have been {loser.action}."
    )
    return Flip(loser.action, "value", text, "", factor, loser.score, needed)


def _would_win(loser: ActionVerdict, winner: ActionVerdict | None, actions: Catalogue) -> bool:
    if winner is None:
        return True
    mine, theirs = _class(loser, actions), _class(winner, actions)
    return mine > theirs or (mine == theirs and loser.score > winner.score)


def _class(one: ActionVerdict, actions: Catalogue) -> tuple[bool, int]:
    action = actions.by_name.get(one.action)
    return (action is not None and not action.fallback, PRECEDENCE[one.kind])
