"""Why a signed call is not verified: every reason, its SIP code, and what it says about the call."""

from __future__ import annotations

from typing import Final, Literal

from firstring.contact import SignatureCheck

FAULTS: Final[dict[str, int | None]] = {
    "no_identity": 428,
    "unsupported_ppt": 428,
    "malformed_header": 438,
    "compact_form": 438,
    "malformed_token": 438,
    "unsupported_algorithm": 438,
    "unsupported_critical": 438,
    "info_mismatch": 436,
    "not_https": 436,
    "missing_attest": 438,
    "missing_dest": 438,
    "missing_iat": 438,
    "missing_orig": 438,
    "missing_origid": 438,
    "bad_attest": 438,
    "bad_dest": 438,
    "bad_iat": 438,
    "bad_orig": 438,
    "bad_origid": 438,
    "stale": 403,
    "no_caller_number": None,
    "orig_mismatch": 438,
    "dest_mismatch": 438,
    "no_trusted_roots": None,
    "certificate_pending": 436,
    "certificate_unavailable": 436,
    "certificate_refused": 436,
    "certificate_malformed": 437,
    "certificate_not_yet_valid": 437,
    "certificate_expired": 437,
    "certificate_untrusted": 437,
    "no_tn_auth_list": 437,
    "bad_tn_auth_list": 437,
    "not_p256": 437,
    "not_for_signing": 437,
    "number_not_covered": 437,
    "bad_signature": 438,
}
"""Every reason why a call is not verified, in the order of the checks, with the SIP code of RFC 8224."""

_NOT_VALIDATED: Final = {
    "no_identity",
    "unsupported_ppt",
    "no_caller_number",
    "no_trusted_roots",
    "certificate_pending",
    "certificate_unavailable",
}
"""Reasons that say nothing about the call: there was nothing to check, or we could not. The others are failures."""


class Fault(Exception):
    """A check failed; args[0] is the reason in FAULTS. Caught inside this room, never seen outside."""


def fault(reason: str) -> SignatureCheck:
    """The result for a reason of `FAULTS` (KeyError for any other)."""
    verstat: Literal["No-TN-Validation", "TN-Validation-Failed"]
    verstat = "No-TN-Validation" if reason in _NOT_VALIDATED else "TN-Validation-Failed"
    return SignatureCheck(verstat, reason=reason, sip_code=FAULTS[reason])
