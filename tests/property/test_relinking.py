"""A store's records linked in bulk are the persons that linking them one set at a time gives; brute force as the oracle."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from tests.linking_rig import model_by_hand
from tests.store_people import people

from firstring.bulk.versions.relinking import relink
from firstring.bulk.versions.storelink import FROZEN, Gathering, Opened, Stored
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.comparison.shelf import Shelf
from firstring.identity.comparison.statistics import Statistics
from firstring.identity.model.model import Model
from firstring.identity.persons.linking import COPIES, Entry, Linked, content_of, link
from firstring.identity.persons.linkkeys import link_keys_of, tags

KEY = b"0123456789abcdef"


class _Version:
    def __init__(self, model: Model, statistics: Statistics) -> None:
        self.model, self.statistics, self.log_odds = model, statistics, float(np.log(19))
        self.scored: dict[int, float] = {}
        self.shelf = Shelf(statistics)


def _opened(seed: int, count: int, copies: int) -> list[Opened]:
    found = []
    sources = {"billing": 1, "crm": 2, "shop": 3}
    rows = [(source, record.record_id, compared(record.fields)) for source, record, _ in people(seed, count)]
    rows += [(rows[7][0], f"copy-{number}", rows[7][2]) for number in range(copies)]
    random.Random(seed).shuffle(rows)
    for number, (source, own, values) in enumerate(rows, 1):
        key = hashlib.sha256(f"{source} {own}".encode()).digest()[:16]
        found.append(Opened(number, sources[source], key, b"", (), values, content_of(values)))
    return found


def _stored(opened: list[Opened], statistics: Statistics, decided: set[int]) -> Stored:
    gathering = Gathering()
    for one in opened:
        gathering.add(one)
    return gathering.stored({1: "billing", 2: "crm", 3: "shop"}, statistics, decided)


def _oracle(
    opened: list[Opened], version: _Version, must: list[tuple[int, int]], cannot: list[tuple[int, int]]
) -> tuple[Linked, set[frozenset[int]]]:
    spec = version.model.spec
    entries: dict[int, Entry] = {}
    left_out: dict[int, list[int]] = {}
    by_content: dict[bytes, list[Opened]] = {}
    for one in sorted(opened, key=lambda one: one.order):
        by_content.setdefault(content_of(one.values), []).append(one)
    named = {record for pair in must + cannot for record in pair}
    for content, same in by_content.items():
        for one in [*same[:COPIES], *(one for one in same[COPIES:] if one.record_id in named)]:
            keys = [bytes([key.tag]) + key.text.encode() for key in link_keys_of(spec, one.values, version.statistics)]
            entries[one.record_id] = Entry(content, one.order[16:], one.values, keys)
        for one in (one for one in same[COPIES:] if one.record_id not in named):
            left_out.setdefault(same[0].record_id, []).append(one.record_id)
    carried: dict[bytes, int] = {}
    for entry in entries.values():
        for key in entry.keys:
            carried[key] = carried.get(key, 0) + 1
    most = {tag: spec.most(key) for key, tag in zip(spec.linking, tags(spec).values(), strict=True)}
    hot = {key for key, count in carried.items() if count > most[key[0]]}
    linked = link(entries, hot, version, must=must, cannot=cannot)
    persons = []
    singles: list[frozenset[int]] = []
    second = {same[0].record_id: same[1].record_id for same in by_content.values() if len(same) > 1}
    for person in linked.persons:
        more: set[int] = set()
        for record in person:
            if record in left_out:
                if second[record] in person:
                    more.update(left_out[record])
                else:
                    singles += [frozenset((one,)) for one in left_out[record]]
        persons.append(person | more)
    return linked, {*persons, *singles}


def _sets(records: np.ndarray, group: np.ndarray) -> set[frozenset[int]]:
    found: dict[int, set[int]] = {}
    for record, one in zip(records.tolist(), group.tolist(), strict=True):
        found.setdefault(one, set()).add(record)
    return {frozenset(one) for one in found.values()}


@pytest.mark.parametrize(("seed", "copies"), [(21, 0), (22, 3), (23, 12), (24, 70)])
def test_in_bulk_as_one_set_at_a_time(seed: int, copies: int) -> None:
    opened = _opened(seed, 500, copies)
    statistics = table_of([one.values for one in opened]).frozen(FROZEN, KEY)
    version = _Version(model_by_hand(records=len(opened)), statistics)
    draw = random.Random(seed)
    ids = [one.record_id for one in opened]
    for decided in (0, 15):
        must = [(draw.choice(ids), draw.choice(ids)) for _ in range(decided)]
        cannot = [(draw.choice(ids), draw.choice(ids)) for _ in range(decided)] + must[:2]
        stored = _stored(list(opened), statistics, {record for pair in must + cannot for record in pair})
        done = relink(stored, version, must, cannot, memory_mb=100, told=lambda *_: None)
        linked, persons = _oracle(opened, version, must, cannot)
        assert _sets(stored.record_ids, done.person) == persons
        told = {(stored.record_ids[one], stored.record_ids[other], code) for one, other, code, _ in done.held}
        assert told == {(one, other, code) for one, other, code, _ in linked.held}
        if not copies:
            assert _sets(stored.record_ids, done.component) == set(linked.components)
        assert len(persons) < len(opened)
