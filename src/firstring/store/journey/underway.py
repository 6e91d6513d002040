"""What a person is going through: patterns that fired and those under way, each with the events that made it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.journey.patterns import Fired, Happened, Pattern, PatternSet, State
from firstring.journey.patterns.reading import milliseconds, moment_of
from firstring.journey.patterns.witness import under_way, witnesses
from firstring.store.database import Connection, Tenant
from firstring.store.journey.live import Live, live_patterns
from firstring.store.journey.replaying import households, read_log
from firstring.store.journey.states import Logged
from firstring.store.queries import sql

FIRED_SHOWN: Final = 50
"""The newest firings."""


class EventOf(msgspec.Struct, frozen=True):
    """One event of a match."""

    event_id: int
    person_id: int
    name: str
    channel: str
    at: datetime


class FiredShown(msgspec.Struct, frozen=True):
    """A pattern that came true. events: of the match that began last; empty where they are no longer there.

    decided_at: when it was decided what to do about it; retracted_at: what arrived since says that it was not so.
    """

    firing_id: int
    pattern: str
    title: str
    valence: str
    by: str
    at: datetime
    begun_at: datetime
    decided_at: datetime | None
    retracted_at: datetime | None
    events: tuple[EventOf, ...]


class UnderWay(msgspec.Struct, frozen=True):
    """A pattern on its way. until: when its window ends. comes_true_at: when it fires if nothing happens before."""

    pattern: str
    title: str
    valence: str
    by: str
    begun_at: datetime
    until: datetime
    comes_true_at: datetime | None
    events: tuple[EventOf, ...]


class PersonPatterns(msgspec.Struct, frozen=True):
    person_id: int
    fired: tuple[FiredShown, ...]
    under_way: tuple[UnderWay, ...]


async def patterns_of(
    connection: Connection, tenant: Tenant, person_id: int, now: datetime, *, retracted: bool = False
) -> PersonPatterns:
    """The newest FIRED_SHOWN firings, and all that is under way, as of now. Raises BadInput unknown_person (404)."""
    person = await connection.fetchval(sql("persons", "living"), tenant.tenant_id, person_id)
    if person is None:
        raise BadInput("unknown_person", "There is no such person.", where={"person": person_id}, http_status=404)
    [home] = await households(connection, tenant, [person])
    statement = sql("patterns", "fired_for")
    rows = await connection.fetch(statement, tenant.tenant_id, person, min(home), retracted, FIRED_SHOWN)
    live = await live_patterns(connection, tenant)
    logs = await read_log(connection, tenant, home if live and live.of_household.patterns else [person])
    together = sorted((one for events in logs.values() for one in events), key=lambda one: one[:2])
    fired = tuple(_fired(row, live, together if row["kind"] else logs[person]) for row in rows)
    ways: list[UnderWay] = []
    if live is not None:
        ways += _ways(live.of_person, person, logs[person], live, milliseconds(now))
        ways += _ways(live.of_household, min(home), together, live, milliseconds(now))
    return PersonPatterns(person, fired, tuple(sorted(ways, key=lambda one: (one.begun_at, one.pattern), reverse=True)))


def _fired(row: Any, live: Live | None, log: Sequence[Logged]) -> FiredShown:
    pattern = live.by_id[row["pattern"]][1] if live and live.by_id.get(row["pattern"], (None,))[0] == row["number"] else None
    events: tuple[EventOf, ...] = ()
    if pattern is not None:
        one = Fired(pattern.id, milliseconds(row["at"]), milliseconds(row["begun_at"]), row["same_key"])
        before_ms = milliseconds(row["fired_before"]) if row["fired_before"] else None
        upto = [each for each in log if not row["event_id"] or (each.at_ms, each.event_id) <= (one.at_ms, row["event_id"])]
        events = _events(upto, witnesses(pattern, _seen(upto), one, after_ms=before_ms))
    return FiredShown(
        row["firing_id"], row["pattern"], pattern.title if pattern else "", row["valence"],
        "household" if row["kind"] else pattern.by if pattern else "person", row["at"], row["begun_at"], row["acted_at"],
        row["retracted_at"], events,
    )  # fmt: skip


def _ways(patterns: PatternSet, subject: int, log: Sequence[Logged], live: Live, now_ms: int) -> list[UnderWay]:
    """Out of the log: what the stored state is made of, with its events."""
    if not log or not patterns.patterns:
        return []
    seen = _seen(log)
    state = State()
    start: dict[tuple[str, int], int] = {}
    for index, happened in enumerate(seen):
        for one in patterns.step(state, happened):
            start[one.pattern, one.key] = _after(patterns, seen, one, index)
    for one in patterns.due(state, now_ms):
        start[one.pattern, one.key] = _after(patterns, seen, one, len(seen) - 1)
    found = []
    for pattern in patterns.patterns:
        for key in state.runs.get(patterns.number_of(pattern.id), {}):
            first = max(start.get((pattern.id, key), 0), _visit(log, now_ms) if pattern.by == "visit" else 0)
            indexes = under_way(pattern, seen, key=key, start=first, now_ms=now_ms)
            if indexes:
                found.append(_way(pattern, _events(log, indexes), patterns.run_due_ms(state, pattern.id, key)))
    return found


def _after(patterns: PatternSet, seen: Sequence[Happened], fired: Fired, index: int) -> int:
    """The first event that a firing did not use up. index: of the event at which it was found."""
    if not patterns.fires_by_time(fired.pattern):
        return index + 1
    return next((place for place, one in enumerate(seen) if one.at_ms >= fired.at_ms), len(seen))


def _way(pattern: Pattern, events: tuple[EventOf, ...], due_ms: int | None) -> UnderWay:
    begun_ms = milliseconds(events[0].at)
    return UnderWay(
        pattern.id, pattern.title, pattern.valence, pattern.by, events[0].at, moment_of(begun_ms + pattern.within_ms),
        None if due_ms is None else moment_of(due_ms), events,
    )  # fmt: skip


def _visit(log: Sequence[Logged], now_ms: int) -> int:
    """The first event of the visit that goes on."""
    start = len(log)
    until_ms = now_ms
    while start and until_ms - log[start - 1].at_ms <= limits.VISIT_GAP_MS:
        start -= 1
        until_ms = log[start].at_ms
    return start


def _seen(log: Sequence[Logged]) -> list[Happened]:
    return [one.happened for one in log]


def _events(log: Sequence[Logged], indexes: Sequence[int]) -> tuple[EventOf, ...]:
    chosen = [log[index] for index in indexes]
    return tuple(
        EventOf(
            one.event_id, one.person_id, one.happened.name, str(one.happened.event["channel"]), one.happened.event["time"]
        )
        for one in chosen
    )
