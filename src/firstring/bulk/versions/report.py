"""What a model version changes, before it does: which persons become one, which come apart. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

EXAMPLES: Final = 10
"""Of each kind, those that concern the most records."""


class Example(msgspec.Struct, frozen=True):
    """persons: ids now; records: how many they have. After a split, parts are the sizes of what comes of the person."""

    persons: tuple[int, ...]
    records: int
    parts: tuple[int, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """merged: persons then that hold records of several persons now; split: persons now that come apart; touched_share:
    of the persons now, those with either. held: merges that a guard keeps for people to look at."""

    version: str
    records: int
    persons_now: int
    persons_then: int
    largest_now: int
    largest_then: int
    merged: int
    split: int
    touched_share: float
    held: int
    merges: tuple[Example, ...]
    splits: tuple[Example, ...]


class Partition(NamedTuple):
    """Two partitions of the same records: now (person ids) and then (any number that stands for a person)."""

    now: NDArray[np.int64]
    then: NDArray[np.int64]


class Overlap(NamedTuple):
    """Which persons now and then share records: (now, then, how many), and for each row whether its persons are the same
    on both sides."""

    now: NDArray[np.int64]
    then: NDArray[np.int64]
    records: NDArray[np.int64]
    several_then: NDArray[np.bool_]
    several_now: NDArray[np.bool_]


def overlap(both: Partition) -> Overlap:
    """Every combination of a person now and a person then. several_then: the person now comes apart; several_now: the
    person then is made of several."""
    order = np.lexsort((both.then, both.now))
    now, then = both.now[order], both.then[order]
    begins = np.flatnonzero(np.append(True, (now[1:] != now[:-1]) | (then[1:] != then[:-1]))) if len(now) else order
    records = np.diff(np.append(begins, len(now)))
    now, then = now[begins], then[begins]
    return Overlap(now, then, records, _several(now), _several(then))


def _several(group: NDArray[np.int64]) -> NDArray[np.bool_]:
    _, inverse, counts = np.unique(group, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] > 1)


def report(both: Partition, version: str, held: int) -> Report:
    """Everything but what it takes effect with."""
    found = overlap(both)
    persons_now, sizes_now = np.unique(both.now, return_counts=True)
    persons_then, sizes_then = np.unique(both.then, return_counts=True)
    touched = np.unique(found.now[found.several_then | found.several_now])
    return Report(
        version=version,
        records=len(both.now),
        persons_now=len(persons_now),
        persons_then=len(persons_then),
        largest_now=int(sizes_now.max(initial=0)),
        largest_then=int(sizes_then.max(initial=0)),
        merged=len(np.unique(found.then[found.several_now])),
        split=len(np.unique(found.now[found.several_then])),
        touched_share=round(len(touched) / max(len(persons_now), 1), 6),
        held=held,
        merges=_examples(found.then, found.now, found.records, found.several_now, merge=True),
        splits=_examples(found.now, found.then, found.records, found.several_then, merge=False),
    )


def _examples(
    one: NDArray[np.int64],
    others: NDArray[np.int64],
    records: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    *,
    merge: bool,
) -> tuple[Example, ...]:
    groups, inverse = np.unique(one[chosen], return_inverse=True)
    whole = np.bincount(inverse, weights=records[chosen], minlength=len(groups)).astype(np.int64)
    largest = np.lexsort((groups, -whole))[:EXAMPLES]
    found = []
    for place in largest.tolist():
        mine = inverse == place
        persons, parts = others[chosen][mine], records[chosen][mine]
        if merge:
            found.append(Example(tuple(sorted(persons.tolist())), int(whole[place])))
        else:
            found.append(Example((int(groups[place]),), int(whole[place]), tuple(sorted(parts.tolist(), reverse=True))))
    return tuple(found)


def say_report(console: Console, found: Report) -> None:
    """The report in words."""
    lines = [
        f"{found.version} would make {found.persons_then:,} persons of {found.records:,} records; now they are "
        f"{found.persons_now:,}",
        f"{found.merged:,} persons would be made of several, {found.split:,} would come apart: {found.touched_share:.2%} of "
        f"all persons are touched",
        f"the largest has {found.largest_now:,} records now, {found.largest_then:,} then",
        f"{found.held:,} merges are held for review",
    ]
    for one in found.merges:
        lines.append(f"  one person of {one.records:,} records: {', '.join(map(str, one.persons[:8]))}")
    for one in found.splits:
        lines.append(f"  person {one.persons[0]} comes apart: {', '.join(map(str, one.parts[:8]))} records")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
