"""Which patterns a tenant has, and which of them are on: loaded from YAML, switched, listed, tried on the log before.

A declaration keeps its number for ever; a changed one has a new number, so that nothing that is stored of the old one is
taken for its own. Whatever changes what is on gives the set a new version, which every process sees with its next events,
and has the states made anew from the log in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.journey.patterns import Pattern, PatternSet, patterns_in
from firstring.journey.patterns.definition import declared_in
from firstring.journey.patterns.reading import milliseconds
from firstring.store.database import Connection, Database, Tenant
from firstring.store.journey.replaying import households, read_log
from firstring.store.journey.states import Logged
from firstring.store.queries import sql

REPORT_DAYS: Final = 30
REPORT_PERSONS: Final = 2_000
"""A report looks at so many persons, drawn evenly from those with events in that time."""
REPORT_EVENTS: Final = 500_000
"""Persons are drawn from those of the newest so many events."""
EVERYONE: Final = 0.5
"""A pattern that catches this share of the people, or more, tells nobody apart."""
_PEOPLE_TO_JUDGE: Final = 20


class PatternReport(msgspec.Struct, frozen=True):
    """Whom a pattern would have caught in the last `days`. persons: looked at, of `active` with events in that time."""

    pattern: str
    days: int
    fired: int
    caught: int
    persons: int
    active: int
    warnings: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        of = f"{self.persons:,} persons" if self.persons == self.active else f"{self.persons:,} of {self.active:,} persons"
        times = "once" if self.fired == 1 else f"{self.fired:,} times"
        return f"would have fired {times}, for {self.caught:,} of {of} with events in the last {self.days} days"


class PatternShown(msgspec.Struct, frozen=True):
    """A pattern of a tenant. firings and persons: in the last 30 days, without what was retracted."""

    id: str
    number: int
    title: str
    valence: str
    by: str
    is_on: bool
    loaded_at: datetime
    loaded_by: str
    firings: int
    persons: int
    declaration: str


class Loaded(msgspec.Struct, frozen=True):
    """What a file came to: ids of patterns by what was done, and what each new or changed one would have caught."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    reports: tuple[PatternReport, ...] = ()


async def load(
    database: Database, tenant: Tenant, texts: Sequence[tuple[str, str]], *, by: str, now: datetime, switch_on: bool | None
) -> Loaded:
    """Loads patterns out of texts (name of the file, YAML); all of them, or none where one is refused.

    switch_on: True: they are on from now on; None: those of which an older version is on are, new ones are not; False: none
    is. Raises BadInput pattern_invalid, expression_invalid, and too_many_patterns.
    """
    declared = [each for file, text in texts for each in declared_in(text, file)]
    PatternSet([one for one, _ in declared])  # ids are unique across files
    added: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    on: list[str] = []
    async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
        await connection.execute(sql("patterns", "lock_alone"), tenant.tenant_id)
        rows = await connection.fetch(sql("patterns", "current"), tenant.tenant_id)
        there = {row["pattern"]: row for row in rows}
        if len(there.keys() | {one.id for one, _ in declared}) > limits.PATTERNS:
            raise _too_many()
        for one, text in declared:
            row = there.get(one.id)
            is_on = bool(row and row["is_on"]) if switch_on is None else switch_on
            (added if row is None else changed if row["digest"] != one.digest else unchanged).append(one.id)
            if row is not None and row["digest"] == one.digest and row["declaration"] == text and row["is_on"] == is_on:
                continue
            await connection.execute(sql("patterns", "put_away"), tenant.tenant_id, one.id)
            statement = sql("patterns", "put_pattern")
            await connection.execute(statement, tenant.tenant_id, one.id, one.digest, text, now, by, is_on)
            if is_on:
                on.append(one.id)
        switched = [row["pattern"] for row in rows if row["is_on"]]
        if on or set(switched) & set(changed) or (switch_on is False and set(switched) & set(unchanged)):
            await _switched(connection, tenant, now)
    return Loaded(tuple(added), tuple(changed), tuple(unchanged), tuple(on))


async def switch(database: Database, tenant: Tenant, pattern_ids: Sequence[str], *, on: bool, now: datetime) -> list[str]:
    """Switches patterns on or off; those that were otherwise before. Raises BadInput unknown_pattern (404)."""
    async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
        await connection.execute(sql("patterns", "lock_alone"), tenant.tenant_id)
        there = {row["pattern"] for row in await connection.fetch(sql("patterns", "current"), tenant.tenant_id)}
        for one in pattern_ids:
            if one not in there:
                raise unknown_pattern(one)
        rows = await connection.fetch(sql("patterns", "switch"), tenant.tenant_id, list(pattern_ids), on, now)
        if rows:
            await _switched(connection, tenant, now)
    return sorted(row[0] for row in rows)


def unknown_pattern(pattern_id: str) -> BadInput:
    return BadInput(
        "unknown_pattern",
        "There is no such pattern.",
        where={"pattern": pattern_id[:64]},
        hint="`firstring patterns list` shows those that are loaded.",
        http_status=404,
    )


def _too_many() -> BadInput:
    return BadInput("too_many_patterns", f"A tenant has at most {limits.PATTERNS} patterns.", hint="Load fewer of them.")


async def _switched(connection: Connection, tenant: Tenant, now: datetime) -> None:
    """The set has a new version; states are made anew. Under `lock_alone`: nobody steps by the old set any more."""
    await connection.execute(sql("patterns", "new_version"), tenant.tenant_id, now)


async def listed(database: Database, tenant: Tenant, now: datetime) -> list[PatternShown]:
    """All patterns of a tenant, by id."""
    async with database.transaction(tenant.tenant_id) as connection:
        since = now - timedelta(days=REPORT_DAYS)
        rows = await connection.fetch(sql("patterns", "listed"), tenant.tenant_id, since)
    return [_shown(row) for row in rows]


def _shown(row: Any) -> PatternShown:
    [one] = patterns_in(row["declaration"])
    return PatternShown(
        one.id, row["number"], one.title, one.valence, one.by, row["is_on"], row["loaded_at"], row["loaded_by"],
        row["firings"], row["persons"], row["declaration"],
    )  # fmt: skip


async def report(
    database: Database,
    tenant: Tenant,
    patterns: Sequence[Pattern],
    now: datetime,
    *,
    persons: int = REPORT_PERSONS,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[PatternReport]:
    """Whom patterns would have caught in the last REPORT_DAYS, were they on. Nothing is changed.

    persons: looked at, at most; told: (how many persons were looked at, how many will be).
    """
    since = now - timedelta(days=REPORT_DAYS)
    async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
        statement = sql("patterns", "active_persons")
        rows = await connection.fetch(statement, tenant.tenant_id, since, REPORT_EVENTS, timeout=300.0)
    active = [row["person_id"] for row in rows]
    chosen = active[:: max(1, -(-len(active) // persons))]
    trial = _Trial(patterns, milliseconds(since), milliseconds(now))
    for start in range(0, len(chosen), 100):
        some = chosen[start : start + 100]
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            logs = await read_log(connection, tenant, some)
            together: dict[int, list[Logged]] = {}
            if trial.of_household.patterns:
                homes = await households(connection, tenant, some)
                others = {person for home in homes for person in home} - logs.keys()
                all_logs = {**logs, **await read_log(connection, tenant, others)}
                together = {min(home): sorted((e for p in home for e in all_logs[p]), key=lambda e: e[:2]) for home in homes}
        await asyncio.to_thread(trial.look, logs, together)
        told(start + len(some), len(chosen))
    return trial.reports(len(chosen), len(active))


class _Trial:
    """Counts what patterns would have caught."""

    def __init__(self, patterns: Sequence[Pattern], since_ms: int, now_ms: int) -> None:
        self._patterns = patterns
        self._since_ms, self._now_ms = since_ms, now_ms
        self.of_person = PatternSet.of(patterns, "person", "visit")
        self.of_household = PatternSet.of(patterns, "household")
        self._fired: dict[str, int] = dict.fromkeys((one.id for one in patterns), 0)
        self._caught: dict[str, set[int]] = {one.id: set() for one in patterns}

    def look(self, logs: dict[int, list[Logged]], together: dict[int, list[Logged]]) -> None:
        for patterns, of in ((self.of_person, logs), (self.of_household, together)):
            for subject, events in of.items():
                for fired in patterns.replayed((one.happened for one in events), now_ms=self._now_ms)[1]:
                    if fired.at_ms >= self._since_ms:
                        self._fired[fired.pattern] += 1
                        self._caught[fired.pattern].add(subject)

    def reports(self, persons: int, active: int) -> list[PatternReport]:
        found = []
        for one in self._patterns:
            caught = len(self._caught[one.id])
            warnings = []
            if persons >= _PEOPLE_TO_JUDGE and caught >= EVERYONE * persons:
                share = f"{caught / persons:.0%}"
                warnings.append(
                    f"It fires for {share} of all: it tells nobody apart. Ask more of the events, or for more of them."
                )
            elif persons >= _PEOPLE_TO_JUDGE and not caught:
                warnings.append("It would not have fired once. Do events have the names it waits for? `patterns try` tells.")
            found.append(PatternReport(one.id, REPORT_DAYS, self._fired[one.id], caught, persons, active, tuple(warnings)))
        return found
