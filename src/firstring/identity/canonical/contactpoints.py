"""Phone numbers, e-mail addresses, IP addresses and social handles in their canonical forms."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from firstring.identity.canonical import placeholders
from firstring.identity.canonical.text import Refused

_EXTENSION = re.compile(r"[\s,;]*(?:ext(?:ension|n)?\.?|x|#|;ext=)[\s:=.]*\d{1,7}$", re.IGNORECASE)
_PHONE = re.compile(r"\+?[\d\s().\-/‐‑–—\u00a0]+")
_PHONE_PARTS: Final = ("tel:", "tel.", "tel", "phone:", "mobile:")
_PLAIN_PHONE = re.compile(r"\+?[(]?[0-9][0-9 ().-]{6,22}", re.ASCII)
_NOT_DIGIT = re.compile(r"[^0-9]+")
_CALLING_CODES: Final = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
Line: TypeAlias = Literal["landline", "mobile", ""]
_LINES: Final[dict[int, Line]] = {
    phonenumbers.PhoneNumberType.FIXED_LINE: "landline",
    phonenumbers.PhoneNumberType.MOBILE: "mobile",
}
_TOO_SHORT = {phonenumbers.ValidationResult.TOO_SHORT, phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY}

_ATOM: Final = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_EMAIL = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@((?:[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.)+[a-z]{{2,24}})", re.ASCII)
_SPECIAL_DOMAINS: Final = ("arpa", "invalid", "local", "localhost", "onion", "test")
"""RFC 6761 and relatives: email-validator refuses them, so the plain form leaves them to it."""

_SOCIAL_URL = re.compile(r"(?:https?://)?(?:www\.|m\.)?([a-z]+)\.(?:com|net|org|me|social)/(?:in/|@)?([^/?#\s]+)/?")
_SOCIAL = re.compile(r"([a-z]{1,32}):@?([^\s:/]{1,200})")
_SOCIAL_NAMES: Final = {"fb": "facebook", "x": "twitter", "insta": "instagram", "ig": "instagram", "wa": "whatsapp"}


def phone(text: str, country: str) -> str | Refused:
    """E.164 (ITU-T). National forms are read as of `country`; an extension is cut, because no caller number shows one.

    The number must be possible (length and shape). It need not lie in an assigned range: ranges are assigned faster
    than any library learns them, and an identifier of an unknown range identifies as well.
    """
    if (plain := _plain_phone(text, country)) is not None:
        return plain
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    bare = _EXTENSION.sub("", text.strip())
    lowered = bare.lower()
    for prefix in _PHONE_PARTS:
        if lowered.startswith(prefix):
            bare = bare[len(prefix) :].strip()
            break
    if not _PHONE.fullmatch(bare):
        letters = any(char.isalpha() for char in bare)
        return Refused("phone_letters", "holds letters") if letters else Refused("invalid_phone", "is no phone number")
    digits = "".join(char for char in bare if char.isdigit())
    if placeholders.is_phone(digits):
        return Refused("placeholder", "is a number that stands for 'none'")
    try:
        number = phonenumbers.parse(bare, country or None)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not bare.startswith("+"):
            return Refused("phone_country_unknown", "is in national form, and the country is not known")
        if error.error_type == phonenumbers.NumberParseException.TOO_LONG:
            return Refused("phone_too_long", "has too many digits")
        return Refused("invalid_phone", "is no phone number")
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible in _TOO_SHORT:
        return Refused("phone_too_short", "has too few digits")
    if possible == phonenumbers.ValidationResult.TOO_LONG:
        return Refused("phone_too_long", "has too many digits")
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        return Refused("invalid_phone", "is not a possible number of its country")
    if placeholders.is_phone(str(number.national_number)):
        return Refused("placeholder", "is a number that stands for 'none'")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


class _Numbering(NamedTuple):
    """What the numbering plan of a region says of the length and the beginning of its numbers."""

    code: str
    abroad: re.Pattern[str] | None
    trunk: re.Pattern[str] | None
    lengths: frozenset[int]


@lru_cache(maxsize=4096)
def line_of(number: str) -> Line:
    """What its country's number plan gives an E.164 number to; "" for others, and where the plan does not tell."""
    if number.startswith("+1"):
        return ""  # North America's: fixed lines and mobiles share all ranges
    try:
        return _LINES.get(phonenumbers.number_type(phonenumbers.parse(number)), "")
    except phonenumbers.NumberParseException:
        return ""


@lru_cache(maxsize=512)
def _numbering(region: str) -> _Numbering | None:
    """region: alpha-2, or a calling code as text. None where there is no such region."""
    if region.isdigit():
        code = int(region)
        metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(
            code, phonenumbers.region_code_for_country_code(code)
        )
    else:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    if metadata is None:
        return None
    abroad, trunk, possible = metadata.international_prefix, metadata.national_prefix_for_parsing, metadata.general_desc
    lengths = () if possible is None else set(possible.possible_length) - set(possible.possible_length_local_only)
    return _Numbering(
        str(metadata.country_code),
        re.compile(abroad) if abroad else None,
        re.compile(trunk) if trunk else None,
        frozenset(lengths),
    )


def _plain_phone(text: str, country: str) -> str | None:
    """E.164 of a number that is plainly one, a tenth of the library's time: of a possible length, no prefix to be cut.

    None is for the library to look at. What is found here is what the library finds.
    """
    if not _PLAIN_PHONE.fullmatch(text):
        return None
    digits = _NOT_DIGIT.sub("", text)
    if text[0] == "+":
        code = next((digits[:end] for end in (1, 2, 3) if int(digits[:end]) in _CALLING_CODES), "")
        if not code or digits[0] == "0":
            return None
        national = digits[len(code) :]
    else:
        own = _numbering(country) if country else None
        if own is None or digits.startswith(own.code) or (own.abroad and own.abroad.match(digits)):
            return None
        if len(digits) not in own.lengths or (own.trunk and own.trunk.match(digits)):
            return None
        code, national = own.code, digits
    plan = _numbering(code)
    if plan is None or len(national) not in plan.lengths or (plan.trunk and plan.trunk.match(national)):
        return None
    if placeholders.is_phone(digits) or placeholders.is_phone(national.lstrip("0")):
        return None
    return f"+{code}{national}"


def email(text: str) -> str | Refused:
    """The address lower-cased (RFC 5321 by email-validator, no look-up in the DNS). The plain form needs no library."""
    address = text.strip().strip("<>").lower().removeprefix("mailto:")
    local, at, domain = address.rpartition("@")
    if not at:
        return Refused("email_without_at", "holds no @")
    if placeholders.is_email(local, domain):
        return Refused("placeholder", "is an address that stands for 'none'")
    if _is_plain_email(address, local, domain):
        return address
    try:
        return validate_email(address, check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return Refused("invalid_email", "is no e-mail address")


def _is_plain_email(address: str, local: str, domain: str) -> bool:
    """Whether the address is of the plain form of RFC 5321 that email-validator accepts as it is."""
    if len(local) > 64 or len(address) > 254 or "--" in domain or not _PLAIN_EMAIL.fullmatch(address):
        return False
    return domain.rpartition(".")[2] not in _SPECIAL_DOMAINS


def ip(text: str) -> str | Refused:
    """The address in the form of RFC 5952; refused: loopback, private, unspecified and the like."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return Refused("invalid_ip", "is no IP address")
    if address.is_unspecified or address.is_loopback or address.is_private or address.is_link_local:
        return Refused("ip_not_public", "is no public address")
    return address.compressed


def social(text: str) -> str | Refused:
    """'network:handle', lower-cased. Understood: 'network:@handle' and the address of a profile."""
    lowered = text.strip().lower()
    match = _SOCIAL.fullmatch(lowered) or _SOCIAL_URL.fullmatch(lowered)
    if not match:
        return Refused("social_network_missing", "must be network:handle")
    handle = match[2].strip("@.")
    if len(handle) < 2 or handle in placeholders.WORDS:
        return Refused("placeholder", "is no handle of anybody")
    return f"{_SOCIAL_NAMES.get(match[1], match[1])}:{handle}"
