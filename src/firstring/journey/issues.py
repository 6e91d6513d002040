"""Which events open and close an issue (refund, complaint, outage), and which issues are open.

While an issue is open nobody sells, so every doubt is decided for "open": an opening and a closing at the same moment
leave it open, and a closing with another reference, or with none, closes nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from firstring.contact import OpenIssue, TouchRead
from firstring.journey.events import Event
from firstring.journey.summary import summary

ISSUES: Final[dict[str, tuple[str, int]]] = {
    "Refund Requested": ("refund", +1),
    "Refund Reopened": ("refund", +1),
    "Refund Failed": ("refund", +1),
    "Order Refunded": ("refund", -1),
    "Refund Issued": ("refund", -1),
    "Refund Completed": ("refund", -1),
    "Refund Denied": ("refund", -1),
    "Refund Cancelled": ("refund", -1),
    "Complaint Opened": ("complaint", +1),
    "Complaint Received": ("complaint", +1),
    "Complaint Reopened": ("complaint", +1),
    "Complaint Resolved": ("complaint", -1),
    "Complaint Closed": ("complaint", -1),
    "Complaint Withdrawn": ("complaint", -1),
    "Outage Started": ("outage", +1),
    "Outage Reported": ("outage", +1),
    "Outage Reopened": ("outage", +1),
    "Outage Ended": ("outage", -1),
    "Outage Resolved": ("outage", -1),
}
"""Event name -> (kind of issue, +1 opens or -1 closes). An approved refund is not paid yet: it closes nothing."""

REFERENCES: Final[dict[str, tuple[str, ...]]] = {
    "refund": ("order_id", "refund_id", "ticket_id"),
    "complaint": ("complaint_id", "ticket_id", "case_id", "order_id"),
    "outage": ("outage_id", "incident_id", "ticket_id"),
}
"""Kind of issue -> the properties that name which one, the first present counts."""

CLOSED_BY: Final[dict[str, str]] = {
    "refund": "Refund Completed",
    "complaint": "Complaint Resolved",
    "outage": "Outage Ended",
}
"""Kind of issue -> the event to record when an agent settles it."""

_REFERENCE_CHARS: Final = 200


class IssueMark(NamedTuple):
    """What an event does to an issue: effect +1 opens, -1 closes the issue (kind, ref); ref is "" when none is given."""

    kind: str
    ref: str
    effect: int


def issue_of(event: Event) -> IssueMark | None:
    """What `event` does to an issue, or None."""
    return classify(event.name, event.properties)


def classify(name: str, properties: Mapping[str, Any]) -> IssueMark | None:
    """What an event of this name (Segment Spec spelling) with these properties does to an issue, or None."""
    found = ISSUES.get(name)
    if found is None:
        return None
    kind, effect = found
    for key in REFERENCES[kind]:
        ref = _reference(properties.get(key))
        if ref:
            return IssueMark(kind, ref, effect)
    return IssueMark(kind, "", effect)


def settling_event(issue: OpenIssue) -> tuple[str, dict[str, Any]]:
    """Name and properties of the event that closes `issue`.

    Raises KeyError for an issue of a kind that no single event closes (kind "issue": more than were read).
    """
    name = CLOSED_BY[issue.kind]
    return name, {REFERENCES[issue.kind][0]: issue.ref} if issue.ref else {}


def _reference(value: object) -> str:
    """One spelling for one reference: 1042, 1042.0, " #1042 " and "1042" are the same order."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if isinstance(value, int):
        value = f"{value:x}" if abs(value) >= 10**100 else str(value)  # Python refuses to print very long integers
    ref = value.strip().lstrip("#").strip()
    if len(ref) <= _REFERENCE_CHARS:
        return ref
    # cutting it would make two issues one, and closing one would close both
    return "sha256:" + hashlib.sha256(ref.encode("utf-8", "surrogatepass")).hexdigest()


def open_issues(touches: Sequence[TouchRead]) -> tuple[OpenIssue, ...]:
    """The issues that these events leave open, the one that has waited longest first.

    A function of the set of events: neither their order of arrival nor duplicates matter. An issue (person, kind,
    ref) is open when something opened it at or after everything that closed it; it counts as opened by the earliest
    such event. What anybody may have sent closes only what anybody may have sent.
    """
    last_closed: dict[tuple[int, str, str], datetime] = {}
    last_claimed_closed: dict[tuple[int, str, str], datetime] = {}
    openings: list[tuple[tuple[int, str, str], TouchRead]] = []
    for touch in touches:
        if touch.issue_kind is None or touch.issue_effect == 0:
            continue
        issue = (touch.person_id, touch.issue_kind, touch.issue_ref or "")
        if touch.issue_effect > 0:
            openings.append((issue, touch))
        else:
            closed = last_claimed_closed if touch.claimed else last_closed
            if issue not in closed or closed[issue] < touch.occurred_at:
                closed[issue] = touch.occurred_at
    opened_by: dict[tuple[int, str, str], TouchRead] = {}
    for issue, touch in openings:
        if issue in last_closed and last_closed[issue] > touch.occurred_at:
            continue
        if touch.claimed and issue in last_claimed_closed and last_claimed_closed[issue] > touch.occurred_at:
            continue
        first = opened_by.get(issue)
        if first is None or (touch.occurred_at, touch.event_id) < (first.occurred_at, first.event_id):
            opened_by[issue] = touch
    found = [
        OpenIssue(
            kind=kind,
            ref=ref,
            opened_at=touch.occurred_at,
            event_id=touch.event_id,
            person_id=person_id,
            summary=summary(touch.name, touch.properties),
        )
        for (person_id, kind, ref), touch in opened_by.items()
    ]
    found.sort(key=lambda issue: (issue.opened_at, issue.event_id, issue.person_id, issue.kind, issue.ref))
    return tuple(found)
