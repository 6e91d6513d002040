"""Why records are, or are not, one person: read from the store, said by identity/review/explain.

With a model version the weights are those that decide. Without one, persons are glued by exact composite keys, and the
keys that two records share are the whole reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.persons.linkkeys import bounds
from firstring.identity.review.explain import (
    Held,
    Link,
    PairExplained,
    explained_pair,
    held_together,
    odds_text,
    path,
    said,
    shown_probability,
)
from firstring.store.database import Connection, Tenant
from firstring.store.identity.linkindex import link_state
from firstring.store.identity.looking import (
    NO_MEETING,
    Looked,
    Meeting,
    is_number,
    living,
    meetings,
    record_named,
    records_by_id,
    records_of_person,
    scored,
    table_with,
)
from firstring.store.identity.models import ActiveModel, active_model
from firstring.store.identity.verdicts import DecisionView, HeldView, decisions_about, held_merges
from firstring.store.queries import sql

THRESHOLD: Final = 0.95
"""Shown where no version says another."""
_CHANGES: Final = 50


class RecordView(msgspec.Struct, frozen=True):
    """A record as it stands. name: the source's own id."""

    record_id: int
    person_id: int
    source: str
    name: str
    last_seen: datetime | None
    fields: dict[str, Any]


class LinkView(msgspec.Struct, frozen=True):
    """One link between two records. probability: of the pair by itself; none where keys or a steward decided."""

    left_record: int
    right_record: int
    probability: float | None
    keys: tuple[str, ...]
    text: str
    decided: bool = False


class Neighbour(msgspec.Struct, frozen=True):
    """Another person near by: the best pair between the two, and why they are not one."""

    person_id: int
    link: LinkView
    pair: PairExplained | None


class PairWhy(msgspec.Struct, frozen=True):
    """Two records: whether they are one person now, and every weight for and against. basis: what decides."""

    left: RecordView
    right: RecordView
    together: bool
    basis: Literal["model", "keys"]
    version: str
    keys: tuple[str, ...]
    pair: PairExplained | None
    path: tuple[LinkView, ...]
    decisions: tuple[DecisionView, ...]
    held: tuple[HeldView, ...]
    text: tuple[str, ...]


class PersonWhy(msgspec.Struct, frozen=True):
    """A person: the links that hold its records together, the weakest of them, who is near by, what was decided."""

    person_id: int
    basis: Literal["model", "keys"]
    version: str
    records_in_all: int
    records: tuple[RecordView, ...]
    links: tuple[LinkView, ...]
    weakest: LinkView | None
    sides: tuple[tuple[int, ...], tuple[int, ...]] | None
    loose: tuple[int, ...]
    neighbours: tuple[Neighbour, ...]
    decisions: tuple[DecisionView, ...]
    held: tuple[HeldView, ...]
    changes: tuple[dict[str, Any], ...]
    text: tuple[str, ...]


class _Graph(msgspec.Struct, frozen=True):
    """Records and the links between them."""

    version: ActiveModel | None
    records: list[Looked]
    met: dict[tuple[int, int], Meeting]
    links: dict[tuple[int, int], Link]

    def view(self, link: Link) -> LinkView:
        left, right = self.records[link.left], self.records[link.right]
        meeting = self.met.get((link.left, link.right), NO_MEETING)
        names = tuple(_key_said(key) for key in meeting.keys)
        sharing = f"they share {', '.join(names)}" if names else "they share no key"
        if link.decided:
            return LinkView(left.record_id, right.record_id, None, meeting.keys, "a steward decided that they are one", True)
        if self.version is None:
            return LinkView(left.record_id, right.record_id, None, meeting.keys, sharing)
        text = f"{shown_probability(link.probability)} by themselves ({odds_text(link.log_odds_nats)}); {sharing}"
        return LinkView(left.record_id, right.record_id, link.probability, meeting.keys, text)


# --- asked by the command line and the API -------------------------------------------------------------------------


async def why_person(connection: Connection, tenant: Tenant, person_id: int) -> PersonWhy:
    """What holds a person together. Raises BadInput unknown_person (404). In a transaction of the tenant."""
    person_id = await living(connection, tenant, person_id)
    version = await active_model(connection, tenant)
    records = await records_of_person(connection, tenant, person_id)
    in_all = await connection.fetchval(sql("review", "records_of_person"), tenant.tenant_id, person_id)
    decisions = await decisions_about(connection, tenant, records)
    graph = linked(version, records, decisions)
    held = held_together(range(len(records)), graph.links.values())
    changes = await connection.fetch(sql("review", "changes_of_person"), tenant.tenant_id, person_id, _CHANGES)
    near = await _neighbours(connection, tenant, person_id, version, records)
    held_back = await held_merges(connection, tenant, person_id)
    sides = None
    if held.sides is not None:
        one, other = (tuple(records[place].record_id for place in side) for side in held.sides)
        sides = (one, other)
    return PersonWhy(
        person_id=person_id,
        basis=_basis(version),
        version=_version(version),
        records_in_all=in_all,
        records=tuple(view_of(record) for record in records),
        links=tuple(graph.view(link) for link in held.links),
        weakest=graph.view(held.weakest) if held.weakest else None,
        sides=sides,
        loose=tuple(records[place].record_id for place in held.loose),
        neighbours=tuple(near),
        decisions=tuple(decisions),
        held=tuple(held_back),
        changes=tuple(dict(row) for row in changes),
        text=tuple(_person_text(graph, held, in_all, near, held_back)),
    )


async def why_pair(connection: Connection, tenant: Tenant, one: str, other: str) -> PairWhy:
    """Why two are, or are not, one person; each a record (SOURCE:RECORD_ID) or a person's number.

    Of a person that record is taken which speaks the most for the two being one. Raises BadInput unknown_person,
    unknown_record, argument_invalid.
    """
    version = await active_model(connection, tenant)
    sides = [await asked(connection, tenant, text) for text in (one, other)]
    left, right = best_pair(version, *sides)
    if left.record_id == right.record_id:
        raise BadInput("same_record", "Both are the same record.", hint="Name two records, or two persons.")
    together = left.person_id == right.person_id
    near = await records_of_person(connection, tenant, left.person_id) if together else []
    known = {record.record_id: record for record in (left, right, *near)}
    records = sorted(known.values(), key=lambda record: record.record_id)
    decisions = await decisions_about(connection, tenant, records)
    graph = linked(version, records, decisions)
    places = sorted(records.index(record) for record in (left, right))
    meeting = graph.met.get((places[0], places[1]), NO_MEETING)
    pair = None if version is None else explained_between(version, records[places[0]], records[places[1]])[0]
    hot = await _all_hot(connection, tenant, version, left, right)
    way = path(held_together(range(len(records)), graph.links.values()), places[0], places[1]) if together else None
    held_back = [
        each
        for each in await held_merges(connection, tenant, left.person_id)
        if {each.left_person, each.right_person} == {left.person_id, right.person_id}
    ]
    pair_ids = {left.record_id, right.record_id}
    between = tuple(each for each in decisions if {each.left_record, each.right_record} == pair_ids)
    return PairWhy(
        left=view_of(records[places[0]]),
        right=view_of(records[places[1]]),
        together=together,
        basis=_basis(version),
        version=_version(version),
        keys=meeting.keys,
        pair=pair,
        path=tuple(graph.view(link) for link in way or ()),
        decisions=between,
        held=tuple(held_back),
        text=tuple(_pair_text(together, pair, meeting, version, between, held_back, len(way or ()), hot)),
    )


def explained_between(version: ActiveModel, left: Looked, right: Looked) -> tuple[PairExplained, Meeting]:
    """Two records under a version, and how they meet."""
    records = [left, right]
    meeting = meetings(version, records).get((0, 1), NO_MEETING)
    table = table_with(version, records)
    pair = explained_pair(version.model, table, 0, 1, by_profile=meeting.by_profile, threshold=version.threshold)
    return pair, meeting


# --- links -----------------------------------------------------------------------------------------------------------


def linked(version: ActiveModel | None, records: list[Looked], decisions: Sequence[DecisionView]) -> _Graph:
    """The links between records: pairs that meet, with their log-odds (without a version, the number of shared keys);
    must-links of stewards."""
    met = meetings(version, records)
    links: dict[tuple[int, int], Link] = {}
    if version is not None and met:
        odds = scored(version, table_with(version, records), met)[0].log_odds.tolist()
        links = {pair: Link(each, *pair) for pair, each in zip(met, odds, strict=True)}
    elif met:
        links = {pair: Link(float(len(meeting.keys)), *pair) for pair, meeting in met.items()}
    place_of = {record.record_id: place for place, record in enumerate(records)}
    for decision in decisions:
        left, right = place_of.get(decision.left_record or 0), place_of.get(decision.right_record or 0)
        if left is None or right is None or left == right:
            continue
        pair = (min(left, right), max(left, right))
        if decision.kind == "must":
            links[pair] = Link(links[pair].log_odds_nats if pair in links else 0.0, *pair, decided=True)
        else:
            links.pop(pair, None)
    return _Graph(version, records, met, links)


async def asked(connection: Connection, tenant: Tenant, text: str) -> list[Looked]:
    """The records that SOURCE:RECORD_ID or a person's number names. Raises BadInput as why_pair does."""
    if is_number(text):
        return await records_of_person(connection, tenant, await living(connection, tenant, int(text)))
    return await records_by_id(connection, tenant, [await record_named(connection, tenant, text)])


def best_pair(version: ActiveModel | None, ones: list[Looked], others: list[Looked]) -> tuple[Looked, Looked]:
    """The pair that speaks the most for being one, among two lists of records (of different persons or single)."""
    if not ones or not others:
        raise BadInput("unknown_record", "Nothing is left of it.", http_status=404)
    if len(ones) == len(others) == 1:
        return ones[0], others[0]
    known = {record.record_id: record for record in (*ones, *others)}
    records = list(known.values())
    first, second = {one.record_id for one in ones}, {other.record_id for other in others}
    between = [
        pair
        for pair, link in sorted(linked(version, records, ()).links.items(), key=lambda one: -one[1].log_odds_nats)
        if {records[pair[0]].record_id, records[pair[1]].record_id} & first
        and {records[pair[0]].record_id, records[pair[1]].record_id} & second
        and link
    ]
    if between:
        return records[between[0][0]], records[between[0][1]]
    return ones[0], next((other for other in others if other.record_id != ones[0].record_id), ones[0])


async def _all_hot(connection: Connection, tenant: Tenant, version: ActiveModel | None, left: Looked, right: Looked) -> bool:
    """Whether so many records carry every linking key that two share that none of them makes pairs."""
    if version is None:
        return False
    mine, others = (link_state(tenant.keys, version, record.values, record.external_key).keys for record in (left, right))
    shared = set(mine) & set(others)
    most = bounds(version.model.spec)
    rows = await connection.fetch(sql("linking", "holders"), tenant.tenant_id, list(shared), max(most) + 1)
    return bool(shared) and len(rows) == len(shared) and all(row["holders"] > most[row["key"][0]] for row in rows)


async def _neighbours(
    connection: Connection, tenant: Tenant, person_id: int, version: ActiveModel | None, records: list[Looked]
) -> list[Neighbour]:
    """Persons of the same component, the likeliest first."""
    rows = await connection.fetch(sql("review", "neighbours"), tenant.tenant_id, person_id, limits.NEIGHBOURS_EXPLAINED)
    found: list[tuple[float, Neighbour]] = []
    for row in rows:
        others = await records_of_person(connection, tenant, row["person_id"])
        both = [*records, *others]
        graph = linked(version, both, ())
        across = [link for (left, right), link in graph.links.items() if left < len(records) <= right]
        if not across:
            continue
        best = max(across, key=lambda link: (link.log_odds_nats, -link.left, -link.right))
        pair = None if version is None else explained_between(version, both[best.left], both[best.right])[0]
        found.append((best.log_odds_nats, Neighbour(row["person_id"], graph.view(best), pair)))
    return [neighbour for _, neighbour in sorted(found, key=lambda one: (-one[0], one[1].person_id))]


# --- words -----------------------------------------------------------------------------------------------------------


def view_of(record: Looked) -> RecordView:
    return RecordView(record.record_id, record.person_id, record.source, record.name, record.last_seen, record.fields)


def _basis(version: ActiveModel | None) -> Literal["model", "keys"]:
    return "keys" if version is None else "model"


def _version(version: ActiveModel | None) -> str:
    return version.version if version else ""


def _key_said(key: str) -> str:
    return " with ".join(said(part) for part in key.split("+"))


def _person_text(
    graph: _Graph, held: Held, in_all: int, near: Sequence[Neighbour], held_back: Sequence[HeldView]
) -> list[str]:
    records = graph.records
    names = [record.reference() for record in records]
    found = [
        f"{in_all:,} records" + (f", of which the first {len(records):,} are looked at" if in_all > len(records) else "")
    ]
    if graph.version is None:
        found.append("no model version is active: records are joined by exact composite keys")
    if held.weakest is not None and held.sides is not None:
        link = held.weakest
        apart = min(held.sides, key=lambda side: (len(side), side))
        shown = ", ".join(names[place] for place in apart[:5]) + (" and others" if len(apart) > 5 else "")
        found.append(f"the weakest link is {names[link.left]} to {names[link.right]}: {graph.view(link).text}")
        found.append(f"without it {shown} would come apart")
    if held.loose:
        shown = ", ".join(names[place] for place in held.loose[:5])
        found.append(f"no pair links {shown} to the others by itself: the pairs together do, or copies of one record")
    for neighbour in near[:3]:
        found.append(f"person {neighbour.person_id} is near by: {neighbour.link.text}")
        if neighbour.pair and neighbour.pair.tips:
            found.append(f"they would be one {neighbour.pair.tips[0].text}")
    found += [f"held: {one.text} (persons {one.left_person} and {one.right_person})" for one in held_back]
    return found


def _pair_text(
    together: bool,
    pair: PairExplained | None,
    meeting: Meeting,
    version: ActiveModel | None,
    decisions: Sequence[DecisionView],
    held: Sequence[HeldView],
    steps: int,
    hot: bool,
) -> list[str]:
    found = ["they are one person" if together else "they are two persons"]
    for decision in decisions:
        what = "are one person" if decision.kind == "must" else "are not one person"
        found.append(f"{decision.made_by} decided on {decision.made_at:%Y-%m-%d} that they {what}: {decision.reason}")
    found += [f"held back: {one.text}" for one in held]
    if meeting.keys:
        found.append(f"they share {', '.join(_key_said(key) for key in meeting.keys)}")
        if hot:
            found.append("more records share these values than pairs are made of: the two are compared by no key")
    else:
        found.append("they share no key under which records are compared; the weights are what they would be")
    if version is None:
        found.append("no model version is active: records are joined by exact composite keys")
    if pair is not None:
        found.append(pair.verdict)
    if together and steps > 1:
        found.append(f"they are joined by way of {steps - 1} other record" + ("s" if steps > 2 else ""))
    elif pair is not None and together and pair.probability < pair.threshold and not decisions:
        found.append("other pairs of the person speak for it too: persons are made of all their pairs together")
    return found
