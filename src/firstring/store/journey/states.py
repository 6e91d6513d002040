"""What is under way for a subject (a person, a household): moved on by events and by time, read and written.

A state is a function of the event log and the patterns that are on. Events are in the order of their milliseconds, and of
their numbers within one: the order in which they came.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from firstring.journey.patterns import Fired, Happened, PatternSet, State
from firstring.store.database import Connection, Tenant
from firstring.store.queries import sql

_HEAD: Final = struct.Struct("<4q")
PERSON: Final = 0
HOUSEHOLD: Final = 1


class Logged(NamedTuple):
    """An event of the log. Sorted, they are in order."""

    at_ms: int
    event_id: int
    record_id: int
    person_id: int
    happened: Happened


class Kept(NamedTuple):
    """What is stored of a subject: its last event (when, which, of which record), up to which moment time has had its
    effect, and what is under way, as bytes."""

    last_ms: int
    last_event: int
    last_record: int
    passed_ms: int
    content: bytes

    def stored(self) -> bytes:
        """All of it as bytes."""
        return _HEAD.pack(*self[:4]) + self.content

    @classmethod
    def of(cls, stored: bytes) -> Kept:
        """Out of bytes of `stored`."""
        last_ms, last_event, last_record, passed_ms = _HEAD.unpack_from(stored)
        return cls(last_ms, last_event, last_record, passed_ms, stored[_HEAD.size :])

    def is_before(self, event: Logged) -> bool:
        """Whether an event comes after all that made this state."""
        return (self.last_ms, self.last_event) < (event.at_ms, event.event_id) and event.at_ms >= self.passed_ms


class Found(NamedTuple):
    """A pattern came true. event_id: the event by which, 0 by the passing of time; record_id: of the last event by then."""

    subject_id: int
    person_id: int
    record_id: int
    event_id: int
    fired: Fired


class Moved(NamedTuple):
    """The state of a subject after something happened, and what came true by it."""

    kept: Kept
    next_due_ms: int | None
    found: list[Found]


def stepped(patterns: PatternSet, subject_id: int, kept: Kept | None, events: Sequence[Logged]) -> Moved:
    """Moves a state on by events, in order, that come after all before. Raises ValueError for bytes of another layout."""
    state = patterns.unpacked(kept.content) if kept else State()
    return _moved(patterns, subject_id, state, kept.last_record if kept else 0, kept.passed_ms if kept else 0, events, None)


def replayed(patterns: PatternSet, subject_id: int, events: Sequence[Logged], now_ms: int) -> Moved:
    """The state after all events of a subject, in order, as of a moment, and all that ever came true."""
    return _moved(patterns, subject_id, State(), 0, 0, events, now_ms)


def waited(patterns: PatternSet, subject_id: int, kept: Kept, now_ms: int) -> Moved:
    """The state as of a moment. Raises ValueError for bytes of another layout."""
    state = patterns.unpacked(kept.content)
    passed_ms = max(kept.passed_ms, patterns.due_until_ms(state, now_ms))
    found = [Found(subject_id, subject_id, kept.last_record, 0, fired) for fired in patterns.due(state, now_ms)]
    content = patterns.packed(state, kept.last_ms)
    return Moved(kept._replace(passed_ms=passed_ms, content=content), patterns.next_due_ms(state), found)


def _moved(
    patterns: PatternSet,
    subject_id: int,
    state: State,
    record: int,
    passed_ms: int,
    events: Sequence[Logged],
    now_ms: int | None,
) -> Moved:
    found: list[Found] = []
    step = patterns.step
    for one in events:
        for fired in step(state, one.happened):
            if patterns.fires_by_time(fired.pattern):
                found.append(Found(subject_id, subject_id, record, 0, fired))
            else:
                found.append(Found(subject_id, one.person_id, one.record_id, one.event_id, fired))
        record = one.record_id
    if now_ms is not None:
        passed_ms = patterns.due_until_ms(state, now_ms)
        found += [Found(subject_id, subject_id, record, 0, fired) for fired in patterns.due(state, now_ms)]
    # What is over by the last event, not by now: an event on its way may be older than now.
    content = patterns.packed(state, state.last_ms)
    last = events[-1]
    return Moved(Kept(last.at_ms, last.event_id, record, passed_ms, content), patterns.next_due_ms(state), found)


async def states(connection: Connection, tenant: Tenant, kind: int, subjects: Collection[int]) -> dict[int, Kept]:
    """The states of subjects, locked until the transaction ends."""
    rows = await connection.fetch(sql("patterns", "states"), tenant.tenant_id, kind, list(subjects))
    return {row[0]: Kept.of(row[1]) for row in rows}


async def put_states(
    connection: Connection, tenant: Tenant, kind: int, moved: Mapping[int, Moved], known: Collection[int]
) -> set[int]:
    """Writes states. known: whose was read (and locked) before. Those that another one wrote first are returned: they are to
    be made anew."""
    missed: set[int] = set()
    for statement, subjects in (
        ("put_known", [one for one in moved if one in known]),
        ("put_new", [one for one in moved if one not in known]),
    ):
        if not subjects:
            continue
        after = [moved[one] for one in subjects]
        columns = (
            subjects,
            [one.kept.last_ms for one in after],
            [one.next_due_ms for one in after],
            [one.kept.stored() for one in after],
        )
        written = await connection.fetch(sql("patterns", statement), tenant.tenant_id, kind, *columns)
        if statement == "put_new":
            missed = set(subjects) - {row[0] for row in written}
    return missed
