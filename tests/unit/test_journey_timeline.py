"""Issues, summaries, likely reasons and the journey of a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firstring.contact import TouchRead
from firstring.journey.events import parse_event
from firstring.journey.issues import (
    CLOSED_BY,
    ISSUES,
    REFERENCES,
    IssueMark,
    classify,
    issue_of,
    open_issues,
    settling_event,
)
from firstring.journey.names import SPEC_NAMES
from firstring.journey.reasons import EVENT_PRIORS, ISSUE_PRIORS, likely_reasons
from firstring.journey.summary import SUMMARY_CHARS, summary
from firstring.journey.timeline import UNLISTED, VERSION, journey, journeys

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def touch(event_id: int, name: str, hours_ago: float = 1.0, person_id: int = 1, **properties: Any) -> TouchRead:
    mark = classify(name, properties)
    return TouchRead(
        event_id,
        record_id=person_id * 10,
        person_id=person_id,
        channel="web",
        name=name,
        occurred_at=NOW - timedelta(hours=hours_ago),
        properties=properties,
        issue_kind=mark.kind if mark else None,
        issue_ref=mark.ref if mark else None,
        issue_effect=mark.effect if mark else 0,
    )


def test_the_tables_agree_with_each_other() -> None:
    known = set(SPEC_NAMES)
    assert set(ISSUES) <= known
    assert set(EVENT_PRIORS) <= known
    assert {name for prior in EVENT_PRIORS.values() for name in prior.ended_by} <= known
    kinds = {kind for kind, _ in ISSUES.values()}
    assert kinds == set(REFERENCES) == set(CLOSED_BY) == set(ISSUE_PRIORS) - {UNLISTED}
    assert all(ISSUES[name] == (kind, -1) for kind, name in CLOSED_BY.items())
    assert VERSION.startswith("journey-")


@pytest.mark.parametrize(
    ("name", "properties", "mark"),
    [
        ("Refund Requested", {"order_id": "1042"}, IssueMark("refund", "1042", 1)),
        ("Refund Requested", {"order_id": " #1042 "}, IssueMark("refund", "1042", 1)),
        ("Refund Requested", {"order_id": 1042}, IssueMark("refund", "1042", 1)),
        ("Order Refunded", {"order_id": 1042.0}, IssueMark("refund", "1042", -1)),
        ("Refund Denied", {"order_id": None, "ticket_id": "T1"}, IssueMark("refund", "T1", -1)),
        ("Refund Requested", {"order_id": True}, IssueMark("refund", "", 1)),
        ("Refund Requested", {"order_id": {"x": 1}, "refund_id": ""}, IssueMark("refund", "", 1)),
        ("Complaint Opened", {"complaint_id": "C1", "order_id": "1"}, IssueMark("complaint", "C1", 1)),
        ("Outage Ended", {"outage_id": "O1"}, IssueMark("outage", "O1", -1)),
        ("Refund Approved", {"order_id": "1042"}, None),
        ("Order Completed", {"order_id": "1042"}, None),
    ],
)
def test_what_an_event_does_to_an_issue(name: str, properties: dict[str, Any], mark: IssueMark | None) -> None:
    event = parse_event({"event": name, "userId": "u", "properties": properties}, received_at=NOW)
    assert issue_of(event) == mark


def test_long_references_stay_apart() -> None:
    one = classify("Refund Requested", {"order_id": "x" * 300 + "1"})
    two = classify("Refund Requested", {"order_id": "x" * 300 + "2"})
    assert one is not None
    assert two is not None
    assert one.ref != two.ref
    assert len(one.ref) < 100
    huge = classify("Refund Requested", {"order_id": 10**5000})
    assert huge is not None
    assert huge.ref.startswith("sha256:")


def test_an_issue_is_open_until_its_own_closing() -> None:
    asked = touch(1, "Refund Requested", 50, order_id="1042")
    other = touch(2, "Order Refunded", 40, order_id="1043")
    nameless = touch(3, "Order Refunded", 30)
    (issue,) = open_issues([nameless, other, asked])
    assert (issue.kind, issue.ref, issue.event_id, issue.opened_at) == ("refund", "1042", 1, asked.occurred_at)
    assert issue.summary == "Refund requested, order 1042"
    paid = touch(4, "Order Refunded", 20, order_id="1042")
    assert open_issues([paid, asked, other]) == ()
    again = touch(5, "Refund Reopened", 10, order_id="1042")
    assert [i.event_id for i in open_issues([again, paid, asked])] == [5]
    # another person's closing closes nothing
    foreign = touch(6, "Order Refunded", 1, person_id=2, order_id="1042")
    assert [i.event_id for i in open_issues([foreign, asked])] == [1]


def test_a_tie_leaves_it_open() -> None:
    both = [touch(1, "Order Refunded", 5, order_id="1"), touch(2, "Refund Requested", 5, order_id="1")]
    assert [i.event_id for i in open_issues(both)] == [2]
    assert open_issues(both) == open_issues(both[::-1])


def test_what_an_agent_settles_is_closed() -> None:
    for name, (kind, effect) in ISSUES.items():
        if effect < 0:
            continue
        for properties in ({}, {REFERENCES[kind][-1]: "77"}):
            opened = touch(1, name, 5, **properties)
            (issue,) = open_issues([opened])
            closing, closing_properties = settling_event(issue)
            assert open_issues([opened, touch(2, closing, 1, **closing_properties)]) == ()


@pytest.mark.parametrize(
    ("name", "properties", "text"),
    [
        ("Refund Requested", {"order_id": "1042"}, "Refund requested, order 1042"),
        ("Order Completed", {"total": 59.9, "currency": "EUR", "order_id": 7}, "Order completed, order 7, 59.90 EUR"),
        ("Call Ended", {"duration_s": 250, "topic": "delivery"}, "Call ended, delivery, 4 min"),
        ("Products Searched", {"query": "red shoes"}, "Products searched, “red shoes”"),
        ("Page Viewed", {"name": "Prices", "path": "/prices"}, "Page viewed, Prices, /prices"),
        ("SMS Sent", {}, "SMS sent"),
        ("Order Updated", {"order_id": [1], "total": "x", "unknown": "y"}, "Order updated"),
        ("Order Updated", {"order_id": "10\u202e24\n\x00"}, "Order updated, order 1024"),
        ("Order Updated", {"total": float("nan"), "order_id": 10**5000}, "Order updated"),
    ],
)
def test_summaries(name: str, properties: dict[str, Any], text: str) -> None:
    assert summary(name, properties) == text


def test_a_summary_is_bounded() -> None:
    long = dict.fromkeys(("order_id", "ticket_id", "product", "query", "subject", "path"), "word " * 1000)
    assert len(summary("N" * 1000, long)) <= SUMMARY_CHARS
    assert len(summary("Order Completed", long)) <= SUMMARY_CHARS


def intents(*touches: TouchRead, said: str | None = None) -> dict[str, float]:
    reasons = likely_reasons(open_issues(touches), touches, now=NOW, said=said)
    assert sum(reason.probability for reason in reasons) == pytest.approx(1.0, abs=1e-9)
    assert all(reason.basis == "prior" for reason in reasons)
    assert [r.probability for r in reasons] == sorted((r.probability for r in reasons), reverse=True)
    return {reason.intent: reason.probability for reason in reasons}


def test_nothing_is_unknown() -> None:
    assert intents() == {"unknown": 1.0}
    assert intents(touch(1, "Email Opened")) == {"unknown": 1.0}


def test_an_open_refund_is_the_first_guess_and_fades() -> None:
    fresh = intents(touch(1, "Refund Requested", 24, order_id="1"), touch(2, "Order Shipped", 30, order_id="2"))
    assert next(iter(fresh)) == "refund"
    assert fresh["refund"] > 0.7
    old = intents(touch(1, "Refund Requested", 24 * 90, order_id="1"))
    assert 0.5 < old["refund"] < fresh["refund"] + 0.2


def test_a_shipped_order_until_it_is_delivered() -> None:
    shipped = touch(1, "Order Shipped", 24, order_id="7")
    assert intents(shipped)["delivery"] > 0.5
    assert "delivery" not in intents(shipped, touch(2, "Order Delivered", 2, order_id="#7"))
    assert "delivery" in intents(shipped, touch(2, "Order Delivered", 2, order_id="8"))
    assert "delivery" in intents(shipped, touch(2, "Order Delivered", 48, order_id="7"))
    late = intents(shipped, touch(3, "Delivery Delayed", 1, order_id="7"))
    assert late["delivery"] > intents(shipped)["delivery"]


def test_a_failed_payment_until_it_succeeds() -> None:
    failed = touch(1, "Payment Failed", 0.1)
    assert next(iter(intents(failed))) == "payment"
    assert "payment" not in intents(failed, touch(2, "Order Completed", 0.05, order_id="1"))


def test_what_they_said_comes_first() -> None:
    found = intents(touch(1, "Refund Requested", 1, order_id="1"), said="opening_hours")
    assert next(iter(found)) == "opening_hours"
    assert intents(said="unknown") == {"unknown": 1.0}


def test_at_most_six_reasons_the_rest_is_unknown() -> None:
    names = ("Delivery Failed", "Payment Failed", "Invoice Overdue", "Sign In Failed", "Call Missed", "Order Cancelled")
    found = intents(*(touch(i, name, 0.1) for i, name in enumerate(names, 1)), touch(9, "Complaint Opened", 1))
    assert len(found) == 6


def test_a_journey_shows_the_newest_five_once() -> None:
    touches = [touch(i, "Page Viewed", i) for i in range(1, 9)]
    got = journey(1, [*touches, *touches[:3]], now=NOW)
    assert [t.event_id for t in got.touches] == [1, 2, 3, 4, 5]
    assert got.open_issues == ()
    assert got.touches[0].summary == "Page viewed"


def test_an_old_issue_counts_though_it_is_not_shown() -> None:
    touches = [touch(i, "Page Viewed", i) for i in range(1, 9)]
    got = journey(1, [*touches, touch(20, "Complaint Opened", 9000, complaint_id="C1")], now=NOW)
    assert [i.ref for i in got.open_issues] == ["C1"]
    assert 20 not in [t.event_id for t in got.touches]


def test_more_issues_than_were_read_count_as_open() -> None:
    closed = [touch(1, "Refund Requested", 9, order_id="1"), touch(2, "Order Refunded", 8, order_id="1")]
    got = journey(1, closed, now=NOW, issues_cut=True)
    assert [(i.kind, i.person_id, i.opened_at) for i in got.open_issues] == [(UNLISTED, 1, closed[0].occurred_at)]
    assert got.likely_reasons[0].intent == "open_issue"
    with pytest.raises(KeyError):
        settling_event(got.open_issues[0])


def test_journeys_of_several_people() -> None:
    touches = [
        touch(1, "Page Viewed", 1, person_id=1),
        touch(2, "Complaint Opened", 2, person_id=2),
        touch(3, "X", 1, person_id=9),
    ]
    first, second, third = journeys([2, 1, 3], touches, now=NOW, issues_cut=(3,))
    assert (first.person_id, [i.kind for i in first.open_issues]) == (2, ["complaint"])
    assert (second.person_id, [t.event_id for t in second.touches]) == (1, [1])
    assert (third.person_id, [i.kind for i in third.open_issues]) == (3, [UNLISTED])
