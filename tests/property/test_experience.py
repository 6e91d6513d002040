"""The experience score: a sum of what events give, whatever their order, that fades."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from firstring.contact import TouchRead
from firstring.journey.experience import (
    AGAIN,
    CLAIMED_MOST,
    CONTACTS,
    EVENTS,
    RECOVERED,
    SAID,
    START,
    experience,
    over_time,
)

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
NAMES = sorted({*EVENTS, *CONTACTS, *(name for cost in EVENTS.values() for name in cost.put_right), "Words Read", "Other"})
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(0), st.just("resolved")
)
PROPERTIES = st.dictionaries(
    st.sampled_from(
        ["order_id", "topic", "rating", "results", "wait_s", "transfers", "outcome", "sentiment", "sentiment_confidence"]
    ),
    VALUES,
    max_size=4,
)


def touch(event_id: int, name: str, hours_ago: float, channel: str = "web", claimed: bool = False, **said: Any) -> TouchRead:
    at = NOW - timedelta(hours=hours_ago)
    return TouchRead(event_id, 1, 1, channel, name, at, said, claimed=claimed)


@st.composite
def histories(draw: st.DrawFn) -> list[TouchRead]:
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from(NAMES),
                st.floats(-5, 2_000),
                st.sampled_from(["web", "voice", "chat"]),
                st.booleans(),
                PROPERTIES,
            ),
            max_size=40,
        )
    )
    return [
        TouchRead(place + 1, 1, 1, channel, name, NOW - timedelta(hours=ago), said, claimed=claimed)
        for place, (name, ago, channel, claimed, said) in enumerate(drawn)
    ]


@given(histories())
def test_it_is_the_sum_of_its_parts_and_each_has_an_event(touches: list[TouchRead]) -> None:
    found = experience(touches, NOW)
    assert 0.0 <= found.score <= 100.0
    assert math.isclose(found.score, START + math.fsum(part.points for part in found.parts), abs_tol=1e-9)
    assert {part.event_id for part in found.parts} <= {one.event_id for one in touches}


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_and_duplicates_do_not_matter(touches: list[TouchRead], random: Any) -> None:
    again = [*touches, *touches[:5]]
    random.shuffle(again)
    assert experience(again, NOW) == experience(touches, NOW)


@given(histories(), st.floats(0, 5_000), st.floats(0, 5_000))
def test_one_sided_experiences_fade_steadily(touches: list[TouchRead], one: float, other: float) -> None:
    sooner, later = (NOW + timedelta(hours=6 + hours) for hours in sorted((one, other)))
    bad = [event for event in touches if event.name in EVENTS and EVENTS[event.name].points < 0]
    bad = [
        event for event in bad if not event.properties and not any(event.name in cost.put_right for cost in EVENTS.values())
    ]
    assert experience(bad, sooner).score <= experience(bad, later).score + 1e-9 <= START + 1e-6


@given(histories())
def test_in_the_end_nothing_is_left(touches: list[TouchRead]) -> None:
    assert math.isclose(experience(touches, NOW + timedelta(days=20_000)).score, START, abs_tol=1e-6)


@given(histories())
def test_claims_move_it_within_bounds(touches: list[TouchRead]) -> None:
    claimed = [TouchRead(t.event_id, 1, 1, t.channel, t.name, t.occurred_at, t.properties, claimed=True) for t in touches]
    assert abs(experience(claimed, NOW).score - START) <= CLAIMED_MOST + 1e-9


def test_a_failure_put_right_costs_less_and_never_gives() -> None:
    failure = touch(1, "Delivery Failed", 48.0, order_id="7")
    righted = touch(2, "Order Delivered", 1.0, order_id="#7")
    other = touch(2, "Order Delivered", 1.0, order_id="8")
    fresh = experience([failure, righted], NOW)
    credit = next(part for part in fresh.parts if part.reason.startswith("put right"))
    loss = next(part for part in fresh.parts if part.event_id == 1)
    assert math.isclose(credit.points, -RECOVERED * loss.points)
    assert credit.event_id == 2
    assert not any(part.reason.startswith("put right") for part in experience([failure, other], NOW).parts)


def test_what_is_claimed_puts_right_only_claims() -> None:
    failure = touch(1, "Complaint Opened", 48.0)
    found = experience([failure, touch(2, "Complaint Resolved", 1.0, claimed=True)], NOW)
    assert [part.event_id for part in found.parts] == [1]


def test_coming_back_on_one_topic_within_a_week_is_effort() -> None:
    first = touch(1, "Call Started", 50.0, "voice", topic="billing")
    again = touch(2, "Call Started", 0.0, "voice", topic="Billing")
    assert [(part.event_id, part.points) for part in experience([first, again], NOW).parts] == [(2, AGAIN.points)]
    other = touch(2, "Call Started", 0.0, "voice", topic="delivery")
    assert experience([first, other], NOW).parts == ()
    long_ago = touch(1, "Call Started", 200.0, "voice", topic="billing")
    assert experience([long_ago, again], NOW).parts == ()


def test_words_count_by_sentiment_times_confidence() -> None:
    angry = touch(1, "Words Read", 0.0, sentiment=-0.8, sentiment_confidence=0.5)
    assert math.isclose(experience([angry], NOW).score, START - 0.4 * SAID.points)
    assert experience([touch(1, "Words Read", 0.0, topic="billing")], NOW).score == START


def test_repeats_count_less_and_less() -> None:
    hundred = [touch(number, "Sign In Failed", number / 60) for number in range(1, 101)]
    assert experience(hundred, NOW).score > START - 10.0


def test_over_time() -> None:
    touches = [touch(1, "Complaint Opened", 48.0), touch(2, "Complaint Resolved", 24.0)]
    before, during, after = over_time(touches, [NOW - timedelta(hours=hours) for hours in (72, 47, 23)])
    assert before == START
    assert during < after < START


def test_a_contact_counts_once_by_its_beginning_or_its_end() -> None:
    both = [touch(1, "Call Started", 50.0, "voice", topic="a"), touch(2, "Call Ended", 49.8, "voice", topic="a")]
    assert experience(both, NOW).parts == ()
    ends = [touch(1, "Call Ended", 50.0, "voice", intent="a"), touch(2, "Call Ended", 0.0, "voice", intent="a")]
    assert [(part.event_id, part.reason) for part in experience(ends, NOW).parts] == [(2, AGAIN.reason)]


def test_the_topic_may_be_read_in_the_words() -> None:
    mails = [touch(1, "Email Received", 50.0, "email"), touch(3, "Email Received", 0.0, "email")]
    read = [
        touch(2, "Words Read", 50.0, "backend", of="Email Received", topic="billing", topic_confidence=0.6),
        touch(4, "Words Read", 0.0, "backend", of="Email Received", topic="delivery", topic_confidence=0.6),
    ]
    assert [part.reason for part in experience(mails, NOW).parts] == ["came back, it is not known what for"]
    assert experience([*mails, *read], NOW).parts == ()
