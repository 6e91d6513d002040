"""Whether a declared action applies, how probable it is that it helps, and why: compiled expressions over the situation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from firstring.cel import EvaluationError, Program
from firstring.contact import Reason, Touch
from firstring.nextbest.actions import Fit
from firstring.nextbest.situation import Situation, words
from firstring.nextbest.wording import filled

CONTEXT_CHARS: Final = 64
NOT_APPLICABLE: Final = "not_applicable"
_AUDIENCE: Final = Fit(0.0, Reason(NOT_APPLICABLE, "They are not of its audience."))
_NO_CHANCE: Final = Fit(0.0, Reason(NOT_APPLICABLE, "Nothing tells how probable it is that it helps."))


@dataclass(frozen=True, slots=True)
class Recent:
    """One of these events in the last so many seconds, and none of `unless` since."""

    names: frozenset[str]
    within_s: float
    unless: frozenset[str] = frozenset()

    def touch(self, at: Situation) -> Touch | None:
        """The newest of them."""
        touch = at.touch(self.names, self.within_s)
        if touch is None or not self.unless:
            return touch
        done = at.touch(self.unless, self.within_s)
        return None if done is not None and done.occurred_at >= touch.occurred_at else touch


@dataclass(frozen=True, slots=True)
class Applies:
    """Says of a situation how an action fits. An expression that comes to an error is not true, or no number."""

    audience: Program | None
    recent: Recent | None
    chance: Program | None
    chance_number: float
    weight: Program | None
    weight_number: float
    value: Program | None
    context: Program | None
    because: Reason

    @property
    def asks(self) -> frozenset[str]:
        """The variables that its expressions name."""
        programs = (self.audience, self.chance, self.weight, self.value, self.context)
        return frozenset(one.path[0] for program in programs if program is not None for one in program.asks)

    def __call__(self, at: Situation) -> Fit:
        facts = at.facts
        touch: Touch | None = None
        if self.recent is not None:
            touch = self.recent.touch(at)
            if touch is None:
                return Fit(0.0, Reason(NOT_APPLICABLE, self._missing()))
            ago = max(timedelta(0), at.now - touch.occurred_at)
            of_touch = {"name": touch.name, "channel": touch.channel, "summary": touch.summary, "ago": ago}
            facts = (*facts, of_touch)
        if self.audience is not None and _value(self.audience, facts) is not True:
            return _AUDIENCE
        chance = self.chance_number if self.chance is None else _number(self.chance, facts, 1.0)
        if not chance > 0.0:
            return _NO_CHANCE
        weight = self.weight_number if self.weight is None else _number(self.weight, facts, 1_000.0)
        value = None if self.value is None else _number(self.value, facts, 1e9)
        context = at.channel if self.context is None else str(_value(self.context, facts) or "?")[:CONTEXT_CHARS]
        return Fit(chance, self._reason(at, touch), weight, value, context, touch.summary if touch is not None else "")

    def _reason(self, at: Situation, touch: Touch | None) -> Reason:
        if "{" not in self.because.text:
            return self.because
        said = words(at)
        if touch is not None:
            said["touch"] = touch.summary
        return Reason(self.because.code, filled(self.because.text, said))

    def _missing(self) -> str:
        assert self.recent is not None
        names = sorted(self.recent.names)
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        days = self.recent.within_s / 86_400.0
        span = f"{days:g} days" if days > 1 else f"{self.recent.within_s / 3_600.0:g} hours"
        unless = f", or {' or '.join(sorted(self.recent.unless))} since" if self.recent.unless else ""
        return f"No {shown} in the last {span}{unless}."


def _value(program: Program, facts: tuple[Any, ...]) -> Any:
    try:
        return program.of(*facts)
    except EvaluationError:
        return None


def _number(program: Program, facts: tuple[Any, ...], high: float) -> float:
    """A number in [0, high]; 0 for anything else."""
    value = _value(program, facts)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return min(max(float(value), 0.0), high)
