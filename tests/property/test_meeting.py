"""Who meets: by definition, one set at a time, and in bulk. A key that does not suffice alone joins nobody by itself."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from tests.linking_rig import model_by_hand

from firstring.bulk.linking.pairs import Pairs
from firstring.bulk.linking.plan import make_plan
from firstring.bulk.versions.storelink import FROZEN
from firstring.identity.comparison.columns import table_of
from firstring.identity.comparison.shelf import Shelf
from firstring.identity.comparison.spec import PERSON, BlockingKey, Spec
from firstring.identity.comparison.statistics import Statistics
from firstring.identity.model.model import Model
from firstring.identity.persons.linking import Entry, content_of, meetings
from firstring.identity.persons.linkkeys import link_keys_of, tags
from firstring.identity.persons.meeting import suffices

KEYS = (
    BlockingKey("phone", ("phone",)),
    BlockingKey("email", ("email",)),
    BlockingKey("family+year", ("family", "year"), profile=True, unless=("phone",)),
    BlockingKey("given+year", ("given", "year"), profile=True, unless=("email", "phone", "account")),
    BlockingKey("given+city", ("given", "city"), profile=True),
)
SPEC = Spec(PERSON.comparisons, KEYS, 6, tuple(key.name for key in KEYS))


class _Version:
    def __init__(self, model: Model, statistics: Statistics) -> None:
        self.model, self.statistics, self.log_odds = model, statistics, 3.0
        self.scored: dict[int, float] = {}
        self.shelf = Shelf(statistics)


def _records(seed: int, count: int) -> list[dict[str, tuple[str, ...]]]:
    rng = random.Random(seed)

    def some(name: str, share: float, *values: str) -> dict[str, tuple[str, ...]]:
        return {name: (rng.choice(values),)} if rng.random() < share else {}

    found = []
    for number in range(count):
        row = some("given", 0.9, "ann", "bob", "eve") | some("family", 0.9, "lee", "ray", "may", "fox")
        row |= some("born", 0.8, "19710605", "19720605", "19730101") | some("city", 0.6, "gouda", "delft", "tours")
        row |= some("email", 0.4, "a@x.org", "b@x.org", f"{number}@x.org") | some("account", 0.5, f"{number}")
        if rng.random() < 0.5:
            row["phone"] = tuple({f"+1{rng.randint(1, count)}" for _ in range(rng.randint(1, 6))})
        found.append({name: tuple(sorted(values)) for name, values in row.items()})
    return found


@pytest.mark.parametrize("seed", range(12))
def test_who_meets(seed: int, tmp_path: Path) -> None:
    records = _records(seed, 40)
    records.sort(key=content_of)
    statistics = table_of(records).frozen(FROZEN, b"0123456789abcdef")
    version = _Version(model_by_hand(SPEC), statistics)
    keys = [{(key.name, key.text) for key in link_keys_of(SPEC, row, statistics)} for row in records]
    carried = Counter(key for its in keys for key in its)
    hot = {key for key, count in carried.items() if count > SPEC.block_records}
    known = {key.name: key for key in KEYS}
    wanted = {}
    for one, other in combinations(range(len(records)), 2):
        names = {name for name, _ in (keys[one] & keys[other]) - hot}
        if len(names) == 1:
            # `account` is no linking key: it does not count.
            (name,) = names
            counting = set(known[name].unless or ()) & {"phone", "email"}
            if any(column in records[one] and column in records[other] for column in counting):
                assert not suffices(names, version.model, records[one], records[other])
                continue
        assert suffices(names, version.model, records[one], records[other]) == bool(names)
        if names:
            wanted[one, other] = any(known[name].profile for name in names)
    assert len(wanted) > 20

    tag = tags(SPEC)
    text = [[bytes([tag[name]]) + text.encode() for name, text in its] for its in keys]
    entries = [Entry(content_of(row), b"", row, its) for row, its in zip(records, text, strict=True)]
    met = meetings(entries, {bytes([tag[name]]) + text.encode() for name, text in hot}, version)
    size = len(records)
    assert dict(zip(zip((met.pairs // size).tolist(), (met.pairs % size).tolist(), strict=True), met.by_profile.tolist(),
                    strict=True)) == wanted  # fmt: skip

    table = table_of(records, statistics)
    pairs = Pairs(tmp_path, memory_mb=200, threads=1)
    try:
        pairs.gather(make_plan(SPEC, table), table)
        rows = pairs._fetch("select l, r, profile from candidate order by l, r")
    finally:
        pairs.close()
    left, right, profile = (np.asarray(rows[name]).tolist() for name in ("l", "r", "profile"))
    assert dict(zip(zip(left, right, strict=True), profile, strict=True)) == wanted
