"""The ring path's two calls: read everything one decision needs, then claim and commit it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from firstring import limits
from firstring.contact import (
    AgentFree,
    AgentProfile,
    Channel,
    Committed,
    Contact,
    ContactState,
    Decision,
    Derived,
    Evidence,
    FanOut,
    Hold,
    Identifier,
    InTrial,
    Read,
    RecordRead,
    Resolution,
    TouchRead,
    Value,
)
from firstring.errors import FirstringError
from firstring.nextbest.incontact import Asks
from firstring.store.database import Database, Tenant, translated
from firstring.store.freeagents import ProfileCache, agents_read, busy_read
from firstring.store.notices import Notice, Notices
from firstring.store.queries import sql
from firstring.store.ringmoment import READ_ASKED, asked, with_moment
from firstring.store.routing.presence import present
from firstring.store.seal import TenantKeys
from firstring.store.touches import touches_of

COMPOSITE = "composite"
"""The kind under which the name + birth date + postcode key is looked up."""
_READ = """
select hits, records, touches, issues, candidates_cut, typed_keys, typed,
       array_send(agent_ids) as agent_ids, array_send(agent_versions) as agent_versions, array_send(agent_free) as agent_free
from ring_read($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
"""The agents come as bytes, for may.packed: turning 900 values into objects took as long as all else that is read."""


class SealedDecision(Value, frozen=True):
    """What a decision's row holds sealed."""

    contact: Contact
    cause: str
    decided_at: datetime
    evidence: Evidence
    read: Read
    derived: Derived
    waited_s: float
    trial: InTrial | None = None


class _Proposed(Value, frozen=True):
    """Of the next best action."""

    action: str = ""


class _Who(Value, frozen=True):
    """Of what was derived."""

    resolution: Resolution
    action: _Proposed = _Proposed()


class Recognised(Value, frozen=True):
    """Of a decision what tells who it was. The rest of what is sealed is passed over."""

    evidence: Evidence
    derived: _Who


class OpenCall(Value, frozen=True):
    """An open contact, its live assignment and that agent's address, None where nobody has it."""

    contact_id: uuid.UUID
    assignment_id: uuid.UUID | None = None
    address: str | None = None


_sealed_decoder = msgspec.msgpack.Decoder(SealedDecision)
_recognised_decoder = msgspec.msgpack.Decoder(Recognised)


_COMMIT_PARAMETERS = 25
_COMMIT = f"select * from ring_commit({', '.join(f'${number}' for number in range(1, _COMMIT_PARAMETERS + 1))})"  # noqa: S608 - placeholders


async def warm(connection: asyncpg.Connection) -> None:
    """Readies a new connection for the ring path: the first call on a cold one costs 16 ms (types, plans, catalogue).

    Reads for a tenant that does not exist, and prepares the commit.
    """
    nobody: tuple[Any, ...] = (0, [bytes(16)], [], "voice", 1, 1, 1, 1, 1, 1)
    await connection.fetchrow(_READ, *nobody)
    now = datetime(2000, 1, 1, tzinfo=UTC)
    await connection.fetchrow(READ_ASKED, *nobody, now, now, [], now, 0, "voice")
    await connection.prepare(_COMMIT)


class RingStore:
    """Reads and commits decisions, and tells this process of them at once (others hear it from the database)."""

    def __init__(self, database: Database, notices: Notices) -> None:
        self._database = database
        self._notices = notices
        self._profiles: dict[int, ProfileCache] = {}

    async def read(
        self,
        tenant: Tenant,
        identifiers: Sequence[Identifier],
        channel: Channel | None,
        *,
        persons: Sequence[int] = (),
        asks: Asks | None = None,
        busy: bool = False,
        timeout_s: float = 1.0,
    ) -> Read:
        """One round trip. Opens what it found; `channel` None reads no agents.

        `persons` are read whether or not an identifier leads to them (somebody confirmed them). asks: what else is read, for
        a decision. busy: it is read too who is busy on the channel, and how many wait (with asks).
        """
        keys = tenant.keys
        by_key = {keys.blind(identifier.kind, identifier.value): identifier for identifier in identifiers}
        there = present(tenant, channel) if busy and channel is not None else None
        with translated():
            row = await self._database.pool.fetchrow(
                _READ if asks is None else READ_ASKED,
                tenant.tenant_id,
                list(by_key),
                list(persons),
                channel,
                limits.HOT_KEY_RECORDS,
                limits.CANDIDATES,
                limits.RECORDS_PER_CANDIDATE,
                limits.TOUCHES_PER_RECORD,
                limits.ISSUE_EVENTS_PER_PERSON,
                limits.AGENTS_CONSIDERED,
                *(() if asks is None else asked(asks, channel if busy and there is None else None)),
                timeout=timeout_s,
            )
        assert row is not None
        touches, issues_cut = touches_of(keys, row["touches"] or (), row["issues"] or ())
        records = [record_read(keys, found, by_key) for found in row["records"] or ()]
        touches = _with_typed(touches, _typed(keys, row, records, by_key))
        read = Read(
            records=tuple(record for record in records if not record.enriched),
            enrichments=tuple(record for record in records if record.enriched),
            touches=touches,
            fan_out=tuple(
                FanOut(by_key[hit["key"]], hit["records"], hit["persons"], hit["hot"])
                for hit in row["hits"] or ()
                if by_key[hit["key"]].kind != COMPOSITE
            ),
            agents=agents_read(row["agent_ids"], row["agent_versions"], row["agent_free"]),
            candidates_cut=row["candidates_cut"] or 0,
            issues_cut=issues_cut,
        )
        if asks is None:
            return read
        if there is not None:
            read = msgspec.structs.replace(read, busy=there.busy(read.agents), waiting=there.waiting)
        elif row["waiting"] is not None:
            read = msgspec.structs.replace(
                read,
                busy=busy_read(row["busy_ids"], row["busy_versions"], row["busy_taken"]),
                waiting=row["waiting"],
            )
        return with_moment(keys, read, row)

    async def profiles(self, tenant: Tenant, agents: Sequence[AgentFree] | bytes) -> Mapping[tuple[int, int], AgentProfile]:
        """The profiles of these versions, and of others that were asked for before: they never change, and are kept."""
        return await self._profiles.setdefault(tenant.tenant_id, ProfileCache()).of(self._database, tenant, agents)

    async def commit(
        self, tenant: Tenant, decision: Decision, *, assignment_id: uuid.UUID, epoch: int = 0, timeout_s: float = 1.0
    ) -> Committed:
        """Claims an agent of `decision.derived.routing.ranked` in turn and stores the decision, in one transaction.

        Safe to repeat with the same decision object's sealed form only within one call: a repeat after a lost
        connection is answered "stale" or "duplicate", and the caller loads what was stored.
        """
        derived = decision.derived
        contact = decision.contact
        wrapped, sealed = tenant.keys.seal(
            SealedDecision(
                contact,
                decision.cause,
                decision.decided_at,
                decision.evidence,
                decision.read,
                derived,
                decision.waited_s,
                decision.trial,
            )
        )
        contact_wrapped, contact_sealed = tenant.keys.seal((contact, decision.evidence))
        best = derived.resolution.best
        arguments: tuple[Any, ...] = (
            tenant.tenant_id,
            contact.contact_id,
            decision.revision,
            decision.cause,
            contact.channel,
            call_key(tenant, contact.adapter, contact.call_key),
            contact.adapter,
            contact.offered_at,
            decision.decided_at,
            derived.routing.need.priority,
            msgspec.json.encode(derived.routing.need).decode(),
            best.person_id if best else None,
            # Of one that is held the order is kept, and nobody claimed.
            [agent.agent_id for agent in derived.routing.ranked if agent.eligible and derived.routing.need.hold is None],
            decision.outcome == "keep",
            assignment_id,
            epoch,
            decision.decided_at + timedelta(seconds=limits.OFFER_EXPIRES_S),
            contact_wrapped,
            contact_sealed,
            decision.decide_ms,
            derived.routing.propensity,
            msgspec.json.encode(derived.versions).decode(),
            wrapped,
            sealed,
            self._notices.origin_in_transaction,
        )
        row = await self._call_again_if_lost(_COMMIT, arguments, timeout_s)
        if row["status"] == "committed":
            self._notices.tell(Notice(tenant.tenant_id, row["outcome"], contact.contact_id, row["agent_id"]))
        return Committed(
            row["status"],
            row["contact_id"] or contact.contact_id,
            row["outcome"],
            row["agent_id"],
            row["agent_version"],
            row["assignment_id"],
        )

    async def _call_again_if_lost(self, statement: str, arguments: tuple[Any, ...], timeout_s: float) -> asyncpg.Record:
        """One killed backend drops every connection for .4 s. The call is idempotent, so it is made once more."""
        with translated():
            try:
                row = await self._database.pool.fetchrow(statement, *arguments, timeout=timeout_s)
            except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                row = await self._database.pool.fetchrow(statement, *arguments, timeout=timeout_s)
        assert row is not None
        return row

    async def contact(self, tenant: Tenant, contact_id: uuid.UUID) -> ContactState | None:
        """A contact's present state, opened."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            row = await connection.fetchrow(sql("contacts", "contact"), tenant.tenant_id, contact_id)
        return None if row is None else _contact_state(tenant, row)

    async def contact_by_call(self, tenant: Tenant, adapter: str, channel_id: str) -> uuid.UUID | None:
        """The open contact of a channel's own id."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            return await connection.fetchval(  # type: ignore[no-any-return]
                sql("contacts", "open_contact_by_call"), tenant.tenant_id, call_key(tenant, adapter, channel_id)
            )

    async def open_call(self, tenant: Tenant, adapter: str, channel_id: str) -> OpenCall | None:
        """The open contact of a channel's own id, and who has it."""
        row = await self._database.call("open_call", tenant.tenant_id, call_key(tenant, adapter, channel_id))
        if row is None or row["contact_id"] is None:
            return None
        return OpenCall(row["contact_id"], row["assignment_id"], row["address"])

    async def decision(self, tenant: Tenant, contact_id: uuid.UUID, revision: int | None = None) -> Decision | None:
        """One stored decision (the newest without a revision), opened."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            row = await connection.fetchrow(sql("contacts", "decision"), tenant.tenant_id, contact_id, revision)
        return None if row is None else opened_decision(tenant, row)

    async def decisions_of(self, tenant: Tenant, contact_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Decision]:
        """The newest decision of each of these contacts, opened; those that cannot be are left out."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "newest_decisions_whole"), tenant.tenant_id, list(contact_ids))
        found: dict[uuid.UUID, Decision] = {}
        for row in rows:
            try:
                found[row["contact_id"]] = opened_decision(tenant, row)
            except (FirstringError, msgspec.MsgspecError):  # damaged: it holds up no other
                continue
        return found

    async def newest_decisions(self, tenant: Tenant, contact_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, asyncpg.Record]:
        """The rows of the newest decisions of these contacts, in one read, for `recognised` to open."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "newest_decisions"), tenant.tenant_id, contact_ids)
        return {row["contact_id"]: row for row in rows}


def recognised(tenant: Tenant, row: asyncpg.Record) -> Recognised:
    """Who it was, out of a row of `newest_decisions`. Raises Unrecoverable sealed_data_damaged."""
    return _recognised_decoder.decode(tenant.keys.open_bytes(row["wrapped_key"], row["sealed"]))


def call_key(tenant: Tenant, adapter: str, channel_id: str) -> bytes:
    """The blind index by which a channel's own id finds its open contact. An adapter is kind[:instance]."""
    return tenant.keys.blind("call:" + adapter.partition(":")[0], channel_id)


def opened_decision(tenant: Tenant, row: asyncpg.Record) -> Decision:
    """A decision out of its row, its agent's address among the columns."""
    sealed = _sealed_decoder.decode(tenant.keys.open_bytes(row["wrapped_key"], row["sealed"]))
    return Decision(
        contact=sealed.contact,
        revision=row["revision"],
        cause=row["cause"],
        decided_at=sealed.decided_at,
        evidence=sealed.evidence,
        read=sealed.read,
        derived=sealed.derived,
        outcome=row["outcome"],
        waited_s=sealed.waited_s,
        agent_id=row["agent_id"],
        agent_address=row["agent_address"],
        assignment_id=row["assignment_id"],
        decide_ms=row["decide_ms"],
        trial=sealed.trial,
    )


def _typed(
    keys: TenantKeys, row: asyncpg.Record, records: Sequence[RecordRead], by_key: Mapping[bytes, Identifier]
) -> Iterator[TouchRead]:
    """What visitors did who typed an identifier of the contact into a form, as claims about each who carries it.

    Somebody typed it, nobody knows who: it says why the caller may be calling, and proves nothing. It opens no issue.
    """
    holders: dict[Identifier, set[int]] = {}
    for record in records:
        for identifier in record.matched:
            holders.setdefault(identifier, set()).add(record.person_id)
    for key, event in zip(row["typed_keys"] or (), row["typed"] or (), strict=True):
        typed = by_key[key]
        persons = holders.get(typed, set())
        if len(persons) > limits.PERSONS_PER_IDENTIFIER.get(typed.kind, 1):
            continue
        opened, _ = touches_of(keys, (event,), ())
        for touch in opened:
            for person in persons - {touch.person_id}:
                yield msgspec.structs.replace(touch, person_id=person, claimed=True, issue_kind=None, issue_effect=0)


def _with_typed(touches: tuple[TouchRead, ...], typed: Iterable[TouchRead]) -> tuple[TouchRead, ...]:
    """All of them, newest first, each once for each person."""
    more = {(touch.event_id, touch.person_id): touch for touch in typed}
    for touch in touches:
        more.pop((touch.event_id, touch.person_id), None)
    if not more:
        return touches
    return tuple(sorted((*touches, *more.values()), key=lambda one: (one.occurred_at, one.event_id), reverse=True))


def agent_profile_of(agent_id: int, version: int, profile: str) -> AgentProfile:
    """An agent's profile out of its JSON column."""
    return msgspec.convert({**msgspec.json.decode(profile), "agent_id": agent_id, "version": version}, AgentProfile)


def _contact_state(tenant: Tenant, row: asyncpg.Record) -> ContactState:
    contact, evidence = msgspec.msgpack.decode(
        tenant.keys.open_bytes(row["wrapped_key"], row["sealed"]), type=tuple[Contact, Evidence]
    )
    return ContactState(
        contact=contact,
        evidence=evidence,
        state=row["state"],
        revision=row["revision"],
        excluded=tuple(row["excluded"]),
        excluded_until=row["excluded_until"],
        waiting_since=row["waiting_since"],
        agent_id=row["agent_id"],
        assignment_id=row["assignment_id"],
        person_id=row["person_id"],
        elsewhere=row["elsewhere"],
        hold=None if row["hold"] is None else msgspec.json.decode(row["hold"], type=Hold),
    )


def record_read(keys: Any, row: asyncpg.Record, by_key: dict[bytes, Identifier]) -> RecordRead:
    """A record out of its row; by_key: the identifiers that it may have matched."""
    matched = [by_key[key] for key in row["matched"] or () if key in by_key]
    fields = keys.open(row["wrapped_key"], row["sealed"]) or {}
    return RecordRead(
        record_id=row["record_id"],
        version=row["version"],
        person_id=row["person_id"],
        source=row["source"],
        fields=fields,
        matched=tuple(sorted(identifier for identifier in matched if identifier.kind != COMPOSITE)),
        composite=any(identifier.kind == COMPOSITE for identifier in matched),
        last_seen=row["last_seen"],
        verified_at=row["verified_at"],
        chosen=chosen_fields(keys, fields, row["chosen"]),
        enriched=row["enriched"],
    )


def choice(keys: TenantKeys, field: str, value: Any) -> str:
    """A steward's choice of a field's value as it stands with the record: the value as a blind index."""
    return f"{field}:{keys.blind('chosen:' + field, str(value)).hex()}"


def chosen_fields(keys: TenantKeys, fields: Mapping[str, Any], choices: Sequence[str] | None) -> tuple[str, ...]:
    """The fields of a record whose present value was chosen: a choice falls with the value it was made of."""
    named = ((one.partition(":")[0], one) for one in choices or ())
    return tuple(sorted(field for field, one in named if field in fields and choice(keys, field, fields[field]) == one))
