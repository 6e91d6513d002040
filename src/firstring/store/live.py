"""Who is there just now, and what they are going through: for people who watch, read anew while they do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from firstring.journey.patterns import PatternSet
from firstring.journey.patterns.reading import milliseconds
from firstring.store.database import Connection, Tenant
from firstring.store.journey.live import live_patterns
from firstring.store.journey.states import Kept
from firstring.store.queries import sql

EVENTS_LOOKED_AT: Final = 2_000
"""The newest; with more in WITHIN only those who were there last are listed."""
PERSONS: Final = 50
WITHIN: Final = timedelta(minutes=30)


class Way(NamedTuple):
    """A pattern. fired_at: when it came true; None: it is under way."""

    pattern: str
    title: str
    valence: str
    fired_at: datetime | None


class Sent(NamedTuple):
    """An action of the last half hour, and what became of it."""

    action: str
    state: str
    at: datetime


class There(NamedTuple):
    """Somebody who is there. ways: what fired, the newest first, then what is under way."""

    person_id: int
    last_at: datetime
    channel: str
    ways: tuple[Way, ...]
    sent: tuple[Sent, ...]


async def there(connection: Connection, tenant: Tenant, now: datetime) -> list[There]:
    """Those with a pattern that fired or is under way first, each group by when they were there last."""
    since = now - WITHIN
    rows = await connection.fetch(sql("live", "there"), tenant.tenant_id, since, EVENTS_LOOKED_AT, PERSONS)
    persons = [row["person_id"] for row in rows]
    fired: dict[int, list[Way]] = {}
    live = await live_patterns(connection, tenant)
    titles = {name: pattern.title for name, (_, pattern) in live.by_id.items()} if live is not None else {}
    for row in await connection.fetch(sql("live", "fired"), tenant.tenant_id, persons, since):
        title = titles.get(row["pattern"]) or row["pattern"].replace("_", " ")
        fired.setdefault(row["person_id"], []).append(Way(row["pattern"], title, row["valence"], row["at"]))
    under_way: dict[int, list[Way]] = {}
    if live is not None:
        for row in await connection.fetch(sql("live", "under_way"), tenant.tenant_id, persons):
            under_way[row["subject_id"]] = _ways(live.of_person, row["content"], milliseconds(now))
    sent: dict[int, list[Sent]] = {}
    for row in await connection.fetch(sql("live", "sent"), tenant.tenant_id, persons, since):
        sent.setdefault(row["person_id"], []).append(Sent(row["action"], row["state"], row["state_at"]))
    found = [_there(row, fired, under_way, sent) for row in rows]
    return sorted(found, key=lambda one: not one.ways)  # a stable order: as they were, by when they were there last


def _there(row: Any, fired: dict[int, list[Way]], ways: dict[int, list[Way]], sent: dict[int, list[Sent]]) -> There:
    person_id = row["person_id"]
    came_true = fired.get(person_id, [])
    names = {way.pattern for way in came_true}
    others = [way for way in ways.get(person_id, []) if way.pattern not in names]
    return There(person_id, row["last_at"], row["channel"], (*came_true, *others), tuple(sent.get(person_id, ())))


def _ways(patterns: PatternSet, stored: bytes, now_ms: int) -> list[Way]:
    """Patterns in whose windows an event has taken part. A state of another layout shows nothing: it is made anew soon."""
    try:
        state = patterns.unpacked(Kept.of(stored).content)
    except ValueError:
        return []
    found = []
    for pattern in patterns.patterns:
        runs = state.runs.get(patterns.number_of(pattern.id), {})
        if any(now_ms - run.moved_ms <= pattern.within_ms for run in runs.values()):
            found.append(Way(pattern.id, pattern.title or pattern.id.replace("_", " "), pattern.valence, None))
    return found
