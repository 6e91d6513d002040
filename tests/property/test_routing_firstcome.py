"""The age guard against first come itself, run beside the queue on the same events."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.routing import firstcome, pick

SEEDS = st.integers(0, 2**32 - 1)


class Queue:
    """A queue, and first come, first served on the same arrivals and the same agents becoming free."""

    def __init__(self) -> None:
        self.since = np.zeros(0)
        self.passed = np.zeros(0, np.int64)
        self.due_at = np.zeros(0)
        self.shadow: list[float] = []
        self.served_by_first_come: dict[float, float] = {}

    def arrives(self, now: float) -> None:
        self.since = np.append(self.since, now)
        self.passed = np.append(self.passed, 0)
        self.due_at = np.append(self.due_at, np.nan)
        self.shadow.append(now)

    def takes(self, place: int, now: float) -> float:
        taken = float(self.since[place])
        keep = np.arange(len(self.since)) != place
        self.since, self.passed, self.due_at = self.since[keep], self.passed[keep], self.due_at[keep]
        self.passed = firstcome.passed_over(self.since, self.passed, taken)
        self.due_at = firstcome.became_due(self.since, self.passed, self.due_at, now)
        self.served_by_first_come[self.shadow.pop(0)] = now
        return taken


@given(SEEDS, st.integers(1, 120))
@settings(max_examples=80, deadline=None)
def test_a_contact_is_due_exactly_when_first_come_would_have_served_it(seed: int, events: int) -> None:
    rng = np.random.default_rng(seed)
    queue = Queue()
    for step in range(events):
        now = float(step)
        if len(queue.since) and rng.random() < 0.45:
            queue.takes(int(rng.integers(len(queue.since))), now)
        else:
            queue.arrives(now)
        for since, due_at in zip(queue.since.tolist(), queue.due_at.tolist(), strict=True):
            expected = queue.served_by_first_come.get(since)
            assert (due_at != due_at) if expected is None else due_at == expected


@given(SEEDS, st.floats(0.05, 0.6), st.integers(0, 40), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_nobody_waits_longer_beyond_first_come_than_the_guard(seed: int, busy: float, guard_s: int, backlog: int) -> None:
    """An agent becomes free every two seconds and the preferences are against somebody who came early."""
    rng = np.random.default_rng(seed)
    queue = Queue()
    for _ in range(backlog):
        queue.arrives(float(-backlog) + len(queue.since))
    late_s = []
    for step in range(400):
        now = 2.0 * step
        for place in range(rng.poisson(1.0 + busy) if step < 200 else 0):
            queue.arrives(now - 1.0 + 0.01 * place)
        if not len(queue.since):
            continue
        must = firstcome.must_serve(queue.due_at, now, free_every_s=2.0, guard_s=guard_s, caution=1.0)
        near = firstcome.window(queue.since, 3 * firstcome.places(2.0, guard_s, 1.0) + 2)
        made = pick.next_contact(
            queue.since / 1e4 + rng.random(len(queue.since)) / 50,
            np.full(len(queue.since), 200.0),
            price=0.0,
            contact_price=np.zeros(len(queue.since)),
            waited_s=now - queue.since,
            must=must,
            within=near,
        )
        assert made.chosen >= 0
        taken = queue.takes(made.chosen, now)
        if taken in queue.served_by_first_come:
            late_s.append(now - queue.served_by_first_come[taken])
    # A round of the agents becoming free passes between being due and being served at the earliest.
    assert max(late_s, default=0.0) <= guard_s + 2.0


def test_without_a_guard_a_contact_can_starve_and_with_none_allowed_it_is_first_come() -> None:
    due_at = np.array([5.0, np.nan, 3.0])
    assert firstcome.must_serve(due_at, 6.0, free_every_s=5.0, guard_s=0.0, caution=1.0) == 2
    assert firstcome.must_serve(due_at, 6.0, free_every_s=5.0, guard_s=1e6, caution=1.0) == -1
    assert firstcome.must_serve(np.full(3, np.nan), 6.0, free_every_s=5.0, guard_s=0.0, caution=1.0) == -1


def test_those_whom_an_agent_cannot_serve_are_not_passed_over() -> None:
    since = np.array([1.0, 2.0, 3.0])
    can = np.array([True, False, True])
    assert firstcome.passed_over(since, np.zeros(3, np.int64), 2.5, can).tolist() == [1, 0, 0]
