"""What happened to a contact, in one line: who, how sure, why, what next, by whom, how fast."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from firstring.api.contacts import DecisionView
from firstring.contact import Candidate, Journey, Resolution
from firstring.identity.caller.resolver import standing
from firstring.nextbest.gates import ISSUE_CODES

IDENTIFY_THRESHOLD = 0.9


class Account(NamedTuple):
    """One contact as the table shows it. `decide_ms` are its decisions, each from the offer until it was stored."""

    contact: str
    who: str
    sure: str
    why: str
    action: str
    agent: str
    popped: bool
    decide_ms: tuple[float, ...]

    def line(self) -> str:
        popped = "popped" if self.popped else "NOT POPPED"
        return f"{self.who}; {self.sure}; {self.why} -> {self.action}; {self.agent}, {popped}, {timing(self.decide_ms)}"


def account(
    contact: str, first: DecisionView, last: DecisionView, agent: str, *, popped: bool, decide_ms: Sequence[float]
) -> Account:
    """The account of a contact: its last decision, or its first one where the agent then said who it is."""
    shown, action = last, next_action(last)
    if last.cause == "confirmed" and last.resolution.best is not None:
        shown, action = first, f"{next_action(first)} Picked: {name(last.resolution.best)}"
    return Account(contact, who(shown), sure(shown), why(shown), action, agent, popped, tuple(decide_ms))


def who(decision: DecisionView) -> str:
    resolution = decision.resolution
    is_standing = standing(resolution, IDENTIFY_THRESHOLD)
    if is_standing == "identified" and resolution.best is not None:
        return f"{name(resolution.best)} {percent(resolution.best.probability)}"
    if is_standing in ("household", "ambiguous"):
        listed = " or ".join(f"{name(one)} {percent(one.probability)}" for one in resolution.candidates[:3])
        return f"{_kind(resolution)}: {listed}"
    new = f"somebody new {percent(resolution.someone_new)}"
    return f"{new}, their number points at nobody" if resolution.hot else new


def _kind(resolution: Resolution) -> str:
    household = resolution.household
    return f"household of {len(household.members)}" if household is not None else "ambiguous"


def name(candidate: Candidate) -> str:
    profile: Mapping[str, Any] = candidate.profile
    parts = (profile.get("given_name"), profile.get("family_name"))
    return " ".join(str(part) for part in parts if part) or f"person {candidate.person_id}"


def sure(decision: DecisionView) -> str:
    if not decision.assurances:
        return "not judged"
    first = decision.assurances[0]
    odds = f"impostor 1 in {1 / first.impostor:,.0f}" if 0 < first.impostor < 0.1 else f"impostor {percent(first.impostor)}"
    signature = next((reason.code for reason in first.reasons if reason.code.startswith("signature_")), "")
    spoken = {"signature_attested_a": "signature A", "signature_failed": "signature wrong"}.get(signature, "")
    ask = "" if first.ask.method == "none" else f"ask: {first.ask.method.replace('_', ' ')}"
    looks = f"{odds} ({first.looks_like.replace('_', ' ')})"
    return ", ".join(part for part in (looks, spoken, ask) if part)


def why(decision: DecisionView) -> str:
    journey = journey_of_best(decision)
    if journey is None and len(decision.journeys) > 1:
        return "why depends on who it is"
    for reason in journey.likely_reasons if journey is not None else ():
        if reason.intent != "unknown":
            return f"{reason.text} {percent(reason.probability)}"
    return "nothing on file says why"


def journey_of_best(decision: DecisionView) -> Journey | None:
    """The journey of the likeliest candidate, where it is sure enough that it is them."""
    best = decision.resolution.best
    if best is None or best.probability < IDENTIFY_THRESHOLD:
        return None
    return next((journey for journey in decision.journeys if journey.person_id == best.person_id), None)


def next_action(decision: DecisionView) -> str:
    return f"{decision.action.text} (offers locked)" if offers_locked(decision) else decision.action.text


def offers_locked(decision: DecisionView) -> bool:
    """Whether every offer is held back by an open issue."""
    offers = [one for one in decision.action.considered if one.kind == "offer"]
    codes = set(ISSUE_CODES.values())
    return bool(offers) and all(any(reason.code in codes for reason in offer.gated_by) for offer in offers)


def percent(probability: float) -> str:
    return f"{100 * probability:.0f} %" if probability < 0.995 else f"{100 * probability:.1f} %"


def timing(decide_ms: Sequence[float]) -> str:
    return " + ".join(f"{value:.1f}" for value in decide_ms) + " ms" if decide_ms else "not timed"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank); 0 where there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
