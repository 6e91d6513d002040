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
from firstring.nextbest.actions import DESK, PUSHED, Action, Catalogue, Fit, Of, Plan
from firstring.nextbest.hours import local_times
from firstring.nextbest.moment import Moment, Shown
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


class Gates:
    """The gates of one moment. What they share is worked out once for all actions: the local hours, what went out before."""

    def __init__(self, at: Situation, locked: Locks, actions: Catalogue) -> None:
        self._at = at
        self._moment = at.moment
        self._locked = locked
        self._actions = actions
        self._asks_channel = at.moment.cause == "contact"
        zones = at.moment.zones or (actions.policy.zone,)
        self._local = local_times(at.now, zones)
        self._closed: dict[int, str] = {}  # by the id of the hours, of which equal ones are one object
        self._counts: dict[tuple[Of, str, int], int] = {}
        self._counted_ms: set[int] = set()
        self._asked: dict[int, tuple[list[Reason], list[Reason]]] = {}  # by Plan.alike

    def of(self, action: Action, fit: Fit, score: float, uplift: float) -> tuple[Reason, ...]:
        """Why `action` may not be proposed; () when it may. Locks come first, "not_applicable" and money last.

        score: P x C x V x L; uplift: the same of what P is above the rate at which it happens by itself. Service, safety
        and verification are never withheld for money, for want of verification, or by the hold-out.
        """
        locked = self._locked
        reasons: list[Reason] = []
        if action.is_sale:
            reasons += locked.sale
        if locked.person and (action.is_sale or action.personal):
            reasons += locked.person
        if locked.verified and (action.is_sale or action.kind == "self_service"):
            reasons += locked.verified
        if self._asks_channel and self._at.channel not in action.channels:
            reasons.append(_CHANNEL)
        plan = self._actions.plans[action.name]
        if plan.is_reached:
            self._reach(action, plan, reasons)
        if not fit.probability > 0.0:
            reasons.append(fit.reason)
        elif action.kind == "offer":
            if not score > action.cost:
                reasons.append(_NOT_WORTH_IT)
            elif not uplift > action.cost:
                reasons.append(_NO_UPLIFT)
            if self._moment.held_out:
                reasons.append(_HELD_OUT)
        return tuple(reasons)

    def of_delivery(self, action: Action) -> tuple[Reason, ...]:
        """The gates that can close between a decision and its delivery: issues, consent, hours, agents."""
        plan = self._actions.plans[action.name]
        reasons = list(self._locked.sale) if action.is_sale else []
        self._consent(action, plan, reasons)
        self._hours(plan, reasons)
        self._agents(action, reasons)
        return tuple(reasons)

    def _reach(self, action: Action, plan: Plan, reasons: list[Reason]) -> None:
        """Whether it can and may reach this person now."""
        asked = self._asked.get(plan.alike)
        if asked is None:
            asked = self._asked[plan.alike] = self._of_all_alike(action, plan)
        before, behind = asked
        if before:
            reasons += before
        if plan.capped:
            self._caps(action, plan, reasons)
        if behind:
            reasons += behind
        if action.offers is not None and not offers_of(action, self._moment):
            reasons.append(_NO_OFFER)

    def _of_all_alike(self, action: Action, plan: Plan) -> tuple[list[Reason], list[Reason]]:
        """What holds for every action of which the same is asked: the reasons before those of its caps, and behind them."""
        moment = self._moment
        before: list[Reason] = []
        if action.route not in moment.routes:
            before.append(Reason("route_unavailable", f"They cannot be reached by {action.route} now."))
        self._consent(action, plan, before)
        self._hours(plan, before)
        behind: list[Reason] = []
        self._agents(action, behind)
        if moment.fired_at is not None and self._at.now - moment.fired_at > plan.good_for:
            behind.append(_EXPIRED)
        return before, behind

    def _consent(self, action: Action, plan: Plan, reasons: list[Reason]) -> None:
        """A sale over a route that reaches somebody who is not there needs a consent that was given; any other action is
        stopped by one that was withdrawn. Safety is never stopped, nor what an agent may do that sells nothing. A consent
        for the route counts before one for all."""
        if action.kind == "safety" or (action.route == DESK and not action.is_sale):
            return
        consents = self._moment.consents
        said = consents.get(plan.consent)
        if said is None:
            said = consents.get(plan.purpose)
        if said is False:
            by = "" if action.route == DESK else f" by {action.route}"
            reasons.append(Reason("consent_withdrawn", f"Their consent to {plan.purpose}{by} was withdrawn."))
        elif said is None and action.is_sale and action.route in PUSHED:
            reasons.append(Reason("consent_unknown", f"Nobody has given consent to {plan.purpose} by {action.route}."))

    def _hours(self, plan: Plan, reasons: list[Reason]) -> None:
        for hours in plan.hours:
            closed = self._closed.get(id(hours))
            if closed is None:
                closed = self._closed[id(hours)] = hours.closed_at(self._local, self._moment.country)
            if closed and _HOURS[closed] not in reasons:
                reasons.append(_HOURS[closed])

    def _agents(self, action: Action, reasons: list[Reason]) -> None:
        if action.answered_on and not self._moment.agents.get(action.answered_on, 0) > 0:
            reasons.append(Reason("no_agent", f"Nobody is free to answer on {action.answered_on}."))

    def _caps(self, action: Action, plan: Plan, reasons: list[Reason]) -> None:
        counts, has_before = self._counts, bool(self._moment.before)
        place = 0
        for cap, counted in plan.capped:
            if cap.of == "everyone":
                everyone = self._moment.everyone.get(action.name, ())
                count = everyone[place] if place < len(everyone) else 0
                place += 1
            elif has_before:
                if cap.per_ms not in self._counted_ms:
                    self._count(cap.per_ms)
                count = counts.get(counted, 0)
            else:
                continue
            if count >= cap.most:
                text = _CAP_TEXT[cap.of].format(most=cap.most, route=action.route, span=_span(cap.per_ms))
                reasons.append(Reason(f"cap_{cap.of}", text))

    def _count(self, per_ms: int) -> None:
        """How often each action, route and kind went out to the person in such a time: for all caps of it at once."""
        self._counted_ms.add(per_ms)
        since = self._at.now - timedelta(milliseconds=per_ms)
        counts = self._counts
        for one in self._moment.before:
            if one.at > since:
                kinds: tuple[tuple[Of, str], ...] = (("action", one.action), ("route", one.route), ("kind", one.kind))
                for of, what in kinds:
                    counts[of, what, per_ms] = counts.get((of, what, per_ms), 0) + 1


def offers_of(action: Action, moment: Moment) -> tuple[Shown, ...]:
    """The offers of the catalogue that this action would show."""
    wanted = action.offers
    if wanted is None:
        return ()
    fitting = [one for one in moment.offers if not wanted.category or one.category == wanted.category]
    return tuple(fitting[: wanted.most])


_CAP_TEXT: Final = {
    "action": "They got it {most} times in {span} already.",
    "route": "They were reached by {route} {most} times in {span} already.",
    "kind": "They got {most} actions of this kind in {span} already.",
    "everyone": "It went out {most} times in {span} already, to everyone together.",
}


def _span(milliseconds: int) -> str:
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if milliseconds % size == 0 and milliseconds > size:
            return f"{milliseconds // size} {unit}"
    return {86_400_000: "a day", 3_600_000: "an hour", 60_000: "a minute"}.get(milliseconds, f"{milliseconds // 1000} s")
