"""Patterns follow the events as they arrive, in the transaction that stores them.

The states of the persons concerned are read in one query, moved on and written in one. Stored events that became somebody
else's (stitching) move the receiver's state on like new ones, where they come after all that made it; who lost them is
replayed. An event that comes late, or meets a state that is to be made anew, is answered by a replay: at once where the log
is short, else by `PatternWork` soon after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from firstring import limits
from firstring.journey.events import Event
from firstring.journey.patterns.reading import happened, milliseconds, seen
from firstring.store.database import Connection, Tenant
from firstring.store.journey.firings import Firing, add_firings, settle_firings
from firstring.store.journey.live import Live, live_in, seen_live
from firstring.store.journey.replaying import (
    as_many_as_fit,
    log_sizes,
    mark_stale,
    replay,
    replay_households,
)
from firstring.store.journey.states import PERSON, Kept, Logged, Moved, put_states, stepped
from firstring.store.journey.stitching import MovedEvent
from firstring.store.journey.turns import Turn
from firstring.store.queries import sql
from firstring.store.seal import TenantKeys

_THREAD_FROM_EVENTS: Final = 64
"""More would keep a serving process from ringing calls for milliseconds."""


class NewEvent(NamedTuple):
    """An event that was just stored, and the record that it belongs to."""

    event_id: int
    record_id: int
    event: Event


async def follow(
    connection: Connection,
    tenant: Tenant,
    new: Sequence[NewEvent],
    now: datetime,
    *,
    moved: Sequence[MovedEvent] = (),
    turn: Turn | None = None,
) -> list[Firing]:
    """Moves all patterns on by new events, and by stored ones that were moved to other records; what came true just now, to
    be told of after the commit.

    The last thing in the transaction that inserted them: until its end nobody else moves the same persons' patterns on, and
    no record moves to another person.
    """
    if not new:
        return []
    new, elsewhere = _settled(new, moved)
    if turn is not None and seen_live(tenant):
        await turn.come()
    records = {one.record_id for one in new}
    for other in elsewhere:
        records.update((other.from_record, other.to_record))
    row = await connection.fetchrow(sql("patterns", "follow_read"), tenant.tenant_id, list(records))
    live = await live_in(connection, tenant, row)
    if live is None or row is None or row["records"] is None:
        return []
    person_of = dict(zip(row["records"], row["persons"], strict=True))
    persons = set(person_of.values())
    stale: set[int] = set()
    if live.any_stale:
        marks = await connection.fetch(sql("patterns", "stale_marks"), tenant.tenant_id, list(persons))
        stale = {row["person_id"] for row in marks}
    kept = {subject: Kept.of(content) for subject, content in zip(row["subjects"] or (), row["contents"] or (), strict=True)}
    arrived = _Arrived(live, new, elsewhere, tenant.keys, person_of, stale, kept, milliseconds(now))
    if len(new) + len(elsewhere) >= _THREAD_FROM_EVENTS:
        states_of, behind = await asyncio.to_thread(arrived.stepped)
    else:
        states_of, behind = arrived.stepped()
    firings = []
    if behind:
        firings = await _catch_up(connection, tenant, arrived, states_of, behind, now)
    missed = await put_states(connection, tenant, PERSON, states_of, kept.keys())
    await mark_stale(connection, tenant, missed)
    found = [one for person, each in states_of.items() if person not in missed for one in each.found]
    by_moved = [one for one in found if one.subject_id in arrived.receivers]
    if by_moved:  # they may have come true before, for whoever had the events then
        found = [one for one in found if one.subject_id not in arrived.receivers]
        whose = {one.subject_id for one in by_moved}
        firings += await settle_firings(connection, tenant, PERSON, whose, by_moved, live.by_id, now, is_all=False)
    firings += await add_firings(connection, tenant, PERSON, found, live.by_id, now)
    at_home = arrived.at_home() if live.of_household.patterns else []
    if at_home:
        firings += await _at_home(connection, tenant, live, [person for person in at_home if person not in stale], now)
    return firings


def _settled(new: Sequence[NewEvent], moved: Sequence[MovedEvent]) -> tuple[Sequence[NewEvent], list[MovedEvent]]:
    """New events with the records that they are counted with in the end; each stored one that is elsewhere now, once."""
    if not moved:
        return new, []
    ends: dict[int, MovedEvent] = {}
    for one in moved:  # what several sources say of one visitor may move an event more than once
        before = ends.get(one.event_id)
        ends[one.event_id] = one if before is None else one._replace(from_record=before.from_record)
    found = [one._replace(record_id=ends.pop(one.event_id).to_record) if one.event_id in ends else one for one in new]
    return found, [one for one in ends.values() if one.from_record != one.to_record]


class _Arrived:
    """New events, and stored ones that were moved, by person, and what was there before.

    receivers: the persons who got stored events; givers: those who lost any.
    """

    def __init__(
        self,
        live: Live,
        new: Sequence[NewEvent],
        elsewhere: Sequence[MovedEvent],
        keys: TenantKeys,
        person_of: Mapping[int, int],
        stale: Collection[int],
        kept: Mapping[int, Kept],
        now_ms: int,
    ) -> None:
        self.live = live
        self._new = new
        self._elsewhere = elsewhere
        self._keys = keys
        self._person_of = person_of
        self.stale = stale
        self._kept = kept
        self._now_ms = now_ms
        self.events: dict[int, list[Logged]] = {}
        self.receivers: set[int] = set()
        self.givers: dict[int, set[str]] = {}
        """With the names of what they lost."""

    def stepped(self) -> tuple[dict[int, Moved], list[int]]:
        """The persons whose state moves on, and those whose log is to be replayed. Pure computation."""
        events_of = self.events
        for event_id, record_id, came in self._new:
            person = self._person_of.get(record_id)
            if person is None:
                continue  # its record is gone already
            event = seen(came)
            logged = Logged(event.at_ms, event_id, record_id, person, event)
            if person in events_of:
                events_of[person].append(logged)
            else:
                events_of[person] = [logged]
        for other in self._elsewhere:
            self._pass_on(other)
        moved: dict[int, Moved] = {}
        behind = [person for person in self.givers if person not in self.events]
        for person, events in self.events.items():
            if len(events) > 1:
                events.sort(key=lambda one: one[:2])
            kept = self._kept.get(person)
            if person in self.stale or person in self.givers or not self._in_order(kept, events[0]):
                behind.append(person)
                continue
            try:
                moved[person] = stepped(self.live.of_person, person, kept, events)
            except ValueError:  # bytes of another version of this program
                behind.append(person)
        return moved, behind

    def _pass_on(self, one: MovedEvent) -> None:
        """A stored event leaves one person and comes to another."""
        giver, receiver = self._person_of.get(one.from_record), self._person_of.get(one.to_record)
        lost = self.givers.setdefault(giver, set()) if giver is not None else set()
        payload = self._keys.open(one.wrapped_key, one.sealed)
        if payload is None:
            return  # it was erased, and moves nobody on
        event = happened(payload["name"], one.channel, one.occurred_at, payload["properties"])
        lost.add(event.name)
        if receiver is not None:
            self.receivers.add(receiver)
            logged = Logged(event.at_ms, one.event_id, one.to_record, receiver, event)
            self.events.setdefault(receiver, []).append(logged)

    def at_home(self) -> list[int]:
        """The persons with events that move patterns by household, come or gone."""
        names = set().union(*self.givers.values())
        for events in self.events.values():
            for one in events:
                names.add(one.happened.name)
        asked = set(filter(self.live.of_household.asks, names))
        if not asked:
            return []
        came = {person for person, events in self.events.items() if any(one.happened.name in asked for one in events)}
        return sorted(came | {person for person, lost in self.givers.items() if not lost.isdisjoint(asked)})

    def is_all(self, person: int, events: int) -> bool:
        """Whether the new events are all that a person has."""
        is_new = person not in self._kept and person not in self.stale and person not in self.givers
        return is_new and events == len(self.events[person])

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
        if arrived.is_all(person, sizes.get(person, 0)):
            moved[person] = stepped(arrived.live.of_person, person, None, arrived.events[person])
        elif sizes.get(person, 0) <= limits.PATTERN_INLINE_EVENTS:
            short[person] = sizes.get(person, 0)
        else:
            later.append(person)
    at_once = as_many_as_fit(short)
    later += [person for person in short if person not in at_once]
    await mark_stale(connection, tenant, later)
    # Households are seen to by `_at_home`, but for those of persons of whom it is not known what became of their events.
    homes = [person for person in at_once if person in arrived.stale]
    return await replay(connection, tenant, arrived.live, at_once, now, homes=homes)


async def _at_home(
    connection: Connection, tenant: Tenant, live: Live, persons: Sequence[int], now: datetime
) -> list[Firing]:
    """Households of these persons: their logs are replayed, at once where they are short."""
    sizes = await log_sizes(connection, tenant, persons, limits.PATTERN_INLINE_EVENTS + 1)
    short = {person: events for person, events in sizes.items() if events <= limits.PATTERN_INLINE_EVENTS}
    at_once = as_many_as_fit(short)
    await mark_stale(connection, tenant, [person for person in persons if person not in at_once])
    return await replay_households(connection, tenant, live, at_once, now) if at_once else []
