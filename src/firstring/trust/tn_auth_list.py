"""Which numbers a certificate may sign for: the TNAuthList extension (RFC 8226, section 9), read and written as DER.

    TNAuthorizationList ::= SEQUENCE SIZE (1..MAX) OF TNEntry
    TNEntry ::= CHOICE { spc [0] ServiceProviderCode, range [1] TelephoneNumberRange, one [2] TelephoneNumber }
    TelephoneNumberRange ::= SEQUENCE { start TelephoneNumber, count INTEGER (2..MAX), ... }
    ServiceProviderCode ::= IA5String    TelephoneNumber ::= IA5String (SIZE (1..15)) (FROM ("0123456789#*"))

The module's tags are explicit. Lengths are definite; what is not this grammar is refused as a whole.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

OID: Final = "1.3.6.1.5.5.7.1.26"
ENTRIES: Final = 1_000
"""Entries read from one certificate (a certificate has at most 16 KB)."""

_SEQUENCE, _INTEGER, _IA5STRING = 0x30, 0x02, 0x16
_SPC, _RANGE, _ONE = 0xA0, 0xA1, 0xA2
_SPC_FORM = re.compile(rb"[0-9A-Za-z\-_.]{1,32}")
_TN_FORM = re.compile(rb"[0-9#*]{1,15}")
_DIGITS = re.compile(r"[0-9]{1,15}")


class NumberRange(msgspec.Struct, frozen=True):
    """`count` consecutive numbers from `start` (digits, the country code first), all of the same length."""

    start: str
    count: int

    def covers(self, number: str) -> bool:
        if len(number) != len(self.start) or not _DIGITS.fullmatch(number):
            return False
        return 0 <= int(number) - int(self.start) < self.count


class TnAuthList(msgspec.Struct, frozen=True):
    """What a certificate may sign for: service provider codes, ranges of numbers, single numbers."""

    service_providers: tuple[str, ...] = ()
    ranges: tuple[NumberRange, ...] = ()
    numbers: tuple[str, ...] = ()

    def covers(self, number: str) -> bool:
        """May it sign for `number` (canonical digits)? A list of provider codes alone names no numbers and limits none."""
        if not self.ranges and not self.numbers:
            return bool(self.service_providers)
        return number in self.numbers or any(numbers.covers(number) for numbers in self.ranges)


def read(der: bytes) -> TnAuthList:
    """The list out of the extension's value. Raises ValueError for anything else than the grammar above."""
    body, rest = _element(der, _SEQUENCE)
    if rest or not body:
        raise ValueError("a TNAuthList is one sequence with at least one entry")
    providers: list[str] = []
    ranges: list[NumberRange] = []
    numbers: list[str] = []
    while body:
        if len(providers) + len(ranges) + len(numbers) >= ENTRIES:
            raise ValueError("too many entries")
        tag = body[0]
        entry, body = _element(body, tag)
        if tag == _SPC:
            providers.append(_text(entry, _SPC_FORM))
        elif tag == _RANGE:
            ranges.append(_range(entry))
        elif tag == _ONE:
            numbers.append(_text(entry, _TN_FORM))
        else:
            raise ValueError("unknown kind of entry")
    return TnAuthList(tuple(providers), tuple(ranges), tuple(numbers))


def write(entries: TnAuthList) -> bytes:
    """DER of a list, for certificates of one's own (trial_ca)."""
    parts = [_tlv(_SPC, _tlv(_IA5STRING, code.encode("ascii"))) for code in entries.service_providers]
    for numbers in entries.ranges:
        # One octet more than needed where the top bit is set: a DER INTEGER is signed.
        count = numbers.count.to_bytes(numbers.count.bit_length() // 8 + 1, "big")
        pair = _tlv(_IA5STRING, numbers.start.encode("ascii")) + _tlv(_INTEGER, count)
        parts.append(_tlv(_RANGE, _tlv(_SEQUENCE, pair)))
    parts += [_tlv(_ONE, _tlv(_IA5STRING, number.encode("ascii"))) for number in entries.numbers]
    return _tlv(_SEQUENCE, b"".join(parts))


def _range(entry: bytes) -> NumberRange:
    body, rest = _element(entry, _SEQUENCE)
    if rest:
        raise ValueError("bytes after a range")
    start, body = _element(body, _IA5STRING)
    count, _extensions = _element(body, _INTEGER)  # the grammar's "..." allows later fields
    if not _TN_FORM.fullmatch(start) or not start.isdigit():
        raise ValueError("a range starts at a number of digits")
    if not 1 <= len(count) <= 8 or (len(count) > 1 and count[0] == 0 and count[1] < 0x80):
        raise ValueError("a count is a small DER integer")
    size = int.from_bytes(count, "big", signed=True)
    if size < 2:
        raise ValueError("a range has at least two numbers")
    return NumberRange(start.decode("ascii"), size)


def _text(entry: bytes, form: re.Pattern[bytes]) -> str:
    value, rest = _element(entry, _IA5STRING)
    if rest or not form.fullmatch(value):
        raise ValueError("not a service provider code or telephone number")
    return value.decode("ascii")


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """(content, what follows) of the first element, which must have this tag."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("unexpected element")
    length, start = data[1], 2
    if length >= 0x80:
        octets = length & 0x7F
        if octets not in (1, 2) or len(data) < 2 + octets:
            raise ValueError("unusable length")
        length, start = int.from_bytes(data[2 : 2 + octets], "big"), 2 + octets
        if length < (0x80 if octets == 1 else 0x100):
            raise ValueError("length not in its shortest form")
    if len(data) < start + length:
        raise ValueError("shorter than its length says")
    return data[start : start + length], data[start + length :]


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
