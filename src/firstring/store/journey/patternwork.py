"""What keeps patterns going beside the events: absences that come due, states to be made anew, states that are over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from firstring import limits
from firstring.journey.patterns.reading import milliseconds, moment_of
from firstring.ports import Clock
from firstring.store.database import Connection, Database, Tenant
from firstring.store.journey.firings import Firing, Told, add_firings
from firstring.store.journey.live import Live, live_patterns
from firstring.store.journey.replaying import as_many_as_fit, log_sizes, replay, replay_households
from firstring.store.journey.states import HOUSEHOLD, PERSON, Kept, Moved, put_states, waited
from firstring.store.queries import sql

_DUE_AT_ONCE: Final = 200
_PERSONS_AT_ONCE: Final = 200
_RECORDS_AT_ONCE: Final = 1_000
_WALKED_AT_ONCE: Final = 2_000
_EVICT_EVERY: Final = timedelta(seconds=10)


class Behind(Protocol):
    """Is told whether states of a tenant wait to be made anew."""

    def __call__(self, tenant: str, *, behind: bool) -> None: ...


def _nobody(tenant: str, *, behind: bool) -> None:
    """Nobody wants to know."""


class PatternWork:
    """One for each process; its methods are what `Timers.also` calls. Several processes take turns."""

    def __init__(self, database: Database, clock: Clock, told: Told, behind: Behind = _nobody) -> None:
        self._database = database
        self._clock = clock
        self._told = told
        self._behind = behind
        self._evicted: dict[int, datetime] = {}

    async def replays(self, tenant: Tenant) -> datetime | None:
        """Makes some of the states anew that are to be; now, when there are more."""
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            if not await connection.fetchval(sql("patterns", "try_turn"), tenant.tenant_id):
                return None
            await connection.execute(sql("patterns", "lock_shared"), tenant.tenant_id)
            live = await live_patterns(connection, tenant)
            if live is None:
                await connection.execute(sql("patterns", "forget_stale"), tenant.tenant_id)
                return None
            rows = await connection.fetch(sql("patterns", "stale_persons"), tenant.tenant_id, _PERSONS_AT_ONCE)
            persons = sorted(row["person_id"] for row in rows)
            if persons:
                firings = await self._replayed(connection, tenant, live, persons, now)
            elif live.rebuilt_to is not None:
                firings = await self._rebuilt(connection, tenant, live, live.rebuilt_to, now)
            else:
                self._behind(tenant.name, behind=False)
                return None
        self._behind(tenant.name, behind=True)
        self._told(tenant, firings)
        return now

    async def _replayed(
        self, connection: Connection, tenant: Tenant, live: Live, persons: Sequence[int], now: datetime
    ) -> list[Firing]:
        sizes = await log_sizes(connection, tenant, persons, limits.PATTERN_LOG_EVENTS)
        return await replay(connection, tenant, live, as_many_as_fit(sizes), now)

    async def _rebuilt(
        self, connection: Connection, tenant: Tenant, live: Live, rebuilt_to: int, now: datetime
    ) -> list[Firing]:
        """The next persons, after the patterns that are on have changed."""
        statement = sql("patterns", "next_persons")
        rows = await connection.fetch(statement, tenant.tenant_id, rebuilt_to, _RECORDS_AT_ONCE)
        persons = [row["person_id"] for row in rows if row["may_have_events"]]
        firings: list[Firing] = []
        reached: int | None = rows[-1]["person_id"] if rows else None
        if persons:
            sizes = await log_sizes(connection, tenant, persons, limits.PATTERN_LOG_EVENTS)
            some = as_many_as_fit({person: sizes[person] for person in persons})
            firings = await replay(connection, tenant, live, some, now, since=live.changed_at)
            if len(some) < len(persons):
                reached = some[-1]
        await connection.execute(sql("patterns", "rebuilt_to"), tenant.tenant_id, reached, live.version)
        return firings

    async def absences(self, tenant: Tenant) -> datetime | None:
        """What came true by the passing of time alone; when the next does."""
        now = self._clock.now()
        now_ms = milliseconds(now)
        firings: list[Firing] = []
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("patterns", "lock_shared"), tenant.tenant_id)
            live = await live_patterns(connection, tenant)
            if live is None:
                return None
            rows = await connection.fetch(sql("patterns", "due_subjects"), tenant.tenant_id, now_ms, _DUE_AT_ONCE)
            persons = {row["subject_id"]: Kept.of(row["content"]) for row in rows if row["kind"] == PERSON}
            if persons:
                firings += await self._came_due(connection, tenant, live, persons, now)
            homes = [row["subject_id"] for row in rows if row["kind"] == HOUSEHOLD]
            if homes:
                firings += await replay_households(connection, tenant, live, homes, now)
            next_ms = await connection.fetchval(sql("patterns", "next_due"), tenant.tenant_id)
        self._told(tenant, firings)
        return None if next_ms is None else moment_of(next_ms)

    async def _came_due(
        self, connection: Connection, tenant: Tenant, live: Live, persons: dict[int, Kept], now: datetime
    ) -> list[Firing]:
        marks = await connection.fetch(sql("patterns", "stale_marks"), tenant.tenant_id, list(persons))
        anew = {row["person_id"] for row in marks}
        moved: dict[int, Moved] = {}
        for person, kept in persons.items():
            try:
                if person not in anew:
                    moved[person] = waited(live.of_person, person, kept, milliseconds(now))
            except ValueError:  # bytes of another version of this program
                anew.add(person)
        await put_states(connection, tenant, PERSON, moved, moved.keys())
        found = [one for each in moved.values() for one in each.found]
        firings = await add_firings(connection, tenant, PERSON, found, live.by_id, now)
        if anew:
            sizes = await log_sizes(connection, tenant, sorted(anew), limits.PATTERN_LOG_EVENTS)
            firings += await replay(connection, tenant, live, as_many_as_fit(sizes), now)
        return firings

    async def evict(self, tenant: Tenant) -> datetime | None:
        """Deletes some of the states that can matter no more: nothing happened for the longest window, and a day."""
        now = self._clock.now()
        due = self._evicted.get(tenant.tenant_id, datetime.min.replace(tzinfo=UTC))
        if now < due:
            return due
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("patterns", "lock_shared"), tenant.tenant_id)
            live = await live_patterns(connection, tenant)
            row = await connection.fetchrow(sql("patterns", "set_of"), tenant.tenant_id)
            if live is None or row is None:
                return None
            over_ms = milliseconds(now) - live.of_person.longest_ms - limits.PATTERN_LAG_MS
            statement = sql("patterns", "evict")
            done = await connection.fetchrow(statement, tenant.tenant_id, row["walked_to"], _WALKED_AT_ONCE, over_ms)
            assert done is not None
            whole = done["seen"] < _WALKED_AT_ONCE
            walked_to = 0 if whole else done["walked_to"]
            if walked_to != row["walked_to"]:
                await connection.execute(sql("patterns", "walked_to"), tenant.tenant_id, walked_to)
        self._evicted[tenant.tenant_id] = now + _EVICT_EVERY
        return now + _EVICT_EVERY
