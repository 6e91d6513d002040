"""Who is in which segment, kept as it is: persons of whom something changed, everybody after a load, everybody once a day.

Whoever changes something of a person notes the person in the same transaction (triggers of migration 0016); here notes are
taken, the persons' profiles read after that, and notes and memberships written at once: a process that ends in between
leaves the notes. Notes are begun when segments are loaded: what was being written at that moment, and noted nobody, is
waited for before everybody is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from firstring import limits
from firstring.errors import BadInput, Unrecoverable
from firstring.identity.golden.rules import Rules
from firstring.journey.consents import ALL
from firstring.journey.experience import experience
from firstring.nextbest.agreed import PURPOSES, by_route
from firstring.nextbest.segments import NAMES, Segment, segment_of
from firstring.ports import Clock
from firstring.store.database import Connection, Database, Tenant
from firstring.store.journey.profiles import Profile, profile_in
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.segments")
PERSONS_AT_ONCE: Final = 50
"""Persons looked at in one transaction because something changed, and as many because everybody is."""
SWEEP_EVERY: Final = timedelta(days=1)
"""Everybody is looked at so often: what a condition says may change by the passing of time alone."""
_SETTLE_PAUSE: Final = timedelta(milliseconds=50)
_LOAD_PAUSE: Final = timedelta(milliseconds=100)
_SWEEP_PAUSE: Final = timedelta(seconds=1)
_NOTES_AT_ONCE: Final = 1_000
_MEMBERS_AT_ONCE: Final = 1_000
_KEPT: Final = "segments"


def _nobody(_segment: str) -> None:
    """Nobody wants to know."""


class SegmentWork:
    """One for each process; `look` is what `Timers.also` calls. Several processes take turns."""

    def __init__(self, database: Database, clock: Clock, rules: Rules, failed: Callable[[str], None] = _nobody) -> None:
        """failed: is told of a segment whose condition came to an error for a person."""
        self._database = database
        self._clock = clock
        self._rules = rules
        self._failed = failed

    async def look(self, tenant: Tenant) -> datetime | None:
        """A bounded part of what is to be looked at; when the next is due, None where nothing is."""
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            if await connection.fetchrow(sql("segments", "current_set"), tenant.tenant_id) is None:
                return None
            if not await connection.fetchval(sql("segments", "try_turn"), tenant.tenant_id):
                return None
            row = await connection.fetchrow(sql("segments", "current_set"), tenant.tenant_id)
            dues = [await self._emptied(connection, tenant, now)]
            if row["is_on"]:
                segments = await self._segments(connection, tenant, row["version"])
                dues.append(await self._noted(connection, tenant, segments, now))
                dues.append(await self._walked(connection, tenant, segments, row, now))
            else:
                await connection.execute(sql("segments", "forget_stale"), tenant.tenant_id, _NOTES_AT_ONCE)
        return min((due for due in dues if due is not None), default=None)

    async def _segments(self, connection: Connection, tenant: Tenant, version: int) -> tuple[Segment, ...]:
        """Those that are on. One that this program cannot read leaves its members as they are."""
        kept: tuple[int, tuple[Segment, ...]] | None = tenant.kept.get(_KEPT)
        if kept is not None and kept[0] == version:
            return kept[1]
        found = []
        for row in await connection.fetch(sql("segments", "declared"), tenant.tenant_id):
            try:
                if row["is_on"]:
                    found.append(segment_of(row["segment"], row["title"], row["condition"]))
            except BadInput as error:
                _log.warning("segment_not_read", code=error.code, tenant=tenant.tenant_id)
        tenant.kept[_KEPT] = version, tuple(found)
        return tuple(found)

    async def _emptied(self, connection: Connection, tenant: Tenant, now: datetime) -> datetime | None:
        """Members of a segment that is off leave it."""
        segment = await connection.fetchval(sql("segments", "to_empty"), tenant.tenant_id)
        if segment is None:
            return None
        gone = await connection.fetchval(sql("segments", "empty_some"), tenant.tenant_id, segment, _MEMBERS_AT_ONCE)
        if gone < _MEMBERS_AT_ONCE:
            await connection.execute(sql("segments", "emptied"), tenant.tenant_id, segment)
        return now

    async def _noted(
        self, connection: Connection, tenant: Tenant, segments: Sequence[Segment], now: datetime
    ) -> datetime | None:
        """Persons of whom something changed, those first that were noted first."""
        rows = await connection.fetch(sql("segments", "stale"), tenant.tenant_id, _NOTES_AT_ONCE)
        if not rows:
            return None
        persons = list(dict.fromkeys(row["person_id"] for row in rows if row["person_id"] is not None))
        some = set(persons[:PERSONS_AT_ONCE])
        done = [row["stale_id"] for row in rows if row["person_id"] is None or row["person_id"] in some]
        await self._judge(connection, tenant, segments, sorted(some), now)
        await connection.execute(sql("segments", "not_stale"), tenant.tenant_id, done)
        return now if len(done) < len(rows) or len(rows) == _NOTES_AT_ONCE else None

    async def _walked(
        self, connection: Connection, tenant: Tenant, segments: Sequence[Segment], row: Any, now: datetime
    ) -> datetime | None:
        """The next ones of everybody."""
        version = row["version"]
        if row["walked_to"] is None:
            next_at: datetime = row["walk_begun_at"] + SWEEP_EVERY
            if now >= next_at:
                await connection.execute(sql("segments", "begin_sweep"), tenant.tenant_id, version, now)
                return now
            return next_at
        if not row["settled"]:
            if not row["settling"]:
                await connection.execute(sql("segments", "begin_settling"), tenant.tenant_id, version)
                return now
            if not await connection.fetchval(sql("segments", "try_settled"), tenant.tenant_id, version):
                return now + _SETTLE_PAUSE
        statement = sql("segments", "next_persons")
        rows = await connection.fetch(statement, tenant.tenant_id, row["walked_to"], PERSONS_AT_ONCE)
        persons = [one["person_id"] for one in rows]
        await self._judge(connection, tenant, segments, persons, now)
        reached = persons[-1] if len(persons) == PERSONS_AT_ONCE else None
        await connection.execute(sql("segments", "walked"), tenant.tenant_id, version, reached)
        return now + (_SWEEP_PAUSE if row["is_sweep"] else _LOAD_PAUSE)

    async def _judge(
        self, connection: Connection, tenant: Tenant, segments: Sequence[Segment], persons: Sequence[int], now: datetime
    ) -> None:
        """Writes who is in what, where it is not so already."""
        rows = await connection.fetch(sql("segments", "memberships"), tenant.tenant_id, persons)
        judged = {one.id for one in segments}
        before = {(row["segment"], row["person_id"]) for row in rows if row["segment"] in judged}
        after: set[tuple[str, int]] = set()
        for person_id in persons:
            after |= {(name, person_id) for name in await self._of(connection, tenant, segments, person_id, now)}
        for statement, pairs in (("leave", sorted(before - after)), ("enter", sorted(after - before))):
            if pairs:
                columns = [one for one, _ in pairs], [one for _, one in pairs]
                moment = (now,) if statement == "enter" else ()
                await connection.execute(sql("segments", statement), tenant.tenant_id, *columns, *moment)

    async def _of(
        self, connection: Connection, tenant: Tenant, segments: Sequence[Segment], person_id: int, now: datetime
    ) -> set[str]:
        """The segments that somebody is in: none, for whom is no more or was merged into somebody else."""
        try:
            profile = await profile_in(connection, tenant, person_id, now=now, rules=self._rules)
        except BadInput as error:
            if error.code == "unknown_person":
                return set()
            raise
        except Unrecoverable as error:  # one profile that cannot be opened does not hold up the others
            _log.warning("segment_profile_not_read", code=error.code, tenant=tenant.tenant_id)
            return set()
        if profile.person_id != person_id or not profile.records:
            return set()
        since = now - timedelta(days=limits.ACTION_PATTERNS_DAYS)
        rows = await connection.fetch(sql("segments", "patterns_of"), tenant.tenant_id, person_id, since)
        facts = facts_of(profile, [row["pattern"] for row in rows], now)
        found = set()
        for one in segments:
            holds = one.holds(facts)
            if holds is None:
                self._failed(one.id)
            elif holds:
                found.add(one.id)
        return found


def facts_of(profile: Profile, patterns: Sequence[str], now: datetime) -> tuple[Any, ...]:
    """The values of the variables of a condition, in their order. patterns: that fired lately and still hold."""
    score = profile.experience.score if profile.experience is not None else experience((), now).score
    facts = {
        "person": profile.attributes.profile(),
        "traits": profile.traits.as_dict(),
        "consents": by_route(profile.consents, PURPOSES | {word.purpose for word in profile.consents.words} - {ALL}),
        "issues": [issue.kind for issue in profile.issues],
        "patterns": list(patterns),
        "experience": score,
        "now": now,
    }
    return tuple(facts[name] for name in NAMES)
