"""What a contact shows about whether it is really them: the plain signals, each one value out of a short list.

A signal that is missing, broken or not checked takes the value that helps nobody: it never makes a contact look safer.
"""

from __future__ import annotations

from typing import Final

import msgspec

from firstring.contact import Candidate, Channel, Evidence, Identifier, Read, Resolution, SignatureCheck
from firstring.trust.priors import NUMBERS, Number, Signature

_ADDRESSES: Final = ("phone", "email", "social")
"""Kinds of identifiers that a written contact comes from. Cookies and devices are no address of a person."""


class Signals(msgspec.Struct, frozen=True):
    """The values that count, and the result of STIR/SHAKEN they rest on."""

    number: Number
    signature: Signature
    check: SignatureCheck | None = None


def observe(
    evidence: Evidence, candidate: Candidate | None, resolution: Resolution, read: Read, *, channel: Channel
) -> Signals:
    """The signals of a contact that would be `candidate` (None: nobody is known)."""
    number = _number(evidence, candidate, resolution, read, channel)
    signature: Signature = "not_checked"
    check = evidence.signature
    if check is not None and check.verstat == "TN-Validation-Failed":
        signature = "failed"
    elif check is not None and check.verstat == "TN-Validation-Passed" and number in ("known", "shared"):
        # Vouching for a number supports the person only if it is that person's number. C (a gateway) vouches for nothing.
        if check.attestation == "A":
            signature = "attested_a"
        elif check.attestation == "B":
            signature = "attested_b"
    return Signals(number, signature, check)


def _number(evidence: Evidence, candidate: Candidate | None, resolution: Resolution, read: Read, channel: Channel) -> Number:
    if channel == "voice":
        if evidence.caller_number != "shown":
            return evidence.caller_number
        shown = [identifier for identifier in evidence.identifiers if identifier.kind == "phone"]
        if not shown:
            return "unusable"
    else:
        shown = [identifier for identifier in evidence.identifiers if identifier.kind in _ADDRESSES]
    if candidate is None or not shown:
        return "not_applicable"
    # Where there are several (From and P-Asserted-Identity), the worst counts: one that fits does not excuse another.
    return max((_match(identifier, candidate, resolution, read) for identifier in shown), key=NUMBERS.index)


def _match(identifier: Identifier, candidate: Candidate, resolution: Resolution, read: Read) -> Number:
    theirs = others = False
    for record in read.records:
        if identifier in record.matched:
            if record.person_id == candidate.person_id:
                theirs = True
            else:
                others = True
    if not theirs:
        return "unknown"
    fan_out = next((fan for fan in read.fan_out if fan.identifier == identifier), None)
    household = resolution.household is not None and resolution.household.shared == identifier
    # Without a count of the people behind it, nobody has established that it is theirs alone.
    alone = fan_out is not None and fan_out.persons <= 1 and not fan_out.hot
    return "shared" if others or household or identifier in resolution.hot or not alone else "known"
