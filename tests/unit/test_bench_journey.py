"""The benchmark of patterns, small: what it measures is there, and conditions agree with Google's."""

from __future__ import annotations

from firstring.bench.journey_patterns import many, measured, people
from firstring.journey.patterns import PatternSet


def test_the_figures_are_there_and_agree() -> None:
    said: list[str] = []
    found = {one.name: one for one in measured(events=1_000, live_events=600, seed=3, say=said.append)}
    assert all(one.value is not None and one.value > 0 for one in found.values())
    assert found["the same by cel-expr-python (Google's C++)"].note.startswith("0 of 2,000 answers unlike ours")
    assert "30 patterns, in process" in found
    assert "300 patterns, in process" in found
    assert any(name.startswith("back-test") for name in found)
    assert said


def test_the_events_are_those_of_the_seed_and_fire_most_patterns() -> None:
    assert list(people(20, 1)) == list(people(20, 1)) != list(people(20, 2))
    by = PatternSet(many(30))
    assert len({pattern.id for pattern in many(300)}) == 300
    fired = {
        one.pattern
        for events in people(1_500, 1)
        for one in by.replayed(events, now_ms=events[-1].at_ms + 200 * 86_400_000)[1]
    }
    assert len(fired) >= 20
