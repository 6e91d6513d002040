"""Copies: of records with the same content the first four, in the order of their copy keys, take part in linking.

The others follow: they are of the person of the first two where these are one person, and each its own otherwise. So a
record that comes a million times costs what the fifth one did. Records about which somebody decided take part too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from firstring.identity.persons.linking import COPIES
from firstring.store.database import Connection, Tenant
from firstring.store.identity.linkindex import LINK_KEY_BYTES, after
from firstring.store.queries import sql


class Ranking(NamedTuple):
    """first: of each content (12 bytes) the records that come first after the change, in order; who gains or loses that."""

    first: dict[bytes, list[int]]
    promoted: set[int]
    demoted: set[int]


def ranked(
    present: Sequence[tuple[bytes, int]], arriving: Mapping[int, bytes], leaving: AbstractSet[int]
) -> tuple[list[int], set[int], set[int]]:
    """(first, promoted, demoted) of one content. present: (copy key, record), as many as come first before and after."""
    before = [record for _, record in sorted(present)[:COPIES]]
    stay = [(key, record) for key, record in present if record not in leaving]
    come = [(key, record) for record, key in arriving.items()]
    first = [record for _, record in sorted([*stay, *come])[:COPIES]]
    promoted = set(first) - set(before) - arriving.keys()
    demoted = set(before) - set(first) - leaving - arriving.keys()
    return first, promoted, demoted


async def ranking(
    connection: Connection,
    tenant: Tenant,
    arriving: Mapping[int, bytes],
    leaving: Mapping[int, bytes],
    others: Collection[bytes] = (),
) -> Ranking:
    """The ranking after a change. arriving, leaving: record -> copy key; others: contents that are looked at too."""
    come: dict[bytes, dict[int, bytes]] = {}
    go: dict[bytes, set[int]] = {}
    for record, key in arriving.items():
        come.setdefault(key[:LINK_KEY_BYTES], {})[record] = key
    for record, key in leaving.items():
        go.setdefault(key[:LINK_KEY_BYTES], set()).add(record)
    contents = list({*come, *go, *others})
    present: list[list[tuple[bytes, int]]] = [[] for _ in contents]
    if contents:
        bounds = [COPIES + len(go.get(content, ())) for content in contents]
        places = list(range(len(contents)))
        statement = sql("linking", "copies")
        for row in await connection.fetch(statement, tenant.tenant_id, places, contents, [*map(after, contents)], bounds):
            present[row["place"]].append((row["key"], row["record_id"]))
    found = Ranking({}, set(), set())
    for content, here in zip(contents, present, strict=True):
        first, promoted, demoted = ranked(here, come.get(content, {}), go.get(content, set()))
        found.first[content] = first
        found.promoted.update(promoted)
        found.demoted.update(demoted)
    return found


class Region(NamedTuple):
    """What was linked anew: the person of each record that takes part, and before; all persons that were reached.

    contents: those that several of its records share. without: records that change or go.
    """

    person_of: Mapping[int, int]
    current: Mapping[int, int]
    persons: Collection[int]
    contents: AbstractSet[bytes]
    without: Collection[int]


class Followed(NamedTuple):
    """Records that follow: their persons; persons that are no more; (person kept, person that records left it for)."""

    person_of: dict[int, int]
    redirects: dict[int, int]
    splits: list[tuple[int, int]]


async def follow(
    connection: Connection,
    tenant: Tenant,
    following: Mapping[bytes, Sequence[int]],
    ranks: Ranking,
    region: Region,
    new_id: Callable[[], int],
) -> Followed:
    """The persons of the records that follow: those that begin to, by content, and those that did already."""
    found = Followed({}, {}, [])
    contents = [*dict.fromkeys([*following, *ranks.first, *sorted(region.contents)])]
    if not contents:
        return found
    there = await _one_follower(connection, tenant, contents, region.without)
    contents = [content for content in contents if content in following or content in there]
    target = await _targets(connection, tenant, contents, ranks, region)
    for content in contents:
        person = target[content]
        for record in sorted(following.get(content, ())):
            _move(found, region, record, region.current.get(record), person, new_id)
        one = there.get(content)
        if one is None or one.person_id == person or (person is None and one.person_id not in region.persons):
            continue  # they are where they belong: with the first two, or each its own
        for other in await _followers(connection, tenant, content, region.without):
            _move(found, region, other.record_id, other.person_id, person, new_id)
    return found


def _move(
    found: Followed, region: Region, record: int, before: int | None, person: int | None, new_id: Callable[[], int]
) -> None:
    to = person
    if to is None:
        taken = before is None or before in region.person_of.values() or before in found.person_of.values()
        to = new_id() if taken or before is None else before
    found.person_of[record] = to
    if before is None or before == to:
        return
    if before in region.persons:
        found.splits.append((before, to))
    else:
        found.redirects[before] = to  # it was alone


async def _targets(
    connection: Connection, tenant: Tenant, contents: Sequence[bytes], ranks: Ranking, region: Region
) -> dict[bytes, int | None]:
    """Of each content the person of its first two records; None where they are not one."""
    first = dict(ranks.first)
    unknown = [content for content in contents if content not in first]
    if unknown:
        first |= (await ranking(connection, tenant, {}, {}, unknown)).first
    outside = {record for content in contents for record in first[content][:2] if record not in region.person_of}
    person_of = dict(region.person_of)
    if outside:
        rows = await connection.fetch(sql("linking", "parts"), tenant.tenant_id, list(outside))
        person_of |= {row["record_id"]: row["person_id"] for row in rows}
    found: dict[bytes, int | None] = {}
    for content in contents:
        # Without a person: it went while the version was rolled in, and is not unlinked yet.
        persons = {person_of.get(record) for record in first[content][:2]}
        found[content] = persons.pop() if len(persons) == 1 else None
    return found


class _Follower(NamedTuple):
    record_id: int
    person_id: int


async def _one_follower(
    connection: Connection, tenant: Tenant, contents: Sequence[bytes], without: Collection[int]
) -> dict[bytes, _Follower]:
    places = list(range(len(contents)))
    rows = await connection.fetch(
        sql("linking", "one_follower"), tenant.tenant_id, places, list(contents), [*map(after, contents)], list(without)
    )
    return {contents[row["place"]]: _Follower(row["record_id"], row["person_id"]) for row in rows}


async def _followers(connection: Connection, tenant: Tenant, content: bytes, without: Collection[int]) -> list[_Follower]:
    rows = await connection.fetch(sql("linking", "followers"), tenant.tenant_id, content, after(content), list(without))
    return [_Follower(row["record_id"], row["person_id"]) for row in rows]
