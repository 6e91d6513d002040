"""STIR/SHAKEN in the order and with the codes of RFC 8224 and ATIS-1000074."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from firstring.contact import SignatureCheck
from firstring.errors import BadInput
from firstring.trust import stir, tn_auth_list
from firstring.trust.tn_auth_list import NumberRange, TnAuthList
from firstring.trust.trial_ca import TrialAuthority, TrialCarrier

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://certificates.example.com/chain.pem"
CALLER, CALLED = "+15551234567", "+18005550100"
ORIGID = "4f3c1bde-5a1e-4f5e-9d58-2f4d0a1f9f10"

CA = TrialAuthority(NOW)
CARRIER = CA.carrier(URL)
GOOD: dict[str, Any] = {
    "attest": "A",
    "dest": {"tn": ["18005550100"]},
    "iat": int(NOW.timestamp()),
    "orig": {"tn": "15551234567"},
    "origid": ORIGID,
}


def check(
    identity: str | list[str] | None,
    *,
    caller: str | None = CALLER,
    called: str = CALLED,
    now: datetime = NOW,
    pem: bytes = CARRIER.chain_pem,
    roots: tuple[x509.Certificate, ...] = (CA.root,),
) -> SignatureCheck:
    passport = stir.parse(identity, caller, called, now)
    if isinstance(passport, SignatureCheck):
        return passport
    certificate = stir.read_certificate(pem, roots, now)
    return certificate if isinstance(certificate, SignatureCheck) else stir.verify(passport, certificate, now)


def signed(carrier: TrialCarrier = CARRIER, head: dict[str, Any] | None = None, **claims: Any) -> str:
    return carrier.sign_claims({name: value for name, value in (GOOD | claims).items() if value is not ...}, head)


def refused(result: SignatureCheck, reason: str, code: int | None) -> None:
    assert (result.reason, result.sip_code, result.attestation) == (reason, code, None)
    assert result.verstat != "TN-Validation-Passed"


@pytest.mark.parametrize("attestation", ["A", "B", "C"])
def test_a_well_signed_call_passes_with_its_attestation(attestation: Any) -> None:
    result = check(CARRIER.sign(CALLER, CALLED, NOW, ORIGID, attestation))
    assert result == SignatureCheck("TN-Validation-Passed", attestation=attestation, service_provider="TRIAL", origid=ORIGID)


def test_numbers_are_compared_in_canonical_form() -> None:
    assert check(signed(), caller="1 (555) 123-4567", called="18005550100").verstat == "TN-Validation-Passed"
    several = signed(dest={"tn": ["+442079460000", "+18005550100"]})
    assert check(several).verstat == "TN-Validation-Passed"


@pytest.mark.parametrize("seconds", [-60, 0, 60])
def test_fresh_for_a_minute_either_way(seconds: int) -> None:
    assert check(signed(iat=GOOD["iat"] + seconds)).verstat == "TN-Validation-Passed"


@pytest.mark.parametrize("seconds", [-61, 61, -86_400, 10**9])
def test_stale(seconds: int) -> None:
    refused(check(signed(iat=GOOD["iat"] + seconds)), "stale", 403)


def test_the_same_passport_twice_is_a_retransmission_and_no_replay() -> None:
    identity = signed()
    assert check(identity) == check(identity)


@pytest.mark.parametrize("identity", [None, "", [], [""]])
def test_no_identity(identity: Any) -> None:
    result = check(identity)
    refused(result, "no_identity", 428)
    assert result.verstat == "No-TN-Validation"


def test_div_alone_is_not_supported_and_beside_shaken_it_does_not_matter() -> None:
    div = signed(head={"ppt": "div"})
    refused(check(div), "unsupported_ppt", 428)
    assert check([div, signed()]).verstat == "TN-Validation-Passed"
    assert check([signed(), div]).verstat == "TN-Validation-Passed"
    refused(check([div, signed(iat=0)]), "stale", 403)
    refused(check([signed(iat=0), div]), "stale", 403)


def _encoded(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


HEAD, CLAIMS, SIGNATURE = signed().split(";")[0].split(".")
TAIL = f";info=<{URL}>;alg=ES256;ppt=shaken"
NOT_A_NUMBER = '{"iat":NaN}'
HUGE = '{"iat":' + "9" * 5000 + "}"
TWICE = '{"attest":"A","attest":"C"}'


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("abc", "malformed_header"),
        (f"{HEAD}.{CLAIMS}.{SIGNATURE}", "malformed_header"),
        (f"{HEAD}.{CLAIMS}.{SIGNATURE};alg=ES256;ppt=shaken", "malformed_header"),
        (f"{HEAD}.{CLAIMS}.{SIGNATURE};info={URL};alg=ES256;ppt=shaken", "malformed_header"),
        (f"{HEAD}.{CLAIMS}.{SIGNATURE}{TAIL};ppt=shaken", "malformed_header"),
        (f"{HEAD}.{CLAIMS}.{SIGNATURE}{TAIL};;", "malformed_header"),
        (f"{HEAD}.{CLAIMS}.{SIGNATURE}{TAIL}" + " " * stir.HEADER_CHARS, "malformed_header"),
        (f"{HEAD}.{CLAIMS}.{SIGNATURE}{TAIL};é=1", "malformed_header"),
        ("x" * 1_000_000, "malformed_header"),
        (f"..{SIGNATURE}{TAIL}", "compact_form"),
        (f"{HEAD}..{SIGNATURE}{TAIL}", "compact_form"),
        (f"A.{CLAIMS}.{SIGNATURE}{TAIL}", "malformed_token"),
        (f"{HEAD}.{_encoded('[1]')}.{SIGNATURE}{TAIL}", "malformed_token"),
        (f"{HEAD}.{_encoded(TWICE)}.{SIGNATURE}{TAIL}", "malformed_token"),
        (f"{HEAD}.{_encoded('[' * 3000)}.{SIGNATURE}{TAIL}", "malformed_token"),
        (f"{HEAD}.{_encoded(NOT_A_NUMBER)}.{SIGNATURE}{TAIL}", "malformed_token"),
        (f"{HEAD}.{_encoded(HUGE)}.{SIGNATURE}{TAIL}", "malformed_token"),
    ],
)
def test_header_form(identity: str, reason: str) -> None:
    refused(check(identity), reason, 438)


def test_parameters_may_be_quoted_and_in_any_order_and_case() -> None:
    token = signed().split(";")[0]
    assert check(f'  {token} ; ALG=ES256 ; ppt="shaken" ; Info=<{URL}>  ').verstat == "TN-Validation-Passed"
    assert check(f"{token};info=<{URL}>").verstat == "TN-Validation-Passed"


@pytest.mark.parametrize(
    ("head", "reason", "code"),
    [
        ({"alg": "none"}, "unsupported_algorithm", 438),
        ({"alg": "HS256"}, "unsupported_algorithm", 438),
        ({"typ": "jwt"}, "malformed_token", 438),
        ({"crit": ["exp"]}, "unsupported_critical", 438),
        ({"x5u": "https://elsewhere.example.com/chain.pem"}, "info_mismatch", 436),
        ({"x5u": None}, "info_mismatch", 436),
        ({"x5u": [URL]}, "info_mismatch", 436),
    ],
)
def test_token_header(head: dict[str, Any], reason: str, code: int) -> None:
    refused(check(signed(head=head)), reason, code)


@pytest.mark.parametrize("url", ["http://certificates.example.com/a", "file:///etc/passwd", "https://", "https://[::1", "x"])
def test_only_https_addresses(url: str) -> None:
    refused(check(signed(CARRIER.at(url))), "not_https", 436)


@pytest.mark.parametrize("claim", ["attest", "dest", "iat", "orig", "origid"])
def test_missing_claims(claim: str) -> None:
    refused(check(signed(**{claim: ...})), f"missing_{claim}", 438)


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        ("attest", ["a", "AB", "", None, 1, ["A"], {"A": 1}]),
        ("iat", [True, 1.5, str(GOOD["iat"]), float(GOOD["iat"]), None, -1, 2**60]),
        ("orig", [None, "15551234567", {}, {"tn": ["15551234567"]}, {"tn": ""}, {"uri": "sip:a@b"}, {"tn": 1}]),
        ("orig", [{"tn": "15551234567", "uri": "sip:a@b"}, {"tn": "1" * 25}, {"tn": "1" * 5000}]),
        ("dest", [None, [], {}, {"tn": []}, {"tn": "18005550100"}, {"tn": [1]}, {"tn": ["18005550100"] * 33}]),
        ("dest", [{"tn": ["18005550100", "x"]}, {"uri": ["sip:a@b"]}]),
        ("origid", [None, "", 7, "a b", "x" * 65, "é"]),
    ],
)
def test_claims_of_the_wrong_kind(claim: str, values: list[object]) -> None:
    for value in values:
        refused(check(signed(**{claim: value})), f"bad_{claim}", 438)


def test_numbers_must_be_those_of_the_call() -> None:
    refused(check(signed(), caller="+15559999999"), "orig_mismatch", 438)
    refused(check(signed(), called="+18005550199"), "dest_mismatch", 438)
    refused(check(signed(), called="reception"), "dest_mismatch", 438)


@pytest.mark.parametrize("caller", [None, "", "anonymous", "+" * 70])
def test_a_withheld_number_cannot_be_vouched_for(caller: str | None) -> None:
    result = check(signed(), caller=caller)
    refused(result, "no_caller_number", None)
    assert result.verstat == "No-TN-Validation"


def test_checks_come_in_order() -> None:
    wrong = CARRIER.sign_claims(GOOD | {"iat": 0, "attest": "Z"}, {"x5u": "https://elsewhere.example.com"})
    refused(check(wrong, caller="+1"), "info_mismatch", 436)
    refused(check(signed(attest="Z", iat=0), caller="+1"), "bad_attest", 438)
    refused(check(signed(iat=0), caller="+1"), "stale", 403)
    refused(check(signed(), caller="+1", called="+2"), "orig_mismatch", 438)
    # The numbers are compared before any certificate is asked for: an attacker cannot make us fetch for nothing.
    refused(check(signed(), called="+2", pem=b""), "dest_mismatch", 438)
    tampered = signed().replace(SIGNATURE, "A" * 86)
    refused(check(tampered, roots=(TrialAuthority(NOW).root,)), "certificate_untrusted", 437)


def test_without_trusted_roots_a_signature_counts_neither_way() -> None:
    result = check(signed(), roots=())
    refused(result, "no_trusted_roots", None)
    assert result.verstat == "No-TN-Validation"


def test_tampered_claims_and_signatures() -> None:
    other = signed(orig={"tn": "15550000000"}).split(".")[1]
    refused(check(f"{HEAD}.{other}.{SIGNATURE}{TAIL}", caller="+15550000000"), "bad_signature", 438)
    for signature in ("A", "AA", "A" * 86, "_" * 86, SIGNATURE[:-4], SIGNATURE + "AAAA"):
        refused(check(f"{HEAD}.{CLAIMS}.{signature}{TAIL}"), "bad_signature", 438)
    refused(check(signed(CA.carrier(URL))), "bad_signature", 438)


def test_certificates_that_do_not_hold() -> None:
    refused(check(signed(), roots=(TrialAuthority(NOW).root,)), "certificate_untrusted", 437)
    refused(check(signed(), pem=CARRIER.chain[0].public_bytes(Encoding.PEM)), "certificate_untrusted", 437)
    refused(check(signed(), pem=CARRIER.chain_pem * 8), "certificate_malformed", 437)
    for pem in (b"", b"no certificate", CARRIER.chain_pem[:400], b"x" * 20_000):
        refused(check(signed(), pem=pem), "certificate_malformed", 437)


def test_certificates_out_of_date() -> None:
    old = CA.carrier(URL, until=NOW - timedelta(seconds=1))
    refused(check(signed(old), pem=old.chain_pem), "certificate_expired", 437)
    before = NOW - timedelta(days=2)
    refused(check(signed(iat=int(before.timestamp())), now=before), "certificate_not_yet_valid", 437)
    # The one that is remembered ends as well, and no later than the shortest of its chain.
    certificate = stir.read_certificate(CARRIER.chain_pem, (CA.root,), NOW)
    passport = stir.parse(signed(), CALLER, CALLED, NOW)
    assert isinstance(certificate, stir.SigningCertificate)
    assert isinstance(passport, stir.Passport)
    assert stir.verify(passport, certificate, certificate.not_after).verstat == "TN-Validation-Passed"
    refused(stir.verify(passport, certificate, certificate.not_after + timedelta(seconds=1)), "certificate_expired", 437)
    refused(stir.verify(passport, certificate, before), "certificate_not_yet_valid", 437)


def test_a_signer_is_no_authority() -> None:
    """A carrier's own certificate must not certify another number."""
    key = ec.generate_private_key(ec.SECP256R1())
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(CARRIER.chain[0].subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(tn_auth_list.OID), tn_auth_list.write(TnAuthList(("EVIL",)))),
            critical=False,
        )
        .sign(CARRIER._key, SHA256())
    )
    evil = TrialCarrier(URL, key, (forged, *CARRIER.chain))
    refused(check(signed(evil), pem=evil.chain_pem), "certificate_untrusted", 437)


def test_other_curves_and_certificates_for_other_purposes() -> None:
    large = CA.carrier(URL, curve=ec.SECP384R1())
    refused(check(signed(large), pem=large.chain_pem), "not_p256", 437)
    nothing = CA.carrier(URL, extension=b"")
    refused(check(signed(nothing), pem=nothing.chain_pem), "no_tn_auth_list", 437)
    broken = CA.carrier(URL, extension=b"\x30\x80\x00\x00")
    refused(check(signed(broken), pem=broken.chain_pem), "bad_tn_auth_list", 437)
    intermediate = CA.intermediate.public_bytes(Encoding.PEM)
    refused(check(signed(), pem=intermediate), "not_for_signing", 437)


@pytest.mark.parametrize(
    ("listed", "covered"),
    [
        (TnAuthList(numbers=("15551234567",)), True),
        (TnAuthList(numbers=("15551234568", "15551234567")), True),
        (TnAuthList(numbers=("15551234568",)), False),
        (TnAuthList(ranges=(NumberRange("15551234500", 100),)), True),
        (TnAuthList(ranges=(NumberRange("15551234500", 67),)), False),
        (TnAuthList(ranges=(NumberRange("5551234567", 2),)), False),
        (TnAuthList(service_providers=("1234",), numbers=("15551234568",)), False),
        (TnAuthList(service_providers=("1234", "5678")), True),
    ],
)
def test_listed_numbers_must_cover_the_caller(listed: TnAuthList, covered: bool) -> None:
    carrier = CA.carrier(URL, listed)
    result = check(signed(carrier), pem=carrier.chain_pem)
    if covered:
        assert result.verstat == "TN-Validation-Passed"
        assert result.service_provider == (listed.service_providers[0] if listed.service_providers else None)
    else:
        refused(result, "number_not_covered", 437)


def test_roots_that_cannot_be_read() -> None:
    assert stir.load_roots(CA.root_pem) == (CA.root,)
    with pytest.raises(BadInput) as caught:
        stir.load_roots(b"nothing")
    assert caught.value.code == "trust_roots_unreadable"


def test_every_reason_is_documented() -> None:
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
    assert [reason for reason in stir.FAULTS if f"`{reason}`" not in text] == []
