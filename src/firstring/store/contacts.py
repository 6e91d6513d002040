"""What happens to contacts and agents outside a decision: events of the call, presence, the queue, the desk's lists."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args

import msgspec

from firstring import limits
from firstring.contact import AgentFree, AgentProfile, Channel, RelaxingStep, Requirement, RoutingNeed, Value
from firstring.ports import Clock
from firstring.routing.line.guard import Assigned
from firstring.routing.line.matching import There
from firstring.routing.line.queues import Waiting
from firstring.store.database import Database, Tenant
from firstring.store.freeagents import agent_profile_of
from firstring.store.notices import Notice, Notices
from firstring.store.queries import sql
from firstring.store.ring import call_key
from firstring.store.routing.guarding import read_assigned, read_there

Happening = Literal[
    "ringing", "answered", "busy", "no_answer", "rejected", "expired", "ended", "cancelled", "defaulted", "finished",
    "transferred",
]  # fmt: skip
Presence = Literal["ready", "away", "offline"]

CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
FROM_THE_HEAD: Final = datetime(1970, 1, 2, tzinfo=UTC)


class Change(Value, frozen=True):
    """A contact's state before and after, and whose assignment it concerned. before is None for an unknown contact."""

    before: str | None
    after: str | None
    agent_id: int | None
    assignment_id: uuid.UUID | None


class AgentState(Value, frozen=True):
    """An agent with presence and load: `live` is how many contacts they have."""

    profile: AgentProfile
    presence: Presence
    presence_at: datetime
    live: int


class ContactLine(Value, frozen=True):
    """A contact as lists show it: no personal data."""

    contact_id: uuid.UUID
    channel: Channel
    state: str
    revision: int
    priority: int
    offered_at: datetime
    agent_id: int | None = None
    waiting_since: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    outcome: str | None = None
    assignment_state: str | None = None


class EndedContact(Value, frozen=True):
    """A contact that is over and has not become a touch yet."""

    contact_id: uuid.UUID
    channel: Channel
    offered_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    outcome: str | None = None
    agent_id: int | None = None
    """Who answered it last."""
    elsewhere: str | None = None
    """The place in the policy (self-service, where overflow goes) where it ended."""


class Contacts:
    """Changes go through the functions of the schema, each one transaction; this process is told at once."""

    def __init__(self, database: Database, notices: Notices, clock: Clock, *, wrap_up_s: float) -> None:
        self._database = database
        self._notices = notices
        self._clock = clock
        self._wrap_up_s = wrap_up_s

    async def event(
        self,
        tenant: Tenant,
        contact_id: uuid.UUID,
        what: Happening,
        *,
        outcome: str | None = None,
        assignment_id: uuid.UUID | None = None,
    ) -> Change:
        """Something happened (see contact_event in the schema). Repeats change nothing.

        assignment_id: whom it is about; it is not taken for anybody who has the contact later.
        """
        now = self._clock.now()
        row = await self._database.call(
            "contact_event",
            tenant.tenant_id,
            contact_id,
            what,
            now,
            self._expires(what, now),
            outcome,
            limits.EXCLUDE_S,
            self._notices.origin_in_transaction,
            assignment_id,
        )
        assert row is not None
        change = Change(row["before"], row["after"], row["agent_id"], row["assignment_id"])
        if change.before is not None:
            self._notices.tell(Notice(tenant.tenant_id, what, contact_id, change.agent_id))
        return change

    async def call_event(
        self, tenant: Tenant, adapter: str, channel_id: str, what: Happening, *, phone: str | None = None
    ) -> Change | None:
        """As `event`, for the open contact of a channel's own id; None where there is none.

        phone: it happened at the phone of whoever has the contact now ("": whatever phone that is); what is told of another
        phone is not taken (None).
        """
        now = self._clock.now()
        row = await self._database.row(
            sql("contacts", "call_event"),
            tenant.tenant_id,
            call_key(tenant, adapter, channel_id),
            what,
            now,
            self._expires(what, now),
            limits.EXCLUDE_S,
            self._notices.origin_in_transaction,
            phone is not None,
            phone or "",
        )
        if row is None:
            return None
        change = Change(row["before"], row["after"], row["agent_id"], row["assignment_id"])
        if change.before is not None:
            self._notices.tell(Notice(tenant.tenant_id, what, row["contact_id"], change.agent_id))
        return change

    def _expires(self, what: Happening, now: datetime) -> datetime:
        """When the claim ends by itself if nothing more is told of it."""
        if what == "answered":
            return now + timedelta(seconds=limits.ANSWERED_EXPIRES_S)
        return now + timedelta(seconds=self._wrap_up_s if what == "ended" else limits.RING_EXPIRES_S)

    async def set_presence(self, tenant: Tenant, agent_id: int, presence: Presence) -> bool:
        """False for an unknown agent."""
        row = await self._database.call(
            "set_presence", tenant.tenant_id, agent_id, presence, self._clock.now(), self._notices.origin_in_transaction
        )
        known = bool(row and row[0])
        if known:
            self._notices.tell(Notice(tenant.tenant_id, "presence", None, agent_id))
        return known

    async def put_agent(self, tenant: Tenant, profile: AgentProfile, agent_id: int | None = None) -> tuple[int, int]:
        """Stores a new version of a profile (a new agent without an id); returns (agent_id, version)."""
        body = {name: value for name, value in msgspec.to_builtins(profile).items() if name not in ("agent_id", "version")}
        body["capacity"] = {channel: places for channel, places in profile.capacity.items() if channel in profile.channels}
        row = await self._database.call(
            "put_agent", tenant.tenant_id, agent_id, msgspec.json.encode(body).decode(), self._clock.now()
        )
        assert row is not None
        return row["agent_id"], row["version"]

    async def agents(self, tenant: Tenant) -> list[AgentState]:
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("agents", "agents"), tenant.tenant_id)
        return [_agent_state(row) for row in rows]

    async def agent(self, tenant: Tenant, agent_id: int) -> AgentState | None:
        """One agent, or None."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            row = await connection.fetchrow(sql("agents", "agent"), tenant.tenant_id, agent_id)
        return None if row is None else _agent_state(row)

    async def waiting(
        self,
        tenant: Tenant,
        at_most: int = 200,
        channels: Sequence[Channel] = CHANNELS,
        *,
        behind: datetime = FROM_THE_HEAD,
    ) -> list[tuple[Waiting, Channel]]:
        """Contacts in the queue, and contacts that were given back and not decided again within a second.

        At most so many of each channel, in the order of the line: by waiting time, with what priority is worth. behind:
        those whose turn (`Waiting.turn_at`) comes after.
        """
        values = (tenant.tenant_id, self._clock.now(), at_most, limits.EXCLUDE_S, channels, behind)
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "waiting"), *values)
        found: list[tuple[Waiting, Channel]] = []
        for row in rows:
            try:
                need = _need(row["need"], row["excluded"])
            except msgspec.MsgspecError:  # damaged, or a newer program's: it holds up no other
                need = RoutingNeed(row["channel"], 0, (RelaxingStep(0.0, Requirement()),), excluded=tuple(row["excluded"]))
            waiting = Waiting(
                contact_id=row["contact_id"],
                need=need,
                since=row["since"],
                turn_at=row["turn_at"],
                is_told=row["told_at"] is not None,
                revision=row["revision"],
            )
            found.append((waiting, row["channel"]))
        return found

    async def free_agents(self, tenant: Tenant) -> tuple[dict[Channel, list[AgentFree]], dict[tuple[int, str], int]]:
        """Agents with a free place by channel, and their number of free places by (agent, channel)."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("agents", "free"), tenant.tenant_id, limits.AGENTS_CONSIDERED)
        free: dict[Channel, list[AgentFree]] = {}
        places: dict[tuple[int, str], int] = {}
        for row in rows:
            free.setdefault(row["channel"], []).append(AgentFree(row["agent_id"], row["version"], row["free_since"]))
            places[(row["agent_id"], row["channel"])] = row["places"]
        return free, places

    async def there(self, tenant: Tenant) -> dict[Channel, There]:
        """Everybody who is ready for a channel, free or not, with how many contacts they have."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            return await read_there(connection, tenant)

    async def assigned(self, tenant: Tenant, channel: Channel, since: datetime) -> list[Assigned]:
        """What was assigned on a channel since a moment, as far as the guard of its line looks back."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            return await read_assigned(connection, tenant, channel, since)

    async def due(self, tenant: Tenant) -> bool:
        """Whether anything waits or has expired: one round trip, for the queue task to ask before it looks closer."""
        row = await self._database.call("queue_due", tenant.tenant_id, self._clock.now())
        return bool(row and row[0])

    async def expired(self, tenant: Tenant) -> list[tuple[uuid.UUID, str]]:
        """(contact, assignment state) of live assignments past their time."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "expired"), tenant.tenant_id, self._clock.now())
        return [(row["contact_id"], row["state"]) for row in rows]

    async def overdue(self, tenant: Tenant) -> list[uuid.UUID]:
        """Contacts that wait longer than any adapter does: their switch is gone."""
        before = self._clock.now() - timedelta(milliseconds=2 * limits.QUEUE_WAIT_MAX_MS)
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "overdue"), tenant.tenant_id, before)
        return [row["contact_id"] for row in rows]

    async def take_lease(self, tenant: Tenant, name: str) -> int | None:
        """The lease's epoch while this process holds it, else None. The database's clock counts, not ours."""
        row = await self._database.call("take_lease", tenant.tenant_id, name, self._notices.origin, limits.LEASE_S)
        return None if row is None else row[0]

    async def of_agent(self, tenant: Tenant, agent_id: int) -> list[ContactLine]:
        """The contacts an agent has now, those in wrap-up among them."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "of_agent"), tenant.tenant_id, agent_id)
        return [_line(row) for row in rows]

    async def recent(self, tenant: Tenant, at_most: int = 100) -> list[ContactLine]:
        """The newest contacts, newest first."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "recent"), tenant.tenant_id, at_most)
        return [_line(row) for row in rows]

    async def open_calls(self, tenant: Tenant, adapter: str) -> list[tuple[uuid.UUID, str, bytes]]:
        """(contact, state, call key) of the open contacts and wrap-ups of one kind of adapter."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "open_calls"), tenant.tenant_id, adapter)
        return [(row["contact_id"], row["state"], row["call_key"]) for row in rows]

    async def ended_not_logged(self, tenant: Tenant, at_most: int) -> list[EndedContact]:
        """Contacts that are over, past wrap-up, and not in any journey yet; oldest first."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("contacts", "ended_not_logged"), tenant.tenant_id, at_most)
        return [msgspec.convert(dict(row), EndedContact) for row in rows]

    async def mark_logged(self, tenant: Tenant, contact_ids: Sequence[uuid.UUID]) -> None:
        """They are in their journeys."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("contacts", "logged"), tenant.tenant_id, list(contact_ids), self._clock.now())


_needs: Final = msgspec.json.Decoder(RoutingNeed)


def _need(stored: str, excluded: Sequence[int]) -> RoutingNeed:
    """As it was stored, with those who are left out now."""
    need = _needs.decode(stored)
    return msgspec.structs.replace(need, excluded=tuple(excluded)) if excluded or need.excluded else need


def _agent_state(row: Any) -> AgentState:
    return AgentState(
        agent_profile_of(row["agent_id"], row["version"], row["profile"]), row["presence"], row["presence_at"], row["live"]
    )


def _line(row: object) -> ContactLine:
    return msgspec.convert(dict(row), ContactLine)  # type: ignore[call-overload]
