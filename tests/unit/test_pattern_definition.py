"""What a declaration may be, and where a mistake in it is said to be."""

from __future__ import annotations

from datetime import timedelta

import pytest

from firstring import limits
from firstring.errors import BadInput
from firstring.journey.patterns import Happened, PatternSet, patterns_in
from firstring.journey.patterns.reading import milliseconds, moment_of

GOOD = """\
id: refund_chaser
match: {seq: ["Refund Requested", {absent: "Order Refunded", for: 3d}, {any: [Call Started, Chat Started], count: 2}]}
where: 'event.properties.total > 50.0'
valence: negative
within: 14d
"""
D = 86_400_000


def test_the_example_of_the_brief_is_read() -> None:
    (pattern,) = patterns_in(GOOD, "refunds.yaml")
    assert (pattern.id, pattern.valence, pattern.by, pattern.within_ms) == ("refund_chaser", "negative", "person", 14 * D)
    assert len(pattern.parts) == 3


def test_several_in_one_file() -> None:
    assert [one.id for one in patterns_in(f"{GOOD}---\nid: b\nmatch: Signed Up\n")] == ["refund_chaser", "b"]
    listed = "patterns:\n  - {id: a, match: Signed Up}\n  - {id: b, match: Signed In}\n"
    assert [one.id for one in patterns_in(listed)] == ["a", "b"]


def test_names_are_taken_in_any_common_spelling() -> None:
    (pattern,) = patterns_in("id: a\nmatch: order_completed\n")
    assert PatternSet([pattern]).replayed([Happened(1, "Order Completed", {})], now_ms=1)[1]


def test_the_digest_is_of_the_meaning_alone() -> None:
    plain, titled, other = (
        patterns_in(text)[0].digest for text in (GOOD, f"title: some\n{GOOD}", GOOD.replace("50.0", "60.0"))
    )
    assert plain == titled != other


WRONG = {
    "id: a\nmatch: [\n": (3, "This is not YAML"),
    "id: a\n": (1, "has no match"),
    "id: a b\nmatch: Signed Up\n": (1, "An id is of letters"),
    "id: a\nmatch: Signed Up\nvalance: negative\n": (3, "no field valance"),
    "id: a\nmatch: Signed Up\nvalence: bad\n": (3, "valence cannot be bad"),
    "id: a\nmatch: {seq: [Signed Up, Order Completed]}\n": (1, "The window is not bounded"),
    "id: a\nmatch: {event: Signed In, count: 3}\n": (1, "The window is not bounded"),
    "id: a\nwithin: forever\nmatch: {event: Signed In, count: 3}\n": (2, "within is a time"),
    "id: a\nwithin: 9999d\nmatch: {event: Signed In, count: 3}\n": (2, "within is a time"),
    "id: a\nwithin: 1d\nmatch:\n  seq:\n    - Signed Up\n    - {absent: Signed In, for: 3d}\n": (
        2,
        "The window ends before",
    ),
    "id: a\nwithin: 1d\nmatch:\n  seq:\n    - Signed Up\n    - {absent: Signed In}\n": (6, "How long"),
    "id: a\nwithin: 1d\nmatch:\n  seq:\n    - {absent: Signed In, for: 1h}\n    - Signed Up\n": (5, "Before an absence"),
    "id: a\nwithin: 1d\nmatch:\n  seq:\n    - {not: Signed In}\n    - Signed Up\n": (5, "Before a `not`"),
    "id: a\nwithin: 1d\nmatch:\n  seq:\n    - Signed Up\n    - {not: Signed In}\n": (4, "at the end never comes true"),
    "id: a\nwithin: 1d\nmatch: {event: Signed In, count: many}\n": (3, "count is a whole number"),
    "id: a\nwithin: 1d\nmatch: {event: Signed In, any: [A], count: 2}\n": (3, "one event, or any of several"),
    "id: a\nwithin: 1d\nmatch: {all: [A]}\n": (3, "`all` has 2 to"),
    "id: a\nwithin: 1d\nmatch: {all: [A, B, C, D, E]}\n": (3, "`all` has 2 to"),
    "id: a\nwithin: 1d\nmatch: {seq: [A, {event: B, count: 2, distinct: event.name}]}\n": (3, "distinct is for the first"),
    "id: a\nwithin: 9d\nmatch: {seq: [A, {absent: B, for: 1d}, C, {absent: B, for: 1d}]}\n": (3, "one absence at most"),
    "id: a\nwithin: 9d\nmatch: {seq: [{event: A, count: 100}, {event: B, count: 100}]}\n": (3, "places; the limit"),
    "id: a\nid: b\nmatch: Signed Up\n": (2, "stands twice"),
    "id: a\nmatch: !!python/name:os.system ''\n": (2, "The tag"),
    "id: a\nmatch: {seq: &x [A, *x]}\n": (2, "References"),
    "": (1, "There is no pattern here"),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_said_with_its_file_and_line(text: str) -> None:
    line, message = WRONG[text]
    with pytest.raises(BadInput) as caught:
        patterns_in(text, "my.yaml")
    assert caught.value.code == "pattern_invalid"
    assert caught.value.where["file"] == "my.yaml"
    assert message in caught.value.message
    assert caught.value.where["line"] == line


def test_a_mistake_in_a_condition_is_said_with_its_line_and_column() -> None:
    with pytest.raises(BadInput) as caught:
        patterns_in(
            "id: a\nmatch:\n  event: Signed Up\n  where: |\n    event.channel == 'web' &&\n    event.total > 5\n", "my.yaml"
        )
    error = caught.value
    assert error.code == "expression_invalid"
    assert error.where == {"file": "my.yaml", "line": 6, "column": 6, "field": "where"}
    assert "A property of it is event.properties.total" in error.hint


@pytest.mark.parametrize(
    "condition", ["event.nmae == 'a'", "event.name > 5", "event.properties.total", "size(event.time) > 1"]
)
def test_types_are_checked_when_it_is_loaded(condition: str) -> None:
    if condition == "event.properties.total":  # may be true or false: nobody knows before it is there
        assert patterns_in(f"id: a\nmatch: Signed Up\nwhere: {condition}\n")
        return
    with pytest.raises(BadInput, match="line 3"):
        patterns_in(f'id: a\nmatch: Signed Up\nwhere: "{condition}"\n')


def test_an_id_stands_once() -> None:
    with pytest.raises(BadInput, match="Two patterns have the id"):
        PatternSet([*patterns_in(GOOD), *patterns_in(GOOD)])


def test_of_many_values_of_same_the_longest_idle_is_pushed_out() -> None:
    (pattern,) = patterns_in("id: a\nwithin: 9d\nsame: event.properties.k\nmatch: {event: A, count: 2}\n")
    alone = PatternSet([pattern])

    def a(at_ms: int, k: int) -> Happened:
        return Happened(at_ms, "A", {"name": "A", "channel": "web", "time": None, "properties": {"k": k}})

    many = [a(1_000 + k, k) for k in range(limits.PATTERN_KEYS + 1)]
    state, _ = alone.replayed(many, now_ms=5_000)
    assert len(state.runs[0]) == limits.PATTERN_KEYS
    assert alone.step(state, a(6_000, 0)) == []
    assert len(alone.step(state, a(7_000, limits.PATTERN_KEYS))) == 1


def test_what_is_over_takes_no_room() -> None:
    (pattern,) = patterns_in("id: a\nwithin: 1h\nmatch: {event: A, count: 2}\n")
    alone = PatternSet([pattern])
    state, _ = alone.replayed([Happened(1_000, "A", {})], now_ms=1_000)
    assert len(alone.packed(state, 2_000)) == 8 + 8 + 8
    assert len(alone.packed(state, 1_000 + 3_600_000)) == 24
    assert len(alone.packed(state, 1_001 + 3_600_000)) == 0


def test_a_state_of_other_patterns_is_no_fault() -> None:
    old = PatternSet(patterns_in("id: a\nwithin: 1h\nsame: event.name\nmatch: {event: A, count: 2}\n"), numbers=[7])
    state, _ = old.replayed([Happened(1_000, "A", {"name": "A"})], now_ms=1_000)
    new = PatternSet(patterns_in("id: b\nwithin: 1h\nmatch: {event: A, count: 2}\n"), numbers=[8])
    kept = new.unpacked(old.packed(state, 1_000))
    assert kept.runs == {}
    assert kept.last_ms == 1_000
    assert new.is_late(kept, 999, now_ms=2_000)
    with pytest.raises(ValueError, match="layout"):
        new.unpacked(b"\x02rest")


def test_a_ninth_match_does_not_begin_to_wait() -> None:
    text = "id: a\nwithin: 2h\nmatch: {seq: [A, {absent: B, for: 10m}, C]}\n"
    alone = PatternSet(patterns_in(text))
    minute = 60_000
    events = [Happened((100 + number) * minute, "A", {}) for number in range(limits.PATTERN_WAITS + 1)]
    events.append(Happened(130 * minute, "C", {}))
    _, (fired,) = alone.replayed(events, now_ms=130 * minute)
    assert fired.begun_ms == (100 + limits.PATTERN_WAITS - 1) * minute


def test_a_timer_comes_before_what_happens_at_its_moment() -> None:
    text = "id: a\nwithin: 1h\nmatch: {seq: [A, {absent: B, for: 10m}]}\n"
    alone = PatternSet(patterns_in(text))
    minute = 60_000
    _, (fired,) = alone.replayed([Happened(minute, "A", {}), Happened(11 * minute, "B", {})], now_ms=11 * minute)
    assert fired.at_ms == 11 * minute
    assert alone.replayed([Happened(minute, "A", {}), Happened(11 * minute - 1, "B", {})], now_ms=99 * minute)[1] == []


def test_moments_are_whole_milliseconds_rounded_down() -> None:
    for at_ms in (0, 1, 1_700_000_000_123, 1_767_261_600_007, 631_152_000_001):
        assert milliseconds(moment_of(at_ms)) == at_ms
        assert milliseconds(moment_of(at_ms) + timedelta(microseconds=999)) == at_ms
