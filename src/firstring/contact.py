"""What flows through a decision: Contact, Evidence, Read, Resolution, Assurance, Journey, NextAction, Routing, Decision.

Everything here is an immutable value (msgspec Struct), serialisable, and free of I/O. Times are aware UTC datetimes.
Probabilities are in [0, 1]; weights are in nats (natural log odds). Ids: persons, records and agents are integers,
contacts are UUIDs given by whoever offers the contact, so that a retry is the same contact.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

import msgspec

Channel = Literal["voice", "chat", "email", "web", "messaging", "social", "mobile"]
Basis = Literal["prior", "fitted", "calibrated"]
"""Where a probability comes from: a named prior, fitted to data, or fitted and shown to be calibrated by a benchmark."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the values below."""


# --- evidence ----------------------------------------------------------------------------------------------------


class Identifier(Value, frozen=True, order=True):
    """One canonical identifier: kind is a field of the vocabulary (phone, email, account, device, cookie, ip, ...)."""

    kind: str
    value: str


class Reason(Value, frozen=True):
    """Why something is believed. `code` is stable and for machines, `text` is for people and may hold personal data."""

    code: str
    text: str
    weight: float | None = None
    field: str | None = None


class SignatureCheck(Value, frozen=True):
    """Result of STIR/SHAKEN verification (RFC 8224, 8225, 8588).

    verstat: TN-Validation-Passed, TN-Validation-Failed or No-TN-Validation. attestation: A, B, C or None.
    sip_code: the code of RFC 8224 for a failure (403, 428, 436, 437, 438) or None.
    """

    verstat: Literal["TN-Validation-Passed", "TN-Validation-Failed", "No-TN-Validation"]
    attestation: Literal["A", "B", "C"] | None = None
    reason: str | None = None
    sip_code: int | None = None
    service_provider: str | None = None
    origid: str | None = None


class Directions(Value, frozen=True):
    """What supervisors and agents said should be done with a contact.

    points: of priority, on top of its own (they may be negative). to_agent: who is to get it, since `to_agent_at`. skills:
    what the next agent must bring, with levels. notes: whispered to whoever gets it, the newest last: (login, text).
    """

    points: int = 0
    to_agent: int | None = None
    to_agent_at: datetime | None = None
    skills: dict[str, int] = {}
    notes: tuple[tuple[str, str], ...] = ()


class Overflowed(Value, frozen=True):
    """A bound that a contact's wait has passed (RoutingNeed.beyond): of which rule, which of its steps, and when.

    wait_s: what was estimated then; None: nobody who is signed in may serve it. why: what stands in the way of most of
    them.
    """

    name: str
    step: int
    at: datetime
    wait_s: float | None = None
    why: str = ""


class Evidence(Value, frozen=True):
    """Canonical identifiers and claims out of the raw fields of a contact.

    `identifiers` were carried by the channel itself; `claims` are fields of the vocabulary that somebody said
    (given_name, family_name, birth_date, postcode, ...), canonical. `caller_number` says what the channel showed.
    `confirmed_person` is the person an agent picked; `ruled_out` are persons somebody ruled out.
    `rejected` are raw fields that could not be used, with the reason.
    """

    identifiers: tuple[Identifier, ...] = ()
    claims: dict[str, str] = {}
    caller_number: Literal["shown", "absent", "unusable"] = "absent"
    signature: SignatureCheck | None = None
    intent: str | None = None
    words: str | None = None
    """What they said or wrote, as it was: at most limits.WORDS_CHARS, the newest counts."""
    directions: Directions | None = None
    """What people of the house said should be done with the contact."""
    overflowed: tuple[Overflowed, ...] = ()
    """The bounds that its wait has passed."""
    at_place: str = ""
    """The place in the policy (self-service, another site) where the contact is while this is decided."""
    tried: tuple[str, ...] = ()
    """Places that it came back from."""
    wants_person: bool = False
    """The customer left self-service for a person."""
    confirmed_person: int | None = None
    ruled_out: tuple[int, ...] = ()
    rejected: tuple[Reason, ...] = ()
    told: bool = False
    """They said who they are: it is not withheld from the agent any more (Derived.recognition)."""


class Contact(Value, frozen=True):
    """One contact as its channel offered it. `call_key` is the channel's own id (SIP Call-ID), unique while it is open.

    `adapter` and `adapter_ref` say whom to answer; `called` is what was called, `deadline_ms` how long the channel waits.
    """

    contact_id: uuid.UUID
    channel: Channel
    offered_at: datetime
    call_key: str
    adapter: str = "http"
    adapter_ref: str = ""
    called: str = ""
    language: str | None = None
    deadline_ms: int = 700
    dials: str = ""
    """Whom we call, of a caller who hung up and keeps the place: what they had called stays in `called`."""


# --- what was read -----------------------------------------------------------------------------------------------


class RecordRead(Value, frozen=True):
    """A source record behind a candidate, opened: `fields` is the canonical vocabulary (lists for phone and email).

    `matched` are the evidence's identifiers that this record carries; `composite` says that it also shares the
    composite name + birth date + postcode key. `chosen` are fields whose value a steward chose. `enriched`: what a
    provider appended to the record of this id, of which it is no evidence.
    """

    record_id: int
    version: int
    person_id: int
    source: str
    fields: dict[str, Any]
    matched: tuple[Identifier, ...] = ()
    composite: bool = False
    last_seen: datetime | None = None
    verified_at: datetime | None = None
    chosen: tuple[str, ...] = ()
    enriched: bool = False


class TouchRead(Value, frozen=True):
    """An event of a record, opened. issue_effect: +1 opens, -1 closes the issue (issue_kind, issue_ref), 0 neither.

    claimed: it came with a public write key, so that anybody may have sent it.
    """

    event_id: int
    record_id: int
    person_id: int
    channel: str
    name: str
    occurred_at: datetime
    properties: dict[str, Any] = {}
    issue_kind: str | None = None
    issue_ref: str | None = None
    issue_effect: int = 0
    claimed: bool = False


class FanOut(Value, frozen=True):
    """How many records and persons carry an identifier. A hot one (more than limits.HOT_KEY_RECORDS) lists nobody."""

    identifier: Identifier
    records: int
    persons: int
    hot: bool = False


class AgentFree(Value, frozen=True, array_like=True):
    """An agent with a free place on the contact's channel, at the moment of reading. `version` names the profile."""

    agent_id: int
    version: int
    idle_since: datetime


class WentOut(Value, frozen=True, array_like=True):
    """An action that was decided for a person before, and went out."""

    person_id: int
    action: str
    route: str
    kind: str
    at: datetime


class Around(Value, frozen=True):
    """What this server knew of the moment, beside what was read: no older than some seconds.

    contained: self-service by name, to how many contacts ended there and how many came back (to a person, or again). seen:
    customer tier to when one of it came last. lines: channel to how many wait. there:
    self-service by name, to how many are there.
    """

    contained: dict[str, tuple[int, int]] = {}
    seen: dict[str, datetime] = {}
    lines: dict[str, int] = {}
    there: dict[str, int] = {}


class Read(Value, frozen=True):
    """Everything one decision read, in one read. It is sealed with the decision, which can be re-derived from it."""

    records: tuple[RecordRead, ...] = ()
    touches: tuple[TouchRead, ...] = ()
    fan_out: tuple[FanOut, ...] = ()
    agents: tuple[AgentFree, ...] | bytes = ()
    """Every decision holds all free agents: packed (routing.packed), one by one where they do not fit into that."""
    busy: bytes = b""
    """The agents who are there and have no place free, packed, with how many contacts each has for since when they are idle;
    where it is asked who fits."""
    waiting: int = 0
    """How many contacts waited on the channel then (200: so many or more)."""
    candidates_cut: int = 0
    issues_cut: tuple[int, ...] = ()
    """Persons with more issue events than were read: they count as having an open issue."""
    enrichments: tuple[RecordRead, ...] = ()
    """What providers appended to `records`: shown in profiles, never compared."""
    consent_words: tuple[TouchRead, ...] = ()
    """What the candidates have said of consent, and their browsers' privacy signals."""
    went_out: tuple[WentOut, ...] = ()
    """What actions went out to candidates, as far back as caps look; newest first for each."""
    fired: dict[int, tuple[str, ...]] = {}
    """Person -> patterns that came true lately."""
    everyone: dict[str, tuple[int, ...]] = {}
    """Action -> how often it went out to anybody, for each of its caps of everyone."""
    history: tuple[TouchRead, ...] = ()
    """What the candidates' traits are computed from, where an action asks for them."""
    around: Around | None = None
    """What the policy asks of the moment, where it asks for anything."""


# --- who ---------------------------------------------------------------------------------------------------------


class Candidate(Value, frozen=True):
    """A person this may be. `profile` is what an agent may be shown: fields of the vocabulary, newest value wins."""

    person_id: int
    probability: float
    reasons: tuple[Reason, ...] = ()
    profile: dict[str, Any] = {}
    records: tuple[int, ...] = ()


class Household(Value, frozen=True):
    """The people behind one shared identifier."""

    shared: Identifier
    members: tuple[int, ...]
    probability: float
    """That the caller is one of the members listed."""


class ContactPrior(Value, frozen=True):
    """Why a person may be in contact just now, out of their journey: log_odds (nats) on top of the evidence, in words.

    facts: what only this person is likely to know (last_order), which a question may ask for.
    """

    log_odds: float
    text: str
    facts: dict[str, str] = {}


class Settles(Value, frozen=True):
    """What an answer would show: the likeliest person (None: nobody listed) and their probability then."""

    answer: str
    person_id: int | None
    probability: float


class Question(Value, frozen=True):
    """The one question that would settle who it is: what tells most for the time it takes.

    choices may be said to the caller; `settles` holds what is on file, and is for the agent alone. information: nats
    that the answer is expected to tell about who it is; seconds: what asking costs.
    """

    field: str
    text: str
    choices: tuple[str, ...] = ()
    settles: tuple[Settles, ...] = ()
    reason: str = ""
    information: float = 0.0
    seconds: float = 0.0


class Resolution(Value, frozen=True):
    """Who it is: candidates (most probable first), another of the household, someone new. They sum to 1 (1e-9)."""

    candidates: tuple[Candidate, ...]
    someone_new: float
    another_in_household: float
    basis: Basis
    model_version: str
    household: Household | None = None
    reasons: tuple[Reason, ...] = ()
    hot: tuple[Identifier, ...] = ()
    question: Question | None = None
    unnamed: dict[int, tuple[int, ...]] = {}
    """Persons on file of whom nothing is known but an identifier, and the candidates who carry it too: each of these may
    be the one. They are no candidates of their own, and what they have been through counts for all of these."""

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None


# --- sure --------------------------------------------------------------------------------------------------------


class StepUp(Value, frozen=True):
    """What to ask for before going on. `method` is a code (none, confirm_name, knowledge, one_time_code, call_back)."""

    method: str
    text: str


class Assurance(Value, frozen=True):
    """Is it really them: the probability of an impostor if the contact claims to be `person_id` (None: nobody known).

    looks_like: the explanation with the highest posterior (routine, borrowed_phone, new_phone, spoofed_number, ...);
    archetypes: (name, probability) of all explanations, summing to 1. Nothing of it is ever sent to the caller's side.
    """

    person_id: int | None
    impostor: float
    basis: Basis
    looks_like: str
    ask: StepUp
    model_version: str
    archetypes: tuple[tuple[str, float], ...] = ()
    reasons: tuple[Reason, ...] = ()


# --- why ---------------------------------------------------------------------------------------------------------


class Touch(Value, frozen=True):
    """One past touch as people see it."""

    event_id: int
    channel: str
    name: str
    occurred_at: datetime
    summary: str
    person_id: int


class OpenIssue(Value, frozen=True):
    """An issue that is open: kind is refund, complaint or outage. While one is open, nobody sells."""

    kind: str
    ref: str
    opened_at: datetime
    event_id: int
    person_id: int
    summary: str = ""


class LikelyReason(Value, frozen=True):
    """A guess why they are calling, with its basis and the events it rests on."""

    intent: str
    probability: float
    text: str
    basis: Basis = "prior"
    events: tuple[int, ...] = ()


class Journey(Value, frozen=True):
    """What one person has been through: newest touch first, at most five; experience is 0-100 or None when not scored."""

    person_id: int
    touches: tuple[Touch, ...] = ()
    open_issues: tuple[OpenIssue, ...] = ()
    likely_reasons: tuple[LikelyReason, ...] = ()
    experience: float | None = None


# --- what now ----------------------------------------------------------------------------------------------------


class Factors(Value, frozen=True):
    """What the score of an action is made of: chance (P) x weight (C) x value (V) x lever (L). base: the chance that what it
    is after happens by itself; cost: money. context: what the chance was learned apart for."""

    chance: float
    base: float
    weight: float
    value: float
    lever: float
    cost: float
    context: str = ""


class ActionVerdict(Value, frozen=True):
    """One action considered: allowed, or gated by `gated_by` reasons. score is P x C x V x L when scored.

    propensity: the probability with which it was chosen, of those among which chance drew.
    """

    action: str
    kind: Literal["service", "safety", "self_service", "verification", "offer"]
    text: str
    allowed: bool
    score: float = 0.0
    gated_by: tuple[Reason, ...] = ()
    factors: Factors | None = None
    propensity: float = 0.0


class NextAction(Value, frozen=True):
    """The one next best action, and everything that was considered with its gates (locked offers among them).

    propensity: the probability with which it was chosen. withheld: the offer that would have been chosen, were this person
    not held out of offers; withheld_propensity: with what probability. learned: the version of what was learned of chances.
    """

    action: str
    kind: str
    text: str
    reasons: tuple[Reason, ...] = ()
    considered: tuple[ActionVerdict, ...] = ()
    version: str = ""
    propensity: float = 1.0
    withheld: str = ""
    withheld_propensity: float = 0.0
    learned: str = ""


# --- whom --------------------------------------------------------------------------------------------------------


class Requirement(Value, frozen=True):
    """What an agent must bring now. Levels are 1 (basic) to 5 (expert); tier names the team (vip) or None.

    licences: all of them, valid on the day. rules: conditions on the agent (docs/routing.md), all of which hold. agents:
    these alone (somebody sent the contact there).
    """

    skills: dict[str, int] = {}
    language: str | None = None
    language_level: int = 1
    tier: str | None = None
    licences: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    agents: tuple[int, ...] = ()
    teams: tuple[str, ...] = ()
    """Agents of these teams may serve too, whatever skills, language, team and conditions are asked for."""


class RelaxingStep(Value, frozen=True):
    """From `after_s` seconds of waiting on, `requirement` holds instead of what came before."""

    after_s: float
    requirement: Requirement


class Kept(Value, frozen=True):
    """So many agents of those who may serve a contact are left free for customers of a tier, until it has waited
    `until_s`."""

    tier: str
    agents: int
    until_s: float


class Beyond(Value, frozen=True):
    """A bound on the wait: past it the contact is decided anew, as the policy says (`name`, the step of it).

    wait_s: an estimate longer than that, for `for_s` seconds; None: only where nobody who is signed in may serve it, which
    passes every bound at once.
    """

    name: str
    step: int
    wait_s: float | None = None
    for_s: float = 0.0


class Hold(Value, frozen=True):
    """A contact is held for a better agent although somebody idle may serve it. reserve: what waiting was to bring; an agent
    who becomes free before `until` and brings so much takes it."""

    since: datetime
    until: datetime
    reserve: float


class RoutingNeed(Value, frozen=True):
    """What the contact needs: a priority (higher first) and requirements that relax as it waits (first step at 0 s).

    excluded: agents who did not take it just now. barred: agents whom it never reaches (the customer complained about them).
    last_agent: who had this customer last, and for how many seconds of idle time that counts. intent: why they are in
    contact, where that is probable enough; agents who refuse it are not asked.
    """

    channel: Channel
    priority: int
    steps: tuple[RelaxingStep, ...]
    preferred: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    barred: tuple[int, ...] = ()
    last_agent: int | None = None
    continuity_s: float = 0.0
    intent: str | None = None
    ahead_s: float = 0.0
    """By how many seconds the priority puts the contact ahead of one without, in the queue."""
    tier: str = ""
    """The customer's tier, where it is probable enough and in the policy."""
    kept: tuple[Kept, ...] = ()
    """Agents who are left free for others."""
    beyond: tuple[Beyond, ...] = ()
    """What happens when the wait gets long."""
    elsewhere: str = ""
    """The place in the policy to which the contact goes instead of to an agent."""
    hold: Hold | None = None
    """It waits for somebody better, who is expected soon."""


class WorkingHours(Value, frozen=True):
    """When an agent works: for each day of the week, Monday first, (from, until) in minutes since midnight in `zone`."""

    zone: str
    week: tuple[tuple[tuple[int, int], ...], ...]


class AgentProfile(Value, frozen=True):
    """One version of an agent's profile. skills and languages map to levels 1-5; capacity maps channel to places.

    mix: what may be had at once, as channel to contacts; any of these (none: everything that capacity allows). at_once:
    contacts of all channels together (0: no such limit). licences: name to the last day on which it is valid ("": no
    end). hours: None: always. refuses: reasons for a contact that the agent does not take. wants, learns: skills that the
    agent likes to use, or wants to learn: they count in the choice and never decide who may.
    """

    agent_id: int
    version: int
    name: str
    address: str
    skills: dict[str, int] = {}
    languages: dict[str, int] = {}
    tiers: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("voice",)
    capacity: dict[str, int] = msgspec.field(default_factory=lambda: {"voice": 1})
    mix: tuple[dict[str, int], ...] = ()
    at_once: int = 0
    licences: dict[str, str] = {}
    hours: WorkingHours | None = None
    refuses: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    learns: tuple[str, ...] = ()


class AgentVerdict(Value, frozen=True):
    """One agent considered: eligible with a score and a rank, or not, with the reasons."""

    agent_id: int
    version: int
    eligible: bool
    score: float = 0.0
    reasons: tuple[Reason, ...] = ()
    expected: tuple[float, float] | None = None
    """What the model says of the pair: success, and seconds of handle time; None: it was not asked."""


class PlaceVerdict(Value, frozen=True):
    """A place that is no agent's, considered beside the agents: self-service, or where overflow goes.

    score: on the scale of the agents' (success with self-service less its cost; what waiting is worth where none is free);
    success: how probable it is that it is done there, where anything is known of it.
    """

    name: str
    kind: Literal["self_service", "overflow"]
    address: str
    eligible: bool
    score: float = 0.0
    success: float | None = None
    reasons: tuple[Reason, ...] = ()


class Routing(Value, frozen=True):
    """Whom: agents in the order in which the claim tries them, who was chosen, or the queue.

    propensity is the probability with which the policy chose this agent (1.0 for a deterministic policy).
    """

    need: RoutingNeed
    ranked: tuple[AgentVerdict, ...]
    eligible: int
    considered: int
    policy: str
    propensity: float = 1.0
    reasons: tuple[Reason, ...] = ()
    places: tuple[PlaceVerdict, ...] = ()
    """Self-service and overflow that came into question; the contact goes to the one that `need.elsewhere` names."""

    means: tuple[float, float] | None = None
    """Success and seconds of handle time on average over the agents who were there and may serve the contact."""

    @property
    def elsewhere(self) -> PlaceVerdict | None:
        """The place to which the contact goes instead of to an agent."""
        return next((one for one in self.places if one.name == self.need.elsewhere), None) if self.need.elsewhere else None


# --- the decision ------------------------------------------------------------------------------------------------

Cause = Literal[
    "offered", "busy", "no_answer", "rejected", "capacity", "confirmed", "said", "verified", "requeued", "provider",
    "callback", "transferred", "directed", "left", "overflow",
]  # fmt: skip
"""Why a decision was made: the contact was offered, an agent did not take it, capacity became free, an agent
confirmed who it is, and so on. The first decision of a contact has the cause "offered"; that of a promised
call, which we make, "callback". transferred: whoever had it handed it on; directed: a supervisor said something; left: the
customer left self-service for a person; overflow: the wait passed a bound of the policy."""

Outcome = Literal["route", "wait", "default", "keep", "elsewhere"]
"""route: an agent was claimed; wait: in the queue; default: the switch's default queue; keep: the agent stays, or the place
where the contact is; elsewhere: self-service, or where overflow goes (derived.routing.elsewhere)."""


class Versions(Value, frozen=True):
    """The versions that a decision rests on; with them and what was read it is re-derived."""

    code: str
    identity: str
    trust: str
    journey: str
    actions: str
    routing: str


class Derived(Value, frozen=True):
    """What follows purely from contact, evidence, read, agents' profiles and versions."""

    resolution: Resolution
    assurances: tuple[Assurance, ...]
    journeys: tuple[Journey, ...]
    action: NextAction
    routing: Routing
    versions: Versions
    recognition: Literal["", "shown", "withheld"] = ""
    """Of a contact whose caller is recognised and from whom that may be withheld, by chance, to measure what it is worth:
    which of the two was done. Where it was withheld, action and routing are those of somebody unknown, and resolution,
    assurances and journeys, which are what was found out, are shown to nobody."""


class InTrial(Value, frozen=True):
    """The arm of the trial (its name) that a contact was decided in, and with what probability chance chose that arm."""

    name: str
    arm: Literal["control", "treatment"]
    probability: float


class Decision(Value, frozen=True):
    """One immutable decision of a contact. `revision` counts from 1. `agent_id` is whom the claim got; `agent_address` is
    their phone, while the claim holds."""

    contact: Contact
    revision: int
    cause: Cause
    decided_at: datetime
    evidence: Evidence
    read: Read
    derived: Derived
    outcome: Outcome
    waited_s: float = 0.0
    agent_id: int | None = None
    agent_address: str | None = None
    assignment_id: uuid.UUID | None = None
    decide_ms: float = 0.0
    trial: InTrial | None = None


class Committed(Value, frozen=True):
    """What a claim came to. status: committed; duplicate (the call is the open contact `contact_id` already); stale
    (a newer decision exists or the lease is over); ended (the contact is over)."""

    status: Literal["committed", "duplicate", "stale", "ended"]
    contact_id: uuid.UUID
    outcome: Outcome | None = None
    agent_id: int | None = None
    agent_version: int | None = None
    assignment_id: uuid.UUID | None = None


class ContactState(Value, frozen=True):
    """A contact as the store knows it. state: offered, waiting, assigned, answered, elsewhere (at the place `elsewhere`) or
    ended; `agent_id` has it now, by `assignment_id`. `excluded` did not take it, and are left out until `excluded_until`.
    hold: of the newest decision."""

    contact: Contact
    evidence: Evidence
    state: str
    revision: int
    excluded: tuple[int, ...] = ()
    excluded_until: datetime | None = None
    waiting_since: datetime | None = None
    agent_id: int | None = None
    assignment_id: uuid.UUID | None = None
    person_id: int | None = None
    elsewhere: str | None = None
    hold: Hold | None = None
