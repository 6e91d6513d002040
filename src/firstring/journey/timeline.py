"""What a person has been through, out of the events that were read: the newest touches, open issues, likely reasons."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

from firstring import limits
from firstring.contact import Journey, OpenIssue, Touch, TouchRead
from firstring.journey.experience import VERSION as EXPERIENCE_VERSION
from firstring.journey.experience import experience
from firstring.journey.issues import ISSUES, REFERENCES, open_issues
from firstring.journey.names import WORDS_READ
from firstring.journey.reasons import EVENT_PRIORS, ISSUE_PRIORS, likely_reasons
from firstring.journey.summary import summary
from firstring.journey.words.textmodel import Heard

UNLISTED: Final = "issue"
"""The kind of the open issue that stands for all those that were not read."""

_WHEN: Final = attrgetter("occurred_at", "event_id")

VERSION: Final = (
    "journey-"
    + hashlib.sha256(repr((ISSUES, REFERENCES, ISSUE_PRIORS, EVENT_PRIORS, EXPERIENCE_VERSION)).encode()).hexdigest()[:12]
)
"""The version of the tables that journeys are made with, out of their content."""


def journeys(
    person_ids: Iterable[int],
    touches: Iterable[TouchRead],
    *,
    now: datetime,
    issues_cut: Collection[int] = (),
    said: str | None = None,
    heard: Heard | None = None,
) -> tuple[Journey, ...]:
    """One journey per person, in the order given. `issues_cut`: persons with more issue events than were read."""
    by_person: dict[int, list[TouchRead]] = {person_id: [] for person_id in person_ids}
    for touch in touches:
        of_person = by_person.get(touch.person_id)
        if of_person is not None:
            of_person.append(touch)
    return tuple(
        journey(person_id, of_person, now=now, issues_cut=person_id in issues_cut, said=said, heard=heard)
        for person_id, of_person in by_person.items()
    )


def journey(
    person_id: int,
    touches: Sequence[TouchRead],
    *,
    now: datetime,
    issues_cut: bool = False,
    said: str | None = None,
    heard: Heard | None = None,
) -> Journey:
    """The journey of one person, whose events `touches` are, in any order and with duplicates.

    issues_cut: more issue events exist than were read. Nobody can say then that nothing is open, so an issue of the
    kind "issue" is added, which closes when the events are read in full. said: the intent the customer named. heard: what
    a text model made of their words.
    """
    once = {touch.event_id: touch for touch in touches}
    issues = open_issues(tuple(once.values()))
    if issues_cut:
        issues = (*issues, _unlisted(person_id, once.values(), now))
    seen = (touch for touch in once.values() if touch.name != WORDS_READ)
    newest = sorted(seen, key=_WHEN, reverse=True)[: limits.TOUCHES_SHOWN]
    shown = tuple(
        Touch(
            touch.event_id,
            touch.channel,
            touch.name,
            touch.occurred_at,
            summary(touch.name, touch.properties),
            person_id,
        )
        for touch in newest
    )
    summaries = {touch.event_id: touch.summary for touch in shown}
    return Journey(
        person_id=person_id,
        touches=shown,
        open_issues=issues,
        likely_reasons=likely_reasons(issues, once.values(), now=now, said=said, summaries=summaries, heard=heard),
        experience=experience(once.values(), now).score if once else None,
    )


def _unlisted(person_id: int, touches: Iterable[TouchRead], now: datetime) -> OpenIssue:
    opened_at = min((touch.occurred_at for touch in touches if touch.issue_effect), default=now)
    return OpenIssue(
        kind=UNLISTED,
        ref="",
        opened_at=opened_at,
        event_id=0,
        person_id=person_id,
        summary="more issues than can be listed here",
    )
