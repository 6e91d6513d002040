"""Persons under a model version, as records come, change and go. docs/decisions/online-linking.md says why this suffices.

The records whose likely pairs change are found by their keys; with the components of their persons they are linked anew
as a whole, in the transaction of the change, under the applier's lock. What lies outside has no likely pair with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import chain, count
from typing import NamedTuple

import numpy as np

from firstring.identity.persons.clusters import Assignment, assign
from firstring.identity.persons.linking import NOTHING_KNOWN, Entry, Linked, likely_pairs, link
from firstring.identity.persons.linkkeys import bounds
from firstring.identity.persons.meeting import Shared, insufficient, meeting, shared_of
from firstring.store.collector import paused
from firstring.store.database import Connection, Tenant
from firstring.store.identity.copies import Followed, Ranking, Region, follow, ranking
from firstring.store.identity.linkindex import (
    LINK_KEY_BYTES,
    Opened,
    Part,
    copy_prefix,
    entries_of,
    kept_of,
    link_state,
    opened_of,
    parts_of,
    stating_of,
    values_of,
)
from firstring.store.identity.linkwrite import Arrival, Relinked, stand
from firstring.store.identity.models import ActiveModel, model_of
from firstring.store.identity.settling import settle, settle_around
from firstring.store.queries import sql


class Change(NamedTuple):
    """What happens. before: records that change or go, as they are; gone: those that go.

    also: records about which somebody decides, or decided until now: what rests on that is looked at anew. carriers: who
    carries keys of arrivals (None: too many), those that were asked for already; records that change are not among them.
    """

    arrivals: Mapping[int, Arrival]
    before: Mapping[int, Part]
    gone: frozenset[int] = frozenset()
    also: Mapping[int, Part] = {}
    carriers: Mapping[bytes, Sequence[int] | None] = {}


class Decided(NamedTuple):
    """Living decisions. must, cannot: pairs of records that are there; names: all external keys that are named."""

    must: set[tuple[int, int]]
    cannot: set[tuple[int, int]]
    names: set[bytes]


class Context(NamedTuple):
    """What a change of records needs to know first.

    decided: whether anybody decided anything; settling: whether some records still have the persons of the version before.
    """

    active: ActiveModel
    decided: bool
    settling: bool = False


async def linking_context(connection: Connection, tenant: Tenant, now: datetime) -> Context | None:
    """The context of a change, which happens now by the history's clock; None where no version is active.

    Under the applier's lock.
    """
    row = await connection.fetchrow(sql("linking", "context"), tenant.tenant_id, now)
    assert row is not None
    if row["model_id"] is None:
        return None
    return Context(await model_of(connection, tenant, row["model_id"]), row["decided"], row["settling"])


async def settled(
    connection: Connection, tenant: Tenant, context: Context, parts: Mapping[int, Part], now: datetime
) -> dict[int, Part]:
    """Records of the store as they are once they are settled; those that are gone as they were."""
    if not (context.settling and parts):
        return dict(parts)
    await settle(connection, tenant, context.active.version, parts.keys(), now)
    return {**parts, **await parts_of(connection, tenant, parts)}


async def relink(connection: Connection, tenant: Tenant, context: Context, change: Change, now: datetime) -> Relinked:
    """The persons after a change, under the applier's lock."""
    if context.settling:
        change = await _settled_around(connection, tenant, context, change, now)
    with paused():
        return await _Relinking(connection, tenant, context, change).run(now)


async def _settled_around(connection: Connection, tenant: Tenant, context: Context, change: Change, now: datetime) -> Change:
    """The change, with what it may reach settled."""
    parts = {**change.before, **change.also}
    keys = [key for part in parts.values() for key in part.link_keys]
    keys += [key for one in change.arrivals.values() for key in (*one.state.keys, one.state.copy_key)]
    await settle_around(
        connection, tenant, context.active.version, keys, [one.external_key for one in change.arrivals.values()],
        parts.keys(), bounds(context.active.model.spec), now,
    )  # fmt: skip
    parts |= await parts_of(connection, tenant, parts)
    return change._replace(
        before={record: parts[record] for record in change.before}, also={record: parts[record] for record in change.also}
    )


async def decisions_about(
    connection: Connection, tenant: Tenant, external_keys: Collection[bytes], known: Mapping[bytes, int]
) -> Decided:
    """The living decisions that name any of these records. known: records by external key, arriving ones among them."""
    found = Decided(set(), set(), set())
    rows = await connection.fetch(sql("linking", "decisions_naming"), tenant.tenant_id, list(external_keys))
    sides = {(row[f"{side}_source"], row[f"{side}_key"]) for row in rows for side in ("left", "right")}
    unknown = [side for side in sides if side[1] not in known]
    if unknown:
        sources, keys = zip(*unknown, strict=True)
        there = await connection.fetch(sql("linking", "records_named"), tenant.tenant_id, sources, keys)
        known = {**known, **dict(there)}
    for row in rows:
        found.names.update((row["left_key"], row["right_key"]))
        left, right = known.get(row["left_key"]), known.get(row["right_key"])
        if left is not None and right is not None:
            (found.must if row["kind"] == "must" else found.cannot).add((left, right))
    return found


class _Relinking:
    """One change on its way: which records take part, what they reach, the region linked anew."""

    def __init__(self, connection: Connection, tenant: Tenant, context: Context, change: Change) -> None:
        self._connection = connection
        self._tenant = tenant
        self._active = context.active
        self._any_decision = context.decided
        self._settling = context.settling
        self._arrivals = change.arrivals
        self._gone = change.gone
        self._also = change.also
        self._carriers = change.carriers
        self._most = bounds(context.active.model.spec)
        self._before: dict[int, Part] = dict(change.before)
        """Records of the store that take part otherwise after the change."""
        self._entries: dict[int, Entry] = {}
        """Those that take part after the change, of the records that change: arrivals, and copies that gain their keys."""
        self._following: dict[bytes, list[int]] = {}
        """Records that begin to follow as copies, by content."""
        self._rekeyed: dict[int, tuple[Part, list[bytes], bool]] = {}
        self._ranks = Ranking({}, set(), set())
        self._decided = Decided(set(), set(), set())
        self._known_as: dict[bytes, int] = {}
        """Records about which was asked what was decided, by external key."""
        self._hot: set[bytes] = set()
        self._settled: set[bytes] = set()
        """Keys of which it is known whether they are hot."""
        self._known = NOTHING_KNOWN
        self._alone: set[int] = set()
        """New records that are no likely pair with any other: each is a person, unless somebody decided."""
        self._current: dict[int, int] = {}
        self._component: dict[int, int | None] = {}

    async def run(self, now: datetime) -> Relinked:
        Opened.of(self._tenant, self._active).make_room()
        stand(self._active, self._arrivals.values())
        await self._take_part()
        reached = await self._reached()
        self._alone -= {record for pair in self._decided.must for record in pair}
        region = await self._region(reached)
        if self._any_decision:
            await self._ask_decisions({entry.order: record for record, entry in region.items()})
        await self._find_hot(region)
        must, cannot = self._decided.must, self._decided.cannot
        linked = link(region, self._hot, self._active, must=must, cannot=cannot, known=self._known)
        linked.persons.extend(frozenset((record,)) for record in self._alone)
        return await self._settle(region, linked, now)

    async def _ask_decisions(self, records: Mapping[bytes, int]) -> None:
        """What was decided about these records, by their external keys, as well."""
        new = records.keys() - self._known_as.keys()
        if new:
            self._known_as.update(records)
            arriving = {one.external_key: record for record, one in self._arrivals.items()}
            found = await decisions_about(self._connection, self._tenant, new, arriving | self._known_as)
            for known, more in zip(self._decided, found, strict=True):
                known |= more  # type: ignore[operator]

    # --- who takes part ----------------------------------------------------------------------------------------

    async def _take_part(self) -> None:
        """Ranks copies: which arrivals take part with their keys, which records of the store gain or lose theirs."""
        arriving = {record: one.state.copy_key for record, one in self._arrivals.items() if one.state.copy_key}
        leaving = {record: part.copy_key for record, part in self._before.items() if part.copy_key}
        if self._any_decision:
            await self._ask_decisions({part.external_key: record for record, part in self._also.items()})
        # Who takes part and is named in a decision takes part whoever comes first.
        names = self._decided.names
        unsure = [part for part in self._also.values() if part.is_copy or part.external_key not in names]
        others = {part.copy_key[:LINK_KEY_BYTES] for part in unsure if part.copy_key}
        self._ranks = ranks = await ranking(self._connection, self._tenant, arriving, leaving, others)
        parts = await parts_of(self._connection, self._tenant, ranks.promoted | ranks.demoted)
        parts |= {record: part for record, part in self._also.items() if record not in self._before}
        if self._any_decision:
            named = {part.external_key: record for record, part in parts.items()}
            await self._ask_decisions(named | {one.external_key: record for record, one in self._arrivals.items()})
        first = {record for records in ranks.first.values() for record in records}
        for record, one in self._arrivals.items():
            if record in first or one.external_key in self._decided.names or not one.state.copy_key:
                self._entries[record] = Entry(one.state.content, one.external_key, None, one.state.keys)
            else:
                self._following.setdefault(one.state.copy_key[:LINK_KEY_BYTES], []).append(record)
        gains = {}
        for record, part in parts.items():
            takes_part = record in first or part.external_key in self._decided.names
            if not part.copy_key or takes_part != part.is_copy:
                continue
            self._before[record] = part
            if takes_part:
                gains[record] = part
            else:
                self._rekeyed[record] = (part, [part.copy_key], True)
                self._following.setdefault(part.copy_key[:LINK_KEY_BYTES], []).append(record)
        for record, values in (await values_of(self._connection, self._tenant, gains)).items():
            part = gains[record]
            state = link_state(self._tenant.keys, self._active, values, part.external_key)
            self._rekeyed[record] = (part, [*state.keys, part.copy_key], False)
            self._entries[record] = Entry(state.content, part.external_key, values, state.keys)

    # --- what is reached ---------------------------------------------------------------------------------------

    async def _reached(self) -> set[int]:
        """Records of the store whose components a change may touch."""
        touched = dict.fromkeys((key for entry in self._entries.values() for key in entry.keys), 0)
        for part in self._before.values():
            for key in part.keys:
                touched[key] = touched.get(key, 0) + 1
        # What only followed and goes leaves the others as they are.
        reached = {record for record, part in self._before.items() if not (part.is_copy and record in self._gone)}
        reached |= self._also.keys()
        reached |= {record for pair in self._decided.must for record in pair}
        carrying = await self._meet(touched, reached)
        records, met, found = await self._encounters(carrying)
        likely, self._known = likely_pairs({**found, **self._entries}, records, met, self._active)
        self._alone = self._entries.keys() - likely - self._before.keys()
        reached |= likely
        return reached - (self._arrivals.keys() - self._before.keys())

    async def _encounters(self, carrying: Mapping[bytes, Sequence[int]]) -> tuple[list[int], Shared, dict[int, Entry]]:
        """Records; which of them meet one that takes part, as pairs of places; the ones met, to be compared.

        Most pairs share one key that does not suffice: records of which nothing else is asked are not opened.
        """
        active = self._active
        members = list(carrying.values())
        distinct, rows = np.unique(np.fromiter(chain.from_iterable(members), np.int64), return_inverse=True)
        records, size = distinct.tolist(), len(distinct)
        tags = np.fromiter((key[0] for key in carrying), np.int64, len(members))
        lengths = np.fromiter(map(len, members), np.int64, len(members))
        here = np.isin(distinct, np.fromiter(self._entries, np.int64, len(self._entries)))
        met = shared_of(tags, lengths, rows.astype(np.int64), size, here)
        others = [record for record in records if record not in self._entries]
        found = await kept_of(self._connection, self._tenant, active, others)
        closed = [record for record in others if record not in found]
        if self._settling:  # keys in the store may still be of the version before
            found |= await opened_of(self._connection, self._tenant, active, closed)
            closed = []
        if insufficient(met, active.model):
            stating = await stating_of(self._connection, self._tenant, active, {**found, **self._entries}, closed)
            met = meeting(met, size, active.model, lambda column: np.isin(records, np.fromiter(stating[column], np.int64)))
            left = {records[place] for side in (met.pairs // size, met.pairs % size) for place in np.unique(side).tolist()}
            closed = [record for record in closed if record in left]
        found |= await opened_of(self._connection, self._tenant, active, closed)
        gone = [place for place, record in enumerate(records) if record not in found and record not in self._entries]
        if gone:  # or not asked for; keys of records that went while the version was rolled in count, no more
            met = met.part(~(np.isin(met.pairs // size, gone) | np.isin(met.pairs % size, gone)))
        return records, met, found

    async def _meet(self, touched: Mapping[bytes, int], reached: set[int]) -> dict[bytes, list[int]]:
        """Who carries each key of the records that take part, if it is not hot; those of the store first.

        To `reached` go the records of a key that crosses the bound.
        """
        if not touched:
            return {}
        keys = list(touched)
        # Of a key that so many carry more than may stay behind: it is hot, before the change and after.
        leave = max(touched.values())
        statement = sql("linking", "met")
        asked, present = keys, {}
        if self._carriers:
            known = {key for key in keys if not touched[key]} & self._carriers.keys()
            asked = [key for key in keys if key not in known]
            present = {key: here for key, here in self._carriers.items() if here != () and key in known}
        if asked:
            present |= dict(await self._connection.fetch(statement, self._tenant.tenant_id, asked, self._most, 1 + leave))
        # Most keys are new; of one record alone they make no pair, and are not hot (a bound is 1 at least).
        count = Counter(chain.from_iterable([entry.keys for entry in self._entries.values()]))
        coming: dict[bytes, list[int]] = {key: [] for key, times in count.items() if times > 1 or present.get(key)}
        for record, entry in self._entries.items():
            for key in entry.keys:
                if key in coming:
                    coming[key].append(record)
        carrying: dict[bytes, list[int]] = {}
        nobody: list[int] = []
        for key in {**coming, **present}:
            here, come = present.get(key, nobody), coming.get(key, nobody)
            if here is None:
                self._hot.add(key)
                continue
            if not here and len(come) < 2:
                continue
            stay = [record for record in here if record not in self._before] if self._before else here
            most = self._most[key[0]]
            hot = len(stay) + len(come) > most
            if hot != (len(here) > most):
                reached.update(stay)
            if hot:
                self._hot.add(key)
            elif come and (stay or len(come) > 1):
                carrying[key] = [*stay, *come]
        self._settled.update(keys)
        return carrying

    async def _region(self, reached: set[int]) -> dict[int, Entry]:
        """All records that take part, of the persons reached and of their components, as they are after the change."""
        parts: dict[int, Part] = {}
        if reached:
            for row in await self._connection.fetch(sql("linking", "region"), self._tenant.tenant_id, list(reached)):
                *columns, component = row.values()
                part = Part(*columns)
                self._component[part.person_id] = component
                self._current[part.record_id] = part.person_id
                if part.record_id not in self._before:
                    parts[part.record_id] = part
        for record, part in self._before.items():
            self._current[record] = part.person_id
        for record in self._gone:
            self._current.pop(record, None)
        region = await entries_of(self._connection, self._tenant, self._active, parts.values())
        region.update({record: entry for record, entry in self._entries.items() if record not in self._alone})
        return region

    async def _find_hot(self, region: Mapping[int, Entry]) -> None:
        """Of the keys that records of the region share and the change does not touch, whether they are hot."""
        carried = Counter(chain.from_iterable([entry.keys for entry in region.values()]))
        unknown = [key for key, records in carried.items() if records > 1 and key not in self._settled]
        if unknown:
            most = max(self._most) + 1
            rows = await self._connection.fetch(sql("linking", "holders"), self._tenant.tenant_id, unknown, most)
            self._hot |= {row["key"] for row in rows if row["holders"] > self._most[row["key"][0]]}

    # --- persons -----------------------------------------------------------------------------------------------

    async def _settle(self, region: Mapping[int, Entry], linked: Linked, now: datetime) -> Relinked:
        placeholders = count(-1, -1)
        made: list[int] = []

        def new_id() -> int:
            made.append(next(placeholders))
            return made[-1]

        current = {record: person for record, person in self._current.items() if record in region}
        assignment = assign(linked.persons, current, new_id)
        followed = await self._follow(region, assignment, new_id)
        name: dict[int, int] = {}
        if made:
            rows = await self._connection.fetch(sql("records", "new_persons"), self._tenant.tenant_id, len(made), now)
            name = dict(zip(made, sorted(row[0] for row in rows), strict=True))
        person_of = {
            record: name.get(person, person) for record, person in {**assignment.person_of, **followed.person_of}.items()
        }
        redirects = {**assignment.redirects, **followed.redirects}
        splits = [*((split.kept, split.person) for split in assignment.splits), *followed.splits]
        several = linked.held or any(component is not None for component in self._component.values())
        return Relinked(
            person_of,
            self._current,
            {gone: name.get(person, person) for gone, person in redirects.items()},
            [(kept, name.get(person, person)) for kept, person in dict.fromkeys(splits) if kept not in redirects],
            {record: self._keys_of(record, one) for record, one in self._arrivals.items()},
            self._rekeyed,
            self._components(linked, person_of),
            [(person_of[one], person_of[other], code, odds) for one, other, code, odds in linked.held],
            sorted({*self._component, *person_of.values()}) if several else [],
        )

    def _keys_of(self, record: int, arrival: Arrival) -> tuple[list[bytes], bool]:
        state = arrival.state
        if not state.copy_key:
            return [], False
        takes_part = record in self._entries
        return [*(state.keys if takes_part else ()), state.copy_key], not takes_part

    async def _follow(self, region: Mapping[int, Entry], assignment: Assignment, new_id: Callable[[], int]) -> Followed:
        held = Counter(entry.content for entry in region.values() if entry.keys)
        contents = {copy_prefix(self._tenant.keys, content) for content, records in held.items() if records > 1}
        around = Region(assignment.person_of, self._current, self._component.keys(), contents, self._before.keys())
        followed = await follow(self._connection, self._tenant, self._following, self._ranks, around, new_id)
        # A person that a record left to follow others, and that nobody holds any more, is where that record went.
        alive = {*assignment.person_of.values(), *followed.person_of.values()}
        for kept, person in followed.splits:
            if kept not in alive and kept not in assignment.redirects:
                followed.redirects.setdefault(kept, person)
        return followed

    def _components(self, linked: Linked, person_of: Mapping[int, int]) -> dict[int, int | None]:
        """Person -> component, where it is another than before: the smallest of several persons, none of one alone."""
        found: dict[int, int | None] = {person: None for person, before in self._component.items() if before is not None}
        for records in linked.components:
            persons = {person_of[record] for record in records}
            component = min(persons) if len(persons) > 1 else None
            for person in persons:
                found.pop(person, None)
                if self._component.get(person) != component:
                    found[person] = component
        return found
