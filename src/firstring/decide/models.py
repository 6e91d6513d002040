"""What decisions are made with, each part with a version out of its content."""

from __future__ import annotations

from typing import Final

import msgspec

from firstring import __version__
from firstring.contact import Versions
from firstring.identity.caller.weights import Weights
from firstring.identity.golden.rules import DEFAULT as DEFAULT_RULES
from firstring.identity.golden.rules import Rules
from firstring.journey import attention, timeline
from firstring.journey.words.textmodel import TextModel
from firstring.nextbest.actions import Catalogue
from firstring.nextbest.learning.posterior import UNLEARNED, Learned
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.model import PRIOR as PRIOR_FIT
from firstring.routing.fit.model import FitModel
from firstring.routing.pick.live import NO_PRICES, Live
from firstring.trust.score import TrustPriors

JOINED: Final = "+"
"""Between the versions of the parts of one room."""


class Models(msgspec.Struct, frozen=True):
    """Everything that is decided with, apart from the contact itself. Each part has a version out of its content."""

    weights: Weights
    trust: TrustPriors
    actions: Catalogue
    routing: RoutingPolicy
    identify_threshold: float = 0.9
    """A candidate at least this probable counts as identified."""
    survivorship: Rules = DEFAULT_RULES
    """Which of several values a profile shows."""
    learned: Learned = UNLEARNED
    """What came of actions before."""
    holdout_key: bytes = b""
    """By which people are held out of offers, and chance is drawn; empty: nobody is, and nothing is."""
    reasons: TextModel | None = None
    """What a tenant's own labels taught of why people call, by their words."""
    fit: FitModel = PRIOR_FIT
    """Who fits whom, as it was learned of outcomes."""
    live: Live = NO_PRICES
    """What a second of each agent's time is worth just now."""

    def versions(self) -> Versions:
        return Versions(
            code=__version__,
            identity=self.weights.version + ("" if self.survivorship is DEFAULT_RULES else f"+{self.survivorship.version}"),
            trust=self.trust.version,
            journey=f"{timeline.VERSION}+{attention.VERSION}" + ("" if self.reasons is None else f"+{self.reasons.version}"),
            actions=self.actions.version + (f"+{self.learned.version}" if self.holdout_key else ""),
            routing=JOINED.join((self.routing.version, *self._of_pick())),
        )

    @property
    def asks_who_fits(self) -> bool:
        """Whether the pick goes by a trained model; else it is first come, longest idle."""
        return self.routing.pick == "best" and self.fit.basis == "fitted"

    def _of_pick(self) -> tuple[str, ...]:
        return (self.fit.version, self.live.version) if self.asks_who_fits else ()
