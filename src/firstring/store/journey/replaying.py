"""States of patterns made anew from the event log: after late events, merges, splits, deletions, and for changed patterns.

A replay comes to what never merging, and every event in its time, would have come to. What it finds is compared with what is
noted: what is no longer so is retracted, what came true long ago starts no action.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from firstring import limits
from firstring.journey.patterns import PatternSet
from firstring.journey.patterns.reading import happened, milliseconds
from firstring.store.database import Connection, Tenant
from firstring.store.journey.firings import Firing, settle_firings
from firstring.store.journey.live import Live
from firstring.store.journey.states import HOUSEHOLD, PERSON, Found, Kept, Logged, Moved, put_states, replayed, states
from firstring.store.queries import sql


async def mark_stale(connection: Connection, tenant: Tenant, person_ids: Collection[int]) -> None:
    """Their states are no longer what their events make. They are made anew soon, or before they are moved on.

    Within the transaction that changes whose events are whose, other than by moving records (a trigger notes that) or by
    deleting them.
    """
    if person_ids:
        await connection.execute(sql("patterns", "mark_stale"), tenant.tenant_id, list(person_ids))


async def log_sizes(connection: Connection, tenant: Tenant, persons: Collection[int], at_most: int) -> dict[int, int]:
    """How many events each of the persons has, counted up to at_most."""
    rows = await connection.fetch(sql("patterns", "log_sizes"), tenant.tenant_id, list(persons), at_most)
    return {row["person_id"]: row["events"] for row in rows}


def as_many_as_fit(sizes: Mapping[int, int]) -> list[int]:
    """The first of the persons whose logs are replayed in one transaction: one at least."""
    chosen: list[int] = []
    total = 0
    for person, events in sizes.items():
        if chosen and total + events > limits.PATTERN_REPLAY_EVENTS:
            break
        chosen.append(person)
        total += events
    return chosen


async def replay(
    connection: Connection,
    tenant: Tenant,
    live: Live,
    persons: Sequence[int],
    now: datetime,
    *,
    since: datetime | None = None,
    homes: Sequence[int] | None = None,
) -> list[Firing]:
    """Makes the states of persons, and of their households, anew; what came true just now, and after `since`.

    homes: those of the persons whose households are concerned (default: all). Under `lock_shared`.
    """
    if not persons:
        return []
    marks = []
    if live.any_stale:
        marks = await connection.fetch(sql("patterns", "stale_marks"), tenant.tenant_id, list(persons))
    kept = await states(connection, tenant, PERSON, persons)
    of_person = await read_log(connection, tenant, persons)
    found = await _replayed(connection, tenant, live.of_person, PERSON, of_person, persons, kept, now)
    firings = await settle_firings(connection, tenant, PERSON, persons, found, live.by_id, now, since)
    at_home = persons if homes is None else homes
    if at_home and live.of_household.patterns:
        firings += await replay_households(connection, tenant, live, at_home, now, since=since, logs=of_person)
    if marks:
        await connection.execute(sql("patterns", "drop_marks"), tenant.tenant_id, [row["stale_id"] for row in marks])
    return firings


async def _replayed(
    connection: Connection,
    tenant: Tenant,
    patterns: PatternSet,
    kind: int,
    logs: Mapping[int, list[Logged]],
    subjects: Collection[int],
    kept: Mapping[int, Kept],
    now: datetime,
) -> list[Found]:
    """Writes the states of subjects as their logs make them; all that ever came true."""
    now_ms = milliseconds(now)

    def all_of_them() -> dict[int, Moved]:
        return {subject: replayed(patterns, subject, events, now_ms) for subject, events in logs.items() if events}

    moved = await asyncio.to_thread(all_of_them)
    found = [one for each in moved.values() for one in each.found]
    if kind == HOUSEHOLD:  # replayed at each event: only what comes due by itself is kept
        moved = {subject: each for subject, each in moved.items() if each.next_due_ms is not None}
    gone = [subject for subject in subjects if subject not in moved]
    if gone:
        await connection.execute(sql("patterns", "drop_states"), tenant.tenant_id, kind, gone)
    missed = await put_states(connection, tenant, kind, moved, kept.keys())
    await mark_stale(connection, tenant, missed)
    return found


async def read_log(connection: Connection, tenant: Tenant, persons: Collection[int]) -> dict[int, list[Logged]]:
    """The events of persons, in order, of each the newest limits.PATTERN_LOG_EVENTS. What was erased is left out."""
    statement = sql("patterns", "log")
    rows = await connection.fetch(statement, tenant.tenant_id, list(persons), limits.PATTERN_LOG_EVENTS, timeout=300.0)

    def opened() -> dict[int, list[Logged]]:
        logs: dict[int, list[Logged]] = {person: [] for person in persons}
        for row in rows:
            payload = tenant.keys.open(row["wrapped_key"], row["sealed"])
            if payload is not None:
                one = happened(payload["name"], row["channel"], row["occurred_at"], payload["properties"])
                logs[row["person_id"]].append(Logged(one.at_ms, row["event_id"], row["record_id"], row["person_id"], one))
        for events in logs.values():
            events.sort(key=_in_order)
        return logs

    return await asyncio.to_thread(opened)


def _in_order(one: Logged) -> tuple[int, int]:
    return one.at_ms, one.event_id


# --- households ----------------------------------------------------------------------------------------------------------


async def replay_households(
    connection: Connection,
    tenant: Tenant,
    live: Live,
    persons: Sequence[int],
    now: datetime,
    *,
    since: datetime | None = None,
    logs: Mapping[int, list[Logged]] | None = None,
) -> list[Firing]:
    """Makes the states of the households of persons anew, of those that they left too. Under `lock_shared`.

    logs: those that this transaction has read already, when it had locked the states of their persons.
    """
    members: dict[int, list[int]] = {}
    left: set[int] = set()
    todo, done = set(persons), set[int]()
    while todo:
        for household in await households(connection, tenant, todo):
            members[min(household)] = sorted(household)
            done |= household
        done |= todo
        homes = await connection.fetch(sql("patterns", "homes"), tenant.tenant_id, list(done))
        left |= {row["subject_id"] for row in homes}
        todo = {row["person_id"] for row in homes} - done
    subjects = sorted(left | members.keys())
    kept = await states(connection, tenant, HOUSEHOLD, subjects)
    known = dict(logs or {})
    unread = [person for each in members.values() for person in each if person not in known]
    if unread:
        known.update(await read_log(connection, tenant, unread))
    together = {
        subject: sorted((one for person in each for one in known[person]), key=_in_order)
        for subject, each in members.items()
    }
    found = await _replayed(connection, tenant, live.of_household, HOUSEHOLD, together, subjects, kept, now)
    homes = [(person, subject) for subject, each in members.items() for person in each if together[subject]]
    await connection.execute(sql("patterns", "drop_homes"), tenant.tenant_id, list(done), subjects)
    if homes:
        whose, of = zip(*homes, strict=True)
        await connection.execute(sql("patterns", "put_homes"), tenant.tenant_id, whose, of)
    return await settle_firings(connection, tenant, HOUSEHOLD, subjects, found, live.by_id, now, since)


async def households(connection: Connection, tenant: Tenant, persons: Collection[int]) -> list[set[int]]:
    """The households of persons: all who share identifiers, directly or through others.

    An identifier that more than limits.HOUSEHOLD_PERSONS people carry says nothing; where more than so many hang together,
    nobody there has a household. A function of the records alone.
    """
    sharers: dict[int, set[int]] = {}
    together = {person: {person} for person in sorted(persons)}
    edges = {person: {person} for person in together}
    while edges:
        unknown = set().union(*edges.values()) - sharers.keys()
        if unknown:
            sharers.update((person, set[int]()) for person in unknown)
            statement = sql("patterns", "sharers")
            rows = await connection.fetch(statement, tenant.tenant_id, list(unknown), limits.HOUSEHOLD_PERSONS)
            sharers.update((row["person_id"], set(row["sharers"])) for row in rows)
        reached: dict[int, set[int]] = {}
        for person, edge in edges.items():
            further = set().union(*(sharers[one] for one in edge)) - together[person]
            together[person] |= further
            if further and len(together[person]) <= limits.HOUSEHOLD_PERSONS:
                reached[person] = further
        edges = reached
    found: list[set[int]] = []
    placed: set[int] = set()
    for person, household in together.items():
        if person not in placed:
            found.append(household if len(household) <= limits.HOUSEHOLD_PERSONS else {person})
            placed |= found[-1]
    return found
