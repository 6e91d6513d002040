"""A little certificate authority of one's own, for trials, demonstrations and tests on one machine.

It makes a root, an intermediate and a signing certificate with a TNAuthList, signs PASSporTs as a carrier does (RFC 8588),
and can certify the local HTTPS server that publishes the chain. Its keys live in memory; no production roots should
ever hold its root.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from firstring.trust import tn_auth_list
from firstring.trust.stir import canonical_number
from firstring.trust.tn_auth_list import TnAuthList

Attestation = Literal["A", "B", "C"]
DAY = timedelta(days=1)


class TrialAuthority:
    """Root and intermediate; `carrier` makes signers under them, `tls` certificates for local servers."""

    def __init__(self, now: datetime, *, days: int = 30) -> None:
        """now: an aware time; everything is valid from a day before it until `days` after it."""
        self._from, self._until = now - DAY, now + timedelta(days=days)
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._authority("Trial root", self._root_key, "Trial root", self._root_key)
        self.intermediate = self._authority("Trial intermediate", self._key, "Trial root", self._root_key)

    @property
    def root_pem(self) -> bytes:
        """What a verifier has to trust."""
        return self.root.public_bytes(Encoding.PEM)

    def carrier(
        self,
        url: str,
        may_sign_for: TnAuthList | None = None,
        *,
        until: datetime | None = None,
        curve: ec.EllipticCurve | None = None,
        extension: bytes | None = None,
    ) -> TrialCarrier:
        """A carrier whose chain will be published at `url`. `extension` overrides the TNAuthList's DER (b"": none)."""
        if extension is None:
            extension = tn_auth_list.write(may_sign_for or TnAuthList(service_providers=("TRIAL",)))
        key = ec.generate_private_key(curve or ec.SECP256R1())
        builder = self._builder("Trial SHAKEN signer", key, "Trial intermediate", self._key, until=until)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(digital_signature=True), critical=True)
        if extension:
            oid = x509.ObjectIdentifier(tn_auth_list.OID)
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, extension), critical=False)
        return TrialCarrier(url, key, (builder.sign(self._key, SHA256()), self.intermediate))

    def tls(self, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        """(certificate chain, private key) in PEM for a local HTTPS server reached as one of `hosts`."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(hosts[0], key, "Trial intermediate", self._key)
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = (
            builder.add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        chain = (builder.sign(self._key, SHA256()), self.intermediate)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain), private

    def _authority(
        self, name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        builder = self._builder(name, key, issuer, issuer_key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.add_extension(_usage(key_cert_sign=True), critical=True).sign(issuer_key, SHA256())

    def _builder(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: str,
        issuer_key: ec.EllipticCurvePrivateKey,
        until: datetime | None = None,
    ) -> x509.CertificateBuilder:
        until = until or self._until
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(self._from, until - DAY))
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )


class TrialCarrier:
    """Signs calls. `chain_pem` is what its `url` has to answer."""

    def __init__(self, url: str, key: ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...]) -> None:
        self.url, self.chain = url, chain
        self._key = key

    @property
    def chain_pem(self) -> bytes:
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)

    def at(self, url: str) -> Self:
        """The same carrier, its chain published elsewhere."""
        return type(self)(url, self._key, self.chain)

    def sign(self, caller: str, called: str, now: datetime, origid: str, attestation: Attestation = "A") -> str:
        """The value of an Identity header for a call. Raises ValueError where a number is none."""
        orig, dest = canonical_number(caller), canonical_number(called)
        if orig is None or dest is None:
            raise ValueError("caller and called must be telephone numbers")
        claims = {
            "attest": attestation,
            "dest": {"tn": [dest]},
            "iat": int(now.timestamp()),
            "orig": {"tn": orig},
            "origid": origid,
        }
        return self.sign_claims(claims)

    def sign_claims(self, claims: dict[str, Any], head: dict[str, Any] | None = None) -> str:
        """The value of an Identity header for any claims, right or wrong; `head` overrides fields of its header."""
        head = {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": self.url} | (head or {})
        signed = ".".join(_base64(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        size = (self._key.curve.key_size + 7) // 8
        signature = _base64(r.to_bytes(size, "big") + s.to_bytes(size, "big"))
        return f"{signed}.{signature};info=<{self.url}>;alg=ES256;ppt={head['ppt']}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Firstring trial"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
