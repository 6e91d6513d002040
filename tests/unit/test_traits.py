"""Traits and consents: pure functions of touches."""

from __future__ import annotations

import hashlib
import hmac
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from firstring import limits
from firstring.contact import TouchRead
from firstring.journey.clicks import PARAMETER, Click, click_token, token_in, verify_click
from firstring.journey.consents import SIGNAL, Stated, consents_of, privacy_signal
from firstring.journey.traits import traits_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def touch(number: int, name: str, days_ago: float, channel: str = "web", **more: Any) -> TouchRead:
    properties = more.pop("properties", {})
    return TouchRead(
        event_id=number, record_id=1, person_id=1, channel=channel, name=name, occurred_at=NOW - timedelta(days=days_ago),
        properties=properties, **more,
    )  # fmt: skip


def order(number: int, ref: str, total: Any, days_ago: float = 1, name: str = "Order Completed", **more: Any) -> TouchRead:
    return touch(number, name, days_ago, properties={"order_id": ref, "total": total, **more})


def test_value_is_orders_less_what_was_paid_back_by_currency() -> None:
    touches = [
        order(1, "1", 100.0, 9, currency="EUR"),
        order(2, "1", 120.0, 8, currency="EUR"),  # the same order, completed anew
        order(3, "2", "50.50", currency="EUR"),
        order(4, "3", 10, currency="usd"),
        order(5, "1", 20, 2, "Refund Issued", currency="EUR"),
        order(6, "#1", 20, 1, "Refund Completed", currency="EUR"),  # the same money under another name
        touch(7, "Order Refunded", 1, properties={"order_id": "2"}),  # without an amount: all of it
        order(8, "4", 70, currency="EUR"),
        touch(9, "Order Cancelled", 0.5, properties={"order_id": "4"}),
        order(10, "5", 5, currency="EUR"),
        order(11, "5", 500, 0.2, "Refund Issued"),  # never more than it cost
        touch(12, "Order Completed", 1, claimed=True, properties={"order_id": "6", "total": 1_000}),
        order(13, "7", "many"),
        order(14, "8", float("1e300")),
        touch(15, "Order Refunded", 1, properties={"order_id": "none of ours", "total": 9}),
    ]
    traits = traits_of(random.Random(0).sample(touches, len(touches)), NOW)
    assert traits.value("value") == {"EUR": 100.0, "USD": 10.0}
    assert traits.value("orders") == 6
    by_name = {one.name: one for one in traits.traits}
    assert 12 not in by_name["value"].event_ids
    assert traits == traits_of([*touches, *touches], NOW)


def test_claims_are_part_of_no_trait() -> None:
    claimed = [touch(number, "Order Completed", number, claimed=True, properties={"total": 5}) for number in range(9)]
    assert traits_of(claimed, NOW, zone=ZoneInfo("UTC")).traits == ()
    known = [touch(100 + number, "Page Viewed", number) for number in range(9)]
    assert traits_of([*claimed, *known], NOW) == traits_of(known, NOW)


def test_recency_frequency_intent_channel() -> None:
    touches = [
        touch(1, "Page Viewed", 400),
        touch(2, "Page Viewed", 20),
        touch(3, "Page Viewed", 20 - 1 / 144),  # ten minutes later: the same visit
        touch(4, "Call Ended", 10, "voice"),
        touch(5, "Delivery Delayed", 3, "backend"),
        touch(6, "Page Viewed", 2),
        touch(7, "Email Sent", 1, "email"),  # done to them
        touch(8, "Words Read", 0, "backend"),
    ]
    traits = traits_of(touches, NOW)
    assert traits.value("recency_s") == 2 * 86_400
    assert (traits.value("visits_30d"), traits.value("visits_365d")) == (3, 3)
    assert traits.value("last_intent") == "delivery"
    assert traits.value("preferred_channel") == "web"
    assert traits.value("first_event_at") == (NOW - timedelta(days=400)).isoformat()
    assert traits.value("preferred_hour") is None


def test_the_hour_is_that_of_their_zone() -> None:
    evening = datetime(2026, 10, 20, 18, 30, tzinfo=UTC)
    touches = [
        TouchRead(number, 1, 1, "web", "Page Viewed", evening - timedelta(days=number, minutes=7 * number))
        for number in range(1, 8)
    ]
    assert traits_of(touches, NOW, zone=ZoneInfo("UTC")).value("preferred_hour") == 18
    assert traits_of(touches, NOW, zone=ZoneInfo("America/New_York")).value("preferred_hour") == 14
    late = [
        TouchRead(one, 1, 1, "web", "", datetime(2026, 10, one, 23 if one % 2 else 0, 30, tzinfo=UTC)) for one in range(1, 9)
    ]
    assert traits_of(late, NOW, zone=ZoneInfo("UTC")).value("preferred_hour") in (23, 0), "around midnight"


def consent(number: int, given: bool, days_ago: float, channel: str = "", purpose: str = "", **more: Any) -> TouchRead:
    properties = {name: value for name, value in (("channel", channel), ("purpose", purpose)) if value}
    return touch(number, "Consent Given" if given else "Consent Withdrawn", days_ago, properties=properties, **more)


def test_the_latest_word_counts_and_a_tie_is_a_withdrawal() -> None:
    told = consents_of([consent(1, True, 3, "email", "marketing"), consent(2, False, 2, "email", "marketing")])
    assert told.given("marketing", "email") is False
    assert told.given("marketing", "voice") is None
    assert told.given("analytics", "email") is None
    tie = [consent(1, True, 2, "email", "marketing"), consent(9, False, 2, "email", "marketing")]
    assert consents_of(tie).given("marketing", "email") is False
    assert consents_of(reversed(tie)).given("marketing", "email") is False
    assert consents_of([]).given("marketing", "email") is None


def test_all_channels_and_all_purposes() -> None:
    told = consents_of([consent(1, True, 5, "email", "marketing"), consent(2, False, 2)])
    assert told.given("marketing", "email") is False, "withdrawn for all, later"
    again = consents_of([consent(1, True, 1, "SMS", "Marketing"), consent(2, False, 2)])
    assert again.given("marketing", "messaging") is True
    assert again.given("marketing", "sms") is True
    assert again.given("marketing", "email") is False
    assert consents_of([consent(3, True, 1)]).given("analytics", "web") is None, "what is not named is not given"


def test_claims_withdraw_and_give_for_the_page_only() -> None:
    given = consents_of([consent(1, True, 1, "email", "marketing", claimed=True)])
    assert given.given("marketing", "email") is None
    on_page = consents_of([consent(1, True, 1, "web", "analytics", claimed=True)])
    assert (on_page.given("analytics", "web"), on_page.given("analytics", "email")) == (True, None)
    stops = consents_of([consent(1, True, 2, "email", "marketing"), consent(2, False, 1, "email", claimed=True)])
    assert stops.given("marketing", "email") is False


def test_unsubscribing_signals_and_records() -> None:
    told = consents_of(
        [touch(1, "Email Unsubscribed", 1, "email"), touch(2, SIGNAL, 1)],
        [Stated("consent_marketing_voice", "Yes", NOW, "crm"), Stated("consent_sms", "no", NOW, "crm"),
         Stated("consent_marketing_web", "perhaps", NOW, "crm"), Stated("consent_marketing", "yes", NOW, "crm")],
    )  # fmt: skip
    assert told.given("marketing", "voice") is True
    assert told.given("marketing", "sms") is False
    word = told.word("sharing", "web")
    assert word is not None
    assert (word.given, word.source) == (False, "privacy signal of the browser")
    assert told.given("marketing", "email") is True, "a later word about all channels"
    assert privacy_signal({"gpc": True})
    assert privacy_signal({"doNotTrack": "1"})
    assert not privacy_signal({"gpc": False, "dnt": "0"})


def test_segments_preferences() -> None:
    said = {"consent": {"categoryPreferences": {"Advertising": False, "Analytics": True, "Odd": "yes"}}}
    told = consents_of([touch(1, "Segment Consent Preference Updated", 1, properties=said, claimed=True)])
    assert (told.given("advertising", "web"), told.given("Analytics", "web")) == (False, True)
    assert told.given("analytics", "email") is None


def test_clicks() -> None:
    def mac(text: str) -> bytes:
        return hmac.new(b"key", text.encode(), hashlib.sha256).digest()

    delivery = uuid.uuid4()
    token = click_token(mac, 2**40, delivery, NOW)
    assert len(token) == 58
    assert verify_click(mac, token, NOW + timedelta(days=limits.CLICK_DAYS)) == Click(2**40, delivery)
    assert verify_click(mac, token, NOW + timedelta(days=limits.CLICK_DAYS + 2)) is None
    assert verify_click(mac, token, NOW - timedelta(days=2)) is None
    assert verify_click(lambda text: b"another key, as long", token, NOW) is None
    for place in range(0, len(token), 7):
        other = "A" if token[place] != "A" else "B"
        assert verify_click(mac, token[:place] + other + token[place + 1 :], NOW) is None
    for rubbish in ("", "é" * 58, token * 2, token[:-1], " " * 58, "=" * 58):
        assert verify_click(mac, rubbish, NOW) is None
    assert token_in({}, {"page": {"url": f"https://a.example/?x=1&{PARAMETER}={token}#top"}}) == token
    assert token_in({"url": f"/a?{PARAMETER}={token}"}, {}) == token
    assert token_in({}, {PARAMETER: token}) == token
    assert token_in({PARAMETER: 7, "url": f"http://[bad?{PARAMETER}=x"}, {"page": "text"}) is None


@pytest.mark.parametrize("stated", [True, [], {}, None, "NaN", "Infinity", "1e400"])
def test_amounts_that_are_none(stated: Any) -> None:
    traits = traits_of([order(1, "1", stated), order(2, "2", 7, currency="EUR")], NOW)
    assert traits.value("value") == {"EUR": 7.0}
    assert traits.value("orders") == 2
