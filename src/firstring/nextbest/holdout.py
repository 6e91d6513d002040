"""Who is held out of offers: a fixed share of people, so that it shows what they do by themselves.

Told from the set of a person's records: one of them is their anchor (the smallest keyed hash), and another keyed hash of
the anchor says whether they are held out. So it is the same at every moment, nobody can work it out without the key, any
number of records gives the same share, a merged person is what one of the two was, and undoing the merge brings both back.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256


def held_out(record_ids: Iterable[int], key: bytes, share: float) -> bool:
    """Whether the person with these records (one at least) is held out. share: in [0, 1]."""
    anchors = [_hash(key, b"anchor", record_id) for record_id in record_ids]
    if not anchors or share <= 0.0:
        return False
    drawn = hmac.digest(key, b"drawn" + min(anchors), sha256)
    return int.from_bytes(drawn[:8], "big") < share * 2.0**64


def _hash(key: bytes, domain: bytes, record_id: int) -> bytes:
    return hmac.digest(key, domain + str(record_id).encode(), sha256)
