"""The one port by which actions leave, whatever the channel."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import msgspec

from firstring.nextbest.delivery import Delivery
from firstring.store.database import Tenant


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One action for one customer, ready to leave. to: e-mail address, or E.164 number, or device tokens.

    url: where its link leads, by way of us; unsubscribe: where the customer ends it with one click; None: not offered.
    """

    delivery: Delivery
    person_id: int
    to: tuple[str, ...]
    url: str | None = None
    unsubscribe: str | None = None

    def text(self, name: str) -> str:
        """One of the content's texts; "" where there is none."""
        found: Any = self.delivery.content.get(name)
        return found if isinstance(found, str) else ""


class Outbound(Protocol):
    """A way out."""

    async def send(self, tenant: Tenant, message: Message, now: datetime) -> None:
        """Hands it over; it is the other side's when this returns. May be called twice for one message (same delivery_id).

        Raises Retryable where it may work later, BadInput or Unrecoverable where it never will.
        """
        ...
