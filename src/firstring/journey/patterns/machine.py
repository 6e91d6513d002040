"""A pattern as a small machine over places.

A place says how far a match has come; what is kept of it is one number, the latest moment at which a match that has come
so far began. More is not needed: of two matches that have come equally far the one that began later can do all that the
other can, and its window ends later. So "there is a choice of events that matches" is decided exactly, in bounded space.

An absence keeps more: matches that wait for its end, each with when the wait began and when the match began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from firstring.journey.patterns.definition import Absence, Atom, Pattern, Step


class Move(NamedTuple):
    """An event of `atom` takes a match from one place to the next. Place 0 is before the first event."""

    atom: int
    origin: int
    target: int


@dataclass(frozen=True)
class Machine:
    """atoms: all conditions. moves: by origin, the furthest first, so that one event takes a match one place on.

    breaks: (atom, places that it empties). waits_at: the place whose matches wait for an absence (0: none), `wakes_at`
    where they come out, `wait_ms` how long, wait_breaks which atoms end all waits. end: the place at which it fires.
    """

    pattern: Pattern
    atoms: tuple[Atom, ...]
    moves: tuple[Move, ...]
    breaks: tuple[tuple[int, tuple[int, ...]], ...]
    end: int
    waits_at: int = 0
    wakes_at: int = 0
    wait_ms: int = 0
    wait_breaks: tuple[int, ...] = ()
    starts: frozenset[int] = frozenset()


def machine(pattern: Pattern) -> Machine:
    """The machine of a pattern."""
    return _Builder().built(pattern)


class _Builder:
    def __init__(self) -> None:
        self._atoms: list[Atom] = []
        self._moves: list[Move] = []
        self._breaks: list[tuple[int, tuple[int, ...]]] = []
        self._last = 0

    def _atom(self, atom: Atom) -> int:
        if atom not in self._atoms:
            self._atoms.append(atom)
        return self._atoms.index(atom)

    def built(self, pattern: Pattern) -> Machine:
        waits_at = wakes_at = wait_ms = 0
        wait_breaks: tuple[int, ...] = ()
        here = 0
        for part in pattern.parts:
            if isinstance(part, Absence):
                waits_at, wait_ms = here, part.for_ms
                wait_breaks = tuple(self._atom(atom) for atom in part.atoms)
                self._last += 1
                here = wakes_at = self._last
                continue
            begun = here
            here = self._step(part, here)
            between = (begun, *range(begun + 1, here))
            self._breaks += [(self._atom(atom), between) for atom in part.unless]
        moves = tuple(sorted(self._moves, key=lambda move: -move.origin))
        return Machine(
            pattern, tuple(self._atoms), moves, tuple(self._breaks), here, waits_at, wakes_at, wait_ms, wait_breaks,
            frozenset(move.atom for move in moves if move.origin == 0),
        )  # fmt: skip

    def _step(self, step: Step, here: int) -> int:
        """Adds the places of a step behind `here`; the place where it is done."""
        if step.all:
            places = {0: here}
            for subset in _by_size(len(step.all)):
                self._last += 1
                places[subset] = self._last
            for subset, place in places.items():
                for index, atom in enumerate(step.all):
                    if not subset & (1 << index):
                        self._moves.append(Move(self._atom(atom), place, places[subset | (1 << index)]))
            return self._last
        assert step.atom is not None
        if step.distinct is not None:  # the engine counts the values; what comes of it is one move
            self._last += 1
            self._moves.append(Move(self._atom(step.atom), here, self._last))
            return self._last
        for _ in range(step.count):
            self._last += 1
            self._moves.append(Move(self._atom(step.atom), here, self._last))
            here = self._last
        return here


def _by_size(members: int) -> Iterator[int]:
    """All subsets but the empty one, the smaller first, the whole last."""
    yield from sorted(range(1, 1 << members), key=lambda subset: (subset.bit_count(), subset))
