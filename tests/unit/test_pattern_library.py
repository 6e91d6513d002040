"""Every pattern of the library: events that fire it, and events that nearly do."""

from __future__ import annotations

from typing import Any

import pytest

from firstring.journey.patterns import Happened, Pattern, PatternSet
from firstring.journey.patterns.library import library

S, M, H, D = 1_000, 60_000, 3_600_000, 86_400_000
T0 = 1_700_000_000_000
BY_ID = {pattern.id: pattern for pattern in library()}
_VOICE = "Call Started"


def at(ms: int, name: str, channel: str = "web", **properties: Any) -> Happened:
    return Happened(T0 + ms, name, {"name": name, "channel": channel, "time": None, "properties": properties})


def page(ms: int, path: str) -> Happened:
    return at(ms, "Page Viewed", path=path)


CASES: dict[str, tuple[list[Happened], list[list[Happened]]]] = {
    "cart_payment_error": (
        [at(0, "Checkout Started"), at(5 * M, "Payment Failed")],
        [
            [at(0, "Checkout Started"), at(5 * M, "Payment Failed"), at(64 * M, "Order Completed")],
            [at(0, "Payment Failed"), at(M, "Checkout Started")],
        ],
    ),
    "refund_chaser": (
        [at(0, "Refund Requested"), at(4 * D, _VOICE), at(5 * D, "Chat Started")],
        [
            [at(0, "Refund Requested"), at(2 * D, "Refund Issued"), at(4 * D, _VOICE), at(5 * D, _VOICE)],
            [at(0, "Refund Requested"), at(4 * D, _VOICE), at(5 * D, "Refund Issued"), at(6 * D, _VOICE)],
            [at(0, "Refund Requested"), at(1 * D, _VOICE), at(5 * D, _VOICE)],
            [at(0, "Refund Requested"), at(4 * D, _VOICE), at(15 * D, _VOICE)],
        ],
    ),
    "repeat_contact": (
        [at(0, _VOICE, topic="bill"), at(7 * D, "Chat Started", topic="bill")],
        [
            [at(0, _VOICE, topic="bill"), at(D, "Chat Started", topic="delivery")],
            [at(0, _VOICE, topic="bill"), at(7 * D + 1, "Chat Started", topic="bill")],
            [at(0, _VOICE), at(D, _VOICE)],
        ],
    ),
    "channel_hopping": (
        [at(0, _VOICE, "voice"), at(H, "Chat Started", "chat"), at(2 * H, "Email Received", "email")],
        [
            [at(0, _VOICE, "voice"), at(H, "Chat Started", "chat"), at(2 * H, _VOICE, "voice")],
            [at(0, _VOICE, "voice"), at(H, "Chat Started", "chat"), at(25 * H, "Email Received", "email")],
        ],
    ),
    "rage_clicks": (
        [at(500 * click, "Element Clicked", target="#pay") for click in range(5)],
        [
            [at(500 * click, "Element Clicked", target="#pay") for click in range(4)],
            [at(500 * click, "Element Clicked", target=f"#row{click}") for click in range(5)],
            [at(900 * click, "Element Clicked", target="#pay") for click in range(5)],
        ],
    ),
    "price_page_chat_closed": (
        [page(0, "/pricing"), page(M, "/prices"), at(2 * M, "Chat Started"), at(9 * M, "Chat Ended")],
        [
            [page(0, "/pricing"), at(2 * M, "Chat Started"), at(9 * M, "Chat Ended")],
            [
                page(0, "/pricing"), page(M, "/prices"), at(2 * M, "Chat Started"), at(9 * M, "Chat Ended"),
                at(30 * M, "Order Completed"),
            ],
        ],
    ),
    "late_delivery_watched": (
        [at(0, "Delivery Delayed"), *(page(hour * H, "/track/1042") for hour in (1, 2, 3))],
        [
            [at(0, "Delivery Delayed"), *(page(hour * H, "/track/1042") for hour in (1, 2))],
            [*(page(hour * H, "/track/1042") for hour in (1, 2, 3)), at(4 * H, "Delivery Delayed")],
            [at(0, "Delivery Delayed"), page(H, "/track/1"), at(2 * H, "Order Delivered"), page(3 * H, "/track/1"),
             page(4 * H, "/track/1")],
        ],
    ),
    "big_order_then_silence": (
        [at(0, "Order Completed", total="512.00")],
        [
            [at(0, "Order Completed", total=499.99)],
            [at(0, "Order Completed", total=512.0), at(59 * D, "Page Viewed")],
            [at(0, "Order Completed")],
        ],
    ),
    "complaint_after_praise": (
        [at(0, "Product Reviewed", rating=5), at(30 * D, "Complaint Opened")],
        [
            [at(0, "Product Reviewed", rating=3), at(30 * D, "Complaint Opened")],
            [at(0, "Product Reviewed", rating=5), at(91 * D, "Complaint Opened")],
        ],
    ),
    "first_purchase": (
        [at(0, "Signed Up"), at(D, "Order Completed")],
        [[at(0, "Order Completed"), at(D, "Signed Up")], [at(0, "Signed Up"), at(91 * D, "Order Completed")]],
    ),
    "winning_back": (
        [at(0, "Order Completed"), at(200 * D, "Order Completed")],
        [
            [at(0, "Order Completed"), at(100 * D, "Order Completed"), at(200 * D, "Order Completed")],
            [at(0, "Order Completed"), at(366 * D, "Order Completed")],
        ],
    ),
    "sign_in_trouble": (
        [at(minute * M, "Sign In Failed") for minute in range(3)],
        [
            [at(minute * M, "Sign In Failed") for minute in range(2)],
            [*(at(minute * M, "Sign In Failed") for minute in range(3)), at(5 * M, "Signed In")],
        ],
    ),
    "password_reset_loop": (
        [at(0, "Password Reset Requested"), at(H, "Password Reset Requested")],
        [[at(0, "Password Reset Requested"), at(M, "Signed In"), at(H, "Password Reset Requested")]],
    ),
    "empty_searches": (
        [at(minute * M, "Products Searched", results=0) for minute in range(3)],
        [
            [at(minute * M, "Products Searched", results=minute) for minute in range(3)],
            [at(0, "Products Searched", results=0), at(M, "Products Searched", results=0),
             at(40 * M, "Products Searched", results=0)],
        ],
    ),
    "missed_call_waiting": (
        [at(0, "Call Missed")],
        [[at(0, "Call Missed"), at(3 * H, "Call Started")]],
    ),
    "overdue_then_contact": (
        [at(0, "Invoice Overdue"), at(D, "Email Received")],
        [[at(0, "Invoice Overdue"), at(H, "Invoice Paid"), at(D, "Email Received")]],
    ),
    "household_outage": (
        [at(0, "Outage Reported"), at(H, _VOICE)],
        [[at(0, "Outage Reported"), at(M, "Outage Ended"), at(H, _VOICE)], [at(0, _VOICE), at(H, "Outage Reported")]],
    ),
    "passed_around": (
        [at(0, "Call Transferred"), at(20 * M, "Chat Transferred")],
        [[at(0, "Call Transferred"), at(61 * M, "Call Transferred")]],
    ),
    "checkout_stalled": (
        [at(0, "Checkout Started"), page(5 * M, "/help")],
        [[at(0, "Checkout Started"), at(10 * M, "Checkout Step Completed")]],
    ),
    "cart_left": (
        [at(0, "Product Added")],
        [[at(0, "Product Added"), at(H, "Checkout Started")]],
    ),
    "keen_on_product": (
        [at(day * D, "Product Viewed", product_id="p1") for day in (0, 3, 6)],
        [
            [at(day * D, "Product Viewed", product_id=f"p{day}") for day in (0, 3, 6)],
            [at(day * D, "Product Viewed", product_id="p1") for day in (0, 4, 8)],
        ],
    ),
    "regular_buyer": (
        [at(day * D, "Order Completed") for day in (0, 45, 90)],
        [[at(day * D, "Order Completed") for day in (0, 46, 92)]],
    ),
    "leaving": (
        [page(0, "/account/export"), page(D, "/cancel"), at(2 * D, _VOICE)],
        [
            [page(0, "/cancel"), page(D, "/cancel"), at(2 * D, _VOICE)],
            [at(0, _VOICE), page(H, "/cancel"), page(D, "/export")],
        ],
    ),
    "recovered": (
        [at(0, "Complaint Opened"), at(D, "Complaint Resolved"), at(20 * D, "Order Completed")],
        [[at(0, "Complaint Opened"), at(20 * D, "Order Completed"), at(21 * D, "Complaint Resolved")]],
    ),
}  # fmt: skip


def fired(pattern: Pattern, events: list[Happened]) -> int:
    return len(PatternSet([pattern]).replayed(events, now_ms=T0 + 400 * D)[1])


def test_there_are_twenty_and_each_has_its_events() -> None:
    assert len(BY_ID) >= 20
    assert set(CASES) == set(BY_ID)


@pytest.mark.parametrize("pattern_id", CASES)
def test_it_fires_once_for_what_it_is_about(pattern_id: str) -> None:
    assert fired(BY_ID[pattern_id], CASES[pattern_id][0]) == 1


@pytest.mark.parametrize("pattern_id", CASES)
def test_it_does_not_fire_for_what_is_nearly_that(pattern_id: str) -> None:
    for events in CASES[pattern_id][1]:
        assert fired(BY_ID[pattern_id], events) == 0, events


def test_each_has_a_title_and_a_valence() -> None:
    for pattern in BY_ID.values():
        assert pattern.title
        assert pattern.valence in ("positive", "negative", "neutral")
