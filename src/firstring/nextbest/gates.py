"""The gates: what removes an action, each with a reason code. They act on what an action is, not on what it says.

The first gate comes before all: while a refund, complaint or outage of anyone who could be the caller is open, nobody
sells. "Could be" means any probability above zero, not only the most probable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from firstring.contact import Assurance, Journey, Reason, Resolution
from firstring.nextbest.actions import DESK, PUSHED, Action, Cap, Fit, Policy
from firstring.nextbest.situation import NO_STEP_UP, Situation

ISSUE_CODES: Final = {"refund": "open_refund", "complaint": "open_complaint", "outage": "open_outage"}
OTHER_ISSUE: Final = "open_issue"
HELD_OUT: Final = "held_out"

_UNIDENTIFIED: Final = Reason("unidentified", "It is not sure enough who this is.")
_NO_JOURNEY: Final = Reason("journey_missing", "What they have been through was not read, so something may be open.")
_NOT_VERIFIED: Final = Reason("assurance_missing", "Nobody has judged whether this is really them.")
_STEP_UP: Final = Reason("step_up_pending", "A verification is asked for first.")
_CHANNEL: Final = Reason("channel_unavailable", "Not possible on this channel.")
_NOT_WORTH_IT: Final = Reason("not_worth_it", "Its expected value does not exceed its cost.")
_NO_UPLIFT: Final = Reason("not_worth_it", "What it adds to what happens by itself is not worth its cost.")
_EXPIRED: Final = Reason("expired", "What it is about is too long ago.")
_NO_OFFER: Final = Reason("no_offer", "The catalogue has no offer for this person.")
_HELD_OUT: Final = Reason(
    HELD_OUT, "This person is of those to whom no offer is made, so that it shows what happens by itself."
)
_HOURS: Final = {
    "quiet_hours": Reason("quiet_hours", "It is a quiet hour where the customer is."),
    "legal_hours": Reason("legal_hours", "The law of the customer's country does not allow it at this hour."),
}


@dataclass(frozen=True, slots=True)
class Locks:
    """What holds for a whole contact: reasons that remove sales, personal actions, and what gives out data."""

    sale: tuple[Reason, ...]
    person: tuple[Reason, ...]
    verified: tuple[Reason, ...]


def locks(journeys: Sequence[Journey], resolution: Resolution, at: Situation) -> Locks:
    """The locks of a contact, worked out once for all actions."""
    person = () if at.person is not None else (_UNIDENTIFIED,)
    return Locks(
        sale=issue_locks(journeys, resolution, at.person.person_id if at.person is not None else None),
        person=person,
        verified=_verification(at.assurance, known=at.person is not None),
    )


def issue_locks(journeys: Sequence[Journey], resolution: Resolution, identified: int | None) -> tuple[Reason, ...]:
    """Why nobody may sell: a reason per kind of open issue, of anyone who could be the caller.

    Of people other than the identified one no detail is given. A candidate whose journey is missing counts as
    having an open issue.
    """
    could_be = _could_be(resolution)
    known = {journey.person_id for journey in journeys}
    found: dict[str, Reason] = {}
    for journey in journeys:
        if journey.person_id not in could_be:
            continue
        for issue in journey.open_issues:
            code = ISSUE_CODES.get(issue.kind, OTHER_ISSUE)
            if journey.person_id == identified:
                # their own issue explains more than somebody else's
                if code not in found or found[code].field is None:
                    found[code] = Reason(code, f"Open: {issue.summary or issue.kind}", field=issue.kind)
            elif code not in found:
                kind = issue.kind if issue.kind in ISSUE_CODES else "issue"
                found[code] = Reason(code, f"Someone this could be has an open {kind}.")
    if not could_be <= known:
        found[_NO_JOURNEY.code] = _NO_JOURNEY
    return tuple(found[code] for code in sorted(found))


def _could_be(resolution: Resolution) -> set[int]:
    """Everyone it could be: candidates of any probability, and the household where another of it comes into question.

    The comparison is the wrong way round on purpose: a probability that is not a number does not rule anybody out.
    """
    could_be = {c.person_id for c in resolution.candidates if not c.probability <= 0.0}
    if resolution.household is not None and not resolution.another_in_household <= 0.0:
        could_be.update(resolution.household.members)
    return could_be


def _verification(assurance: Assurance | None, *, known: bool) -> tuple[Reason, ...]:
    if assurance is None:
        return (_NOT_VERIFIED,) if known else ()
    return () if assurance.ask.method == NO_STEP_UP else (_STEP_UP,)


def gate(action: Action, at: Situation, locked: Locks, fit: Fit, policy: Policy, worth: Worth) -> tuple[Reason, ...]:
    """Why `action` may not be proposed; () when it may. Locks come first, "not_applicable" and money last.

    Service, safety and verification are never withheld for money, for want of verification, or by the hold-out.
    """
    reasons: tuple[Reason, ...] = ()
    if action.is_sale:
        reasons += locked.sale
    if action.is_sale or action.personal:
        reasons += locked.person
    if action.is_sale or action.kind == "self_service":
        reasons += locked.verified
    if at.channel not in action.channels and at.moment.cause == "contact":
        reasons += (_CHANNEL,)
    if action.route != DESK or action.answered_on or action.caps or action.offers is not None or policy.caps:
        reasons += _reachable(action, at, policy)
    if not fit.probability > 0.0:
        reasons += (fit.reason,)
    elif action.kind == "offer":
        if not worth.score > action.cost:
            reasons += (_NOT_WORTH_IT,)
        elif not worth.uplift > action.cost:
            reasons += (_NO_UPLIFT,)
        if at.moment.held_out:
            reasons += (_HELD_OUT,)
    return reasons


@dataclass(frozen=True, slots=True)
class Worth:
    """P x C x V x L, and the same of what P is above the rate at which it happens by itself."""

    score: float
    uplift: float


def gate_of_delivery(action: Action, at: Situation, locked: Locks, policy: Policy) -> tuple[Reason, ...]:
    """The gates that can close between a decision and its delivery: issues, consent, hours, agents."""
    sale = locked.sale if action.is_sale else ()
    consented = consent_gate(action, at.moment.consents)
    return (*sale, *consented, *_hours_gate(action, at, policy), *_agents_gate(action, at))


def _hours_gate(action: Action, at: Situation, policy: Policy) -> tuple[Reason, ...]:
    if action.kind == "safety":
        return ()
    zones = at.moment.zones or (policy.zone,)
    asked = (action.hours, policy.hours.get(action.route))
    found = [hours.closed(at.now, zones, at.moment.country) for hours in asked if hours is not None]
    return tuple(_HOURS[closed] for closed in dict.fromkeys(found) if closed)


def _agents_gate(action: Action, at: Situation) -> tuple[Reason, ...]:
    if not action.answered_on or at.moment.agents.get(action.answered_on, 0) > 0:
        return ()
    return (Reason("no_agent", f"Nobody is free to answer on {action.answered_on}."),)


def _reachable(action: Action, at: Situation, policy: Policy) -> tuple[Reason, ...]:
    """Whether it can and may reach this person now."""
    moment = at.moment
    reasons: tuple[Reason, ...] = ()
    if action.route not in moment.routes:
        reasons += (Reason("route_unavailable", f"They cannot be reached by {action.route} now."),)
    reasons += consent_gate(action, moment.consents)
    reasons += _hours_gate(action, at, policy)
    reasons += _capped(action, at, policy)
    reasons += _agents_gate(action, at)
    if moment.fired_at is not None:
        good_for = timedelta(milliseconds=action.trigger.after_ms + action.expires_ms)
        if at.now - moment.fired_at > good_for:
            reasons += (_EXPIRED,)
    if action.offers is not None and not offers_of(action, at):
        reasons += (_NO_OFFER,)
    return reasons


def consent_gate(action: Action, consents: dict[str, bool]) -> tuple[Reason, ...]:
    """A sale over a route that reaches somebody who is not there needs a consent that was given; any other action is
    stopped by one that was withdrawn. Safety is never stopped. A consent for the channel counts before one for all."""
    if action.kind == "safety":
        return ()
    purpose = action.consented_for
    said = consents.get(f"{purpose}/{action.route}", consents.get(purpose))
    if said is False:
        return (Reason("consent_withdrawn", f"Their consent to {purpose} by {action.route} was withdrawn."),)
    if said is None and action.is_sale and action.route in PUSHED:
        return (Reason("consent_unknown", f"Nobody has given consent to {purpose} by {action.route}."),)
    return ()


def offers_of(action: Action, at: Situation) -> tuple[object, ...]:
    """The offers of the catalogue that this action would show."""
    wanted = action.offers
    if wanted is None:
        return ()
    fitting = [one for one in at.moment.offers if not wanted.category or one.category == wanted.category]
    return tuple(fitting[: wanted.most])


def _capped(action: Action, at: Situation, policy: Policy) -> tuple[Reason, ...]:
    """The caps that are reached. Safety has none."""
    if action.kind == "safety":
        return ()
    found: tuple[Reason, ...] = ()
    everyone = at.moment.everyone.get(action.name, ())
    place = 0
    for cap in caps_of(action, policy):
        if cap.of == "everyone":
            count = everyone[place] if place < len(everyone) else 0
            place += 1
        else:
            count = _count(action, cap, at)
        if count >= cap.most:
            found += (
                Reason(f"cap_{cap.of}", _CAP_TEXT[cap.of].format(most=cap.most, route=action.route, span=_span(cap.per_ms))),
            )
    return found


_CAP_TEXT: Final = {
    "action": "They got it {most} times in {span} already.",
    "route": "They were reached by {route} {most} times in {span} already.",
    "kind": "They got {most} actions of this kind in {span} already.",
    "everyone": "It went out {most} times in {span} already, to everyone together.",
}


def caps_of(action: Action, policy: Policy) -> tuple[Cap, ...]:
    """The caps of an action: its own and those of the policy."""
    if not policy.caps:
        return action.caps
    own = [
        cap
        for kinds, routes, cap in policy.caps
        if (not kinds or action.kind in kinds) and (not routes or action.route in routes)
    ]
    return (*action.caps, *own)


def _count(action: Action, cap: Cap, at: Situation) -> int:
    since = at.now - timedelta(milliseconds=cap.per_ms)
    count = 0
    for before in at.moment.before:
        if before.at <= since:
            continue
        if cap.of == "action":
            count += before.action == action.name
        elif cap.of == "route":
            count += before.route == action.route
        else:
            count += before.kind == action.kind
    return count


def _span(milliseconds: int) -> str:
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if milliseconds % size == 0 and milliseconds > size:
            return f"{milliseconds // size} {unit}"
    return {86_400_000: "a day", 3_600_000: "an hour", 60_000: "a minute"}.get(milliseconds, f"{milliseconds // 1000} s")
