"""Hostile headers and certificates: an answer, never an exception, never a pass."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firstring.contact import SignatureCheck
from firstring.trust import stir, tn_auth_list
from firstring.trust.tn_auth_list import NumberRange, TnAuthList
from firstring.trust.trial_ca import TrialAuthority

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://certificates.example.com/chain.pem"
CALLER, CALLED = "15551234567", "18005550100"
CA = TrialAuthority(NOW)
CARRIER = CA.carrier(URL)
IDENTITY = CARRIER.sign(CALLER, CALLED, NOW, "origin-1")
SIGNED = [certificate.tbs_certificate_bytes for certificate in CARRIER.chain]
DER = [certificate.public_bytes(Encoding.DER) for certificate in CARRIER.chain]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
claims = st.fixed_dictionaries(
    {},
    optional={
        "attest": st.sampled_from("ABC") | json_values,
        "dest": st.just({"tn": [CALLED]}) | st.fixed_dictionaries({"tn": json_values}) | json_values,
        "iat": st.just(int(NOW.timestamp())) | json_values,
        "orig": st.just({"tn": CALLER}) | st.fixed_dictionaries({"tn": json_values}) | json_values,
        "origid": st.just("o") | json_values,
    },
)


def outcome(identity: object, caller: str | None = CALLER, called: str = CALLED) -> SignatureCheck:
    passport = stir.parse(identity, caller, called, NOW)  # type: ignore[arg-type]
    if isinstance(passport, SignatureCheck):
        return passport
    certificate = stir.read_certificate(CARRIER.chain_pem, (CA.root,), NOW)
    assert isinstance(certificate, stir.SigningCertificate)
    return stir.verify(passport, certificate, NOW)


def refused(check: SignatureCheck) -> None:
    assert check.verstat != "TN-Validation-Passed"
    assert check.reason in stir.FAULTS
    assert check.sip_code == stir.FAULTS[check.reason or ""]
    assert check.attestation is None


@given(st.text() | st.lists(st.text(), max_size=10), st.none() | st.text(), st.text())
def test_any_text(identity: str | list[str], caller: str | None, called: str) -> None:
    refused(outcome(identity, caller, called))


@given(st.from_regex(r"\A[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*;info=<[ -~]*>(;[a-z]+=[ -~]*){0,3}\Z"))
def test_headers_of_nearly_the_right_form(identity: str) -> None:
    refused(outcome(identity))


@given(json_values | claims, json_values | st.just({"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": URL}))
def test_any_json_without_a_signature(payload: object, head: object) -> None:
    token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, payload))
    refused(outcome(f"{token}.{'A' * 86};info=<{URL}>;alg=ES256;ppt=shaken"))


@given(claims)
def test_signed_claims_pass_only_if_all_of_them_hold(payload: dict[str, object]) -> None:
    check = outcome(CARRIER.sign_claims(payload))
    if check.verstat == "TN-Validation-Passed":
        assert payload["attest"] in ("A", "B", "C")
        assert payload["iat"] == int(NOW.timestamp()) or abs(int(NOW.timestamp()) - int(str(payload["iat"]))) <= 60
        assert payload["orig"]["tn"].lstrip("+") == CALLER  # type: ignore[index]
    else:
        refused(check)


@given(st.integers(0, IDENTITY.index(";") - 1), st.sampled_from("ABab01_-."))
def test_one_changed_character_of_the_token_never_passes(position: int, character: str) -> None:
    changed = IDENTITY[:position] + character + IDENTITY[position + 1 :]
    check = outcome(changed)
    # The last character of base64 holds bits that nothing decodes to; it may differ without changing a byte.
    if changed != IDENTITY and position != IDENTITY.index(";") - 1:
        refused(check)


@settings(max_examples=300)
@given(st.integers(0, 1), st.integers(0, 2_000), st.integers(0, 255), st.booleans())
@example(0, 5, 255, True)
@example(1, DER[1].index(CARRIER.chain[1].signature) - 1, 1, False)
@example(0, DER[0].index(b"\x02\x14") + 2 if b"\x02\x14" in DER[0] else 16, 0x80, False)
def test_changed_certificates_never_pass_and_never_raise(which: int, position: int, byte: int, cut: bool) -> None:
    der = list(DER)
    changed = bytearray(der[which])
    position %= len(changed)
    changed[position] = byte
    der[which] = bytes(changed[:position] if cut else changed)
    pem = b"".join(
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(one) + b"-----END CERTIFICATE-----\n" for one in der
    )
    read = stir.read_certificate(pem, (CA.root,), NOW)
    if isinstance(read, SignatureCheck):
        assert der != DER
        refused(read)
    else:
        # Bytes around what is signed may differ (the unused bits of a BIT STRING); what is signed may not.
        assert [one.tbs_certificate_bytes for one in x509.load_pem_x509_certificates(pem)] == SIGNED


@given(st.binary(max_size=4_000))
def test_any_bytes_as_a_certificate(data: bytes) -> None:
    wrapped = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"
    for pem in (data, wrapped):
        read = stir.read_certificate(pem, (CA.root,), NOW)
        assert isinstance(read, SignatureCheck)
        refused(read)


numbers = st.text("0123456789", min_size=1, max_size=15)
lists = st.builds(
    TnAuthList,
    service_providers=st.lists(st.text("0123456789ABCD", min_size=1, max_size=32), max_size=40).map(tuple),
    ranges=st.lists(st.builds(NumberRange, start=numbers, count=st.integers(2, 10**15)), max_size=40).map(tuple),
    numbers=st.lists(numbers, max_size=40).map(tuple),
).filter(lambda entries: bool(entries.service_providers or entries.ranges or entries.numbers))


@given(lists)
def test_a_tn_auth_list_reads_back_as_it_was_written(entries: TnAuthList) -> None:
    assert tn_auth_list.read(tn_auth_list.write(entries)) == entries


@given(st.binary(max_size=300) | lists.map(tn_auth_list.write), st.data())
def test_a_broken_tn_auth_list_is_a_value_error_or_means_what_it_says(der: bytes, data: st.DataObject) -> None:
    if der and data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(der) - 1))
        der = der[:position] + bytes([data.draw(st.integers(0, 255))]) + der[position + 1 :]
    try:
        entries = tn_auth_list.read(der)
    except ValueError:
        return
    assert entries.service_providers or entries.ranges or entries.numbers


@given(st.integers(0, 10**6), st.integers(2, 500), st.integers(0, 10**6))
def test_a_range_covers_exactly_its_numbers(start: int, count: int, number: int) -> None:
    text = f"{start:07d}"
    listed = {f"{value:07d}" for value in range(start, start + count) if value < 10**7}
    assert NumberRange(text, count).covers(f"{number:07d}") == (f"{number:07d}" in listed)
