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

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from firstring import limits
from firstring.cel import Program
from firstring.errors import BadInput
from firstring.journey.patterns.definition import ANY, By, Pattern
from firstring.journey.patterns.packing import packed, unpacked
from firstring.journey.patterns.runs import (
    NEVER,
    Fired,
    Happened,
    Ready,
    Run,
    State,
    advanced,
    drop,
    key_of,
    make_room,
    ready,
    woken,
)

_UNSAID: Final = -1
_Questions: TypeAlias = tuple[tuple[int, tuple[Program, ...]], ...]


class _Asked(NamedTuple):
    """What an event of a name is asked: whether atoms (by bit) of a pattern hold; with nothing under way only `starts`."""

    pattern: Ready
    atoms: _Questions
    starts: _Questions


class _OfName(NamedTuple):
    """Who asks events of a name: those whose match it may begin, and by number those that it can only take further."""

    starting: list[_Asked]
    following: dict[int, _Asked]


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
        programs: dict[str, Program] = {}
        self._number_of = {pattern.id: number for number, pattern in zip(given, patterns, strict=True)}
        self._by_number: dict[int, Ready] = {}
        for number, pattern in zip(given, patterns, strict=True):
            one = ready(number, pattern)
            same = one.same and programs.setdefault(one.same.source, one.same)
            self._by_number[number] = one._replace(same=same)
        self._wait_ms = {number: one.machine.wait_ms for number, one in self._by_number.items() if one.machine.wait_ms}
        self._visits = any(one.by_visit for one in self._by_number.values())
        self._longest_ms = max([limits.VISIT_GAP_MS, *(one.within_ms for one in patterns)])
        self._of_name: dict[str, _OfName] = {}
        names = {name for one in self._by_number.values() for atom in one.machine.atoms for name in atom.names}
        for name in {*names, ANY}:
            asked = [ask for one in self._by_number.values() if (ask := _asked(one, name, programs)) is not None]
            following = {one.pattern.number: one for one in asked if not one.starts}
            self._of_name[name] = _OfName([one for one in asked if one.starts], following)
        self._of_others = self._of_name[ANY]

    @classmethod
    def of(cls, patterns: Sequence[Pattern], *by: By) -> PatternSet:
        """Those of some patterns that run by person (with visits) or by household; numbers stay their places."""
        chosen = [(number, one) for number, one in enumerate(patterns) if one.by in by]
        return cls([one for _, one in chosen], numbers=[number for number, _ in chosen])

    @property
    def longest_ms(self) -> int:
        """The longest window, and the gap of a visit at least: what lies further apart is no part of one match."""
        return self._longest_ms

    def number_of(self, pattern_id: str) -> int:
        """The number that the stored state knows a pattern by. Raises KeyError."""
        return self._number_of[pattern_id]

    def fires_by_time(self, pattern_id: str) -> bool:
        """Whether a pattern fires when a time has passed, and never by an event."""
        its = self._by_number[self._number_of[pattern_id]].machine
        return its.wakes_at == its.end

    def asks(self, name: str) -> bool:
        """Whether an event of this name can move any pattern, but for ending a visit."""
        of_name = self._of_name.get(name, self._of_others)
        return bool(of_name.starting or of_name.following)

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
        starting, following = self._of_name.get(name, self._of_others)
        said: dict[Program, bool] = {}
        keys: dict[Program, int] = {}
        for asked in starting:
            runs = state.runs.get(asked.pattern.number)
            held = _held(asked.atoms if runs else asked.starts, event, said)
            if held:
                self._moved(state, asked.pattern, held, happened, keys, fired)
        for number in [number for number in state.runs if number in following] if following else ():
            held = _held(following[number].atoms, event, said)
            if held:
                self._moved(state, following[number].pattern, held, happened, keys, fired)
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
                if woken(pattern, run, now_ms, key, fired):
                    drop(state, number, key)
        return fired

    def due_until_ms(self, state: State, now_ms: int) -> int:
        """Up to which moment `due(state, now_ms)` will have changed anything: what happened before is late after it."""
        until_ms = 0
        ended_ms = state.last_ms + limits.VISIT_GAP_MS
        for number, runs in state.runs.items():
            pattern = self._by_number.get(number)
            if pattern is None:
                continue
            if pattern.by_visit and now_ms > ended_ms:
                until_ms = max(until_ms, ended_ms + 1)
            for run in runs.values() if pattern.machine.wait_ms else ():
                for since_ms, _ in run.waits:
                    if since_ms + pattern.machine.wait_ms <= now_ms:
                        until_ms = max(until_ms, since_ms + pattern.machine.wait_ms)
        return until_ms

    def next_due_ms(self, state: State) -> int | None:
        """When something will come true if nothing happens before: when `due` is to be called. None: never."""
        found: int | None = None
        for number, runs in state.runs.items():
            wait_ms = self._wait_ms.get(number, 0)
            for run in runs.values() if wait_ms else ():
                if run.waits and (found is None or run.waits[0][0] + wait_ms < found):
                    found = run.waits[0][0] + wait_ms
        return found

    def run_due_ms(self, state: State, pattern_id: str, key: int) -> int | None:
        """The same for one pattern, and one value of `same`."""
        run = state.runs.get(self._number_of[pattern_id], {}).get(key)
        if run is None or not run.waits:
            return None
        return run.waits[0][0] + self._by_number[self._number_of[pattern_id]].machine.wait_ms

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
                    woken(pattern, run, ended_ms, key, fired)
                del state.runs[number]

    def _moved(
        self, state: State, pattern: Ready, held: int, happened: Happened, keys: dict[Program, int], fired: list[Fired]
    ) -> None:
        """Moves a pattern on by an event of which the atoms `held` hold. keys: what `same` gave for this event already."""
        now_ms, _, event = happened
        key = 0
        if pattern.same is not None:
            key = keys.get(pattern.same, _UNSAID)
            if key == _UNSAID:
                key = keys[pattern.same] = key_of(pattern.same, event) or 0
            if not key:
                return
        runs = state.runs.get(pattern.number)
        run = runs.get(key) if runs else None
        if run is not None and run.waits and woken(pattern, run, now_ms, key, fired):
            drop(state, pattern.number, key)  # what came true just now has used up all there was: this event begins anew
            runs = state.runs.get(pattern.number)
            run = None
        if run is None:
            if not held & pattern.starts:
                return
            run = Run([NEVER] * pattern.machine.end)
            if runs:
                make_room(pattern, runs, now_ms)
                runs[key] = run
            else:
                state.runs[pattern.number] = {key: run}
        run.moved_ms = now_ms
        begun_ms = advanced(pattern, run, held, now_ms, event)
        if begun_ms is not None:
            fired.append(Fired(pattern.machine.pattern.id, now_ms, begun_ms, key))
            drop(state, pattern.number, key)

    # --- bytes ---------------------------------------------------------------------------------------------------

    def packed(self, state: State, now_ms: int) -> bytes:
        """The state as bytes; what is over by now_ms is left out, b"" when nothing of it can matter any more.

        The time of the last event is kept as long as a late event could take part in anything.
        """
        return packed(self._by_number, state, now_ms, keep_ms=self._longest_ms)

    def unpacked(self, content: bytes) -> State:
        """The state out of bytes of `packed`. Of patterns that there are no longer nothing is kept.

        Raises ValueError for bytes of another layout: the log is to be replayed.
        """
        return unpacked(self._by_number, content)


def _asked(pattern: Ready, name: str, programs: dict[str, Program]) -> _Asked | None:
    """programs: one for each condition, however many patterns ask it, so that it is evaluated once for an event."""
    atoms = tuple(
        (1 << index, tuple(programs.setdefault(program.source, program) for program in atom.where))
        for index, atom in enumerate(pattern.machine.atoms)
        if name in atom.names or ANY in atom.names
    )
    starts = tuple(one for one in atoms if one[0] & pattern.starts)
    return _Asked(pattern, atoms, starts) if atoms else None


def _held(questions: _Questions, event: dict[str, Any], said: dict[Program, bool]) -> int:
    """The atoms that hold of an event, as bits. said: what has been asked of this event already."""
    held = 0
    for bit, programs in questions:
        for program in programs:
            holds = said.get(program)
            if holds is None:
                holds = said[program] = program.holds(event)
            if not holds:
                break
        else:
            held |= bit
    return held
