"""Links in what is sent: to where an action leads, and out of a kind of messages, both signed."""

from __future__ import annotations

import hmac
import uuid
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from firstring.journey.clicks import PARAMETER, Click, click_token, verify_click
from firstring.store.journey.planned import CLICK_DOMAIN
from firstring.store.seal import TenantKeys

_DOMAIN: Final = "unsubscribe"


class Unsubscribed(NamedTuple):
    """Who wants no more of what: the record, the route by which it came, and whether it was an offer ("marketing") or
    something else, which then stops altogether ("all")."""

    record_id: int
    route: str
    purpose: str


def click_of(keys: TenantKeys, token: str, now: datetime) -> Click | None:
    return verify_click(lambda text: keys.blind(CLICK_DOMAIN, text), token, now)


def click_path(tenant_id: int, keys: TenantKeys, record_id: int, delivery_id: uuid.UUID, now: datetime) -> str:
    """The path of the link of an action: it counts as accepted by whoever opens it, and leads on."""
    token = click_token(lambda text: keys.blind(CLICK_DOMAIN, text), record_id, delivery_id, now)
    return f"/web/go/{tenant_id}.{token}"


def with_click(url: str, token: str) -> str:
    """The page that an action leads to, told who comes."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != PARAMETER]
    return urlunsplit(parts._replace(query=urlencode([*query, (PARAMETER, token)])))


def unsubscribe_path(tenant_id: int, keys: TenantKeys, record_id: int, route: str, purpose: str) -> str:
    """The path that ends messages of a route to a record. It does not expire (RFC 8058 asks for that)."""
    what = f"{route}-{purpose}"
    return f"/web/unsubscribe/{tenant_id}.{record_id}.{what}.{_mac(keys, record_id, what)}"


def unsubscribed(keys: TenantKeys, token: str) -> Unsubscribed | None:
    """What such a token says (without its tenant); None where it is not one of ours."""
    record, _, rest = token.partition(".")
    what, _, mac = rest.partition(".")
    if not (record.isascii() and record.isdigit() and len(record) < 19):
        return None
    if not hmac.compare_digest(_mac(keys, int(record), what).encode(), mac.encode("utf-8", "surrogatepass")):
        return None
    route, _, purpose = what.partition("-")
    return Unsubscribed(int(record), route, purpose)


def _mac(keys: TenantKeys, record_id: int, what: str) -> str:
    return keys.blind(_DOMAIN, f"{record_id}\0{what}").hex()
