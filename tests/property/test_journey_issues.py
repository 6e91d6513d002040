"""Open issues against a brute-force oracle; independence of order and duplicates; hostile events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.contact import TouchRead
from firstring.errors import BadInput
from firstring.journey.events import parse_event
from firstring.journey.issues import ISSUES, classify, issue_of, open_issues
from firstring.journey.summary import SUMMARY_CHARS, summary
from firstring.journey.timeline import journey

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMES = (*ISSUES, "Order Completed", "Order Shipped", "Order Delivered", "Payment Failed", "Page Viewed", "Call Ended")


@st.composite
def histories(draw: st.DrawFn, people: int = 2) -> list[TouchRead]:
    """Few moments, references and people, so that ties, late closings and re-openings are frequent."""
    touches = []
    for event_id in range(1, draw(st.integers(0, 14)) + 1):
        name = draw(st.sampled_from(NAMES))
        ref = draw(st.sampled_from(("", "1", "2")))
        properties = {"order_id": ref} if ref else {}
        mark = classify(name, properties)
        touches.append(
            TouchRead(
                event_id,
                record_id=1,
                person_id=draw(st.integers(1, people)),
                channel="web",
                name=name,
                occurred_at=NOW - timedelta(hours=draw(st.integers(0, 6))),
                properties=properties,
                issue_kind=mark.kind if mark else None,
                issue_ref=mark.ref if mark else None,
                issue_effect=mark.effect if mark else 0,
            )
        )
    return touches


def replayed(touches: list[TouchRead]) -> set[tuple[int, str, str]]:
    """The oracle: the events replayed in time, at one moment the closings first."""
    state: dict[tuple[int, str, str], bool] = {}
    for touch in sorted(touches, key=lambda t: (t.occurred_at, t.issue_effect)):
        if touch.issue_kind is not None:
            state[(touch.person_id, touch.issue_kind, touch.issue_ref or "")] = touch.issue_effect > 0
    return {issue for issue, is_open in state.items() if is_open}


@settings(max_examples=1500, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_open_issues_equal_a_replay_in_any_order(touches: list[TouchRead], random: Any) -> None:
    found = open_issues(touches)
    assert {(i.person_id, i.kind, i.ref) for i in found} == replayed(touches)
    assert len({(i.person_id, i.kind, i.ref) for i in found}) == len(found)
    shuffled = touches + random.choices(touches, k=3) if touches else []
    random.shuffle(shuffled)
    assert open_issues(shuffled) == found
    by_id = {touch.event_id: touch for touch in touches}
    for issue in found:
        opened = by_id[issue.event_id]
        assert (opened.issue_effect, opened.occurred_at) == (1, issue.opened_at)


@settings(max_examples=300, deadline=None)
@given(histories(people=1), st.randoms(use_true_random=False), st.booleans())
def test_a_journey_depends_on_the_set_of_events_only(touches: list[TouchRead], random: Any, cut: bool) -> None:
    expected = journey(1, touches, now=NOW, issues_cut=cut)
    shuffled = touches + random.choices(touches, k=3) if touches else []
    random.shuffle(shuffled)
    assert journey(1, shuffled, now=NOW, issues_cut=cut) == expected
    assert abs(sum(reason.probability for reason in expected.likely_reasons) - 1.0) <= 1e-9
    assert cut <= bool(expected.open_issues)
    moments = [(touch.occurred_at, touch.event_id) for touch in expected.touches]
    assert moments == sorted(((t.occurred_at, t.event_id) for t in touches), reverse=True)[:5]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "type", "event", "name", "userId", "user_id", "anonymousId", "messageId", "timestamp", "originalTimestamp", "sentAt",
    "receivedAt", "properties", "traits", "context", "channel", "properties.order_id", "traits.email", "context.ip",
)  # fmt: skip
PLAUSIBLE = st.sampled_from(("track", "identify", "page", "Refund Requested", "u1", "2026-02-01T00:00:00Z", "9999-01-01"))


@settings(max_examples=1500, deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYS), ANYTHING | PLAUSIBLE, max_size=10),
    st.sampled_from(({}, {"event": "Refund Requested", "userId": "u1"})),
)
def test_any_event_is_read_or_refused(raw: dict[str, Any], valid: dict[str, Any]) -> None:
    raw = {**raw, **valid}
    refusal: BadInput | None = None
    try:
        event = parse_event(raw, received_at=NOW)
    except BadInput as error:
        refusal = error
    if refusal is not None:
        assert refusal.code
        assert refusal.hint
        return
    assert event.occurred_at.tzinfo is UTC
    assert event.occurred_at <= NOW + timedelta(hours=1)
    assert event.record_id or event.anonymous_id
    assert event.name
    assert event.message_id
    issue_of(event)
    assert len(summary(event.name, event.properties)) <= SUMMARY_CHARS
    # what is stored comes back the same
    assert msgspec.json.decode(msgspec.json.encode(event.properties)) == event.properties
    assert parse_event(raw, received_at=NOW) == event


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=30), st.dictionaries(st.sampled_from(("order_id", "total", "currency", "url", "duration_s")), ANYTHING)
)
def test_a_summary_is_one_printable_line(name: str, properties: dict[str, Any]) -> None:
    text = summary(name, properties)
    assert len(text) <= SUMMARY_CHARS
    assert text.isprintable()
