"""What an action may look at when it says whether it applies: the person (when known), their journey, the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from firstring.contact import Assurance, Candidate, Channel, Journey, LikelyReason, OpenIssue, Resolution, Touch
from firstring.journey.summary import plain

IDENTIFY_THRESHOLD: Final = 0.90
"""From here on a person counts as identified; below it nothing that is about one person may be proposed."""

NO_STEP_UP: Final = "none"


@dataclass(frozen=True, slots=True)
class Situation:
    """Who is there and what is known of them. `person` and `journey` are None while nobody is identified."""

    resolution: Resolution
    person: Candidate | None
    journey: Journey | None
    assurance: Assurance | None
    channel: Channel
    now: datetime

    def issue(self, kind: str) -> OpenIssue | None:
        """The open issue of this kind that has waited longest, of the identified person."""
        if self.journey is not None:
            for issue in self.journey.open_issues:
                if issue.kind == kind:
                    return issue
        return None

    def reason(self, intent: str) -> LikelyReason | None:
        """The guess that the identified person is calling for `intent`."""
        if self.journey is not None:
            for reason in self.journey.likely_reasons:
                if reason.intent == intent:
                    return reason
        return None

    def touch(self, names: frozenset[str], within_s: float) -> Touch | None:
        """The newest touch with one of these names in the last `within_s` seconds."""
        if self.journey is not None:
            for touch in self.journey.touches:
                if touch.name in names and (self.now - touch.occurred_at).total_seconds() <= within_s:
                    return touch
        return None


def identified(resolution: Resolution, threshold: float = IDENTIFY_THRESHOLD) -> Candidate | None:
    """The person it is, when that is sure enough; None when ambiguous or unknown."""
    best = resolution.best
    return best if best is not None and best.probability >= threshold else None


def situation(
    journeys: Sequence[Journey],
    resolution: Resolution,
    assurances: Sequence[Assurance],
    *,
    channel: Channel,
    now: datetime,
    identify_threshold: float = IDENTIFY_THRESHOLD,
) -> Situation:
    """The situation of a contact. The assurance is that of the identified person, else that for "nobody known"."""
    person = identified(resolution, identify_threshold)
    person_id = person.person_id if person is not None else None
    journey = next((j for j in journeys if j.person_id == person_id), None) if person is not None else None
    assurance = next((a for a in assurances if a.person_id == person_id), None)
    return Situation(resolution, person, journey, assurance, channel, now)


def words(at: Situation) -> dict[str, str]:
    """The words that the text of an action may use, all present and each one line: {name}, {refund}, {ask}, ..."""
    name = ""
    if at.person is not None:
        profile = at.person.profile
        name = plain(profile.get("given_name")) or plain(profile.get("full_name"))
    found = {"name": f" {name}" if name else ""}
    for kind in ("refund", "complaint", "outage"):
        issue = at.issue(kind)
        found[kind] = f": {issue.summary}" if issue is not None and issue.summary else ""
    question = at.resolution.question
    found["question"] = question.text if question is not None else "Ask for their name and one detail on file"
    found["ask"] = at.assurance.ask.text if at.assurance is not None and at.assurance.ask.text else "Verify who it is"
    return found
