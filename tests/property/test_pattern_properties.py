"""What fires is what the definition says, by going through every choice of events of a short history.

The oracle below knows nothing of places: it takes the declared parts and tries all events for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from firstring import limits
from firstring.journey.patterns import Fired, Happened, Pattern, PatternSet, State, patterns_in
from firstring.journey.patterns.definition import Absence, Atom, Step
from firstring.journey.patterns.witness import witnesses

GAP_MS = limits.VISIT_GAP_MS
T0 = 1_700_000_000_000
_UNIT_MS = 60_000


# --- the oracle --------------------------------------------------------------------------------------------------------


def by_definition(pattern: Pattern, events: list[Happened], now_ms: int) -> list[tuple[int, int]]:
    """(when it fired, where the match began that began last), in order."""
    found: list[tuple[int, int]] = []
    for visit, until_ms in _visits(pattern, events, now_ms):
        keys = {_key(pattern, one) for one in visit} - {None}
        for key in keys:
            found += _fires(pattern, [one for one in visit if _key(pattern, one) == key], until_ms)
    return sorted(found)


def _visits(pattern: Pattern, events: list[Happened], now_ms: int) -> Iterator[tuple[list[Happened], int]]:
    if pattern.by != "visit":
        yield events, now_ms
        return
    visit: list[Happened] = []
    for one in events:
        if visit and one.at_ms - visit[-1].at_ms > GAP_MS:
            yield visit, visit[-1].at_ms + GAP_MS
            visit = []
        visit.append(one)
    if visit:
        yield visit, min(now_ms, visit[-1].at_ms + GAP_MS)


def _key(pattern: Pattern, one: Happened) -> Any:
    return one.event["properties"].get("k") if pattern.same is not None else ""


def _fires(pattern: Pattern, events: list[Happened], until_ms: int) -> list[tuple[int, int]]:
    """Again and again the earliest moment at which a match of what is not used up ends."""
    found: list[tuple[int, int]] = []
    floor = 0
    while True:
        ends = [one for one in _ends(pattern, events, floor) if one[1] <= until_ms and one[1] - one[2] <= pattern.within_ms]
        if not ends:
            return found
        if isinstance(pattern.parts[-1], Absence):
            at_ms = min(end[1] for end in ends)
            begun_ms = max(end[2] for end in ends if end[1] == at_ms)
            floor = next((index for index, one in enumerate(events) if one.at_ms >= at_ms), len(events))
        else:
            last = min(end[0] for end in ends)
            at_ms = events[last].at_ms
            begun_ms = max(end[2] for end in ends if end[0] == last)
            floor = last + 1
        found.append((at_ms, begun_ms))


def _ends(pattern: Pattern, events: list[Happened], floor: int) -> set[tuple[int, int, int]]:
    """(index of the last event, moment at which it ends, beginning) of every choice of events from `floor` on."""
    reached: set[tuple[int, int, int]] = {(floor - 1, 0, 0)}
    for part in pattern.parts:
        after: set[tuple[int, int, int]] = set()
        for last, moment, begun in reached:
            if isinstance(part, Absence):
                if not any(
                    _holds(atom, one)
                    for atom in part.atoms
                    for one in events[last + 1 :]
                    if one.at_ms < moment + part.for_ms
                ):
                    after.add((last, moment + part.for_ms, begun))
                continue
            free = [index for index in range(last + 1, len(events)) if events[index].at_ms >= moment]
            for chosen in _choices(part, events, free):
                broken = [
                    index
                    for index in free
                    if index <= chosen[-1] and any(_holds(atom, events[index]) for atom in part.unless)
                ]
                if not broken:
                    after.add((chosen[-1], events[chosen[-1]].at_ms, begun or events[chosen[0]].at_ms))
        reached = after
    return reached


def _choices(step: Step, events: list[Happened], free: list[int]) -> Iterator[tuple[int, ...]]:
    for chosen in combinations(free, len(step.all) or step.count):
        ones = [events[index] for index in chosen]
        if step.all:
            if any(all(map(_holds, order, ones)) for order in permutations(step.all)):
                yield chosen
        elif step.atom is not None and all(_holds(step.atom, one) for one in ones):
            values = [one.event["properties"].get("v") for one in ones]
            if step.distinct is None or (None not in values and len(set(values)) == len(values)):
                yield chosen


def _holds(atom: Atom, one: Happened) -> bool:
    return atom.holds(one.name, one.event)


# --- patterns and histories by chance ----------------------------------------------------------------------------------


def a_pattern(random: Random) -> Pattern:
    def name() -> str:
        return random.choice(("A", "A", "B", "B", "C", "'*'"))

    def where() -> str:
        return random.choice(("", "", ", where: 'event.properties.v == 1'"))

    def step(first: bool) -> str:
        shape = random.random()
        if shape < 0.4:
            return f"{{event: {name()}{where()}}}"
        if shape < 0.6:
            return f"{{event: {name()}, count: {random.choice((2, 3))}{where()}}}"
        if shape < 0.75:
            return f"{{any: [A, C], count: {random.choice((1, 2))}{where()}}}"
        if shape < 0.85 and first:
            return f"{{event: {name()}, count: 2, distinct: event.properties.v}}"
        return f"{{all: [{', '.join(name() for _ in range(random.choice((2, 3))))}]}}"

    parts = [step(True)]
    absent = random.random() < 0.5
    for place in range(random.choice((0, 1, 1, 2))):
        if random.random() < 0.3:
            parts.append(f"{{not: {random.choice('ABCD')}{where()}}}")
        if absent and place == 0:
            parts.append(f"{{absent: {random.choice(('B', '[B, D]', 'C'))}, for: {random.choice((1, 2, 4))}m}}")
            absent = False
            if random.random() < 0.5:
                break
            continue
        parts.append(step(False))
    same = random.choice(("", "", "same: event.properties.k\n"))
    by = random.choice(("person", "person", "visit"))
    text = f"id: p\nby: {by}\n{same}within: {random.choice((4, 6, 10, 60))}m\nmatch: {{seq: [{', '.join(parts)}]}}\n"
    (found,) = patterns_in(text)
    return found


def a_history(random: Random, most: int = 8) -> list[Happened]:
    found, at_ms = [], T0
    for _ in range(random.randrange(most + 1)):
        at_ms += random.choice((0, 1, 1, 2, 3, 5, 31)) * _UNIT_MS // random.choice((1, 1, 2))
        properties = {
            name: random.choice(values) for name, values in (("k", (1, 2)), ("v", (1, 2, 3))) if random.random() < 0.9
        }
        name = random.choice(("A", "A", "B", "C", "D", "E"))
        found.append(Happened(at_ms, name, {"name": name, "channel": "web", "time": None, "properties": properties}))
    return found


def fired(found: list[Fired]) -> list[tuple[int, int]]:
    return sorted((one.at_ms, one.begun_ms) for one in found)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_what_fires_is_what_the_definition_says(seed: int) -> None:
    random = Random(seed)
    for _ in range(8):
        pattern, events = a_pattern(random), a_history(random)
        now_ms = (events[-1].at_ms if events else T0) + random.choice((0, 1, 3, 100)) * _UNIT_MS
        _, found = PatternSet([pattern]).replayed(events, now_ms=now_ms)
        assert fired(found) == by_definition(pattern, events, now_ms), (pattern, events)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_the_state_is_a_function_of_the_events_whatever_the_way(seed: int) -> None:
    """Event by event, packed and unpacked at any moment, timers called at any moment: bytes and firings are the same."""
    random = Random(seed)
    patterns = [a_pattern(random) for _ in range(4)]
    named = [Pattern(**{**vars(one), "id": f"p{number}"}) for number, one in enumerate(patterns)]
    together = PatternSet(named)
    events = a_history(random, 30)
    now_ms = (events[-1].at_ms if events else T0) + _UNIT_MS
    whole, found = together.replayed(events, now_ms=now_ms)
    state, stepped = State(), []
    for one in events:
        for _ in range(random.randrange(3)):
            due_ms = together.next_due_ms(state)
            if due_ms is not None and due_ms < one.at_ms and random.random() < 0.7:
                stepped += together.due(state, due_ms)
            if random.random() < 0.5:
                between_ms = random.randint(state.last_ms or one.at_ms, one.at_ms)
                state = together.unpacked(together.packed(state, between_ms))
        stepped += together.step(state, one)
    stepped += together.due(state, now_ms)
    assert sorted(stepped) == sorted(found)
    assert together.packed(state, now_ms) == together.packed(whole, now_ms)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_fires_before_its_due_time_is_named(seed: int) -> None:
    """Whoever calls `due` at the times named, and never else, sees everything when it comes true."""
    random = Random(seed)
    pattern, events = a_pattern(random), a_history(random)
    if not events:
        return
    alone = PatternSet([pattern])
    state = State()
    for one in events:
        alone.step(state, one)
    due_ms = alone.next_due_ms(state)
    if due_ms is None:
        assert alone.due(state, events[-1].at_ms + GAP_MS * 100) == []
    elif due_ms > events[-1].at_ms:
        assert alone.due(state, due_ms - 1) == []


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_the_events_named_are_a_match(seed: int) -> None:
    """The events by which it fired begin and end when it says, and are enough for the definition by themselves."""
    random = Random(seed)
    for _ in range(4):
        pattern, events = a_pattern(random), a_history(random)
        now_ms = (events[-1].at_ms if events else T0) + 100 * _UNIT_MS
        before: dict[int, int] = {}
        for one in PatternSet([pattern]).replayed(events, now_ms=now_ms)[1]:
            chosen = witnesses(pattern, events, one, after_ms=before.get(one.key))
            before[one.key] = one.at_ms
            assert chosen, (pattern, events, one)
            assert events[chosen[0]].at_ms == one.begun_ms
            if pattern.by == "person":
                alone = [events[index] for index in chosen]
                again = by_definition(pattern, alone, now_ms)
                assert (one.at_ms, one.begun_ms) in again, (pattern, events, one, chosen)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_late_events_merges_and_splits_come_to_what_never_anything_else_would_have(seed: int) -> None:
    """Events of two people arrive in any order; then the two are merged, and come apart again."""
    random = Random(seed)
    named = [Pattern(**{**vars(a_pattern(random)), "id": f"p{number}"}) for number in range(3)]
    together = PatternSet(named)
    logs: list[list[Happened]] = [[], []]
    states = [b"", b""]
    arriving = [(random.randrange(2), one) for one in a_history(random, 20)]
    random.shuffle(arriving)
    now_ms = T0 + 1_000 * _UNIT_MS
    for person, one in arriving:
        log = logs[person]
        log.append(one)
        log.sort(key=lambda happened: happened.at_ms)
        state = together.unpacked(states[person])
        if together.is_late(state, one.at_ms, now_ms=now_ms) or log[-1] is not one:
            state, _ = together.replayed(log, now_ms=log[-1].at_ms)
        else:
            together.step(state, one)
        states[person] = together.packed(state, log[-1].at_ms)

    def alone(events: list[Happened]) -> bytes:
        state, _ = together.replayed(events, now_ms=now_ms)
        return together.packed(state, now_ms)

    for log, content in zip(logs, states, strict=True):
        state = together.unpacked(content)
        together.due(state, now_ms)
        assert together.packed(state, now_ms) == alone(log)
    one_person = alone(sorted([*logs[0], *logs[1]], key=lambda happened: happened.at_ms))
    assert one_person == alone(sorted([*logs[1], *logs[0]], key=lambda happened: happened.at_ms)) or _ties(logs)


def _ties(logs: list[list[Happened]]) -> bool:
    return bool({one.at_ms for one in logs[0]} & {one.at_ms for one in logs[1]})
