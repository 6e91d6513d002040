"""The blind index is HMAC-SHA-256, whatever way it is computed."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from firstring.store.seal import BLIND_INDEX_BYTES, TenantKeys


@given(secret=st.binary(min_size=32, max_size=32), domain=st.text(max_size=20), text=st.text(max_size=300))
def test_blind_is_hmac_sha256_under_the_index_key(secret: bytes, domain: str, text: str) -> None:
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"firstring/1/index").derive(secret)
    expected = hmac.new(key, f"{domain}\0{text}".encode(), hashlib.sha256).digest()[:BLIND_INDEX_BYTES]
    assert TenantKeys(secret).blind(domain, text) == expected
