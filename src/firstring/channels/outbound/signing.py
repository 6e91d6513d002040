"""Signatures of webhooks as Standard Webhooks 1.0 lays down (https://www.standardwebhooks.com), which libraries check."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Final

from firstring.store.seal import TenantKeys

PREFIX: Final = "whsec_"


def webhook_secret(keys: TenantKeys, name: str) -> str:
    """The secret of one receiver, as its libraries take it: 32 bytes, derived from the tenant's key, not stored."""
    return PREFIX + base64.b64encode(keys.blind("webhook", f"{name}\0a") + keys.blind("webhook", f"{name}\0b")).decode()


def signed(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a message. The same message sent again has the same id and a new time."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    stamp = str(int(at.timestamp()))
    signature = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
