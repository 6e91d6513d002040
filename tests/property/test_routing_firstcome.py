"""The age guard against first come itself, run beside the queue on the same events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.routing.pick import firstcome, step
from firstring.routing.pick.choose import PickSettings

SEEDS = st.integers(0, 2**32 - 1)
MAY = np.array([[True, True, False], [True, False, True]])
"""Two types of contacts, three sorts of agents: one who may serve both, one for each."""


class Queue:
    """A queue with the guard's memory, and first come, first served on the same arrivals and agents becoming free."""

    def __init__(self) -> None:
        self.kind: dict[float, int] = {}
        self.waiting: list[float] = []
        self.due_at: dict[float, float] = {}
        self.ghosts: list[float] = []
        self.shadow: list[float] = []
        self.served_by_first_come: dict[float, float] = {}

    def arrives(self, since: float, kind: int = 0) -> None:
        self.kind[since] = kind
        self.waiting.append(since)
        self.shadow.append(since)

    def line(self, agent: int) -> list[float]:
        return [one for one in self.waiting if MAY[self.kind[one], agent]]

    def due(self, line: list[float]) -> np.ndarray:
        return np.array([self.due_at.get(one, np.nan) for one in line])

    def ghosts_of(self, agent: int) -> list[float]:
        return [one for one in self.ghosts if MAY[self.kind[one], agent]]

    def takes(self, taken: float, agent: int, now: float) -> None:
        self.waiting.remove(taken)
        line, ghosts = self.line(agent), self.ghosts_of(agent)
        after = step.after_taken(
            np.array(line), self.due(line), np.array(ghosts), taken_since=taken, was_due=taken in self.due_at
        )
        if after.due >= 0:
            self.due_at[line[after.due]] = now
        if after.ghost >= 0:
            self.ghosts.remove(ghosts[after.ghost])
        if after.is_ghost:
            self.ghosts.append(taken)
        first = next((one for one in self.shadow if MAY[self.kind[one], agent]), None)
        if first is not None:
            self.shadow.remove(first)
            self.served_by_first_come[first] = now


@given(SEEDS, st.integers(1, 150))
@settings(max_examples=80, deadline=None)
def test_a_contact_is_due_exactly_when_first_come_would_have_served_it(seed: int, events: int) -> None:
    """Whatever order the queue is served in, by agents with different skills."""
    rng = np.random.default_rng(seed)
    queue = Queue()
    for moment in range(events):
        now, agent = float(moment), int(rng.integers(3))
        line = queue.line(agent)
        if line and rng.random() < 0.45:
            turn = firstcome.whose_turn(np.array(line), queue.due(line), np.array(queue.ghosts_of(agent)))
            first = next((one for one in queue.shadow if MAY[queue.kind[one], agent]), None)
            assert turn == (line.index(first) if first in line else -1)
            queue.takes(line[int(rng.integers(len(line)))], agent, now)
        else:
            queue.arrives(now, int(rng.integers(2)))
        for since in queue.waiting:
            assert queue.due_at.get(since) == queue.served_by_first_come.get(since)
        assert sorted(queue.ghosts) == sorted(set(queue.shadow) - set(queue.waiting))


@given(SEEDS, st.floats(0.05, 0.6), st.integers(0, 40), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_nobody_waits_longer_beyond_first_come_than_the_guard(seed: int, busy: float, guard_s: int, backlog: int) -> None:
    """An agent becomes free every two seconds and the preferences are against somebody who came early."""
    rng = np.random.default_rng(seed)
    queue = Queue()
    for place in range(backlog):
        queue.arrives(float(place - backlog))
    rules = PickSettings(guard_s=guard_s, guard_caution=1.0, late=0.0)
    late_s = []
    for moment in range(400):
        now = 2.0 * moment
        for place in range(rng.poisson(1.0 + busy) if moment < 200 else 0):
            queue.arrives(now - 1.0 + 0.01 * place)
        line = queue.line(0)[: step.line_size(2.0, rules, 3)]
        if not line:
            continue
        since, due_at = np.array(line), queue.due(line)
        made = step.freed(
            since / 1e4 + rng.random(len(line)) / 50,
            np.full(len(line), 200.0),
            price=0.0,
            contact_price=np.zeros(len(line)),
            waited_s=now - since,
            weight=np.ones(len(line)),
            due_at=due_at,
            reserve=np.full(len(line), -np.inf),
            now=now,
            free_every_s=2.0,
            turn=firstcome.whose_turn(since, due_at, np.array(queue.ghosts)),
            settings=rules,
        )
        taken = line[made.chosen]
        queue.takes(taken, 0, now)
        late_s.append(now - queue.served_by_first_come.get(taken, now))
    # Where agents become free as they were counted on, the bound holds to the second.
    assert max(late_s, default=0.0) <= guard_s


def test_without_a_guard_a_contact_can_starve_and_with_none_allowed_it_is_first_come() -> None:
    due_at = np.array([5.0, np.nan, 3.0])
    assert firstcome.must_serve(due_at, 6.0, free_every_s=5.0, guard_s=0.0, caution=1.0) == 2
    assert firstcome.must_serve(due_at, 6.0, free_every_s=5.0, guard_s=1e6, caution=1.0) == -1
    nobody = np.full(3, np.nan)
    assert firstcome.must_serve(nobody, 6.0, free_every_s=5.0, guard_s=0.0, caution=1.0) == -1
    # Whose turn it is may be passed over only where somebody else becomes free in time.
    assert firstcome.must_serve(nobody, 6.0, free_every_s=31.0, guard_s=30.0, caution=1.0, turn=1) == 1
    assert firstcome.must_serve(nobody, 6.0, free_every_s=29.0, guard_s=30.0, caution=1.0, turn=1) == -1
    assert firstcome.must_serve(nobody, 6.0, free_every_s=np.array([1.0, 31.0, 1.0]), guard_s=30.0, caution=1.0, turn=1) == 1


@given(SEEDS, st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_who_is_late_is_expected_as_it_is_counted_by_hand(seed: int, count: int) -> None:
    """The Poisson probabilities of the list that each choice leaves, summed one by one."""
    rng = np.random.default_rng(seed)
    due_at = np.where(rng.random(count) < 0.6, rng.uniform(60.0, 100.0, count), np.nan)
    left = np.flatnonzero(np.isnan(due_at))
    turn = int(left[0]) if len(left) and rng.random() < 0.7 else -1
    every_s = rng.uniform(2.0, 40.0, count)
    found = firstcome.lateness(due_at, 100.0, free_every_s=every_s, guard_s=30.0, turn=turn)
    for choice in range(count):
        behind = sorted((one for one in range(count) if due_at[one] == due_at[one]), key=lambda one: due_at[one])
        behind += [turn] if turn >= 0 else []
        expected = 0.0
        for place, one in enumerate([one for one in behind if one != choice]):
            left_s = 30.0 if one == turn else max(due_at[one] + 30.0 - 100.0, 0.0)
            mean = left_s / every_s[one]
            term, total = float(np.exp(-mean)), 0.0
            for k in range(place + 1):
                total += term
                term *= mean / (k + 1)
            expected += total
        assert found[choice] == pytest.approx(expected, abs=1e-9)


def test_nobody_is_held_where_the_next_agent_would_come_too_late() -> None:
    rules = PickSettings(hold_s=15.0, guard_s=30.0, guard_caution=1.5)
    assert step.may_hold(10.0, rules)
    assert not step.may_hold(10.1, rules)
    assert not step.may_hold(1.0, PickSettings(hold_s=0.0))
