"""One read before `derive`, one commit behind it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec

from firstring import limits
from firstring.contact import (
    AgentFree,
    AgentProfile,
    Around,
    Cause,
    Channel,
    Committed,
    Contact,
    ContactState,
    Decision,
    Evidence,
    Hold,
    Identifier,
    InTrial,
    Read,
)
from firstring.decide.deriving import Profiles, derive
from firstring.decide.models import Models
from firstring.identity.caller.weights import Weights
from firstring.identity.persons.blocking import composite_key
from firstring.nextbest.incontact import Asks, asks_of
from firstring.ports import Clock, Ids
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.pick.beside import hold_until
from firstring.routing.pick.elsewhere import came_back

FINDS_AN_AGENT: Final[frozenset[Cause]] = frozenset(
    {"busy", "no_answer", "rejected", "capacity", "requeued", "transferred", "left", "overflow"}
)
"""Causes of a decision that is made because nobody has the contact."""
LEAVES: Final[frozenset[Cause]] = frozenset({"left", "busy", "no_answer", "rejected"})
"""Causes for which a contact leaves the place where it is (self-service, another site); for others it stays there."""
TRIES: Final = 5
"""How often late evidence is decided with, where somebody else decided at the same moment."""


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
