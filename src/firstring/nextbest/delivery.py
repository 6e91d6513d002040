"""What is to reach a customer (or an agent) once the next best action is chosen: the value that passes to the channels."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

import msgspec

Route = Literal["web", "email", "sms", "push", "webhook", "callback", "desk"]
"""web: shown in the page that is open; callback: a call offered to routing at `not_before`; desk: to an agent."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One action on its way. record_id: the source record it is addressed to (a visitor, a customer of a shop).

    content: what the action declares with its words filled in (title, text, accept, dismiss, url, ...), canonical JSON.
    not_before and expires_at are aware UTC; after expires_at it is not delivered any more. Gates that can change between
    decision and delivery (consent, open issues, caps) are asked again by whoever carries it out.
    """

    delivery_id: uuid.UUID
    decision_id: uuid.UUID
    person_id: int
    record_id: int
    route: Route
    action: str
    kind: str
    content: dict[str, Any]
    not_before: datetime
    expires_at: datetime
