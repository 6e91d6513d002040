"""Who has a reason to be in contact just now: bounded, whatever the order, and strongest for who was there a moment ago."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstring.contact import Evidence, Identifier, Read, RecordRead, TouchRead
from firstring.decide import who
from firstring.identity.caller.weights import DEFAULT
from firstring.journey.attention import MOST, MOST_CLAIMED, contact_priors

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PHONE = Identifier("phone", "+12025550123")


def touch(
    person: int, minutes: float, name: str = "Page Viewed", channel: str = "web", *, effect: int = 0, order: str = ""
) -> TouchRead:
    kind = "refund" if effect else None
    properties = {"order_id": order} if order else {}
    at = NOW - timedelta(minutes=minutes)
    return TouchRead(int(minutes * 1000) + person, person, person, channel, name, at, properties, kind, None, effect)


def odds(*touches: TouchRead) -> dict[int, float]:
    return {person: prior.log_odds for person, prior in contact_priors((1, 2), touches, now=NOW).items()}


def test_who_was_on_the_site_a_minute_ago_comes_first_and_it_is_said() -> None:
    priors = contact_priors((1, 2), [touch(1, 1.5), touch(2, 60 * 24 * 3)], now=NOW)
    assert priors[1].log_odds > priors[2].log_odds + 2
    assert priors[1].text == "on the site 1 minute ago"


def test_it_fades() -> None:
    later = [odds(touch(1, minutes))[1] for minutes in (1, 10, 60, 600, 6000)]
    assert later == sorted(later, reverse=True)


def test_an_open_refund_counts_until_it_is_closed() -> None:
    asked = touch(1, 2000, "Refund Requested", "backend", effect=1)
    paid = touch(1, 1000, "Refund Completed", "backend", effect=-1)
    assert odds(asked)[1] > odds(asked, paid)[1]


def test_a_delivery_that_failed_counts_until_it_was_made() -> None:
    failed = touch(1, 900, "Delivery Failed", "backend")
    assert odds(failed)[1] > odds(failed, touch(1, 100, "Order Delivered", "backend"))[1]


def test_without_any_sign_a_person_is_a_little_less_likely_than_one_who_has_one() -> None:
    priors = contact_priors((1, 2), [touch(2, 60 * 24 * 50)], now=NOW)
    assert -1 < priors[1].log_odds < priors[2].log_odds < 0
    assert priors[1].text == "no reason to call is on file"


def test_where_no_events_are_kept_nobody_is_quiet() -> None:
    assert contact_priors((1, 2), (), now=NOW) == {}


def test_the_last_order_is_known() -> None:
    found = contact_priors(
        (1,), [touch(1, 9000, "Order Completed", order="#7"), touch(1, 90, "Order Completed", order="8")], now=NOW
    )
    assert found[1].facts == {"last_order": "8"}


def test_it_shifts_within_a_household_and_identifies_nobody_by_itself() -> None:
    def record(person: int, name: str) -> RecordRead:
        fields = {"given_name": name, "family_name": "Smith"}
        return RecordRead(person, 1, person, "crm", fields, (PHONE,), False, NOW - timedelta(days=30))

    couple = (record(1, "Ann"), record(2, "Bob"))
    visited = Read(records=couple, touches=(touch(2, 1.0),))
    before = who(Evidence((PHONE,)), Read(records=couple), weights=DEFAULT, now=NOW)
    after = who(Evidence((PHONE,)), visited, weights=DEFAULT, now=NOW)
    assert after.best is not None
    assert after.best.person_id == 2
    assert len(after.candidates) == 2  # both are shown
    assert after.someone_new < before.someone_new
    assert any(reason.code == "journey" for reason in after.best.reasons)
    nobody = who(Evidence((Identifier("phone", "+12025550199"),)), visited, weights=DEFAULT, now=NOW)
    assert nobody.candidates == ()


touches = st.lists(
    st.builds(
        touch,
        st.integers(1, 2),
        st.floats(-100, 1e6),
        st.sampled_from(["Page Viewed", "Order Completed", "Order Delivered", "Delivery Failed", "Refund Requested"]),
        st.sampled_from(["web", "voice", "backend", "chat"]),
        effect=st.sampled_from([0, 0, 1, -1]),
    ),
    max_size=12,
    unique_by=lambda one: one.event_id,
)


@given(touches, st.randoms(use_true_random=False))
def test_it_is_bounded_and_no_order_matters(found: list[TouchRead], chance: random.Random) -> None:
    priors = contact_priors((1, 2), found, now=NOW)
    assert all(-MOST <= one.log_odds <= MOST for one in priors.values())
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert contact_priors((2, 1), shuffled, now=NOW) == priors


def test_what_anybody_may_have_sent_counts_for_less() -> None:
    def visit(person: int, **more: Any) -> TouchRead:
        return TouchRead(person, person, person, "web", "Order Completed", NOW, {"order_id": "7"}, **more)

    said, known = visit(1, claimed=True), visit(2)
    priors = contact_priors([1, 2, 3], [said, known], now=NOW)
    quiet = priors[3].log_odds
    assert priors[1].log_odds == pytest.approx(quiet + MOST_CLAIMED)
    assert priors[2].log_odds > priors[1].log_odds
    assert (priors[1].facts, priors[2].facts) == ({}, {"last_order": "7"})
    both = contact_priors([1], [said, visit(1)], now=NOW)[1]
    assert both.log_odds >= priors[2].log_odds


def test_claims_make_nobody_much_less_likely_either() -> None:
    visits = [touch(1, 1.0), touch(1, 2.0, "Delivery Failed", "backend")]
    ended = TouchRead(9, 1, 1, "backend", "Order Delivered", NOW, claimed=True)
    old = [TouchRead(100 + n, 1, 1, "web", "Page Viewed", NOW - timedelta(days=n), claimed=True) for n in range(300, 700)]
    known = contact_priors([1], visits, now=NOW)[1].log_odds
    shifted = contact_priors([1], [*visits, ended, *old], now=NOW)[1].log_odds
    assert known - MOST_CLAIMED <= shifted <= known + MOST_CLAIMED
