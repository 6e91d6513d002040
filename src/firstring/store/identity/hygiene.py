"""Continuous hygiene: every person is looked at again and again, and at once when something of them changed.

A sweep walks through all persons in the order of their ids, in small batches; where it is stands in a table, so that it
goes on after a restart, in whatever process. For each person: the records are brought into today's canonical form (a
record that changes by that is linked anew), the golden record is derived again, conflicts are queued or closed, fields
that have faded or expired are listed to be asked for again, and everything is counted for the report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from firstring import __version__
from firstring.contact import RecordRead
from firstring.errors import BadInput
from firstring.identity.canonical.record import ATTRIBUTES, TRACES, CanonicalRecord, canonical_record
from firstring.identity.golden.record import Golden, GoldenField
from firstring.identity.golden.rules import Rules
from firstring.ports import Clock
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.conflicts import note, renew_choices
from firstring.store.identity.persons import Person, people
from firstring.store.identity.records import apply_in, prepare
from firstring.store.queries import sql

SWEEP_EVERY: Final = timedelta(days=7)
"""A sweep begins when the last one is older than this, or was made with other rules or another release."""
TAIL: Final = 200
"""New and changed records looked at in one step, beside the sweep."""
PAUSE_S: Final = 1.0
"""Between two steps of the background job."""
_NOT_RAW: Final = (ATTRIBUTES, TRACES, "record_id")


class FieldCount(msgspec.Struct):
    """persons: who have a value of the field; the others: of how many of these it has expired, faded, or is in conflict."""

    persons: int = 0
    values: int = 0
    expired: int = 0
    faded: int = 0
    conflicts: int = 0


class Report(msgspec.Struct):
    """What a sweep found so far. normalised: records brought into today's form; refused: values that this left out."""

    persons: int = 0
    records: int = 0
    normalised: int = 0
    refused: int = 0
    ask_again: int = 0
    conflicts_found: int = 0
    conflicts_closed: int = 0
    fields: dict[str, FieldCount] = {}

    def stale_share(self, field: str) -> float:
        """The share of persons with the field of whom it has expired or faded."""
        count = self.fields.get(field, FieldCount())
        return max(count.expired, count.faded) / count.persons if count.persons else 0.0


class Sweep(msgspec.Struct, frozen=True):
    """One walk through all persons; finished_at is None while it goes on, position the last person it looked at."""

    sweep_id: int
    version: str
    position: int
    report: Report
    started_at: datetime
    advanced_at: datetime
    finished_at: datetime | None = None


class Stale(msgspec.Struct, frozen=True):
    """A person of whom these fields should be asked for again."""

    person_id: int
    fields: tuple[str, ...]
    found_at: datetime


class Hygiene:
    """The job of one program. `per_s`: persons looked at in a second in the background; 0: it does not run there."""

    def __init__(self, database: Database, clock: Clock, rules: Rules, *, country: str, per_s: int = 25) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self._country = country
        self._per_s = per_s
        self._next_s: dict[int, float] = {}
        self.version = f"{__version__} {rules.version}"

    async def chore(self, tenant: Tenant) -> None:
        """A step, where one is due; called again and again by the elected queue task."""
        now_s = self._clock.monotonic_s()
        if self._per_s == 0 or now_s < self._next_s.get(tenant.tenant_id, 0.0):
            return
        self._next_s[tenant.tenant_id] = now_s + PAUSE_S
        await self.look_at_changes(tenant)
        await self.step(tenant, self._per_s)

    async def once(self, tenant: Tenant, *, batch: int = 200) -> Sweep:
        """A whole sweep: the one that is under way to its end, else a new one."""
        await self.look_at_changes(tenant)
        newest = await self._newest(tenant)
        if newest is None or newest.finished_at is not None:
            await self._start(tenant)
        while await self.step(tenant, batch, begin=False):
            pass
        done = await last_finished(self._database, tenant)
        assert done is not None
        return done

    async def step(self, tenant: Tenant, at_most: int, *, begin: bool = True) -> bool:
        """Looks at the next persons of the sweep under way, begins one where it is time; whether there is more to do."""
        sweep = await self._newest(tenant)
        if sweep is None or sweep.finished_at is not None:
            if not begin or (sweep is not None and not self._is_time(sweep)):
                return False
            await self._start(tenant)
            sweep = await self._newest(tenant)
            assert sweep is not None
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("hygiene", "next_persons"), tenant.tenant_id, sweep.position, at_most)
        ids = [row["person_id"] for row in rows]
        report = sweep.report
        await self._normalise(tenant, ids, report)
        known, goldens = await self._derived(tenant, ids)
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            _count(report, known, goldens)
            await self._keep(connection, tenant, known, goldens, ids, now, report)
            finished = now if len(ids) < at_most else None
            moved = await connection.fetchval(
                sql("hygiene", "advance_sweep"), tenant.tenant_id, sweep.sweep_id, sweep.position,
                ids[-1] if ids else sweep.position, msgspec.json.encode(report).decode(), now, finished,
            )  # fmt: skip
        return moved is None or finished is None

    def _is_time(self, last: Sweep) -> bool:
        assert last.finished_at is not None
        return last.version != self.version or self._clock.now() - last.finished_at >= SWEEP_EVERY

    async def look_at_changes(self, tenant: Tenant) -> int:
        """Looks at persons whose records came, changed, moved or went since the last time; how many."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            cursor = await connection.fetchrow(sql("hygiene", "cursor"), tenant.tenant_id)
            if cursor is None:
                return 0  # no sweep has begun yet: it will see them all
            new = await connection.fetch(sql("hygiene", "new_records"), tenant.tenant_id, cursor["record_id"], TAIL)
            old = await connection.fetch(sql("hygiene", "new_history"), tenant.tenant_id, cursor["history_id"], TAIL)
            if not new and not old:
                return 0
            await renew_choices(connection, tenant, [row["record_id"] for row in new])
        ids = sorted({one for row in old for one in (row["was"], row["is"]) if one} | {row["person_id"] for row in new})
        known, goldens = await self._derived(tenant, ids)
        to_record = new[-1]["record_id"] if new else cursor["record_id"]
        to_history = old[-1]["history_id"] if old else cursor["history_id"]
        async with self._database.transaction(tenant.tenant_id) as connection:
            await self._keep(connection, tenant, known, goldens, ids, self._clock.now(), Report())
            await connection.execute(sql("hygiene", "move_cursor"), tenant.tenant_id, to_record, to_history)
        return len(ids)

    # --- parts of a step -----------------------------------------------------------------------------------------

    async def _newest(self, tenant: Tenant) -> Sweep | None:
        async with self._database.transaction(tenant.tenant_id) as connection:
            return _sweep(await connection.fetchrow(sql("hygiene", "newest_sweep"), tenant.tenant_id))

    async def _start(self, tenant: Tenant) -> None:
        now = self._clock.now()
        empty = msgspec.json.encode(Report()).decode()
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("hygiene", "start_sweep"), tenant.tenant_id, self.version, empty, now)
            await connection.execute(sql("hygiene", "start_cursor"), tenant.tenant_id)
            await connection.execute(sql("hygiene", "forget_sweeps"), tenant.tenant_id)

    async def _derived(self, tenant: Tenant, ids: Sequence[int]) -> tuple[dict[int, Person], dict[int, Golden]]:
        async with self._database.transaction(tenant.tenant_id) as connection:
            known = await people(connection, tenant, ids)
        now = self._clock.now()
        goldens = await asyncio.to_thread(lambda: {one: of.golden(now, self._rules) for one, of in known.items()})
        return known, goldens

    async def _normalise(self, tenant: Tenant, ids: Sequence[int], report: Report) -> None:
        """Brings records into today's canonical form. What differs is read again under the applier's lock, and applied."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            known = await people(connection, tenant, ids)
        changed = await asyncio.to_thread(self._renewed, known)
        if not changed:
            return
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            for source, records in self._renewed(await people(connection, tenant, ids)).items():
                prepared = [prepare(tenant.keys, source, record) for record in records]
                applied = await apply_in(connection, tenant, source, prepared, now=self._clock.now())
                report.normalised += applied.updated
                report.refused += sum(len(record.dropped) for record in records)

    def _renewed(self, known: Mapping[int, Person]) -> dict[str, list[CanonicalRecord]]:
        """Records whose canonical form is another one today, by source."""
        found: dict[str, list[CanonicalRecord]] = {}
        for person in known.values():
            for record in person.records:
                renewed = renormalised(record, self._country)
                if renewed is not None:
                    found.setdefault(record.source, []).append(renewed)
        return found

    async def _keep(
        self,
        connection: Connection,
        tenant: Tenant,
        known: Mapping[int, Person],
        goldens: Mapping[int, Golden],
        looked_at: Sequence[int],
        now: datetime,
        report: Report,
    ) -> None:
        found, closed = await note(connection, tenant, goldens, looked_at, now)
        report.conflicts_found += found
        report.conflicts_closed += closed
        stale = {one: ",".join(fields) for one, made in goldens.items() if (fields := to_ask(made))}
        await connection.execute(sql("hygiene", "clear_stale"), tenant.tenant_id, list(looked_at), list(stale))
        if stale:
            await connection.execute(sql("hygiene", "put_stale"), tenant.tenant_id, list(stale), list(stale.values()), now)


def to_ask(made: Golden) -> tuple[str, ...]:
    """Fields that have faded, or of which nothing is left that has not expired."""
    return tuple(name for name, field in made.fields.items() if field.ask_again or field.values[0].expired)


def renormalised(record: RecordRead, country: str) -> CanonicalRecord | None:
    """A stored record in today's canonical form; None where that is the form it has."""
    fields = record.fields
    raw: dict[str, Any] = {**fields.get(ATTRIBUTES, {})}
    raw |= {name: value for name, value in fields.items() if name not in _NOT_RAW}
    try:
        renewed = canonical_record({**raw, "record_id": fields["record_id"]}, country=country, findable=False)
    except (BadInput, KeyError):
        return None  # it cannot be brought into any form today: it stays as its source sent it
    if TRACES in fields:
        renewed.fields.setdefault(TRACES, fields[TRACES])
    return None if renewed.fields == {name: fields[name] for name in fields if name != "record_id"} else renewed


def _count(report: Report, known: Mapping[int, Person], goldens: Mapping[int, Golden]) -> None:
    report.persons += len(known)
    report.records += sum(len(person.records) for person in known.values())
    for made in goldens.values():
        report.ask_again += bool(to_ask(made))
        for name, field in made.fields.items():
            _add(report.fields.setdefault(name, FieldCount()), field)


def _add(count: FieldCount, field: GoldenField) -> None:
    count.persons += 1
    count.values += len(field.values)
    count.expired += field.values[0].expired
    count.faded += field.ask_again
    count.conflicts += field.conflict


def _sweep(row: Any) -> Sweep | None:
    if row is None:
        return None
    report = msgspec.json.decode(row["report"], type=Report)
    return Sweep(**{**dict(row), "report": report})


async def last_finished(database: Database, tenant: Tenant) -> Sweep | None:
    """The newest sweep that was finished."""
    async with database.transaction(tenant.tenant_id) as connection:
        return _sweep(await connection.fetchrow(sql("hygiene", "last_finished"), tenant.tenant_id))


async def under_way(database: Database, tenant: Tenant) -> Sweep | None:
    """The sweep that goes on now."""
    async with database.transaction(tenant.tenant_id) as connection:
        newest = _sweep(await connection.fetchrow(sql("hygiene", "newest_sweep"), tenant.tenant_id))
    return newest if newest is not None and newest.finished_at is None else None


async def stale_persons(database: Database, tenant: Tenant, *, after: int = 0, at_most: int = 100) -> list[Stale]:
    """Persons of whom something should be asked for again, by person id, from the one after `after` on."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("hygiene", "stale"), tenant.tenant_id, after, at_most)
    return [Stale(row["person_id"], tuple(row["fields"]), row["found_at"]) for row in rows]
