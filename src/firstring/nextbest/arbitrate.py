"""The choice of the one next best action: gates first, then service before sales, then P x C x V x L.

Deterministic: the same input gives the same choice, whatever the order of journeys, candidates' assurances or actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from firstring.contact import ActionVerdict, Assurance, Channel, Journey, NextAction, Reason, Resolution
from firstring.nextbest.actions import BUILT_IN, Action, Catalogue
from firstring.nextbest.gates import gate, locks
from firstring.nextbest.situation import IDENTIFY_THRESHOLD, situation, words

PRECEDENCE: Final = {"safety": 4, "verification": 3, "service": 2, "self_service": 1, "offer": 0}
"""A kind of higher precedence is chosen before any of a lower one, whatever the scores."""

NONE: Final = "none"
"""The name of the choice when every action is gated."""


def choose(
    journeys: Sequence[Journey],
    resolution: Resolution,
    assurances: Sequence[Assurance],
    *,
    channel: Channel,
    now: datetime,
    actions: Catalogue = BUILT_IN,
    identify_threshold: float = IDENTIFY_THRESHOLD,
) -> NextAction:
    """The next best action, with every action of the catalogue as considered: allowed, or gated and why.

    journeys: one for each candidate and member of the household (one that is missing locks all sales). An action that
    does not apply is gated by "not_applicable". identify_threshold: from this probability on a candidate counts as
    identified. When nothing is allowed the choice is "none".
    """
    at = situation(journeys, resolution, assurances, channel=channel, now=now, identify_threshold=identify_threshold)
    locked = locks(journeys, resolution, at)
    spoken = words(at)
    best: tuple[tuple[bool, int, float], Action, ActionVerdict, Reason] | None = None
    considered: list[ActionVerdict] = []
    for action in actions.actions:
        fit = action.applies(at)
        score = action.score(fit)
        gated_by = gate(action, at, locked, fit)
        verdict = ActionVerdict(
            action=action.name,
            kind=action.kind,
            text=action.text.format_map(spoken),
            allowed=not gated_by,
            score=score,
            gated_by=gated_by,
        )
        considered.append(verdict)
        if gated_by:
            continue
        rank = (not action.fallback, PRECEDENCE[action.kind], score)
        if best is None or rank > best[0]:
            best = (rank, action, verdict, fit.reason)
    if best is None:
        reasons: tuple[Reason, ...] = (Reason("nothing_allowed", "Every action is gated."),)
        return NextAction(NONE, "service", "", reasons, tuple(considered), actions.version)
    _, action, verdict, reason = best
    assert verdict.allowed, "the chosen action is allowed"
    assert not (action.is_sale and locked.sale), "nobody sells while an issue is open"
    return NextAction(action.name, action.kind, verdict.text, (reason,), tuple(considered), actions.version)
