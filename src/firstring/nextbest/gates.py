"""The gates: what removes an action, each with a reason code. They act on what an action is, not on what it says.

The first gate comes before all: while a refund, complaint or outage of anyone who could be the caller is open, nobody
sells. "Could be" means any probability above zero, not only the most probable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from firstring.contact import Assurance, Journey, Reason, Resolution
from firstring.nextbest.actions import Action, Fit
from firstring.nextbest.situation import NO_STEP_UP, Situation

ISSUE_CODES: Final = {"refund": "open_refund", "complaint": "open_complaint", "outage": "open_outage"}
OTHER_ISSUE: Final = "open_issue"

_UNIDENTIFIED: Final = Reason("unidentified", "It is not sure enough who this is.")
_NO_JOURNEY: Final = Reason("journey_missing", "What they have been through was not read, so something may be open.")
_NOT_VERIFIED: Final = Reason("assurance_missing", "Nobody has judged whether this is really them.")
_STEP_UP: Final = Reason("step_up_pending", "A verification is asked for first.")
_CHANNEL: Final = Reason("channel_unavailable", "Not possible on this channel.")
_NOT_WORTH_IT: Final = Reason("not_worth_it", "Its expected value does not exceed its cost.")


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


def gate(action: Action, at: Situation, locked: Locks, fit: Fit) -> tuple[Reason, ...]:
    """Why `action` may not be proposed; () when it may. Locks come first, "not_applicable" last.

    Service, safety and verification are never withheld for money or for want of verification.
    """
    reasons: tuple[Reason, ...] = ()
    if action.is_sale:
        reasons += locked.sale
    if action.is_sale or action.personal:
        reasons += locked.person
    if action.is_sale or action.kind == "self_service":
        reasons += locked.verified
    if at.channel not in action.channels:
        reasons += (_CHANNEL,)
    if not fit.probability > 0.0:
        reasons += (fit.reason,)
    elif action.kind == "offer" and not action.score(fit) > action.cost:
        reasons += (_NOT_WORTH_IT,)
    return reasons
