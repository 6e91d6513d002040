"""By which events a pattern fired: found afterwards, out of the log, so that no state has to keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from firstring.cel import EvaluationError
from firstring.journey.patterns.definition import Pattern, Step
from firstring.journey.patterns.machine import Machine, machine
from firstring.journey.patterns.runs import Fired, Happened, key_of

_Path: TypeAlias = tuple[int, tuple[int, ...]]
"""(when it began, the indexes of its events)."""


class _Wait(NamedTuple):
    since_ms: int
    path: _Path


def witnesses(pattern: Pattern, events: Sequence[Happened], fired: Fired, *, after_ms: int | None = None) -> tuple[int, ...]:
    """The indexes of the events of the match that began last, () when the events are not those of the firing.

    events: of the subject, in the order of time. after_ms: when the pattern (and key) fired before: what was used up then
    is no part of it.
    """
    its = machine(pattern)
    search = _Search(its)
    for index, happened in enumerate(events):
        if happened.at_ms > fired.at_ms or happened.at_ms < fired.begun_ms:
            continue
        if after_ms is not None and happened.at_ms < after_ms:
            continue
        if pattern.same is not None and key_of(pattern.same, happened.event) != fired.key:
            continue
        path = search.moved(index, happened)
        if path is not None and happened.at_ms == fired.at_ms and path[0] == fired.begun_ms:
            return path[1]
    return next((wait.path[1] for wait in search.waits if wait.since_ms + its.wait_ms == fired.at_ms), ())


def under_way(pattern: Pattern, events: Sequence[Happened], *, key: int = 0, start: int = 0, now_ms: int) -> tuple[int, ...]:
    """The indexes of the events of the match that has come furthest, () when there is none.

    events: of the subject, in the order of time. key: of `same`. start: the first event that was not used up by a firing of
    the pattern (and key), nor is of a visit before.
    """
    search = _Search(machine(pattern))
    for index, happened in enumerate(events[start:], start):
        if pattern.same is None or key_of(pattern.same, happened.event) == key:
            search.moved(index, happened)
    paths = [*search.at.values(), *(wait.path for wait in search.waits)]
    alive = [path for path in paths if path[0] >= now_ms - pattern.within_ms]
    return max(alive, key=lambda path: (len(path[1]), path))[1] if alive else ()


class _Search:
    """The engine's rules with the events kept."""

    def __init__(self, its: Machine) -> None:
        self._its = its
        first = its.pattern.parts[0]
        assert isinstance(first, Step)
        self._distinct, self._count = first.distinct, first.count
        self._values: dict[Any, tuple[int, int]] = {}
        self.at: dict[int, _Path] = {}
        self.waits: list[_Wait] = []

    def moved(self, index: int, happened: Happened) -> _Path | None:
        its = self._its
        ends = its.wakes_at == its.end
        for wait in [] if ends else list(self.waits):
            if wait.since_ms + its.wait_ms <= happened.at_ms:
                self.waits.remove(wait)
                self.at[its.wakes_at] = max(self.at.get(its.wakes_at, wait.path), wait.path)
        held = {number for number, atom in enumerate(its.atoms) if atom.holds(happened.name, happened.event)}
        for atom, emptied in its.breaks:
            for place in emptied if atom in held else ():
                self.at.pop(place, None)
        if held.intersection(its.wait_breaks):
            self.waits = [wait for wait in self.waits if ends and wait.since_ms + its.wait_ms <= happened.at_ms]
        fires: _Path | None = None
        waiting: _Path | None = None
        for atom, origin, target in its.moves:
            if atom not in held:
                continue
            before = self.at.get(origin) if origin else self._begun(index, happened)
            if before is None:
                continue
            path = before if before[1][-1:] == (index,) else (before[0], (*before[1], index))
            if target == its.end:
                fires = max(fires or path, path)
            elif target == its.waits_at:
                waiting = max(waiting or path, path)
            else:
                self.at[target] = max(self.at.get(target, path), path)
        if waiting is not None:
            self.waits.append(_Wait(happened.at_ms, waiting))
        return fires

    def _begun(self, index: int, happened: Happened) -> _Path | None:
        """A match that begins with this event, or whose events of unlike values it makes enough."""
        if self._distinct is None:
            return happened.at_ms, (index,)
        try:
            value = str(self._distinct.of(happened.event))
        except EvaluationError:
            return None
        self._values.pop(value, None)
        self._values[value] = (happened.at_ms, index)
        newest = list(self._values.values())[-self._count :]
        return (newest[0][0], tuple(one for _, one in newest)) if len(newest) == self._count else None
