"""Event names in the spelling of the Segment Spec: Object Action, title case ("Order Completed").

Sources: https://segment.com/docs/connections/spec/ecommerce/v2/ and .../spec/live-chat/; the names about calls,
refunds, complaints and outages follow the same pattern, as the spec has none for them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

SPEC_NAMES: Final[tuple[str, ...]] = (
    # browsing and buying (e-commerce v2)
    "Products Searched",
    "Product List Viewed",
    "Product Viewed",
    "Product Clicked",
    "Product Added",
    "Product Removed",
    "Cart Viewed",
    "Cart Abandoned",
    "Checkout Started",
    "Checkout Step Completed",
    "Payment Info Entered",
    "Payment Failed",
    "Payment Succeeded",
    "Order Completed",
    "Order Updated",
    "Order Cancelled",
    "Order Shipped",
    "Order Delivered",
    "Delivery Delayed",
    "Delivery Failed",
    "Invoice Issued",
    "Invoice Overdue",
    "Invoice Paid",
    # accounts and visits
    "Signed Up",
    "Signed In",
    "Signed Out",
    "Sign In Failed",
    "Password Reset Requested",
    "Identified",
    "Aliased",
    "Group Joined",
    "Page Viewed",
    "Screen Viewed",
    # contacts (live chat, and calls in its manner)
    "Live Chat Conversation Started",
    "Live Chat Conversation Ended",
    "Live Chat Message Sent",
    "Live Chat Message Received",
    "Chat Started",
    "Chat Ended",
    "Call Started",
    "Call Missed",
    "Call Ended",
    "Email Sent",
    "Email Received",
    "Email Opened",
    "Email Link Clicked",
    # refunds, complaints, outages
    "Refund Requested",
    "Refund Reopened",
    "Refund Failed",
    "Refund Approved",
    "Refund Issued",
    "Refund Completed",
    "Refund Denied",
    "Refund Cancelled",
    "Order Refunded",
    "Complaint Opened",
    "Complaint Received",
    "Complaint Reopened",
    "Complaint Resolved",
    "Complaint Closed",
    "Complaint Withdrawn",
    "Outage Started",
    "Outage Reported",
    "Outage Reopened",
    "Outage Ended",
    "Outage Resolved",
    # what went badly for them on the way
    "Rage Clicked",
    "Error Shown",
    "Call Abandoned",
    "Call Transferred",
    "Chat Transferred",
    "Email Bounced",
    # read by Firstring
    "Words Read",
)

WORDS_READ: Final = "Words Read"
"""What was read in the words of another event: sentiment, topic, urgency."""

_SYNONYMS: Final[dict[str, str]] = {
    "Order Canceled": "Order Cancelled",
    "Refund Canceled": "Refund Cancelled",
    "Refund Rejected": "Refund Denied",
    "Refund Withdrawn": "Refund Cancelled",
    "Refund Paid": "Refund Completed",
    "Refund Disputed": "Refund Reopened",
    "Complaint Filed": "Complaint Opened",
    "Complaint Submitted": "Complaint Opened",
    "Service Outage Started": "Outage Started",
    "Service Outage Ended": "Outage Ended",
    "Service Restored": "Outage Ended",
}

_SEPARATORS = re.compile(r"[\s_\-.:]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _key(name: str) -> str:
    """What two spellings of one name have in common: "order_completed", "orderCompleted", "Order  Completed"."""
    return _SEPARATORS.sub(" ", _CAMEL.sub(" ", name)).strip().casefold()


_BY_KEY: Final[dict[str, str]] = {
    **{_key(name): name for name in SPEC_NAMES},
    **{_key(synonym): name for synonym, name in _SYNONYMS.items()},
}


@lru_cache(maxsize=4096)
def spec_name(name: str) -> str:
    """`name` in the spec's spelling when it is a known name in any common spelling; else `name`, trimmed."""
    return _BY_KEY.get(_key(name), name.strip())
