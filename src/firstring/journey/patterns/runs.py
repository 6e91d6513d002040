"""One pattern over the events of one subject: its runs, how an event moves them, when a wait is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from firstring import limits
from firstring.cel import EvaluationError, Program
from firstring.journey.patterns.definition import Pattern, Step
from firstring.journey.patterns.machine import Machine, machine

NEVER: Final = 0
"""No moment: no event is of 1970."""
HASH_BYTES: Final = 6
"""Bytes of a key or a hash."""


class Happened(NamedTuple):
    """An event as patterns see it. event: what expressions ask: name, channel, time, properties."""

    at_ms: int
    name: str
    event: dict[str, Any]


class Fired(NamedTuple):
    """A pattern came true. begun_ms: when its match began (the latest beginning that there is). key: of `same`."""

    pattern: str
    at_ms: int
    begun_ms: int
    key: int = 0


_NONE: Final[tuple[tuple[int, int], ...]] = ()


class Run:
    """How far the matches of one pattern (and one value of `same`) have come.

    places: for each place the latest beginning, NEVER where no match is. waits: (since, begun), oldest first. values: of
    `distinct`, (hash, when last). moved_ms: when an event last took part.
    """

    __slots__ = ("moved_ms", "places", "values", "waits")

    def __init__(self, places: list[int], moved_ms: int = NEVER) -> None:
        self.places = places
        self.waits: Sequence[tuple[int, int]] = _NONE
        self.values: Sequence[tuple[int, int]] = _NONE
        self.moved_ms = moved_ms


class State:
    """What is under way for one subject: pattern number -> key of `same` (0 without) -> run. last_ms: its last event."""

    __slots__ = ("last_ms", "runs")

    def __init__(self) -> None:
        self.last_ms = NEVER
        self.runs: dict[int, dict[int, Run]] = {}


class Ready(NamedTuple):
    """A pattern ready to run, by its number. by_visit: matches end with the visit."""

    number: int
    machine: Machine
    same: Program | None
    distinct: Program | None
    distinct_count: int
    by_visit: bool
    window_ms: int
    starts: int
    """The atoms that begin a match, as bits."""
    ends_waits: int
    """The atoms that end all waits, as bits."""


def ready(number: int, pattern: Pattern) -> Ready:
    first = pattern.parts[0]
    assert isinstance(first, Step)
    its = machine(pattern)
    return Ready(
        number, its, pattern.same, first.distinct, first.count, pattern.by == "visit", pattern.within_ms,
        _bits(its.starts), _bits(its.wait_breaks),
    )  # fmt: skip


def _bits(atoms: Iterable[int]) -> int:
    return sum(1 << atom for atom in set(atoms))


def advanced(pattern: Ready, run: Run, held: int, now_ms: int, event: dict[str, Any]) -> int | None:
    """Moves the matches of a run by an event of which the atoms `held` hold. When it fires: where that match began."""
    its = pattern.machine
    places = run.places
    for atom, emptied in its.breaks:
        if held & (1 << atom):
            for place in emptied:
                places[place] = NEVER
    if run.waits and held & pattern.ends_waits:
        run.waits = _NONE
    waiting = fires = NEVER
    earliest_ms = now_ms - pattern.window_ms
    for atom, origin, target in its.moves:
        if not held & (1 << atom):
            continue
        if origin:
            begun_ms = places[origin]
        elif pattern.distinct is None:
            begun_ms = now_ms
        else:
            begun_ms = _counted(pattern, run, now_ms, event)
        if begun_ms == NEVER or begun_ms < earliest_ms:
            continue
        if target == its.end:
            fires = max(fires, begun_ms)
        elif target == its.waits_at:
            waiting = max(waiting, begun_ms)
        elif begun_ms > places[target]:
            places[target] = begun_ms
    if waiting != NEVER and now_ms + its.wait_ms - waiting <= pattern.window_ms:
        most = 1 if its.wakes_at == its.end else limits.PATTERN_WAITS  # the first to wake at the end uses up the others
        if run.waits and run.waits[-1][0] == now_ms:
            run.waits = (*run.waits[:-1], (now_ms, max(waiting, run.waits[-1][1])))
        elif len(run.waits) < most:
            run.waits = (*run.waits, (now_ms, waiting))
    return fires if fires != NEVER else None


def _counted(pattern: Ready, run: Run, now_ms: int, event: dict[str, Any]) -> int:
    """Notes the value of an event; when the newest `distinct_count` unlike values began, NEVER if there are fewer."""
    assert pattern.distinct is not None
    value = key_of(pattern.distinct, event)
    if value is None:
        return NEVER
    run.values = (*[one for one in run.values if one[0] != value][1 - pattern.distinct_count :], (value, now_ms))
    return run.values[0][1] if len(run.values) == pattern.distinct_count else NEVER


def woken(pattern: Ready, run: Run, now_ms: int, key: int, fired: list[Fired]) -> bool:
    """Ends the waits that are over by now_ms. Whether the pattern fired by it: then the run is used up."""
    its = pattern.machine
    while run.waits and run.waits[0][0] + its.wait_ms <= now_ms:
        since_ms, begun_ms = run.waits[0]
        run.waits = run.waits[1:]
        if its.wakes_at == its.end:
            fired.append(Fired(its.pattern.id, since_ms + its.wait_ms, begun_ms, key))
            return True
        run.places[its.wakes_at] = max(run.places[its.wakes_at], begun_ms)
    return False


def over(pattern: Ready, run: Run, now_ms: int) -> bool:
    """Whether nothing that a run keeps can ever matter again."""
    if run.waits:
        return False
    earliest_ms = now_ms - pattern.window_ms
    return max(run.places) < earliest_ms and (not run.values or run.values[-1][1] < earliest_ms)


def make_room(pattern: Ready, runs: dict[int, Run], now_ms: int) -> None:
    """Room for one more key: what is over goes, then what moved longest ago."""
    if len(runs) < limits.PATTERN_KEYS:
        return
    for key in [key for key, run in runs.items() if over(pattern, run, now_ms)]:
        del runs[key]
    while len(runs) >= limits.PATTERN_KEYS:
        del runs[min(runs, key=lambda key: (runs[key].moved_ms, key))]


def drop(state: State, number: int, key: int) -> None:
    runs = state.runs[number]
    del runs[key]
    if not runs:
        del state.runs[number]


def key_of(program: Program, event: dict[str, Any]) -> int | None:
    """48 bits of what an expression gives, never 0; 1042, 1042.0, "1042" and "#1042" are one. None: an error, or nothing."""
    try:
        value = program.of(event)
    except EvaluationError:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value.strip().lstrip("#").strip() if isinstance(value, str) else "" if value is None else repr(value)
    if not text:
        return None
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest(), "little") or 1
