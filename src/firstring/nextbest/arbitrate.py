"""The choice of the one next best action: gates first, then service before sales, then P x C x V x L.

Deterministic: the same input gives the same choice, whatever the order of journeys, candidates' assurances or actions. Where
the input brings chance along (Moment.draws), one of the best few is drawn by Thompson sampling, each with an exact
propensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from firstring.contact import ActionVerdict, Assurance, Channel, Factors, Journey, NextAction, Reason, Resolution
from firstring.nextbest.actions import Action, Catalogue, Fit
from firstring.nextbest.gates import HELD_OUT, Gates, locks
from firstring.nextbest.learning.logistic import facts_of
from firstring.nextbest.learning.posterior import UNLEARNED, Beta, Learned, base_of, chance_of, modelled
from firstring.nextbest.learning.thompson import Arm, drawn
from firstring.nextbest.library import BUILT_IN
from firstring.nextbest.moment import IN_CONTACT, Moment
from firstring.nextbest.situation import IDENTIFY_THRESHOLD, Situation, situation, words
from firstring.nextbest.wording import filled

PRECEDENCE: Final = {"safety": 4, "verification": 3, "service": 2, "self_service": 1, "offer": 0}
"""A kind of higher precedence is chosen before any of a lower one, whatever the scores."""
EXPLORED: Final = ("offer", "self_service")
"""Kinds of which one of the best few is drawn, so that it shows what works."""

NONE: Final = "none"
"""The name of the choice when every action is gated."""


@dataclass(slots=True)
class _Entry:
    """An action weighed."""

    action: Action
    fit: Fit
    posterior: Beta | None
    score: float
    gated_by: tuple[Reason, ...]
    factors: Factors | None
    propensity: float = 0.0

    @property
    def rank(self) -> tuple[bool, int, float]:
        return (not self.action.fallback, PRECEDENCE[self.action.kind], self.score)


def choose(
    journeys: Sequence[Journey],
    resolution: Resolution,
    assurances: Sequence[Assurance],
    *,
    channel: Channel,
    now: datetime,
    actions: Catalogue = BUILT_IN,
    identify_threshold: float = IDENTIFY_THRESHOLD,
    moment: Moment = IN_CONTACT,
    learned: Learned = UNLEARNED,
) -> NextAction:
    """The next best action, with every action that comes into question as considered: allowed, or gated and why.

    journeys: one for each candidate and member of the household (one that is missing locks all sales). An action that
    does not apply is gated by "not_applicable". identify_threshold: from this probability on a candidate counts as
    identified. When nothing is allowed the choice is "none". Into question come the actions of the moment's cause: those of
    contacts, those of the pattern that fired, or the one that is asked for.
    """
    at = situation(
        journeys, resolution, assurances, channel=channel, now=now, identify_threshold=identify_threshold, moment=moment
    )
    locked = locks(journeys, resolution, at)
    gates = Gates(at, locked, actions)
    entries = [_weighed(action, at, gates, learned) for action in in_question(actions, moment)]
    winner = _winner([entry for entry in entries if not entry.gated_by], moment, actions.policy.explored)
    withheld = _withheld(entries, moment, actions.policy.explored) if moment.held_out else None
    said = words(at)
    considered = tuple([_verdict(entry, said) for entry in entries])
    of_withheld = ("", 0.0) if withheld is None else (withheld.action.name, withheld.propensity)
    if winner is None:
        reasons: tuple[Reason, ...] = (Reason("nothing_allowed", "Every action is gated."),)
        return NextAction(NONE, "service", "", reasons, considered, actions.version, 1.0, *of_withheld, learned.version)
    action = winner.action
    assert not winner.gated_by, "the chosen action is allowed"
    assert not (action.is_sale and locked.sale), "nobody sells while an issue is open"
    text = filled(action.text, _with_touch(said, winner))
    return NextAction(
        action.name, action.kind, text, (winner.fit.reason,), considered, actions.version, winner.propensity, *of_withheld,
        learned.version,
    )  # fmt: skip


def in_question(actions: Catalogue, moment: Moment) -> Sequence[Action]:
    """The actions that come into question for a cause."""
    if moment.asked:
        asked = actions.by_name.get(moment.asked)
        return (asked,) if asked is not None else ()
    if moment.cause == "contact":
        return actions.in_contact
    waiting = actions.by_pattern.get(moment.fired, ())
    return [action for action in waiting if action.trigger.after_ms == moment.after_ms]


def _weighed(action: Action, at: Situation, gates: Gates, learned: Learned) -> _Entry:
    fit = action.applies(at)
    if not fit.probability > 0.0:
        return _Entry(action, fit, None, 0.0, gates.of(action, fit, 0.0, 0.0), None)
    posterior: Beta | None = None
    chance = fit.probability
    base = action.base
    name = action.name
    if action.kind in EXPLORED:
        model = learned.models.get(name) if learned.models and at.moment.traits else None
        if model is None:
            posterior = chance_of(learned, name, fit.context, fit.probability)
        else:
            posterior = modelled(model, facts_of(at.moment.traits, fit.context, at.moment.experience))
        if learned is not UNLEARNED:
            chance = posterior.mean
        base = base_of(learned, name, base)
    value = action.value if fit.value is None else fit.value
    lever = action.lever
    score = chance * fit.weight * value * lever
    gated_by = gates.of(action, fit, score, (chance - base) * fit.weight * value * lever)
    factors = Factors(chance, base, fit.weight, value, lever, action.cost, fit.context)
    return _Entry(action, fit, posterior, score, gated_by, factors)


def _winner(entries: list[_Entry], moment: Moment, explored: int) -> _Entry | None:
    """The best; where chance is brought along and it is of a kind that is explored, one of the best few of its kind."""
    if not entries:
        return None
    best = max(entries, key=lambda entry: entry.rank)  # of equals the first by name
    best.propensity = 1.0
    if not moment.draws or best.action.kind not in EXPLORED or best.action.fallback:
        return best
    alike = [entry for entry in entries if entry.action.kind == best.action.kind and not entry.action.fallback]
    few = sorted(alike, key=lambda entry: (-entry.score, entry.action.name))[: min(explored, len(moment.draws))]
    if len(few) == 1:
        return best
    few.sort(key=lambda entry: entry.action.name)
    arms = [Arm(entry.posterior or Beta(1.0, 1.0), _worth(entry)) for entry in few]
    result = drawn(arms, moment.draws)
    for entry, propensity in zip(few, result.propensities, strict=True):
        entry.propensity = propensity
    return few[result.winner]


def _withheld(entries: list[_Entry], moment: Moment, explored: int) -> _Entry | None:
    """The offer that would be chosen, were the person not held out; None where something better is chosen in any case."""
    able = [
        entry for entry in entries if not entry.action.fallback and all(reason.code == HELD_OUT for reason in entry.gated_by)
    ]
    best = _winner(able, moment, explored)
    return best if best is not None and best.gated_by else None


def _worth(entry: _Entry) -> float:
    return entry.action.score(entry.fit, 1.0)


def _with_touch(said: dict[str, str], entry: _Entry) -> dict[str, str]:
    return said if "touch" not in entry.action.text else {**said, "touch": entry.fit.touch}


def _verdict(entry: _Entry, said: dict[str, str]) -> ActionVerdict:
    action = entry.action
    text = filled(action.text, _with_touch(said, entry)) if "{" in action.text else action.text
    gated_by = entry.gated_by
    return ActionVerdict(
        action.name, action.kind, text, not gated_by, entry.score, gated_by, entry.factors, entry.propensity
    )
