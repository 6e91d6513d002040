"""Keys: where the master key comes from, what sealing hides, what it refuses."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstring.errors import Unrecoverable
from firstring.store.seal import (
    TenantKeys,
    create_master_key,
    read_master_key,
    unwrap_tenant_secret,
    wrap_tenant_secret,
)

KEYS = TenantKeys(b"s" * 32)


def test_a_new_master_key_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "home" / "master.key"
    old = os.umask(0)
    try:
        key = create_master_key(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_master_key(path) == key
    assert os.listdir(path.parent) == ["master.key"]
    with pytest.raises(FileExistsError):
        create_master_key(path)
    assert read_master_key(path) == key
    assert os.listdir(path.parent) == ["master.key"]


def test_the_environment_wins(tmp_path: Path) -> None:
    create_master_key(tmp_path / "k")
    assert read_master_key(tmp_path / "k", "ab" * 32) == b"\xab" * 32
    assert read_master_key(tmp_path / "none", " " + "AB" * 32 + "\n") == b"\xab" * 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_an_exposed_file_is_refused(tmp_path: Path, mode: int) -> None:
    create_master_key(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(Unrecoverable) as refused:
        read_master_key(tmp_path / "k")
    assert refused.value.code == "master_key_exposed"
    assert "chmod 600" in refused.value.hint


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64])
def test_a_malformed_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Unrecoverable) as refused:
        read_master_key(path)
    assert refused.value.code in ("master_key_malformed", "master_key_unreadable")
    assert refused.value.where == {"file": str(path)}


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    for path, code in ((tmp_path / "none", "master_key_missing"), (tmp_path, "master_key_unreadable")):
        with pytest.raises(Unrecoverable) as refused:
            read_master_key(path)
        assert refused.value.code == code
    with pytest.raises(Unrecoverable) as refused:
        create_master_key(Path("/proc/none/master.key"))
    assert refused.value.code == "master_key_unwritable"


def test_a_tenants_secret_opens_with_its_key_and_name_only() -> None:
    master, secret = secrets.token_bytes(32), secrets.token_bytes(32)
    wrapped = wrap_tenant_secret(master, "main", secret)
    assert unwrap_tenant_secret(master, "main", wrapped) == secret
    assert wrap_tenant_secret(master, "main", secret) != wrapped
    for key, name, text in (
        (master, "main", b""),
        (secrets.token_bytes(32), "main", wrapped),
        (master, "other", wrapped),
        (master, "main", wrapped[:-1] + bytes([wrapped[-1] ^ 1])),
    ):
        with pytest.raises(Unrecoverable) as refused:
            unwrap_tenant_secret(key, name, text)
        assert refused.value.code == "wrong_master_key"


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**60), 2**60),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10))  # fmt: skip
def test_what_is_sealed_opens_again(payload: object) -> None:
    wrapped, sealed = KEYS.seal(payload)
    assert KEYS.open(wrapped, sealed) == payload
    again, other = KEYS.seal(payload)
    assert (again, other) != (wrapped, sealed)


@given(st.binary(min_size=0, max_size=80), st.integers(0, 200))
def test_what_was_damaged_does_not_open(noise: bytes, at: int) -> None:
    wrapped, sealed = KEYS.seal({"name": "Jo"})
    spot = at % len(sealed)
    for one, two in (
        (wrapped, sealed[:spot] + bytes([sealed[spot] ^ 1]) + sealed[spot + 1 :]),
        (wrapped[:-1] + bytes([wrapped[-1] ^ 1]), sealed),
        (noise, sealed),
        (wrapped, noise),
        (KEYS.seal("other")[0], sealed),
    ):
        with pytest.raises(Unrecoverable) as refused:
            KEYS.open(one, two)
        assert refused.value.code == "sealed_data_damaged"


def test_erased_data_is_nothing() -> None:
    wrapped, sealed = KEYS.seal("gone")
    assert KEYS.open(None, sealed) is None
    assert KEYS.open(wrapped, None) is None


@given(st.text(), st.text(), st.sampled_from(["phone", "email"]), st.sampled_from(["phone", "email"]))
def test_blind_indexes_are_equal_for_equal_values_of_one_kind_of_one_tenant(
    one: str, two: str, kind: str, other_kind: str
) -> None:
    first, second = KEYS.blind(kind, one), KEYS.blind(other_kind, two)
    assert len(first) == 16
    assert (first == second) == ((kind, one) == (other_kind, two))
    assert TenantKeys(b"t" * 32).blind(kind, one) != first
    assert KEYS.blind_all(kind, [one, two]) == [first, KEYS.blind(kind, two)]


def test_keys_are_not_shown() -> None:
    assert repr(KEYS) == "TenantKeys(...)"
