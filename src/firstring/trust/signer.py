"""The certificate behind a signed call: validity, chain, TNAuthList, key (RFC 8226, RFC 5280, ATIS-1000080)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification

from firstring.contact import SignatureCheck
from firstring.errors import BadInput
from firstring.trust import tn_auth_list
from firstring.trust.faults import Fault, fault
from firstring.trust.tn_auth_list import TnAuthList

CERTIFICATES: Final = 8
"""Certificates in one chain file."""
CERTIFICATE_BYTES: Final = 16_384
"""A chain file, in bytes."""


class SigningCertificate(msgspec.Struct, frozen=True):
    """A certificate whose chain, TNAuthList and key hold at the time it was read, ready for many verifications."""

    key: ec.EllipticCurvePublicKey
    may_sign_for: TnAuthList
    not_before: datetime
    not_after: datetime

    @property
    def service_provider(self) -> str | None:
        return self.may_sign_for.service_providers[0] if self.may_sign_for.service_providers else None


def load_roots(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The trusted roots out of a PEM file. Raises BadInput (`trust_roots_unreadable`)."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise BadInput(
            "trust_roots_unreadable",
            "The trusted STIR/SHAKEN roots are not PEM certificates.",
            hint="Give a file with one or more blocks of -----BEGIN CERTIFICATE-----.",
        ) from error


def read_certificate(pem: bytes, roots: Sequence[x509.Certificate], now: datetime) -> SigningCertificate | SignatureCheck:
    """Validity, chain to one of `roots`, TNAuthList, P-256 of a chain file (PEM, the signer's certificate first)."""
    try:
        return _read_certificate(pem, roots, now)
    except Fault as problem:
        return fault(problem.args[0])


def _read_certificate(pem: bytes, roots: Sequence[x509.Certificate], now: datetime) -> SigningCertificate:
    # The library warns of a serial number below one (RFC 5280, 4.1.2.2), which is an exception where warnings are errors.
    try:
        if len(pem) > CERTIFICATE_BYTES:
            raise Fault("certificate_malformed")
        leaf, *others = x509.load_pem_x509_certificates(pem)
        extensions = leaf.extensions
    except (
        ValueError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
        CryptographyDeprecationWarning,
    ):
        raise Fault("certificate_malformed") from None
    if len(others) >= CERTIFICATES:
        raise Fault("certificate_malformed")
    if now < leaf.not_valid_before_utc:
        raise Fault("certificate_not_yet_valid")
    if now > leaf.not_valid_after_utc:
        raise Fault("certificate_expired")
    not_after = _end_of_chain(leaf, others, roots, now)
    may_sign_for = _may_sign_for(extensions)
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise Fault("not_p256") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Fault("not_p256")
    return SigningCertificate(key, may_sign_for, leaf.not_valid_before_utc, not_after)


def _end_of_chain(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
) -> datetime:
    """Until when the chain from `leaf` to one of `roots` holds (RFC 5280, section 6)."""
    if not roots:
        raise Fault("no_trusted_roots")  # ours to mend: it must not count against the caller
    authority = (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _is_authority)
        .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _signs_certificates)
    )
    # TNAuthList stands where web certificates have a name; the web's rules for signers would refuse every one of them.
    signer = verification.ExtensionPolicy.permit_all()
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(list(roots)))
        .time(now)
        .max_chain_depth(4)
        .extension_policies(ca_policy=authority, ee_policy=signer)
        .build_client_verifier()
    )
    try:
        chain = verifier.verify(leaf, list(others)).chain
    except (verification.VerificationError, ValueError, UnsupportedAlgorithm):
        raise Fault("certificate_untrusted") from None
    return min(certificate.not_valid_after_utc for certificate in chain)


def _is_authority(_policy: verification.Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("not the certificate of an authority")


def _signs_certificates(_policy: verification.Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("not for signing certificates")


def _may_sign_for(extensions: x509.Extensions) -> TnAuthList:
    value: bytes | None = None
    for extension in extensions:
        content = extension.value
        if isinstance(content, x509.BasicConstraints) and content.ca:
            raise Fault("not_for_signing")
        if isinstance(content, x509.KeyUsage) and not content.digital_signature:
            raise Fault("not_for_signing")
        if isinstance(content, x509.UnrecognizedExtension) and extension.oid.dotted_string == tn_auth_list.OID:
            value = content.value
    if value is None:
        raise Fault("no_tn_auth_list")
    try:
        return tn_auth_list.read(value)
    except ValueError:
        raise Fault("bad_tn_auth_list") from None
