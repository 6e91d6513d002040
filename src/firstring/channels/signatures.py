"""From the Identity headers of a call to a SignatureCheck: trust.stir with certificates fetched by channels.certificates.

A ringing call waits `limits.CERTIFICATE_WAIT_MS` at most for a certificate that is not cached. What comes later is handed to
`late`, and makes a new decision. The same PASSporT twice (a retransmission, a fork of one call) is not a replay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from cryptography import x509

from firstring import limits
from firstring.channels.certificates import CertificateAnswer, CertificateCache
from firstring.contact import SignatureCheck
from firstring.ports import Clock
from firstring.trust import stir

CERTIFICATES_READ: Final = 1_000
"""Chains whose verification is remembered."""


class SignatureVerifier:
    """Checks the Identity headers of calls against `roots` (none: signatures count neither way, nothing is fetched)."""

    def __init__(self, certificates: CertificateCache, roots: Sequence[x509.Certificate], clock: Clock) -> None:
        self._certificates = certificates
        self._roots = tuple(roots)
        self._clock = clock
        self._read: OrderedDict[bytes, stir.SigningCertificate] = OrderedDict()

    async def check(
        self,
        identities: str | Sequence[str] | None,
        caller: str | None,
        called: str,
        *,
        deadline_ms: float = limits.CERTIFICATE_WAIT_MS,
        late: Callable[[SignatureCheck], None] | None = None,
    ) -> SignatureCheck:
        """Does the carrier vouch for the number? The parameters are those of `stir.parse`. Never raises on hostile input.

        With the reason `certificate_pending` the certificate was not there in time; `late` is then called once, from the
        event loop, with the final check (not if the program stops before).
        """
        passport = stir.parse(identities, caller, called, self._clock.now())
        if isinstance(passport, SignatureCheck):
            return passport
        if not self._roots:
            return stir.fault("no_trusted_roots")
        parsed = passport

        def finish_late(answer: CertificateAnswer) -> None:
            if late is not None:
                late(self._finish(parsed, answer))

        answer = await self._certificates.answer(
            passport.certificate_url, deadline_ms, finish_late if late is not None else None
        )
        return self._finish(passport, answer)

    def _finish(self, passport: stir.Passport, answer: CertificateAnswer) -> SignatureCheck:
        if answer.pem is None:
            return stir.fault(answer.fault or "certificate_unavailable")
        certificate = self._read.get(answer.pem)
        if certificate is None:
            read = stir.read_certificate(answer.pem, self._roots, self._clock.now())
            if isinstance(read, SignatureCheck):
                return read
            certificate = self._read[answer.pem] = read
            if len(self._read) > CERTIFICATES_READ:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(answer.pem)
        return stir.verify(passport, certificate, self._clock.now())
