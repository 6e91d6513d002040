"""The way of a contact: read this from top to bottom and you know the product.

`derive` is pure: contact, evidence, what was read, the models and the time give everything that is decided. `Decider`
puts one read before it and one commit behind it. So a stored decision can be derived again, and is (`differences`).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from firstring import __version__, limits
from firstring.contact import (
    AgentFree,
    AgentProfile,
    Around,
    Assurance,
    Candidate,
    Cause,
    Channel,
    Committed,
    Contact,
    ContactState,
    Decision,
    Derived,
    Evidence,
    Hold,
    Identifier,
    InTrial,
    Journey,
    LikelyReason,
    Read,
    Resolution,
    TouchRead,
    Versions,
)
from firstring.identity.caller.resolver import resolve
from firstring.identity.caller.weights import Weights
from firstring.identity.golden.rules import DEFAULT as DEFAULT_RULES
from firstring.identity.golden.rules import Rules
from firstring.identity.persons.blocking import composite_key
from firstring.journey import attention, timeline
from firstring.journey.attention import contact_priors
from firstring.journey.words.textmodel import Heard, TextModel
from firstring.nextbest.actions import Catalogue
from firstring.nextbest.arbitrate import choose
from firstring.nextbest.holdout import held_out
from firstring.nextbest.incontact import Asks, asks_of, moment_in
from firstring.nextbest.learning.posterior import UNLEARNED, Learned
from firstring.nextbest.learning.thompson import draws_of
from firstring.nextbest.moment import Moment
from firstring.ports import Clock, Ids
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.model import PRIOR as PRIOR_FIT
from firstring.routing.fit.model import FitModel
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.may.needs import needed
from firstring.routing.may.packed import count
from firstring.routing.pick.assign import rank
from firstring.routing.pick.beside import Beside, hold_until
from firstring.routing.pick.elsewhere import came_back, placed
from firstring.routing.pick.live import NO_PRICES, Live, matching_of
from firstring.routing.trial.recognise import WITHHELD, as_unknown, never_withheld
from firstring.trust.score import TrustPriors, assess

Profiles = Mapping[tuple[int, int], AgentProfile]
FINDS_AN_AGENT: Final[frozenset[Cause]] = frozenset(
    {"busy", "no_answer", "rejected", "capacity", "requeued", "transferred", "left", "overflow"}
)
"""Causes of a decision that is made because nobody has the contact."""
LEAVES: Final[frozenset[Cause]] = frozenset({"left", "busy", "no_answer", "rejected"})
"""Causes for which a contact leaves the place where it is (self-service, another site); for others it stays there."""
JOINED: Final = "+"
"""Between the versions of the parts of one room."""
TRIES: Final = 5
"""How often late evidence is decided with, where somebody else decided at the same moment."""


class Models(msgspec.Struct, frozen=True):
    """Everything that is decided with, apart from the contact itself. Each part has a version out of its content."""

    weights: Weights
    trust: TrustPriors
    actions: Catalogue
    routing: RoutingPolicy
    identify_threshold: float = 0.9
    """A candidate at least this probable counts as identified."""
    survivorship: Rules = DEFAULT_RULES
    """Which of several values a profile shows."""
    learned: Learned = UNLEARNED
    """What came of actions before."""
    holdout_key: bytes = b""
    """By which people are held out of offers, and chance is drawn; empty: nobody is, and nothing is."""
    reasons: TextModel | None = None
    """What a tenant's own labels taught of why people call, by their words."""
    fit: FitModel = PRIOR_FIT
    """Who fits whom, as it was learned of outcomes."""
    live: Live = NO_PRICES
    """What a second of each agent's time is worth just now."""

    def versions(self) -> Versions:
        return Versions(
            code=__version__,
            identity=self.weights.version + ("" if self.survivorship is DEFAULT_RULES else f"+{self.survivorship.version}"),
            trust=self.trust.version,
            journey=f"{timeline.VERSION}+{attention.VERSION}" + ("" if self.reasons is None else f"+{self.reasons.version}"),
            actions=self.actions.version + (f"+{self.learned.version}" if self.holdout_key else ""),
            routing=JOINED.join((self.routing.version, *self._of_pick())),
        )

    @property
    def asks_who_fits(self) -> bool:
        """Whether the pick goes by a trained model; else it is first come, longest idle."""
        return self.routing.pick == "best" and self.fit.basis == "fitted"

    def _of_pick(self) -> tuple[str, ...]:
        return (self.fit.version, self.live.version) if self.asks_who_fits else ()


def derive(
    contact: Contact,
    evidence: Evidence,
    read: Read,
    profiles: Profiles,
    models: Models,
    *,
    now: datetime,
    waited_s: float = 0.0,
    excluded: Sequence[int] = (),
    preferred: Sequence[int] = (),
    hold_until: datetime | None = None,
    keep: bool = False,
    memo: EligibilityMemo | None = None,
) -> Derived:
    """Who, why, sure, what now, whom. Pure and deterministic.

    profiles: the agents of `read.agents` by (agent_id, version). excluded: agents who did not take this contact. preferred:
    to whom a batch over all that wait gave it. hold_until: until when the contact may be held for somebody better.
    keep: somebody has the contact, or it is at a place, and stays there.
    memo: makes whom quicker and changes nothing.
    """
    # who: probability of each person, of another in the household, of someone new
    heard = models.reasons.heard(evidence.words) if models.reasons is not None and evidence.words else None
    resolution = who(evidence, read, weights=models.weights, now=now, rules=models.survivorship, heard=heard)

    # why: what each of them has been through, what is open, why they are probably calling
    people = [candidate.person_id for candidate in resolution.candidates]
    if resolution.household is not None:
        people += [member for member in resolution.household.members if member not in people]
    touches, issues_cut = _with_traces(read, resolution)
    journeys = timeline.journeys(
        people,
        touches,
        now=now,
        issues_cut=issues_cut,
        said=evidence.intent,
        heard=heard,
    )

    # sure: is it really them, whoever of them it is
    assurances = tuple(
        assess(
            evidence,
            candidate,
            resolution,
            read,
            priors=models.trust,
            now=now,
            channel=contact.channel,
            reasons=_reasons_of(candidate, journeys),
        )
        for candidate in (resolution.candidates or (None,))
    )

    # known: what all that follows goes by; of somebody from whom recognition is withheld, nothing
    recognition = _recognition(contact, evidence, read, resolution, assurances, journeys, models)
    known = Known(resolution, assurances, journeys, touches)
    if recognition == "withheld":
        nobody = as_unknown(resolution)
        known = Known(
            nobody,
            (assess(evidence, None, nobody, read, priors=models.trust, now=now, channel=contact.channel, reasons=()),),
            (),
            (),
        )

    # what now: gates first, then the one next action
    action = choose(
        known.journeys,
        known.resolution,
        known.assurances,
        channel=contact.channel,
        actions=models.actions,
        now=now,
        identify_threshold=models.identify_threshold,
        moment=_moment(contact, read, known.resolution, models, now),
        learned=models.learned,
    )

    # whom: what the contact needs, and who of those that are free can give it
    need = needed(
        contact,
        known.resolution,
        known.journeys,
        policy=models.routing,
        intent=evidence.intent,
        preferred=preferred,
        excluded=excluded,
        touches=known.touches,
        directions=evidence.directions,
        now=now,
        waited_s=waited_s,
        overflowed=evidence.overflowed,
        around=read.around,
    )
    matching = matching_of(
        contact,
        known.resolution,
        known.assurances,
        known.journeys,
        known.touches,
        intent=evidence.intent,
        policy=models.routing,
        fit=models.fit,
        live=models.live,
        key=models.holdout_key,
    )
    routing = rank(
        need.need,
        read.agents,
        profiles,
        now=now,
        waited_s=waited_s,
        policy=models.routing.version,
        reasons=(WITHHELD, *need.reasons) if recognition == "withheld" else need.reasons,
        memo=memo,
        matching=matching,
        beside=Beside(read.busy, read.waiting, hold_until),
    )
    # or no agent: self-service that is worth more, a place for what nobody may serve or waits too long for
    routing = placed(
        routing,
        contact,
        evidence,
        known.resolution,
        known.assurances,
        known.journeys,
        policy=models.routing,
        fit=models.fit,
        live=models.live,
        weight=1.0 if matching is None else matching.weight,
        around=read.around,
        keep=keep,
    )
    return Derived(resolution, assurances, journeys, action, routing, models.versions(), recognition)


class Known(NamedTuple):
    """Who it is, how sure that is, what they have been through: what the next action and the choice of an agent go by."""

    resolution: Resolution
    assurances: tuple[Assurance, ...]
    journeys: tuple[Journey, ...]
    touches: Sequence[TouchRead]


def _recognition(
    contact: Contact,
    evidence: Evidence,
    read: Read,
    resolution: Resolution,
    assurances: Sequence[Assurance],
    journeys: Sequence[Journey],
    models: Models,
) -> Literal["", "shown", "withheld"]:
    """Whether who it is may be withheld, and is."""
    never = never_withheld(
        contact, evidence, resolution, assurances, journeys, read.touches, read.issues_cut,
        tiers=models.routing.tiers, threshold=models.identify_threshold,
    )  # fmt: skip
    if never:
        return ""
    return "shown" if models.routing.recognise else "withheld"


def _moment(contact: Contact, read: Read, resolution: Resolution, models: Models, now: datetime) -> Moment:
    """What actions are chosen by, beside the contact. Where a policy was loaded also whether the likeliest person is held
    out of offers, and chance, which is the contact's own: the same in each of its decisions."""
    if not models.holdout_key:
        return moment_in(contact, read, resolution, models.actions, now, threshold=models.identify_threshold)
    policy = models.actions.policy
    best = resolution.best
    own = () if best is None else [record.record_id for record in read.records if record.person_id == best.person_id]
    return moment_in(
        contact,
        read,
        resolution,
        models.actions,
        now,
        threshold=models.identify_threshold,
        agents=count(read.agents),
        held_out=held_out(own, models.holdout_key, policy.holdout),
        draws=draws_of(models.holdout_key + contact.contact_id.bytes, policy.explored),
    )


def who(
    evidence: Evidence,
    read: Read,
    *,
    weights: Weights,
    now: datetime,
    rules: Rules = DEFAULT_RULES,
    heard: Heard | None = None,
) -> Resolution:
    """Who it is. The journey says who of those behind a number has a reason to call just now, and whose reason their
    words are (heard). Pure."""
    priors = contact_priors({record.person_id for record in read.records}, read.touches, now=now, heard=heard)
    return resolve(evidence, read, weights=weights, now=now, priors=priors, rules=rules)


def _reasons_of(candidate: Candidate | None, journeys: Sequence[Journey]) -> Sequence[LikelyReason]:
    person_id = None if candidate is None else candidate.person_id
    return next((journey.likely_reasons for journey in journeys if journey.person_id == person_id), ())


def _with_traces(read: Read, resolution: Resolution) -> tuple[Sequence[TouchRead], Sequence[int]]:
    """Touches and cut lists of issues, those of unnamed persons counted for every candidate whom they may be."""
    if not resolution.unnamed:
        return read.touches, read.issues_cut
    touches = [
        msgspec.structs.replace(touch, person_id=host)
        for touch in read.touches
        for host in resolution.unnamed.get(touch.person_id, ())
    ]
    cut = [host for person in read.issues_cut for host in resolution.unnamed.get(person, ())]
    return (*read.touches, *touches), (*read.issues_cut, *cut)


class Ring(Protocol):
    """The one read and the one commit (store.ring.RingStore)."""

    async def read(
        self,
        tenant: Any,
        identifiers: Sequence[Identifier],
        channel: Channel | None,
        *,
        persons: Sequence[int] = (),
        asks: Asks | None = None,
        busy: bool = False,
    ) -> Read: ...

    async def profiles(self, tenant: Any, agents: Sequence[AgentFree] | bytes) -> Profiles: ...

    async def commit(self, tenant: Any, decision: Decision, *, assignment_id: uuid.UUID, epoch: int = 0) -> Committed: ...

    async def contact(self, tenant: Any, contact_id: uuid.UUID) -> ContactState | None: ...

    async def decision(self, tenant: Any, contact_id: uuid.UUID, revision: int | None = None) -> Decision | None: ...


class Stages(Protocol):
    """Takes the duration of each stage, in milliseconds (read, derive, commit, decide), and counts what was committed."""

    def observe(self, stage: str, duration_ms: float) -> None: ...

    def decided(self, cause: str, outcome: str) -> None: ...


class Decider:
    """Decides contacts: reads once, derives, commits once. Holds no state but what it has worked out before."""

    def __init__(
        self,
        ring: Ring,
        models: Models,
        clock: Clock,
        ids: Ids,
        stages: Stages,
        weights_of: Callable[[Any], Weights] | None = None,
        actions_of: Callable[[Any, Models], Models] | None = None,
        arm_of: Callable[[Any, Contact, RoutingPolicy], tuple[RoutingPolicy, InTrial | None]] | None = None,
        around_of: Callable[[Any], Around | None] | None = None,
    ) -> None:
        """weights_of: a tenant's own weights, without I/O; without it all have those of `models`. actions_of: the models
        with a tenant's own actions, likewise. arm_of: the routing policy of a contact, and its arm where a trial runs.
        around_of: what is known of the moment, without I/O."""
        self._ring = ring
        self.models = models
        self._weights_of = weights_of
        self._actions_of = actions_of
        self._arm_of = arm_of
        self._around_of = around_of
        self._clock = clock
        self._ids = ids
        self._stages = stages
        self._memo = EligibilityMemo()

    def models_of(self, tenant: Any) -> Models:
        """What a tenant's contacts are decided with at this moment."""
        models = self.models
        if self._weights_of is not None:
            models = msgspec.structs.replace(models, weights=self._weights_of(tenant))
        return models if self._actions_of is None else self._actions_of(tenant, models)

    def policy_of(self, tenant: Any, contact: Contact, base: RoutingPolicy) -> RoutingPolicy:
        """The routing policy of a contact: its arm's where a trial runs."""
        return base if self._arm_of is None else self._arm_of(tenant, contact, base)[0]

    async def offered(self, tenant: Any, contact: Contact, evidence: Evidence, *, cause: Cause = "offered") -> Decision:
        """The first decision of a contact. A call that is open already gets the decision it has (see Committed).

        Raises Retryable where the store does not answer; the caller then fails open.
        """
        decision, committed = await self._decide(tenant, contact, evidence, cause=cause, revision=1)
        if committed.status == "committed":
            return decision
        stored = await self._ring.decision(tenant, committed.contact_id)
        if stored is not None and stored.agent_id is not None and stored.agent_address is None:
            # Whoever had it gave it back, and nobody else was found yet.
            requeued = await self.again(tenant, committed.contact_id, "requeued")
            stored = requeued or await self._ring.decision(tenant, committed.contact_id)
        return stored if stored is not None else decision

    async def again(
        self,
        tenant: Any,
        contact_id: uuid.UUID,
        cause: Cause,
        *,
        change: Callable[[Evidence], Evidence] | None = None,
        of_contact: Callable[[Contact], Contact] | None = None,
        preferred: Sequence[int] = (),
        adapter_ref: str | None = None,
        epoch: int = 0,
    ) -> Decision | None:
        """The next decision of an open contact: evidence came late, an agent did not take it, capacity became free.

        A contact that somebody has keeps its agent. None: the contact is unknown or over, or somebody else decided
        meanwhile (a newer decision stands, or somebody has it though an agent was to be found; with an epoch, the queue
        task's lease is over). adapter_ref: what the adapter answers to from now on, where that changed; of_contact: the
        contact as it is from now on (a caller who will be called back). preferred: agents who go first, if they may.

        change: puts what came late on top of what is known by then. Evidence is never lost: where somebody else decided
        meanwhile, it is put on top of what that left (up to TRIES times), so it must not depend on when it is called.
        """
        for _ in range(1 if change is None else TRIES):
            decision, committed = await self._again(
                tenant, contact_id, cause, change, of_contact, preferred, adapter_ref, epoch
            )
            if committed is None or committed.status == "ended":
                return None
            if committed.status == "committed":
                return decision
        return None

    async def _again(
        self,
        tenant: Any,
        contact_id: uuid.UUID,
        cause: Cause,
        change: Callable[[Evidence], Evidence] | None,
        of_contact: Callable[[Contact], Contact] | None,
        preferred: Sequence[int],
        adapter_ref: str | None,
        epoch: int,
    ) -> tuple[Decision | None, Committed | None]:
        """One try of `again`. (None, None): there is nothing to decide."""
        state = await self._ring.contact(tenant, contact_id)
        if state is None or state.state == "ended" or (state.agent_id is not None and cause in FINDS_AN_AGENT):
            return None, None
        contact = state.contact
        if adapter_ref is not None:
            contact = msgspec.structs.replace(contact, adapter_ref=adapter_ref)
        if of_contact is not None:
            contact = of_contact(contact)
        now = self._clock.now()
        since = state.waiting_since or contact.offered_at
        evidence = state.evidence if change is None else change(state.evidence)
        stays = state.state == "elsewhere" and cause not in LEAVES
        if stays:
            evidence = msgspec.structs.replace(evidence, at_place=state.elsewhere or "")
        elif state.state == "elsewhere":
            evidence = came_back(evidence, state.elsewhere or "", wants_person=cause == "left")
        return await self._decide(
            tenant,
            contact,
            evidence,
            cause=cause,
            revision=state.revision + 1,
            waited_s=max(0.0, (now - since).total_seconds()),
            excluded=_left_out(state, now),
            preferred=preferred,
            before=state.hold,
            keep=state.agent_id is not None or stays,
            epoch=epoch,
        )

    async def _decide(
        self,
        tenant: Any,
        contact: Contact,
        evidence: Evidence,
        *,
        cause: Cause,
        revision: int,
        waited_s: float = 0.0,
        excluded: Sequence[int] = (),
        preferred: Sequence[int] = (),
        before: Hold | None = None,
        keep: bool = False,
        epoch: int = 0,
    ) -> tuple[Decision, Committed]:
        started = self._clock.monotonic_s()
        now = self._clock.now()
        persons = () if evidence.confirmed_person is None else (evidence.confirmed_person,)
        models = self.models_of(tenant)
        trial = None
        if self._arm_of is not None:
            policy, trial = self._arm_of(tenant, contact, models.routing)
            models = msgspec.structs.replace(models, routing=policy)
        # Whom a batch over all that wait gave it to is for those who are picked by who fits.
        preferred = preferred if models.asks_who_fits else ()
        read = await self._ring.read(
            tenant,
            looked_up(evidence),
            None if keep else contact.channel,
            persons=persons,
            asks=asks_of(models.actions, now),
            busy=models.asks_who_fits and not keep,
        )
        if self._around_of is not None and models.routing.asks_around:
            read = msgspec.structs.replace(read, around=self._around_of(tenant))
        profiles = await profiles_of(self._ring, tenant, read)
        read_at = self._clock.monotonic_s()
        derived = derive(
            contact,
            evidence,
            read,
            profiles,
            models,
            now=now,
            waited_s=waited_s,
            excluded=excluded,
            preferred=preferred,
            hold_until=None if keep else hold_until(cause, models.routing.hold_s, now, before),
            keep=keep,
            memo=self._memo,
        )
        derived_at = self._clock.monotonic_s()
        decision = Decision(
            contact=contact,
            revision=revision,
            cause=cause,
            decided_at=now,
            evidence=evidence,
            read=read,
            derived=derived,
            outcome="keep" if keep else "wait",
            waited_s=waited_s,
            decide_ms=(derived_at - started) * 1000.0,
            trial=trial,
        )
        committed = await self._ring.commit(tenant, decision, assignment_id=self._ids.new(), epoch=epoch)
        ended = self._clock.monotonic_s()
        self._stages.observe("read", (read_at - started) * 1000.0)
        self._stages.observe("derive", (derived_at - read_at) * 1000.0)
        self._stages.observe("commit", (ended - derived_at) * 1000.0)
        self._stages.observe("decide", (ended - started) * 1000.0)
        if committed.status == "committed":
            self._stages.decided(cause, committed.outcome or decision.outcome)
        claimed = profiles.get((committed.agent_id or 0, committed.agent_version or 0))
        return (
            msgspec.structs.replace(
                decision,
                outcome=committed.outcome or decision.outcome,
                agent_id=committed.agent_id,
                agent_address=claimed.address if claimed is not None else None,
                assignment_id=committed.assignment_id,
                decide_ms=(ended - started) * 1000.0,
            ),
            committed,
        )


def _left_out(state: ContactState, now: datetime) -> tuple[int, ...]:
    """Who did not take it just now. By one clock, which may have jumped: nobody is left out for longer than EXCLUDE_S."""
    until = state.excluded_until
    is_recent = until is not None and now < until <= now + timedelta(seconds=limits.EXCLUDE_S)
    return state.excluded if is_recent else ()


def looked_up(evidence: Evidence) -> tuple[Identifier, ...]:
    """What the read looks for: the identifiers, and the composite key where the claims make one."""
    composite = composite_key(evidence.claims)
    return evidence.identifiers if composite is None else (*evidence.identifiers, Identifier("composite", composite))


class _Both(Mapping[tuple[int, int], AgentProfile]):
    """Two mappings as one, without a copy: each may hold all that were ever read."""

    def __init__(self, first: Profiles, second: Profiles) -> None:
        self._first, self._second = first, second

    def __getitem__(self, key: tuple[int, int]) -> AgentProfile:
        found = self._first.get(key)
        return self._second[key] if found is None else found

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter({**self._first, **self._second})

    def __len__(self) -> int:
        return len({**self._first, **self._second})


async def profiles_of(ring: Ring, tenant: Any, read: Read) -> Profiles:
    """The profiles of all whom a decision looks at: of those who are free, and of those who are busy."""
    free = await ring.profiles(tenant, read.agents)
    return _Both(await ring.profiles(tenant, read.busy), free) if read.busy else free


def rederive(decision: Decision, profiles: Profiles, models: Models) -> Derived:
    """A stored decision derived again from what it read. profiles: of `profiles_of`."""
    return derive(
        decision.contact,
        decision.evidence,
        decision.read,
        profiles,
        models,
        now=decision.decided_at,
        waited_s=decision.waited_s,
        excluded=decision.derived.routing.need.excluded,
        preferred=decision.derived.routing.need.preferred,
        hold_until=_may_have_been_held(decision, models.routing),
        keep=decision.outcome == "keep",
    )


def _may_have_been_held(decision: Decision, policy: RoutingPolicy) -> datetime | None:
    """Until when a stored decision might hold its contact. Of one that came later in a hold, it stands where it did."""
    hold = decision.derived.routing.need.hold
    if hold is not None or decision.outcome == "keep":
        return None if hold is None else hold.until
    return hold_until(decision.cause, policy.hold_s, decision.decided_at, None)


def differences(stored: Any, again: Any, *, tolerance: float = 1e-9, place: str = "") -> list[str]:
    """Where two derivations differ: numbers by more than `tolerance`, everything else at all. Empty: they are the same."""
    if isinstance(stored, bool) or isinstance(again, bool):
        return [] if stored is again else [f"{place}: {stored!r} was stored, {again!r} derived"]
    if isinstance(stored, int | float) and isinstance(again, int | float):
        same = math.isclose(stored, again, rel_tol=0.0, abs_tol=tolerance)
        return [] if same else [f"{place}: {stored!r} was stored, {again!r} derived"]
    if isinstance(stored, msgspec.Struct) and type(stored) is type(again):
        return [
            line
            for field in stored.__struct_fields__
            for line in differences(
                getattr(stored, field), getattr(again, field), tolerance=tolerance, place=f"{place}.{field}".lstrip(".")
            )
        ]
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        if stored.keys() != again.keys():
            return [f"{place}: the fields {sorted(map(str, stored.keys() ^ again.keys()))} are in one only"]
        return [
            line
            for key in stored
            for line in differences(stored[key], again[key], tolerance=tolerance, place=f"{place}.{key}".lstrip("."))
        ]
    if isinstance(stored, list | tuple) and isinstance(again, list | tuple):
        if len(stored) != len(again):
            return [f"{place}: {len(stored)} were stored, {len(again)} derived"]
        return [
            line
            for index, (left, right) in enumerate(zip(stored, again, strict=True))
            for line in differences(left, right, tolerance=tolerance, place=f"{place}[{index}]")
        ]
    return [] if stored == again else [f"{place}: {stored!r} was stored, {again!r} derived"]
