"""Sealing: what the database holds is unreadable without the keys.

Hierarchy: the master key (32 bytes, from a file or the environment) wraps one secret per tenant; from that secret two
keys are derived with HKDF (RFC 5869): the index key, for blind indexes, and the wrapping key, which wraps a data key of
its own for every row. Erasing a row is destroying its wrapped data key.

Blind index: the first 16 bytes of HMAC-SHA-256 (RFC 2104; truncation as in RFC 4868). Sealing: AES-256-GCM with a random
96-bit nonce (NIST SP 800-38D); under one wrapping key that is good for 2^32 rows.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from firstring.errors import Unrecoverable

KEY_BYTES = 32
BLIND_INDEX_BYTES = 16
_NONCE_BYTES = 12
_HMAC_BLOCK_BYTES = 64
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def read_master_key(path: Path, environment_value: str | None = None) -> bytes:
    """The master key: 64 hex digits from the environment, else from the file, which only its owner may read.

    Raises Unrecoverable master_key_missing, master_key_unreadable or master_key_malformed.
    """
    if environment_value:
        text = environment_value
        where = {"setting": "FIRSTRING_MASTER_KEY"}
    else:
        where = {"file": str(path)}
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii")
        except FileNotFoundError:
            raise Unrecoverable(
                "master_key_missing",
                "There is no master key.",
                where=where,
                hint="Run `firstring init` to make one, or set FIRSTRING_MASTER_KEY.",
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise Unrecoverable(
                "master_key_unreadable",
                f"The master key cannot be read: {type(error).__name__}.",
                where=where,
                hint="Run as the user that owns the file.",
            ) from error
        if mode & 0o077:
            raise Unrecoverable(
                "master_key_exposed",
                "The master key's file can be read by others.",
                where=where,
                hint=f"chmod 600 {path}",
            )
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Unrecoverable(
            "master_key_malformed",
            "The master key must be 64 hex digits.",
            where=where,
            hint="Restore it from your backup; without it the stored data cannot be read.",
        )
    return key


def create_master_key(path: Path) -> bytes:
    """Makes a new master key in a file with mode 0600; an existing file is never overwritten (FileExistsError).

    The file appears complete or not at all, also when the process is killed. Raises Unrecoverable
    master_key_unwritable.
    """
    key = os.urandom(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".master-key-", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(key.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(name, path)
        finally:
            os.unlink(name)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except FileExistsError:
        raise
    except OSError as error:
        raise Unrecoverable(
            "master_key_unwritable",
            f"The master key cannot be stored: {error.strerror or type(error).__name__}.",
            where={"file": str(path)},
            hint="Choose another place (FIRSTRING_MASTER_KEY_FILE), or set FIRSTRING_MASTER_KEY.",
        ) from error
    return key


def wrap_tenant_secret(master_key: bytes, tenant_name: str, secret: bytes) -> bytes:
    """The tenant's secret under the master key, bound to the tenant's name."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(master_key).encrypt(nonce, secret, b"tenant:" + tenant_name.encode())


def unwrap_tenant_secret(master_key: bytes, tenant_name: str, wrapped: bytes) -> bytes:
    """The tenant's secret. Raises Unrecoverable wrong_master_key."""
    try:
        return AESGCM(master_key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], b"tenant:" + tenant_name.encode())
    except (InvalidTag, ValueError):  # ValueError: too short to be anything sealed
        raise Unrecoverable(
            "wrong_master_key",
            "The master key is not the one this database was sealed with. Nothing was changed.",
            where={"tenant": tenant_name},
            hint="Start with the key that `firstring init` made for this database.",
        ) from None


class TenantKeys:
    """The keys of one tenant, ready for use. Never logged, never stored unwrapped."""

    __slots__ = ("_inner", "_outer", "_wrap")

    def __init__(self, secret: bytes) -> None:
        key = _derive(secret, b"index").ljust(_HMAC_BLOCK_BYTES, b"\0")
        # HMAC by its definition (RFC 2104, 2) on two prepared hashes: half the time of the standard library's object.
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
        self._wrap = AESGCM(_derive(secret, b"wrap"))

    def __repr__(self) -> str:
        return "TenantKeys(...)"

    def blind(self, domain: str, text: str) -> bytes:
        """The blind index of a value: 16 bytes. Equal values of one domain have equal indexes, and nothing else shows."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(f"{domain}\0{text}".encode())
        outer.update(inner.digest())
        return outer.digest()[:BLIND_INDEX_BYTES]

    def blind_all(self, domain: str, texts: Iterable[str]) -> list[bytes]:
        return [self.blind(domain, text) for text in texts]

    def seal(self, payload: Any) -> tuple[bytes, bytes]:
        """(wrapped data key, sealed payload) of anything MessagePack can hold, under a new data key."""
        wrapped, sealed, _ = self.seal_both(payload, b"")
        return wrapped, sealed

    def seal_both(self, payload: Any, beside: bytes) -> tuple[bytes, bytes, bytes]:
        """As seal; and other bytes (for open_bytes) under the same data key, with a nonce of their own."""
        random = os.urandom(KEY_BYTES + 3 * _NONCE_BYTES)
        data_key, nonce, wrap_nonce, other = random[:32], random[32:44], random[44:56], random[56:]
        cipher = AESGCM(data_key)
        sealed = nonce + cipher.encrypt(nonce, _encode(payload), None)
        besides = other + cipher.encrypt(other, beside, None) if beside else b""
        return wrap_nonce + self._wrap.encrypt(wrap_nonce, data_key, None), sealed, besides

    def open(self, wrapped: bytes | None, sealed: bytes | None) -> Any:
        """The payload, or None where its data key was destroyed. Raises Unrecoverable sealed_data_damaged."""
        if wrapped is None or sealed is None:
            return None
        return _decode(self.open_bytes(wrapped, sealed))

    def open_bytes(self, wrapped: bytes, sealed: bytes) -> bytes:
        """The payload still as MessagePack, for a typed decoder."""
        try:
            data_key = self._wrap.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], None)
            return AESGCM(data_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError):  # ValueError: too short to be anything sealed
            raise Unrecoverable(
                "sealed_data_damaged",
                "A sealed value does not open: it was damaged or belongs to other keys.",
                hint="Restore the row from a backup; check that the database and the master key belong together.",
            ) from None


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=b"firstring/1/" + purpose).derive(secret)
