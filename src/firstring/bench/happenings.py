"""What happened to the generator's customers: events in the form of the Segment Spec, frozen with people.VERSION."""

from __future__ import annotations

from typing import Final

import msgspec

_json = msgspec.json.Encoder().encode
_EVENTS: Final = (
    "Order Completed", "Order Shipped", "Payment Failed", "Invoice Overdue", "Delivery Delayed", "Refund Requested",
    "Page Viewed", "Checkout Started", "Complaint Opened", "Signed In",
)  # fmt: skip


def events_of(user: str, person: int) -> list[bytes]:
    """The events of one record as lines of JSON, none for most: a function of the person's number."""
    mixed = person * 2654435761 % 4294967296
    if mixed % 10 >= 4:
        return []
    lines = []
    for place in range(1 + mixed // 10 % 5):
        mixed = mixed * 1664525 % 4294967296 + 1013904223
        name = _EVENTS[(mixed >> 8) % 10 * ((mixed >> 16) % 10) // 9]
        day, hour = 1 + (mixed >> 12) % 28, (mixed >> 20) % 24
        event = {
            "messageId": f"{user}-{place}",
            "type": "track",
            "event": name,
            "userId": user,
            "timestamp": f"2026-{1 + (mixed >> 18) % 9:02d}-{day:02d}T{hour:02d}:00:00Z",
            "properties": {"order_id": f"o-{mixed % 1_000_000}", "value": mixed % 500},
        }
        lines.append(_json(event) + b"\n")
    return lines
