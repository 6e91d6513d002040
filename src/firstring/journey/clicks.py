"""Click tokens: a link in a mail says, signed, whose mail it is, so that a visitor who opens it is known for that visit.

A token names a record and a delivery, and the day on which it was made; it holds nothing else of anybody. It comes back as
the query parameter PARAMETER of a page's address, or as a field of that name in the properties or the context. Its MAC is
made by the caller's key (`mac`), so that nobody else can make one. A mail may be passed on: a click is worth less than a
sign-in (journey/stitch.py), and what the page sends stays what it was, a claim.
"""

from __future__ import annotations

import base64
import hmac
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from firstring import limits

PARAMETER: Final = "fs_click"
Mac = Callable[[str], bytes]
"""The keyed hash of a text, at least 16 bytes."""

_VERSION: Final = 1
_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
_BODY_BYTES: Final = 1 + 8 + 16 + 2
_MAC_BYTES: Final = 16
_CHARS: Final = 4 * -(-(_BODY_BYTES + _MAC_BYTES) // 3)
_ADDRESS_CHARS: Final = 4_096


class Click(NamedTuple):
    """Whose mail was opened: the record that it was sent to, and the delivery."""

    record_id: int
    delivery_id: uuid.UUID


def click_token(mac: Mac, record_id: int, delivery_id: uuid.UUID, made_at: datetime) -> str:
    """The token for the links of one mail to one record: 58 characters, safe in an address."""
    day = (made_at - _EPOCH).days
    body = bytes([_VERSION]) + record_id.to_bytes(8, "big") + delivery_id.bytes + day.to_bytes(2, "big")
    return base64.urlsafe_b64encode(body + _mac(mac, body)).decode().rstrip("=")


def verify_click(mac: Mac, token: str, now: datetime) -> Click | None:
    """What a token says; None where it is not one of ours, or older than limits.CLICK_DAYS."""
    if not (token.isascii() and _CHARS - 4 < len(token) <= _CHARS):
        return None
    try:
        whole = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    body, signature = whole[:_BODY_BYTES], whole[_BODY_BYTES:]
    if len(whole) != _BODY_BYTES + _MAC_BYTES or body[0] != _VERSION or not hmac.compare_digest(_mac(mac, body), signature):
        return None
    made_at = _EPOCH + timedelta(days=int.from_bytes(body[25:27], "big"))
    if not timedelta(days=-1) <= now - made_at <= timedelta(days=limits.CLICK_DAYS + 1):
        return None
    return Click(int.from_bytes(body[1:9], "big"), uuid.UUID(bytes=body[9:25]))


def token_in(properties: Mapping[str, Any], context: Mapping[str, Any]) -> str | None:
    """The token that an event of a page carries, not yet verified."""
    page = context.get("page")
    for holder in (properties, context, page if isinstance(page, dict) else {}):
        value = holder.get(PARAMETER)
        if isinstance(value, str):
            return value
        for name in ("search", "url"):
            address = holder.get(name)
            if isinstance(address, str) and PARAMETER in address[:_ADDRESS_CHARS]:
                found = _query(address[:_ADDRESS_CHARS], name).get(PARAMETER)
                if found:
                    return found
    return None


def _query(address: str, name: str) -> dict[str, str]:
    try:
        text = address.removeprefix("?") if name == "search" else urlsplit(address).query
        return dict(parse_qsl(text, max_num_fields=100))
    except ValueError:
        return {}


def _mac(mac: Mac, body: bytes) -> bytes:
    return mac(body.hex())[:_MAC_BYTES]
