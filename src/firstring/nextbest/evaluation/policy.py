"""What a declared policy would have done with a logged decision: each action with its exact probability."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from firstring.contact import Assurance, Candidate, Journey, Resolution, StepUp
from firstring.nextbest.actions import Catalogue
from firstring.nextbest.arbitrate import NONE, choose
from firstring.nextbest.learning.posterior import UNLEARNED, Learned
from firstring.nextbest.moment import Moment
from firstring.nextbest.situation import NO_STEP_UP

_SOMEBODY: Final = Resolution((Candidate(1, 1.0),), 0.0, 0.0, "prior", "logged")
_SURE: Final = (Assurance(1, 0.0, "prior", "logged", StepUp(NO_STEP_UP, ""), "logged"),)
_ROUTES: Final = ("callback", "desk", "email", "push", "sms", "web", "webhook")


def choices_of(
    actions: Catalogue, facts: Mapping[str, Any], learned: Learned = UNLEARNED, now: datetime | None = None
) -> dict[str, float]:
    """Action -> probability (they sum to 1) for somebody with these traits, of whom nothing is open, who consented to all
    and can be reached by everything: what is evaluated is the choice, not the gates of the moment."""
    moment = Moment(
        traits=dict(facts),
        consents={"marketing": True, "service": True},
        routes=_ROUTES,
        agents={"voice": 1, "chat": 1},
        draws=(0.5,) * actions.policy.explored,
        zones=(actions.policy.zone,),
    )
    at = now or datetime(2026, 1, 6, 12, 0, tzinfo=UTC)
    chosen = choose((Journey(1),), _SOMEBODY, _SURE, channel="web", now=at, actions=actions, moment=moment, learned=learned)
    if chosen.action == NONE:
        return {NONE: 1.0}
    return {one.action: one.propensity for one in chosen.considered if one.allowed and one.propensity > 0.0}
