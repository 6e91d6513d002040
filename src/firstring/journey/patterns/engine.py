"""Patterns over the events of one subject: what fires, what is under way, what is due when.

The state of a subject is a function of its events in the order of time: `replayed` makes it from the log, `step` moves it
on, and both come to the same. So a late event, a merge and an un-merge are one thing: replay the log that there is now.
Nothing here knows a clock: due times are returned, and `due` is called when one has come.

Rules (docs/patterns.md says them to users):
- an event is used once in a match, and what was used up to a firing is not used again;
- a time that is due at an event's own moment comes before the event;
- times are whole milliseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

from firstring import limits
from firstring.cel import EvaluationError, Program
from firstring.errors import BadInput
from firstring.journey.patterns.definition import ANY, By, Pattern, Step
from firstring.journey.patterns.machine import Machine, machine

NEVER: Final = 0
"""No moment: no event is of 1970."""
_LAYOUT: Final = 1
_HEAD_BYTES: Final = 7
_RUN: Final = struct.Struct("<HBBB")
"""Number of the pattern, places, waits, values; _KEYED in the waits where a key follows."""
_KEYED: Final = 0x80
_WIDTH: Final = 6
"""Bytes of a moment, a key or a hash: 48 bits of milliseconds reach to the year 10889."""


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


class Run:
    """How far the matches of one pattern (and one value of `same`) have come.

    places: for each place the latest beginning, NEVER where no match is. waits: (since, begun), oldest first. values: of
    `distinct`, (hash, when last). moved_ms: when an event last took part.
    """

    __slots__ = ("moved_ms", "places", "values", "waits")

    def __init__(self, places: list[int]) -> None:
        self.places = places
        self.waits: list[tuple[int, int]] = []
        self.values: list[tuple[int, int]] = []
        self.moved_ms = NEVER


class State:
    """What is under way for one subject: pattern number -> key of `same` (0 without) -> run. last_ms: its last event."""

    __slots__ = ("last_ms", "runs")

    def __init__(self) -> None:
        self.last_ms = NEVER
        self.runs: dict[int, dict[int, Run]] = {}


class _Pattern(NamedTuple):
    """A pattern ready to run, by its number. by_visit: matches end with the visit."""

    number: int
    machine: Machine
    same: Program | None
    distinct: Program | None
    distinct_count: int
    by_visit: bool
    window_ms: int


_Questions: TypeAlias = tuple[tuple[int, tuple[Program, ...]], ...]


class _Asked(NamedTuple):
    """What an event of a name is asked: whether atoms (by index) of a pattern hold; with nothing under way only `starts`."""

    pattern: _Pattern
    atoms: _Questions
    starts: _Questions


class PatternSet:
    """Patterns that run together over subjects of one kind.

    A visit belongs to a person: patterns by person and by visit run over the events of the person, those by household
    over the events of all its people. numbers: a number of each pattern that the stored state knows it by (its place by
    default); a pattern whose declaration has changed needs a new one.
    """

    def __init__(self, patterns: Sequence[Pattern], *, numbers: Sequence[int] | None = None) -> None:
        if len(patterns) > limits.PATTERNS or len({pattern.id for pattern in patterns}) < len(patterns):
            seen: set[str] = set()
            twice = next((one for one in patterns if one.id in seen or seen.add(one.id)), None)  # type: ignore[func-returns-value]
            where = {"file": twice.file, "line": twice.line} if twice else {}
            message = (
                f"Two patterns have the id {twice.id}." if twice else f"There are more than {limits.PATTERNS} patterns."
            )
            raise BadInput("pattern_invalid", message, where=where, hint="Rename or remove one.")
        self.patterns = tuple(patterns)
        given = list(numbers) if numbers is not None else list(range(len(patterns)))
        self._by_number = {number: _ready(number, one) for number, one in zip(given, patterns, strict=True)}
        self._visits = any(one.by_visit for one in self._by_number.values())
        self._longest_ms = max([limits.VISIT_GAP_MS, *(one.within_ms for one in patterns)])
        self._of_any: list[_Asked] = []
        self._of_name: dict[str, list[_Asked]] = {}
        names = {name for one in self._by_number.values() for atom in one.machine.atoms for name in atom.names}
        for name in names:
            asked = [ask for one in self._by_number.values() if (ask := _asked(one, name)) is not None]
            if name == ANY:
                self._of_any = asked
            else:
                self._of_name[name] = asked

    @classmethod
    def of(cls, patterns: Sequence[Pattern], *by: By) -> PatternSet:
        """Those of some patterns that run by person (with visits) or by household; numbers stay their places."""
        chosen = [(number, one) for number, one in enumerate(patterns) if one.by in by]
        return cls([one for _, one in chosen], numbers=[number for number, _ in chosen])

    # --- events and time -----------------------------------------------------------------------------------------

    def is_late(self, state: State, at_ms: int, *, now_ms: int) -> bool:
        """Whether an event comes after its time: the state is then made anew by `replayed`, out of the whole log."""
        return at_ms < (state.last_ms or now_ms - self._longest_ms)

    def step(self, state: State, happened: Happened) -> list[Fired]:
        """Moves the state on by an event, which must not be earlier than the last; what fired by it or before it.

        For an event that `is_late` the subject's log is replayed instead.
        """
        now_ms, name, event = happened
        assert now_ms >= state.last_ms, "a late event needs a replay"
        fired: list[Fired] = []
        if self._visits and state.runs and now_ms - state.last_ms > limits.VISIT_GAP_MS:
            self._end_visit(state, fired)
        state.last_ms = now_ms
        for pattern, atoms, starts in self._of_name.get(name, self._of_any):
            runs = state.runs.get(pattern.number)
            held = 0
            for index, programs in atoms if runs else starts:
                for program in programs:
                    if not program.holds(event):
                        break
                else:
                    held |= 1 << index
            if held:
                self._moved(state, pattern, runs, held, now_ms, event, fired)
        return fired

    def due(self, state: State, now_ms: int) -> list[Fired]:
        """What has come true by the passing of time alone, up to and including now_ms."""
        fired: list[Fired] = []
        if self._visits and state.runs and now_ms - state.last_ms > limits.VISIT_GAP_MS:
            self._end_visit(state, fired)
        for number in list(state.runs):
            pattern = self._by_number.get(number)
            if pattern is None or not pattern.machine.wait_ms:
                continue
            for key, run in list(state.runs[number].items()):
                if _woken(pattern, run, now_ms, key, fired):
                    _drop(state, number, key)
        return fired

    def next_due_ms(self, state: State) -> int | None:
        """When something will come true if nothing happens before: when `due` is to be called. None: never."""
        found: int | None = None
        for number, runs in state.runs.items():
            wait_ms = self._by_number[number].machine.wait_ms if number in self._by_number else 0
            for run in runs.values() if wait_ms else ():
                if run.waits and (found is None or run.waits[0][0] + wait_ms < found):
                    found = run.waits[0][0] + wait_ms
        return found

    def replayed(self, events: Iterable[Happened], *, now_ms: int) -> tuple[State, list[Fired]]:
        """The state after all events of a subject, in the order of time, and all that ever fired, up to now_ms."""
        state = State()
        fired: list[Fired] = []
        for happened in events:
            fired += self.step(state, happened)
        fired += self.due(state, now_ms)
        fired.sort(key=lambda one: (one.at_ms, one.pattern, one.key))
        return state, fired

    def _end_visit(self, state: State, fired: list[Fired]) -> None:
        ended_ms = state.last_ms + limits.VISIT_GAP_MS
        for number in list(state.runs):
            pattern = self._by_number.get(number)
            if pattern is not None and pattern.by_visit:
                for key, run in state.runs[number].items():
                    _woken(pattern, run, ended_ms, key, fired)
                del state.runs[number]

    def _moved(
        self,
        state: State,
        pattern: _Pattern,
        runs: dict[int, Run] | None,
        held: int,
        now_ms: int,
        event: dict[str, Any],
        fired: list[Fired],
    ) -> None:
        key = 0
        if pattern.same is not None:
            found = key_of(pattern.same, event)
            if found is None:
                return
            key = found
        run = runs.get(key) if runs else None
        its = pattern.machine
        if run is None:
            if not any(held & (1 << atom) for atom in its.starts):
                return
            run = Run([NEVER] * its.end)
            if not runs:
                state.runs[pattern.number] = {key: run}
            else:
                _make_room(pattern, runs, now_ms)
                runs[key] = run
        elif its.wait_ms and _woken(pattern, run, now_ms, key, fired):
            # what came true just now has used up all there was: this event begins anew
            _drop(state, pattern.number, key)
            self._moved(state, pattern, state.runs.get(pattern.number), held, now_ms, event, fired)
            return
        run.moved_ms = now_ms
        begun_ms = _advanced(pattern, run, held, now_ms, event)
        if begun_ms is not None:
            fired.append(Fired(its.pattern.id, now_ms, begun_ms, key))
        if begun_ms is not None or _over(pattern, run, now_ms):
            _drop(state, pattern.number, key)

    # --- bytes ---------------------------------------------------------------------------------------------------

    def packed(self, state: State, now_ms: int) -> bytes:
        """The state as bytes; what is over by now_ms is left out, b"" when nothing of it can matter any more.

        The time of the last event is kept as long as a late event could take part in anything.
        """
        parts: list[bytes] = []
        for number, runs in sorted(state.runs.items()):
            pattern = self._by_number[number]
            for key, run in sorted(runs.items()):
                if _over(pattern, run, now_ms):
                    continue
                earliest_ms = now_ms - pattern.window_ms  # what began before matters no more: equal states are equal bytes
                places = [one if one >= earliest_ms else NEVER for one in run.places[1:]]
                values = [one for one in run.values if one[1] >= earliest_ms]
                while places and places[-1] == NEVER:
                    places.pop()
                keyed = pattern.same is not None
                numbers = [key, run.moved_ms, *places] if keyed else list(places)
                for pair in (*run.waits, *values):
                    numbers += pair
                parts.append(_RUN.pack(number, len(places), len(run.waits) | _KEYED * keyed, len(values)))
                parts += [one.to_bytes(_WIDTH, "little") for one in numbers]
        if not parts and state.last_ms < now_ms - self._longest_ms:
            return b""
        return b"".join((bytes((_LAYOUT,)), state.last_ms.to_bytes(_WIDTH, "little"), *parts))

    def unpacked(self, content: bytes) -> State:
        """The state out of bytes of `packed`. Of patterns that there are no longer nothing is kept.

        Raises ValueError for bytes of another layout: the log is to be replayed.
        """
        state = State()
        if not content:
            return state
        if content[0] != _LAYOUT:
            raise ValueError("a state of another layout")
        state.last_ms = int.from_bytes(content[1:_HEAD_BYTES], "little")
        at, end = _HEAD_BYTES, len(content)
        while at < end:
            number, places, waits, values = _RUN.unpack_from(content, at)
            at += _RUN.size
            keyed, waits = waits & _KEYED, waits & ~_KEYED
            stop = at + _WIDTH * (places + 2 * (waits + values) + (2 if keyed else 0))
            pattern = self._by_number.get(number)
            if pattern is not None:
                numbers = [int.from_bytes(content[one : one + _WIDTH], "little") for one in range(at, stop, _WIDTH)]
                key, moved_ms = (numbers.pop(0), numbers.pop(0)) if keyed else (0, state.last_ms)
                run = Run([NEVER, *numbers[:places], *[NEVER] * (pattern.machine.end - 1 - places)])
                pairs = list(zip(numbers[places::2], numbers[places + 1 :: 2], strict=True))
                run.waits, run.values, run.moved_ms = pairs[:waits], pairs[waits:], moved_ms
                state.runs.setdefault(number, {})[key] = run
            at = stop
        return state


# --- one pattern ---------------------------------------------------------------------------------------------------


def _ready(number: int, pattern: Pattern) -> _Pattern:
    first = pattern.parts[0]
    assert isinstance(first, Step)
    return _Pattern(
        number, machine(pattern), pattern.same, first.distinct, first.count, pattern.by == "visit", pattern.within_ms
    )


def _asked(pattern: _Pattern, name: str) -> _Asked | None:
    atoms = tuple(
        (index, atom.where) for index, atom in enumerate(pattern.machine.atoms) if name in atom.names or ANY in atom.names
    )
    starts = tuple(one for one in atoms if one[0] in pattern.machine.starts)
    return _Asked(pattern, atoms, starts) if atoms else None


def _advanced(pattern: _Pattern, run: Run, held: int, now_ms: int, event: dict[str, Any]) -> int | None:
    """Moves the matches of a run by an event of which the atoms `held` hold. When it fires: where that match began."""
    its = pattern.machine
    places = run.places
    for atom, emptied in its.breaks:
        if held & (1 << atom):
            for place in emptied:
                places[place] = NEVER
    if run.waits and any(held & (1 << atom) for atom in its.wait_breaks):
        run.waits.clear()
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
            run.waits[-1] = (now_ms, max(waiting, run.waits[-1][1]))
        elif len(run.waits) < most:
            run.waits.append((now_ms, waiting))
    return fires if fires != NEVER else None


def _counted(pattern: _Pattern, run: Run, now_ms: int, event: dict[str, Any]) -> int:
    """Notes the value of an event; when the newest `distinct_count` unlike values began, NEVER if there are fewer."""
    assert pattern.distinct is not None
    value = key_of(pattern.distinct, event)
    if value is None:
        return NEVER
    run.values = [one for one in run.values if one[0] != value][1 - pattern.distinct_count :]
    run.values.append((value, now_ms))
    return run.values[0][1] if len(run.values) == pattern.distinct_count else NEVER


def _woken(pattern: _Pattern, run: Run, now_ms: int, key: int, fired: list[Fired]) -> bool:
    """Ends the waits that are over by now_ms. Whether the pattern fired by it: then the run is used up."""
    its = pattern.machine
    while run.waits and run.waits[0][0] + its.wait_ms <= now_ms:
        since_ms, begun_ms = run.waits.pop(0)
        if its.wakes_at == its.end:
            fired.append(Fired(its.pattern.id, since_ms + its.wait_ms, begun_ms, key))
            return True
        run.places[its.wakes_at] = max(run.places[its.wakes_at], begun_ms)
    return False


def _over(pattern: _Pattern, run: Run, now_ms: int) -> bool:
    """Whether nothing that a run keeps can ever matter again."""
    if run.waits:
        return False
    earliest_ms = now_ms - pattern.window_ms
    return max(run.places) < earliest_ms and (not run.values or run.values[-1][1] < earliest_ms)


def _make_room(pattern: _Pattern, runs: dict[int, Run], now_ms: int) -> None:
    """Room for one more key: what is over goes, then what moved longest ago."""
    if len(runs) < limits.PATTERN_KEYS:
        return
    for key in [key for key, run in runs.items() if _over(pattern, run, now_ms)]:
        del runs[key]
    while len(runs) >= limits.PATTERN_KEYS:
        del runs[min(runs, key=lambda key: (runs[key].moved_ms, key))]


def _drop(state: State, number: int, key: int) -> None:
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
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_WIDTH).digest(), "little") or 1
