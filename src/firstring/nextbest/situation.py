"""What an action may look at when it says whether it applies: the person (when known), their journey, the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from firstring.cel import BOOL, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, object_of
from firstring.contact import Assurance, Candidate, Channel, Journey, LikelyReason, OpenIssue, Resolution, Touch
from firstring.journey.summary import plain
from firstring.nextbest.moment import IN_CONTACT, Moment

IDENTIFY_THRESHOLD: Final = 0.90
"""From here on a person counts as identified; below it nothing that is about one person may be proposed."""

NO_STEP_UP: Final = "none"

VARIABLES: Final[dict[str, Type]] = {
    "contact": object_of("contact", {"channel": STRING, "cause": STRING, "known": BOOL, "candidates": INT}),
    "person": map_of(STRING, DYN),
    "traits": map_of(STRING, DYN),
    "consents": map_of(STRING, BOOL),
    "issues": list_of(STRING),
    "patterns": list_of(STRING),
    "fired": STRING,
    "reason": map_of(STRING, DOUBLE),
    "experience": DYN,
    "assurance": object_of("assurance", {"ask": STRING, "impostor": DOUBLE}),
    "now": TIMESTAMP,
}
"""What an expression of an action may ask."""
TOUCH: Final[Type] = object_of("touch", {"name": STRING, "channel": STRING, "summary": STRING, "ago": DURATION})
"""The touch that `recent` found; for actions that have it."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Who is there and what is known of them. `person` and `journey` are None while nobody is identified.

    facts: the values of VARIABLES, in their order.
    """

    resolution: Resolution
    person: Candidate | None
    journey: Journey | None
    assurance: Assurance | None
    channel: Channel
    now: datetime
    moment: Moment = IN_CONTACT
    facts: tuple[Any, ...] = ()

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
    moment: Moment = IN_CONTACT,
) -> Situation:
    """The situation of a contact. The assurance is that of the identified person, else that for "nobody known"."""
    person = identified(resolution, identify_threshold)
    person_id = person.person_id if person is not None else None
    journey = next((j for j in journeys if j.person_id == person_id), None) if person is not None else None
    assurance = next((a for a in assurances if a.person_id == person_id), None)
    facts = _facts(person, journey, assurance, resolution, channel, now, moment)
    return Situation(resolution, person, journey, assurance, channel, now, moment, facts)


def _facts(
    person: Candidate | None,
    journey: Journey | None,
    assurance: Assurance | None,
    resolution: Resolution,
    channel: Channel,
    now: datetime,
    moment: Moment,
) -> tuple[Any, ...]:
    """The values of VARIABLES. While nobody is identified nothing of anybody is in them."""
    known = person is not None
    experience = moment.experience
    if experience is None and journey is not None:
        experience = journey.experience
    return (
        {"channel": channel, "cause": moment.cause, "known": known, "candidates": len(resolution.candidates)},
        person.profile if person is not None else {},
        moment.traits if known else {},
        moment.consents if known else {},
        [issue.kind for issue in journey.open_issues] if journey is not None else [],
        list(moment.patterns) if known else [],
        moment.fired,
        {reason.intent: reason.probability for reason in journey.likely_reasons} if journey is not None else {},
        experience,
        {"ask": assurance.ask.method, "impostor": assurance.impostor}
        if assurance is not None
        else {"ask": "", "impostor": 1.0},
        now,
    )


WORDS: Final = (
    "name", "refund", "complaint", "outage", "issue", "question", "ask", "touch", "offer", "price", "offer_url"
)  # fmt: skip
"""The words that a text may use in braces; {reason.INTENT} is the guess in words that they are in touch for INTENT."""
REASON_WORD: Final = "reason."


def words(at: Situation) -> dict[str, str]:
    """What the words stand for, each one line, and empty where there is nothing: {name}, {refund}, {ask}, ..."""
    name = ""
    if at.person is not None:
        profile = at.person.profile
        name = plain(profile.get("given_name")) or plain(profile.get("full_name"))
    found = {"name": f" {name}" if name else ""}
    for kind in ("refund", "complaint", "outage", "issue"):
        issue = at.issue(kind)
        found[kind] = f": {issue.summary}" if issue is not None and issue.summary else ""
    question = at.resolution.question
    found["question"] = question.text if question is not None else "Ask for their name and one detail on file"
    found["ask"] = at.assurance.ask.text if at.assurance is not None and at.assurance.ask.text else "Verify who it is"
    if at.journey is not None:
        found |= {f"{REASON_WORD}{reason.intent}": reason.text for reason in at.journey.likely_reasons}
    return found
