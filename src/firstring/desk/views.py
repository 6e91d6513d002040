"""What a pop says: a decision in the words and figures that an agent reads. Pure; the templates only lay it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import phonenumbers

from firstring.contact import Assurance, Basis, Candidate, Decision, Journey, OpenIssue, Reason, Resolution
from firstring.desk.experience import ExperienceView, experience_view
from firstring.identity.caller.resolver import Standing, standing
from firstring.identity.canonical.names import name_of
from firstring.journey.summary import plain
from firstring.nextbest.hours import is_zone, zone_of
from firstring.routing.trial.recognise import shown

CALL_BACK: Final = "callback"
"""The adapter of contacts that are calls of ours: the agent dials."""
CANDIDATES_SHOWN: Final = 3
"""More than three people side by side are no choice: the question on top tells them apart."""
REASONS_FIRST: Final = 3
"""Reasons that stand open; the others unfold."""
LIKELY_SHOWN: Final = 3
DETAIL_CHARS: Final = 120

BASIS: Final[Mapping[Basis, str]] = {
    "prior": "prior, not calibrated",
    "fitted": "fitted, not calibrated",
    "calibrated": "calibrated",
}
_LOOKS_LIKE: Final = {
    "routine": "Looks routine",
    "new_or_borrowed_phone": "Looks like a new or borrowed phone",
    "new_customer": "Looks like somebody new",
    "naive": "Looks like somebody else, on a phone of their own",
    "spoofed_number": "Looks like somebody who only shows this number",
    "household_member": "Looks like somebody else of the household",
}
_LANGUAGES: Final = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fr": "French", "gl": "Galician", "hi": "Hindi",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese",
    "ru": "Russian", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "zh": "Chinese",
}  # fmt: skip
_CHANNELS: Final = {
    "voice": "Call", "chat": "Chat", "email": "E-mail", "web": "Web", "messaging": "Message", "social": "Social",
    "mobile": "App",
}  # fmt: skip
_ISSUES: Final = {"refund": "Open refund", "complaint": "Open complaint", "outage": "Outage", "issue": "Open issues"}
_DETAILS: Final = (
    ("birth_date", "Born"),
    ("account", "Account"),
    ("address", "Address"),
    ("phone", "Phone"),
    ("email", "E-mail"),
    ("note", "Note"),
)
_LOCKS: Final = frozenset(
    {
        "open_refund", "open_complaint", "open_outage", "open_issue", "journey_missing", "unidentified", "step_up_pending",
        "consent_withdrawn",
    }
)  # fmt: skip
_STATES: Final = {
    "offered": "about to ring",
    "ringing": "ringing",
    "answered": "talking",
    "wrap_up": "wrap-up",
    "assigned": "about to ring",
    "ended": "over",
    "waiting": "waiting",
    "elsewhere": "in self-service or elsewhere",
}


_WRITTEN_STATES: Final = {**_STATES, "offered": "new", "ringing": "new", "answered": "open", "assigned": "new"}


class ReasonView(NamedTuple):
    """A reason and the side it speaks for: for, against, or neither."""

    side: Literal["for", "against", "neither"]
    text: str


class SureView(NamedTuple):
    """How sure it is that it is really them. level: ok, warn or bad; `odds` is 1 in so many for an impostor."""

    level: str
    looks_like: str
    odds: str
    basis: str
    ask: str
    reasons: tuple[ReasonView, ...]


class IssueView(NamedTuple):
    title: str
    summary: str
    since: datetime


class PersonView(NamedTuple):
    """One person this may be. `percent` is the probability as text ("96 %"), `width` the same in 0-100.

    `short` stands on a button ("It is Noor").
    """

    person_id: int
    name: str
    short: str
    percent: str
    width: float
    words: str
    tier: str
    language: str
    reasons: tuple[ReasonView, ...]
    more_reasons: tuple[ReasonView, ...]
    details: tuple[tuple[str, str], ...]
    sure: SureView | None
    issues: tuple[IssueView, ...]
    touches: tuple[Any, ...]
    likely: tuple[tuple[str, str], ...]
    experience: ExperienceView | None = None


class PopView(NamedTuple):
    """Everything a pop shows. `people` holds one person when `standing` is identified, else up to three to choose from."""

    contact_id: str
    revision: int
    decided_at_ms: float
    channel: str
    is_voice: bool
    standing: Standing
    title: str
    announcement: str
    shown: str
    called: str
    call_back: str
    their_time: str
    language: str
    basis: str
    confirmed: bool
    people: tuple[PersonView, ...]
    others: tuple[tuple[int, str, str], ...]
    someone_new: str
    another: str
    household: str
    unknown_reasons: tuple[str, ...]
    sure: SureView | None
    question: str
    action: str
    action_reasons: tuple[str, ...]
    lock_reasons: tuple[str, ...]
    locked: tuple[str, ...]
    notes: tuple[tuple[str, str], ...] = ()
    """What people of the house whispered: (login, text), the newest last."""
    withheld: bool = False
    """Who it is is known and by chance not shown, until the caller has said it."""


def pop_view(decision: Decision, threshold: float) -> PopView:
    """The pop of a decision. threshold: the probability from which a candidate is shown as the person."""
    decision = shown(decision)
    derived = decision.derived
    resolution = derived.resolution
    is_standing = standing(resolution, threshold)
    people = _told_apart([_person(candidate, decision) for candidate in resolution.candidates[:CANDIDATES_SHOWN]])
    shown_people = people[:1] if is_standing == "identified" else people
    best = resolution.best
    nobody = next((one for one in derived.assurances if one.person_id is None), None)
    lock_reasons, locked = _locked(decision)
    title = "Ask who it is" if derived.recognition == "withheld" else _title(is_standing, people)
    return PopView(
        contact_id=str(decision.contact.contact_id),
        revision=decision.revision,
        decided_at_ms=round(decision.decided_at.timestamp() * 1000.0, 3),
        channel=_CHANNELS.get(decision.contact.channel, decision.contact.channel),
        is_voice=decision.contact.channel == "voice",
        standing=is_standing,
        title=title,
        announcement=_announcement(decision, is_standing, title, people),
        shown=_shown(decision),
        called=_number(decision.contact.dials or decision.contact.called),
        call_back=decision.contact.dials or decision.contact.called if decision.contact.adapter == CALL_BACK else "",
        their_time=_their_time(decision),
        language=language_name(decision.contact.language),
        basis=BASIS[resolution.basis],
        confirmed=best is not None and decision.evidence.confirmed_person == best.person_id,
        people=tuple(shown_people),
        others=tuple((one.person_id, one.name, one.percent) for one in people[1:]) if is_standing == "identified" else (),
        someone_new=percent(resolution.someone_new),
        another=percent(resolution.another_in_household) if resolution.another_in_household >= 0.005 else "",
        household=_household(resolution, people),
        unknown_reasons=tuple(_sentence(reason.text) for reason in resolution.reasons if reason.code != "not_calibrated"),
        sure=_sure(nobody) if nobody is not None else (shown_people[0].sure if len(shown_people) == 1 else None),
        question=_question(decision, is_standing),
        action=derived.action.text or "Nothing is proposed",
        action_reasons=tuple(
            _sentence(reason.text) for reason in derived.action.reasons if reason.text not in derived.action.text
        ),
        lock_reasons=lock_reasons,
        locked=locked,
        notes=decision.evidence.directions.notes if decision.evidence.directions is not None else (),
        withheld=derived.recognition == "withheld",
    )


def _their_time(decision: Decision) -> str:
    """Of a call that we make, what time it is where the customer is."""
    contact = decision.contact
    if contact.adapter != CALL_BACK or not is_zone(contact.adapter_ref):
        return ""
    return f"{decision.decided_at.astimezone(zone_of(contact.adapter_ref)):%H:%M} ({contact.adapter_ref})"


def state_name(channel: str, assignment_state: str | None, state: str) -> str:
    """A contact's state as an agent reads it."""
    found = assignment_state or state
    return (_STATES if channel == "voice" else _WRITTEN_STATES).get(found, found)


def channel_name(channel: str) -> str:
    return _CHANNELS.get(channel, channel)


def language_name(code: str | None) -> str:
    """The language's English name; a code without one stays."""
    return _LANGUAGES.get(code, code) if code else ""


def percent(probability: float) -> str:
    """A probability as people read it; never rounded to certainty: "> 99 %", "< 1 %"."""
    if 0.995 <= probability < 1.0:
        return "> 99\u00a0%"
    if 0.0 < probability < 0.005:
        return "< 1\u00a0%"
    return f"{probability:.0%}".replace("%", "\u00a0%")


def in_words(probability: float) -> str:
    """The probability that it is this person, in words."""
    for least, words in ((0.99, "Almost certainly"), (0.9, "Very likely"), (0.66, "Likely"), (0.33, "Perhaps")):
        if probability >= least:
            return words
    return "Less likely"


def display_name(person_id: int, profile: Mapping[str, Any]) -> str:
    """How the person is called on screen: the full name, else its parts, else what else is known, else the number."""
    full = plain(profile.get("full_name")) or " ".join(
        part for part in (plain(profile.get(name)) for name in ("given_name", "middle_name", "family_name")) if part
    )
    if full:
        return full
    spoken = name_of(profile)
    if spoken.family:
        return f"{spoken.given} {spoken.family}".strip().title()
    for field in ("email", "phone", "account"):
        found = _first(profile.get(field))
        if found:
            return _number(found) if field == "phone" else found
    return f"Person {person_id}"


def ago(then: datetime, now: datetime) -> str:
    """How long ago, in the largest unit: "just now", "5 min ago", "3 h ago", "12 days ago", "2 years ago"."""
    seconds = (now - then).total_seconds()
    if seconds < 0:
        return "ahead"
    if seconds < 60:
        return "just now"
    for size, unit, plural in (
        (365.25 * 86_400, "year", "years"),
        (30.44 * 86_400, "month", "months"),
        (86_400, "day", "days"),
        (3_600, "h", "h"),
        (60, "min", "min"),
    ):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit if count == 1 else plural} ago"
    return "just now"


# --- the person --------------------------------------------------------------------------------------------------


def _person(candidate: Candidate, decision: Decision) -> PersonView:
    derived = decision.derived
    journey = next((one for one in derived.journeys if one.person_id == candidate.person_id), None)
    assurance = next((one for one in derived.assurances if one.person_id == candidate.person_id), None)
    profile = candidate.profile
    name = display_name(candidate.person_id, profile)
    reasons = [_weighed(reason) for reason in candidate.reasons]
    return PersonView(
        person_id=candidate.person_id,
        name=name,
        short=plain(profile.get("given_name")) or name_of(profile).given.title() or (name if name[0].isalpha() else "them"),
        percent=percent(candidate.probability),
        width=round(100.0 * candidate.probability, 1),
        words=in_words(candidate.probability),
        tier=plain(profile.get("tier")).upper(),
        language=language_name(plain(profile.get("language")) or None),
        reasons=tuple(reasons[:REASONS_FIRST]),
        more_reasons=tuple(reasons[REASONS_FIRST:]),
        details=_details(profile),
        sure=_sure(assurance) if assurance is not None else None,
        issues=_issues(journey.open_issues if journey else ()),
        touches=tuple((channel_name(touch.channel), touch.summary, touch.occurred_at) for touch in _touches(journey)),
        likely=tuple((_sentence(one.text), percent(one.probability)) for one in _likely(journey)),
        experience=experience_view(decision, candidate.person_id),
    )


def _told_apart(people: list[PersonView]) -> list[PersonView]:
    """Father and son of one name get their whole names on the buttons."""
    shorts = [person.short for person in people]
    return [person._replace(short=person.name) if shorts.count(person.short) > 1 else person for person in people]


def _touches(journey: Journey | None) -> Sequence[Any]:
    return journey.touches if journey is not None else ()


def _likely(journey: Journey | None) -> Sequence[Any]:
    if journey is None:
        return ()
    return [one for one in journey.likely_reasons if one.intent != "unknown"][:LIKELY_SHOWN]


def _issues(issues: Sequence[OpenIssue]) -> tuple[IssueView, ...]:
    return tuple(IssueView(_ISSUES.get(one.kind, f"Open {one.kind}"), one.summary, one.opened_at) for one in issues)


def _details(profile: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    street = f"{_first(profile.get('street'))} {_first(profile.get('house_number'))}".strip()
    place = f"{_first(profile.get('postcode'))} {_first(profile.get('city'))}".strip()
    address = _first(profile.get("address")) or ", ".join(part for part in (street, place) if part)
    profile = {**profile, "address": address}
    for field, label in _DETAILS:
        values = profile.get(field)
        listed = values if isinstance(values, list) else [values]
        texts = [_number(text) if field == "phone" else text for text in map(_first, listed[:3]) if text]
        if texts:
            found.append((label, ", ".join(texts)))
    return tuple(found)


def _first(value: Any) -> str:
    one = value[0] if isinstance(value, list) and value else value
    return one[:DETAIL_CHARS] if isinstance(one, str) else ""


def _weighed(reason: Reason) -> ReasonView:
    weight = reason.weight or 0.0
    return ReasonView("for" if weight > 0.05 else "against" if weight < -0.05 else "neither", _sentence(reason.text))


def _sure(assurance: Assurance) -> SureView:
    impostor = assurance.impostor
    level = "ok" if impostor < 0.005 and assurance.ask.method == "none" else "warn" if impostor < 0.05 else "bad"
    odds = f"1 in {1 / impostor:,.0f}" if 0 < impostor < 0.2 else percent(impostor)
    return SureView(
        level,
        _LOOKS_LIKE.get(assurance.looks_like, assurance.looks_like.replace("_", " ").capitalize()),
        odds,
        BASIS[assurance.basis],
        "" if assurance.ask.method == "none" else assurance.ask.text,
        tuple(_weighed(reason) for reason in assurance.reasons),
    )


# --- the contact -------------------------------------------------------------------------------------------------


def _title(is_standing: Standing, people: Sequence[PersonView]) -> str:
    if is_standing == "identified":
        return people[0].name
    if is_standing == "household":
        return "Somebody of a household"
    if is_standing == "ambiguous":
        return "Who is it?"
    return "Somebody new" if not people else "Probably somebody new"


def _question(decision: Decision, is_standing: Standing) -> str:
    """The question that would settle who it is, where it is not the next action anyway."""
    question = decision.derived.resolution.question
    if question is None or is_standing == "identified" or question.text == decision.derived.action.text:
        return ""
    return question.text


def _announcement(decision: Decision, is_standing: Standing, title: str, people: Sequence[PersonView]) -> str:
    """What a screen reader says of a new pop: one sentence on who, one on what blocks."""
    what = _CHANNELS.get(decision.contact.channel, "Contact")
    if is_standing == "identified":
        person = people[0]
        issues = " ".join(f"{issue.title}." for issue in person.issues)
        return f"{what}: {person.words.lower()} {person.name}. {issues}".strip()
    names = ", ".join(person.name for person in people)
    return f"{what}: {title}{f' Candidates: {names}.' if names else ''}"


def _shown(decision: Decision) -> str:
    """The identifiers that the channel carried, as people write them."""
    evidence = decision.evidence
    found = [
        _number(one.value) if one.kind == "phone" else one.value[:DETAIL_CHARS]
        for one in evidence.identifiers
        if one.kind in ("phone", "email", "account", "social")
    ]
    if found:
        return ", ".join(found[:2])
    if decision.contact.channel != "voice":
        return ""
    return "number withheld" if evidence.caller_number == "absent" else "unusable number"


def _number(text: str) -> str:
    """A phone number in international form, where it is one; the user part of a SIP address."""
    plain_text = text.removeprefix("sip:").removeprefix("sips:").removeprefix("tel:").partition("@")[0]
    if plain_text.startswith("+"):
        try:
            parsed = phonenumbers.parse(plain_text)
        except phonenumbers.NumberParseException:
            return plain_text[:DETAIL_CHARS]
        return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    return plain_text[:DETAIL_CHARS]


def _household(resolution: Resolution, people: Sequence[PersonView]) -> str:
    household = resolution.household
    if household is None:
        return ""
    names = {person.person_id: person.name for person in people}
    listed = [names[member] for member in household.members if member in names]
    rest = len(household.members) - len(listed)
    text = ", ".join(listed) + (f" and {rest} more" if rest > 0 and listed else "")
    return f"{len(household.members)} people share this {household.shared.kind}{': ' + text if text else ''}."


def _locked(decision: Decision) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why offers are locked, and which ones would otherwise have been possible."""
    reasons: dict[str, str] = {}
    locked: list[str] = []
    for verdict in decision.derived.action.considered:
        locks = [reason for reason in verdict.gated_by if reason.code in _LOCKS]
        is_issue = any(reason.code.startswith("open_") for reason in locks)
        if verdict.allowed or not (verdict.kind == "offer" or is_issue) or not locks:
            continue
        for reason in locks:
            reasons.setdefault(reason.code, _sentence(reason.text))
        if all(reason.code != "not_applicable" for reason in verdict.gated_by):
            locked.append(verdict.text)
    return tuple(reasons.values()), tuple(locked)


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?…" else ".")
