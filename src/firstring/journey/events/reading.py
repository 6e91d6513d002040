"""An item of a format becomes the canonical event, and is weighed: claimed, reported or signed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from firstring.errors import BadInput
from firstring.journey.events.canonical import Event, Standing, parse_event
from firstring.journey.events.wire import Format


def user_signature(secret: str, user_id: str) -> str:
    """HMAC-SHA256 of a user id under a write key's secret, in hex: what one's own server gives to the page."""
    return hmac.new(secret.encode(), user_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def read_event(
    form: Format,
    item: Any,
    common: Mapping[str, Any],
    *,
    received_at: datetime,
    standing: Standing,
    secret: str | None = None,
) -> Event | None:
    """The canonical event of an item that was decoded from JSON; None for what is about no customer.

    secret: that of a public key, whose events are worth more where the user id is signed. Raises BadInput as
    parse_event, and signature_invalid.
    """
    raw = form.event(item, common)
    if raw is None:
        return None
    event = parse_event(raw, received_at=received_at, standing=standing, plain=True)
    if secret is None or event.user_hash is None or event.record_id is None:
        return event
    if not hmac.compare_digest(user_signature(secret, event.record_id).encode(), event.user_hash.lower().encode()):
        raise BadInput(
            "signature_invalid",
            "The signature is not that of the user id.",
            where={"field": "userHash"},
            hint="Sign the same user id, as text, with the secret of this write key (HMAC-SHA256, hex).",
        )
    return msgspec.structs.replace(event, standing="signed")
