"""STIR/SHAKEN: does the carrier vouch for the caller's number? (RFC 8224, 8225, 8226, 8588; ATIS-1000074)

Pure: no network, no clock. It comes in three steps, so that a call whose certificate is not at hand yet can be finished
when it comes:

    passport = parse(identities, caller, called, now)           # form, address of the certificate, claims, numbers
    certificate = read_certificate(pem, roots, now)             # validity, chain, TNAuthList, P-256; worth caching
    check = verify(passport, certificate, now)                  # number covered, ES256

Each step returns a SignatureCheck as soon as something fails; `FAULTS` names every reason with its SIP code. Nothing here
raises on hostile input. A pass says that a carrier vouches for the number; it never says who the person is.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from firstring.contact import SignatureCheck
from firstring.trust.faults import FAULTS, Fault, fault
from firstring.trust.signer import SigningCertificate, load_roots, read_certificate

HEADER_CHARS: Final = 8_192
"""One Identity header, in characters."""
HEADERS: Final = 8
"""Identity headers looked at in one INVITE."""
ADDRESS_CHARS: Final = 1_000
"""The address of a certificate, in characters."""
BRACKETS: Final = 32
"""Opening brackets in the JSON of a PASSporT: bounds its depth before it is parsed."""
DESTINATIONS: Final = 32
"""Numbers in dest.tn."""
FRESH_S: Final = 60
"""A PASSporT is fresh for this long before and after its iat (RFC 8224, 12.1)."""

__all__ = [
    "FAULTS",
    "Passport",
    "SigningCertificate",
    "canonical_number",
    "fault",
    "load_roots",
    "parse",
    "read_certificate",
    "verify",
]

_HEADER = re.compile(r"\s*([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)\s*(;.*)", re.DOTALL)
_PARAMETER = re.compile(r"\s*;\s*([A-Za-z0-9.!%*_+`'~-]+)\s*=\s*(?:<([^<>\s]*)>|\"([^\"\\]*)\"|([^\s;<>\",]+))\s*")
_NUMBER = re.compile(r"[0-9*#]{1,24}")
_SEPARATORS = str.maketrans("", "", " -.()")
_ORIGID = re.compile(r"[!-~]{1,64}")


class Passport(msgspec.Struct, frozen=True):
    """A PASSporT whose form, claims, time and numbers hold; its certificate and signature are still to be checked."""

    attestation: Literal["A", "B", "C"]
    orig: str
    dest: tuple[str, ...]
    iat: int
    origid: str
    certificate_url: str
    signed: bytes
    signature: str


def canonical_number(text: str) -> str | None:
    """Canonical telephone number (RFC 8224, 8.3): digits, * and # without plus and separators; None if it is none."""
    number = text[:64].translate(_SEPARATORS).removeprefix("+")
    return number if len(text) <= 64 and _NUMBER.fullmatch(number) else None


def parse(
    identities: str | Sequence[str] | None, caller: str | None, called: str, now: datetime
) -> Passport | SignatureCheck:
    """Everything that can be checked without the certificate.

    identities: the value of the Identity header, or several; the first with ppt=shaken that holds counts.
    caller, called: the numbers in international form as the call carries them (P-Asserted-Identity before From; To or
    the request's target), with or without a plus. now: an aware time.
    """
    headers = [identities] if isinstance(identities, str) else list(identities or ())[:HEADERS]
    headers = [header for header in headers if header]
    if not headers:
        return fault("no_identity")
    first: SignatureCheck | None = None
    for header in headers:
        try:
            return _parse_one(header, caller, called, now)
        except Fault as problem:
            check = fault(problem.args[0])
            # A diverted call carries div beside shaken: that another type is unsupported matters only if it is alone.
            if first is None or first.reason == "unsupported_ppt":
                first = check
    assert first is not None
    return first


def verify(passport: Passport, certificate: SigningCertificate, now: datetime) -> SignatureCheck:
    """The end of the checks: still valid, caller's number covered, ES256 over raw r || s (RFC 7518, 3.4)."""
    if now < certificate.not_before:
        return fault("certificate_not_yet_valid")
    if now > certificate.not_after:
        return fault("certificate_expired")
    if not certificate.may_sign_for.covers(passport.orig):
        return fault("number_not_covered")
    try:
        raw = _unbase64(passport.signature)
    except ValueError:
        return fault("bad_signature")
    if len(raw) != 64:
        return fault("bad_signature")
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        certificate.key.verify(signature, passport.signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return fault("bad_signature")
    return SignatureCheck(
        "TN-Validation-Passed",
        attestation=passport.attestation,
        service_provider=certificate.service_provider,
        origid=passport.origid,
    )


# --- the header and its token ------------------------------------------------------------------------------------


def _parse_one(header: str, caller: str | None, called: str, now: datetime) -> Passport:
    encoded_head, encoded_claims, signature, parameters = _split(header)
    ppt = parameters.get("ppt")
    if ppt is not None and ppt != "shaken":
        raise Fault("unsupported_ppt")
    if not encoded_head or not encoded_claims:
        raise Fault("compact_form")
    head = _json_object(encoded_head)
    claims = _json_object(encoded_claims)
    if head.get("ppt") != "shaken":
        raise Fault("malformed_token" if ppt else "unsupported_ppt")
    if head.get("typ") != "passport":
        raise Fault("malformed_token")
    if head.get("alg") != "ES256" or parameters.get("alg", "ES256") != "ES256":
        raise Fault("unsupported_algorithm")
    if "crit" in head:
        raise Fault("unsupported_critical")
    url = _certificate_url(head.get("x5u"), parameters["info"])
    attestation, orig, dest, iat, origid = _claims(claims)
    if abs(now.timestamp() - iat) > FRESH_S:
        raise Fault("stale")
    caller_number = canonical_number(caller) if caller else None
    if caller_number is None:
        raise Fault("no_caller_number")
    if orig != caller_number:
        raise Fault("orig_mismatch")
    if canonical_number(called) not in dest:
        raise Fault("dest_mismatch")
    signed = f"{encoded_head}.{encoded_claims}".encode("ascii")
    return Passport(attestation, orig, dest, iat, origid, url, signed, signature)


def _split(header: str) -> tuple[str, str, str, dict[str, str]]:
    """The three parts of the token and the parameters (RFC 8224, section 4), `info` among them."""
    match = _HEADER.fullmatch(header) if len(header) <= HEADER_CHARS and header.isascii() else None
    if match is None:
        raise Fault("malformed_header")
    parameters: dict[str, str] = {}
    tail, position = match[4].rstrip(), 0
    while position < len(tail):
        parameter = _PARAMETER.match(tail, position)
        if parameter is None:
            raise Fault("malformed_header")
        name = parameter[1].lower()
        if name in parameters or (name == "info") != (parameter[2] is not None):
            raise Fault("malformed_header")
        parameters[name] = parameter[2] or parameter[3] or parameter[4] or ""
        position = parameter.end()
    if not parameters.get("info"):
        raise Fault("malformed_header")
    return match[1], match[2], match[3], parameters


def _unbase64(text: str) -> bytes:
    """Base64url without padding; raises ValueError. The header's form has made sure of the alphabet."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key occurs twice")
    return keys


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _json_object(encoded: str) -> dict[str, Any]:
    try:
        text = _unbase64(encoded).decode("utf-8")
        if text.count("{") + text.count("[") > BRACKETS:
            raise Fault("malformed_token")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except ValueError:
        raise Fault("malformed_token") from None
    if not isinstance(value, dict):
        raise Fault("malformed_token")
    return value


def _certificate_url(x5u: object, info: str) -> str:
    if x5u != info or len(info) > ADDRESS_CHARS:
        raise Fault("info_mismatch")
    try:
        address = urlsplit(info)
        usable = address.scheme == "https" and bool(address.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise Fault("not_https")
    return info


def _claims(claims: dict[str, Any]) -> tuple[Literal["A", "B", "C"], str, tuple[str, ...], int, str]:
    for name in ("attest", "dest", "iat", "orig", "origid"):
        if name not in claims:
            raise Fault(f"missing_{name}")
    attestation, dest, iat, orig, origid = (claims[name] for name in ("attest", "dest", "iat", "orig", "origid"))
    if attestation not in ("A", "B", "C"):
        raise Fault("bad_attest")
    numbers = dest.get("tn") if isinstance(dest, dict) else None
    if not isinstance(numbers, list) or not 1 <= len(numbers) <= DESTINATIONS:
        raise Fault("bad_dest")
    called = tuple(canonical_number(number) if isinstance(number, str) else None for number in numbers)
    if None in called:
        raise Fault("bad_dest")
    # bool is an int in Python, and no time.
    if not isinstance(iat, int) or isinstance(iat, bool) or not 0 <= iat < 2**53:
        raise Fault("bad_iat")
    number = orig.get("tn") if isinstance(orig, dict) and len(orig) == 1 else None
    caller = canonical_number(number) if isinstance(number, str) else None
    if caller is None:
        raise Fault("bad_orig")
    if not isinstance(origid, str) or not _ORIGID.fullmatch(origid):
        raise Fault("bad_origid")
    return attestation, caller, cast("tuple[str, ...]", called), iat, origid
