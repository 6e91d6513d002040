"""Patterns follow the events as they arrive, in the transaction that stores them.

The states of the persons concerned are read in one query, moved on and written in one. An event that comes late, or meets a
state that is to be made anew, is answered by a replay: at once where the log is short, else by `PatternChores` soon after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from firstring import limits
from firstring.journey.events import Event
from firstring.journey.patterns.reading import milliseconds, seen
from firstring.store.database import Connection, Tenant
from firstring.store.journey.firings import Firing, add_firings
from firstring.store.journey.live import Live, live_in, seen_live
from firstring.store.journey.replaying import (
    as_many_as_fit,
    log_sizes,
    mark_stale,
    replay,
    replay_households,
)
from firstring.store.journey.states import PERSON, Kept, Logged, Moved, put_states, states, stepped
from firstring.store.journey.turns import Turn
from firstring.store.queries import sql

_THREAD_FROM_EVENTS: Final = 64
"""More would keep a serving process from ringing calls for milliseconds."""


class NewEvent(NamedTuple):
    """An event that was just stored, and the record that it belongs to."""

    event_id: int
    record_id: int
    event: Event


async def follow(
    connection: Connection, tenant: Tenant, new: Sequence[NewEvent], now: datetime, *, turn: Turn | None = None
) -> list[Firing]:
    """Moves all patterns on by new events; what came true just now, to be told of after the commit.

    The last thing in the transaction that inserted them: until its end nobody else moves the same persons' patterns on, and
    no record moves to another person.
    """
    if not new:
        return []
    if turn is not None and seen_live(tenant):
        await turn.come()
    await connection.execute(sql("patterns", "lock_shared"), tenant.tenant_id)
    records = list({one.record_id for one in new})
    row = await connection.fetchrow(sql("patterns", "set_and_whose"), tenant.tenant_id, records)
    live = await live_in(connection, tenant, row)
    if live is None or row is None or row["records"] is None:
        return []
    person_of = dict(zip(row["records"], row["persons"], strict=True))
    persons = set(person_of.values())
    stale: set[int] = set()
    if live.any_stale:
        marks = await connection.fetch(sql("patterns", "stale_marks"), tenant.tenant_id, list(persons))
        stale = {row["person_id"] for row in marks}
    kept = await states(connection, tenant, PERSON, persons)
    arrived = _Arrived(live, new, person_of, stale, kept, milliseconds(now))
    if len(new) >= _THREAD_FROM_EVENTS:
        moved, behind = await asyncio.to_thread(arrived.stepped)
    else:
        moved, behind = arrived.stepped()
    firings = []
    if behind:
        firings = await _catch_up(connection, tenant, arrived, moved, behind, now)
    missed = await put_states(connection, tenant, PERSON, moved, kept.keys())
    await mark_stale(connection, tenant, missed)
    found = [one for person, each in moved.items() if person not in missed for one in each.found]
    firings += await add_firings(connection, tenant, PERSON, found, live.by_id, now)
    at_home = arrived.at_home() if live.of_household.patterns else []
    if at_home:
        firings += await _at_home(connection, tenant, live, [person for person in at_home if person not in stale], now)
    return firings


class _Arrived:
    """New events, by person, and what was there before."""

    def __init__(
        self,
        live: Live,
        new: Sequence[NewEvent],
        person_of: Mapping[int, int],
        stale: Collection[int],
        kept: Mapping[int, Kept],
        now_ms: int,
    ) -> None:
        self.live = live
        self._new = new
        self._person_of = person_of
        self._stale = stale
        self._kept = kept
        self._now_ms = now_ms
        self.events: dict[int, list[Logged]] = {}

    def stepped(self) -> tuple[dict[int, Moved], list[int]]:
        """The persons whose state moves on, and those whose log is to be replayed. Pure computation."""
        for one in self._new:
            person = self._person_of.get(one.record_id)
            if person is None:
                continue  # its record is gone already
            event = seen(one.event)
            self.events.setdefault(person, []).append(Logged(event.at_ms, one.event_id, one.record_id, person, event))
        moved: dict[int, Moved] = {}
        behind: list[int] = []
        for person, events in self.events.items():
            if len(events) > 1:
                events.sort(key=lambda one: one[:2])
            kept = self._kept.get(person)
            if person in self._stale or not self._in_order(kept, events[0]):
                behind.append(person)
                continue
            try:
                moved[person] = stepped(self.live.of_person, person, kept, events)
            except ValueError:  # bytes of another version of this program
                behind.append(person)
        return moved, behind

    def at_home(self) -> list[int]:
        """The persons with events that move patterns by household."""
        names = {one.happened.name for events in self.events.values() for one in events}
        asked = set(filter(self.live.of_household.asks, names))
        if not asked:
            return []
        return sorted(person for person, events in self.events.items() if any(one.happened.name in asked for one in events))

    def is_all(self, person: int, events: int) -> bool:
        """Whether the new events are all that a person has."""
        return person not in self._kept and person not in self._stale and events == len(self.events[person])

    def _in_order(self, kept: Kept | None, first: Logged) -> bool:
        """Whether nothing that was before can be missed.

        Of whom nothing is kept, nothing happened for the longest window and limits.PATTERN_LAG_MS (PatternWork.evict): a
        newer event begins anew, of an older one only the log knows.
        """
        if kept is None:
            return first.at_ms >= self._now_ms - limits.PATTERN_LAG_MS
        return kept.is_before(first)


async def _catch_up(
    connection: Connection, tenant: Tenant, arrived: _Arrived, moved: dict[int, Moved], behind: Sequence[int], now: datetime
) -> list[Firing]:
    """Replays short logs at once, and has the others replayed soon. Who has no other events is moved on by these."""
    sizes = await log_sizes(connection, tenant, behind, limits.PATTERN_INLINE_EVENTS + 1)
    short: dict[int, int] = {}
    later: list[int] = []
    for person in behind:
        events = arrived.events[person]
        if arrived.is_all(person, sizes.get(person, 0)):
            moved[person] = stepped(arrived.live.of_person, person, None, events)
        elif sizes.get(person, 0) <= limits.PATTERN_INLINE_EVENTS:
            short[person] = sizes.get(person, 0)
        else:
            later.append(person)
    at_once = as_many_as_fit(short)
    later += [person for person in short if person not in at_once]
    await mark_stale(connection, tenant, later)
    return await replay(connection, tenant, arrived.live, at_once, now)


async def _at_home(
    connection: Connection, tenant: Tenant, live: Live, persons: Sequence[int], now: datetime
) -> list[Firing]:
    """Households of these persons: their logs are replayed, at once where they are short."""
    sizes = await log_sizes(connection, tenant, persons, limits.PATTERN_INLINE_EVENTS + 1)
    short = {person: events for person, events in sizes.items() if events <= limits.PATTERN_INLINE_EVENTS}
    at_once = as_many_as_fit(short)
    await mark_stale(connection, tenant, [person for person in persons if person not in at_once])
    return await replay_households(connection, tenant, live, at_once, now) if at_once else []
