"""Who is before a page, and how that is proved.

A write key stands in every page and proves nothing. So the server makes the visitor's id at the first contact, and gives
a secret with it: an HMAC of the id under the tenant's key, which nobody can make for somebody else's id. What is decided
for a visitor is told to whoever has the secret, and to nobody else. The actions of a user who is signed in are told where
the user's id is signed by one's own server (docs/events.md); a user id without a signature opens nothing.
"""

from __future__ import annotations

import hmac
import re
import uuid
from typing import Final

from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.journey.events.reading import user_signature
from firstring.store.delivery import Visitor
from firstring.store.seal import TenantKeys

_ID: Final = re.compile(r"v[0-9a-f]{32}")


def new_visitor(keys: TenantKeys, source: str, chance: uuid.UUID) -> tuple[str, str]:
    """(id, secret) of somebody who was never here. chance: 122 bits of it or more."""
    visitor_id = f"v{chance.hex}"
    return visitor_id, secret_of(keys, source, visitor_id)


def secret_of(keys: TenantKeys, source: str, visitor_id: str) -> str:
    """128 bits, in hex."""
    return keys.blind("visitor", f"{source}\0{visitor_id}").hex()


def prove(
    keys: TenantKeys,
    source: str,
    *,
    visitor_id: str,
    secret: str,
    user_id: str | None,
    user_hash: str | None,
    signing_secret: str,
) -> Visitor:
    """The visitor behind an id and its secret; with the user where the user's id is signed.

    Raises BadInput visitor_unknown (401) and signature_invalid.
    """
    if not _ID.fullmatch(visitor_id) or not _same(secret_of(keys, source, visitor_id), secret):
        raise BadInput(
            "visitor_unknown",
            "The visitor's id and secret do not belong together.",
            where={"field": "secret"},
            hint="Ask for new ones at /web/visitor.",
            http_status=401,
        )
    if user_id is None or user_hash is None:
        return Visitor(source, visitor_id)
    if not _same(user_signature(signing_secret, user_id), user_hash.lower()):
        raise BadInput(
            "signature_invalid",
            "The signature is not that of the user id.",
            where={"field": "userHash"},
            hint="Sign the same user id, as text, with the secret of this write key (HMAC-SHA256, hex).",
        )
    return Visitor(source, visitor_id, canonical_record({"record_id": user_id}, country="US", findable=False).record_id)


def _same(known: str, sent: str) -> bool:
    return hmac.compare_digest(known.encode(), sent.encode("utf-8", "surrogatepass"))
