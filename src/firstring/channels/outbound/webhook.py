"""Actions by webhook: to one's own systems, which hand them to whom they will (SMS and push leave this way)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from firstring.channels.outbound.guarded import GuardedPoster
from firstring.channels.outbound.port import Message
from firstring.channels.outbound.signing import signed, webhook_secret
from firstring.errors import Retryable
from firstring.store.database import Tenant

NAME: Final = "actions"
"""Of its secret."""
_encode = msgspec.json.Encoder().encode


class WebhookOutbound:
    """Posts {"type": "action", "timestamp", "data"} to one address. Anything but 2xx is tried again."""

    def __init__(self, poster: GuardedPoster, url: str) -> None:
        self._poster = poster
        self._url = url

    async def send(self, tenant: Tenant, message: Message, now: datetime) -> None:
        delivery = message.delivery
        data = {
            "delivery_id": delivery.delivery_id,
            "decision_id": delivery.decision_id,
            "action": delivery.action,
            "kind": delivery.kind,
            "route": delivery.route,
            "person_id": message.person_id,
            "record_id": delivery.record_id,
            "to": message.to,
            "url": message.url,
            "unsubscribe": message.unsubscribe,
            "content": delivery.content,
            "expires_at": delivery.expires_at,
        }
        body = _encode({"type": "action", "timestamp": now, "data": data})
        headers = signed(webhook_secret(tenant.keys, NAME), str(delivery.delivery_id), now, body)
        status = await self._poster.post(self._url, headers, body)
        if not 200 <= status < 300:
            raise Retryable("webhook_refused", f"The webhook was answered with {status}.")
