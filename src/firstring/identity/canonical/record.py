"""Canonical forms of the vocabulary's fields, and of a whole record. Pure; every cache is bounded.

A value has one canonical form or is refused with a stable code:
too_long, control_character, not_unicode, not_text, empty, placeholder, invalid_phone, phone_letters, phone_too_short,
phone_too_long, phone_country_unknown, email_without_at, invalid_email, invalid_date, ambiguous_date,
birth_date_out_of_range, invalid_timestamp, unknown_country, unknown_language, invalid_postcode, invalid_ip,
ip_not_public, social_network_missing, identifier_too_long.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from firstring import limits
from firstring.contact import Reason
from firstring.errors import BadInput
from firstring.identity.canonical import codes, contactpoints, dates, placeholders
from firstring.identity.canonical.fields import FIELDS, IDENTIFIERS, SOCIAL_PREFIX, Field, is_attribute
from firstring.identity.canonical.text import CACHE_VALUES, Refused, clean

ATTRIBUTES: Final = "attributes"
"""Where a canonical record keeps its free attributes: {name: text, number or boolean}."""
TRACES: Final = "traces"
"""Where a canonical record keeps what refused dates, e-mail addresses and phone numbers still show: {field: text}."""
TOKEN_CHARS: Final = 200
"""The longest account, national id, device, cookie or record id."""

_ONE_OF_MANY = re.compile(r"[;|\n]+|,(?=[^,]*[@\d])")
_NOT_ALNUM = re.compile(r"[\s.\-_/]+")
_NOT_DIGIT = re.compile(r"\D+")
_DATE_DIGITS: Final = 8
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAMES_PEOPLE: Final = ("full_name", "given_name", "family_name", *IDENTIFIERS)
"""A record with none of these can never be found: it is not usable."""


class CanonicalRecord(msgspec.Struct, frozen=True):
    """A source record in canonical form.

    fields: text for a single field, a list of text (no duplicates, in the order given) for a field with several
    values, `attributes` and `traces`. All of it is JSON. dropped: values left out, with field, code and what was wrong.
    """

    record_id: str
    fields: dict[str, Any]
    dropped: tuple[Reason, ...] = ()

    def time(self, field: str) -> datetime | None:
        """A timestamp field as an aware UTC datetime."""
        value = self.fields.get(field)
        return dates.instant(value) if value else None


def canonical(field: str, raw: Any, *, country: str) -> str:
    """The canonical form of one value of `field`. `country` (alpha-2) is how national forms are read.

    Raises BadInput (codes above), where = {"field": field}. The message never holds the value.
    """
    if field not in FIELDS:
        raise BadInput("unknown_field", "no such field in the vocabulary", where={"field": field})
    value = _canonical(FIELDS[field], raw, country)
    if isinstance(value, Refused):
        raise BadInput(value.code, f"the value of {field} {value.message}", where={"field": field})
    return value


def canonical_list(field: str, raw: Any, *, country: str) -> tuple[list[str], list[Reason]]:
    """Canonical values of a field with several values, without duplicates, and what was left out."""
    values: list[str] = []
    dropped: list[Reason] = []
    for one in _each(FIELDS[field], raw):
        value = _canonical(FIELDS[field], one, country)
        if isinstance(value, Refused):
            if value.code != "empty":
                dropped.append(_dropped(field, value))
        elif value not in values:
            values.append(value)
    return values, dropped


def canonical_record(raw: Mapping[str, Any], *, country: str, findable: bool = True) -> CanonicalRecord:
    """A record out of raw values by field name; empty values are left out in silence, refused ones with a reason.

    Where the record names its own country, national forms are read by that. findable: False for what is appended to a
    record and need not be found by itself.
    Raises BadInput record_id_missing, record_id_invalid, record_too_large, or nothing_usable when neither a name nor
    an identifier is left.
    """
    record_id = _record_id(raw.get("record_id"))
    fields: dict[str, Any] = {}
    dropped: list[Reason] = []
    own = _canonical(FIELDS["country"], raw.get("country"), country)
    region = own if isinstance(own, str) else country
    attributes: dict[str, Any] = {}
    for name, given in raw.items():
        if given is None or given == "" or name == "record_id":
            continue
        field = FIELDS.get(name)
        if field is None:
            _take_other(name, given, country=region, fields=fields, attributes=attributes, dropped=dropped)
        elif field.several:
            values, left_out = canonical_list(name, given, country=region)
            dropped += left_out
            _extend(fields, name, values)
        else:
            value = _canonical(field, given, region)
            if isinstance(value, str):
                fields[name] = value
            elif value.code != "empty":
                dropped.append(_dropped(name, value))
    if attributes:
        fields[ATTRIBUTES] = attributes
    if dropped and (shown := traces(raw, fields, dropped)):
        fields[TRACES] = shown
    _bound(fields, dropped)
    if findable and not any(name in fields for name in _NAMES_PEOPLE):
        raise BadInput("nothing_usable", "neither a name nor an identifier is left", where={"field": "record_id"})
    return CanonicalRecord(record_id, fields, tuple(dropped))


def traces(raw: Mapping[str, Any], fields: Mapping[str, Any], dropped: Iterable[Reason]) -> dict[str, str]:
    """What refused values still show, for comparing records: a mistyped value has a right one behind it.

    Placeholders are no such values. Only fields that have no good value are looked at.
    """
    found: dict[str, str] = {}
    for reason in dropped:
        name = reason.field
        if reason.code == "placeholder" or name not in ("birth_date", "email", "phone") or name in fields or name in found:
            continue
        given = raw.get(name)
        for text in given if isinstance(given, list) else [given]:
            trace = str(text).strip().lower() if name == "email" else _NOT_DIGIT.sub("", str(text))
            fits = len(trace) == _DATE_DIGITS if name == "birth_date" else 7 <= len(trace) <= 100
            if fits and len(set(trace)) > 2:
                found[name] = trace
                break
    return found


def _record_id(raw: Any) -> str:
    text = _as_text(raw)
    value = clean(text) if isinstance(text, str) else text
    if isinstance(value, Refused) and value.code != "empty":
        raise BadInput("record_id_invalid", f"the record_id {value.message}", where={"field": "record_id"})
    if not isinstance(value, str) or not value:
        raise BadInput("record_id_missing", "the record has no record_id", where={"field": "record_id"})
    if len(value) > TOKEN_CHARS:
        message = f"the record_id is longer than {TOKEN_CHARS} characters"
        raise BadInput("record_id_invalid", message, where={"field": "record_id"})
    return value


def _take_other(
    name: str, given: Any, *, country: str, fields: dict[str, Any], attributes: dict[str, Any], dropped: list[Reason]
) -> None:
    """A value whose name is no field: a social handle of a named network, or a free attribute."""
    if not is_attribute(name):
        network = name.removeprefix(SOCIAL_PREFIX)
        handles = [one if ":" in str(one) else f"{network}:{one}" for one in _each(FIELDS["social"], given)]
        values, left_out = canonical_list("social", handles, country=country)
        dropped += left_out
        _extend(fields, "social", values)
        return
    label = clean(name)
    if isinstance(label, Refused) or not label:
        dropped.append(Reason("attribute_name_invalid", "an attribute's name is no text"))
    elif len(attributes) >= limits.ATTRIBUTES_PER_RECORD:
        dropped.append(Reason("too_many_attributes", f"more than {limits.ATTRIBUTES_PER_RECORD} attributes", field=label))
    elif isinstance(given, bool) or (isinstance(given, int | float) and math.isfinite(given) and abs(given) < 2**53):
        attributes[label] = given
    else:
        value = _canonical(FIELDS["note"], given, country)
        if isinstance(value, str):
            attributes[label] = value
        elif value.code != "empty":
            dropped.append(_dropped(label, value))


def _extend(fields: dict[str, Any], name: str, values: Iterable[str]) -> None:
    kept: list[str] = fields.get(name, [])
    kept = kept + [value for value in values if value not in kept]
    if kept:
        fields[name] = kept


def _bound(fields: dict[str, Any], dropped: list[Reason]) -> None:
    """Cut to limits.IDENTIFIERS_PER_RECORD identifiers, in the order given; refuse a record that is too large."""
    room = limits.IDENTIFIERS_PER_RECORD
    for name, value in fields.items():
        if isinstance(value, list):
            if len(value) > room:
                text = f"more than {limits.IDENTIFIERS_PER_RECORD} identifiers"
                dropped.append(Reason("too_many_identifiers", text, field=name))
            fields[name] = kept = value[:room]
            room -= len(kept)
    for name in [name for name, value in fields.items() if value == []]:
        del fields[name]
    # A character takes at most six bytes as JSON; only a record that may be too large is measured.
    if 6 * sum(len(str(value)) for value in fields.values()) > limits.RECORD_BYTES:
        size = len(msgspec.json.encode(fields))
        if size > limits.RECORD_BYTES:
            message = f"the record takes more than {limits.RECORD_BYTES} bytes"
            raise BadInput("record_too_large", message, where={"field": "record_id"})


def _dropped(field: str, refused: Refused) -> Reason:
    return Reason(refused.code, f"the value of {field} {refused.message}", field=field)


# --- one value ---------------------------------------------------------------------------------------------------


def _as_text(raw: Any) -> str | Refused:
    """Raw values of files and databases as text: 447911123456.0 is 447911123456."""
    if isinstance(raw, str):
        return raw
    if raw is None:
        return Refused("empty", "is empty")
    if isinstance(raw, bool):
        return Refused("not_text", "is a truth value")
    if isinstance(raw, int):
        # Python refuses to write an int of more than 4,300 digits; nothing as long is a value.
        return str(raw) if abs(raw) < 10**40 else Refused("too_long", "is a number of more than 40 digits")
    if isinstance(raw, float | Decimal):
        if not math.isfinite(raw):
            return Refused("empty", "is no number")
        if not -1e40 < raw < 1e40:
            return Refused("too_long", "is a number of more than 40 digits")
        return str(int(raw)) if raw == int(raw) else str(raw)
    if isinstance(raw, datetime | date):
        return raw.isoformat()
    return Refused("not_text", "is neither text, number nor date")


def _each(field: Field, raw: Any) -> list[Any]:
    """The single values of a raw one: a list, or text with ; or | (for phone and e-mail: commas too) between them."""
    if isinstance(raw, list | tuple | set):
        return [one for given in raw for one in ([given] if not isinstance(given, str) else _each(field, given))]
    if isinstance(raw, str) and field.kind in ("phone", "email") and len(raw) <= limits.FIELD_CHARS:
        return _ONE_OF_MANY.split(raw) if (";" in raw or "|" in raw or "," in raw or "\n" in raw) else [raw]
    return [raw]


def _canonical(field: Field, raw: Any, country: str) -> str | Refused:
    text = raw if isinstance(raw, str) else _as_text(raw)
    if isinstance(text, Refused):
        return text
    if len(text) > limits.FIELD_CHARS:
        return Refused("too_long", f"is longer than {limits.FIELD_CHARS} characters")
    return _FORMS[field.kind](text, country)


def _cleaned(form: Callable[[str, str], str | Refused]) -> Callable[[str, str], str | Refused]:
    """`form` behind cleaning, the refusal of empty text, and one bounded cache."""

    @lru_cache(maxsize=CACHE_VALUES)
    def cached(text: str, country: str) -> str | Refused:
        value = clean(text)
        if isinstance(value, Refused):
            return Refused(value.code, value.message if value.message.startswith("holds") else f"is {value.message}")
        return form(value, country) if value else Refused("empty", "is empty")

    return cached


def _name(text: str, _country: str) -> str | Refused:
    if text.lower() in placeholders.NAME_WORDS or not any(char.isalpha() for char in text):
        return Refused("placeholder", "is no name")
    return text


def _text(text: str, _country: str) -> str | Refused:
    return Refused("placeholder", "stands for 'not known'") if text.lower() in placeholders.WORDS else text


def _note(text: str, _country: str) -> str | Refused:
    value = clean(text, lines=True)
    if isinstance(value, Refused):
        return Refused(value.code, value.message if value.message.startswith("holds") else f"is {value.message}")
    return value if value else Refused("empty", "is empty")


def _number_id(text: str, _country: str) -> str | Refused:
    value = _NOT_ALNUM.sub("", text).upper()
    if len(value) > TOKEN_CHARS:
        return Refused("identifier_too_long", f"is longer than {TOKEN_CHARS} characters")
    if not value or text.lower() in placeholders.WORDS or placeholders.is_number(value):
        return Refused("placeholder", "stands for 'none'")
    return value


def _token(text: str, _country: str) -> str | Refused:
    if len(text) > TOKEN_CHARS:
        return Refused("identifier_too_long", f"is longer than {TOKEN_CHARS} characters")
    if text.lower() in placeholders.WORDS or len(set(text.replace("-", ""))) < 2:
        return Refused("placeholder", "stands for 'none'")
    return text.lower() if _UUID.fullmatch(text) else text


def _placeheld(form: Callable[[str, str], str | Refused]) -> Callable[[str, str], str | Refused]:
    """`form` for text that is not a word for 'none'."""

    def held(text: str, country: str) -> str | Refused:
        if text.lower() in placeholders.WORDS:
            return Refused("placeholder", "stands for 'not known'")
        return form(text, country)

    return held


_FORMS: Final[dict[str, Callable[[str, str], str | Refused]]] = {
    "record_id": _cleaned(lambda text, _country: text),
    "name": _cleaned(_name),
    "text": _cleaned(_text),
    "note": _note,
    "code": _cleaned(lambda text, _country: codes.code(text)),
    "gender": _cleaned(lambda text, _country: codes.gender(text)),
    "date": _cleaned(_placeheld(lambda text, _country: dates.birth_date(text))),
    "timestamp": _cleaned(_placeheld(lambda text, _country: dates.timestamp(text))),
    "phone": _cleaned(_placeheld(contactpoints.phone)),
    "email": _cleaned(_placeheld(lambda text, _country: contactpoints.email(text))),
    "postcode": _cleaned(_placeheld(codes.postcode)),
    "country": _cleaned(_placeheld(lambda text, _country: codes.country(text))),
    "language": _cleaned(_placeheld(lambda text, _country: codes.language(text))),
    "ip": _cleaned(_placeheld(lambda text, _country: contactpoints.ip(text))),
    "social": _cleaned(_placeheld(lambda text, _country: contactpoints.social(text))),
    "number_id": _cleaned(_number_id),
    "token": _cleaned(_token),
}
