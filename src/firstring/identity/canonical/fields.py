"""The one field vocabulary: imports, evidence, comparisons and profiles all speak of these fields.

Any other name is a free attribute. A field's `kind` names its canonical form (see `canonical`).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Kind = Literal[
    "record_id", "name", "text", "note", "code", "date", "timestamp", "phone", "email", "postcode", "country",
    "gender", "language", "ip", "social", "number_id", "token",
]  # fmt: skip


class Field(msgspec.Struct, frozen=True):
    """One field: `several` values form a list; `identifier` says that a value alone may point to a person."""

    name: str
    kind: Kind
    description: str
    several: bool = False
    identifier: bool = False


def _table(*rows: Field) -> dict[str, Field]:
    return {row.name: row for row in rows}


FIELDS: Final[dict[str, Field]] = _table(
    Field("record_id", "record_id", "The source's own id of the record, unique within the source; required."),
    Field("full_name", "name", "The whole name as one text; 'Family, Given' is understood."),
    Field("given_name", "name", "Given (first) name."),
    Field("middle_name", "name", "Middle names or initials."),
    Field("family_name", "name", "Family name or names, particles (van der, de la) included."),
    Field("suffix", "name", "Generation suffix: Jr, Sr, II, III, IV."),
    Field("birth_date", "date", "Date of birth, YYYY-MM-DD."),
    Field("gender", "gender", "Gender as the source states it: female, male, or its own word. Identity and audits only."),
    Field("phone", "phone", "Phone numbers, E.164.", several=True, identifier=True),
    Field("email", "email", "E-mail addresses, lower-cased.", several=True, identifier=True),
    Field("address", "text", "The postal address as one text."),
    Field("street", "text", "Street without the house number."),
    Field("house_number", "text", "House number with its addition."),
    Field("city", "text", "Place."),
    Field("region", "text", "State, province or county."),
    Field("postcode", "postcode", "Postal code, upper-cased."),
    Field("country", "country", "Country, ISO 3166-1 alpha-2."),
    Field("national_id", "number_id", "National or tax id, upper-cased letters and digits.", identifier=True),
    Field("account", "number_id", "Customer or account numbers, unique in the organisation.", several=True, identifier=True),
    Field("device", "token", "Device ids.", several=True, identifier=True),
    Field("ip", "ip", "IP addresses. They name a network, not a person: kept, never an identifier.", several=True),
    Field("cookie", "token", "Visitor ids of the web snippet.", several=True, identifier=True),
    Field("social", "social", "Social handles, network:handle; also as social_NETWORK.", several=True, identifier=True),
    Field("carrier", "text", "Carrier of the phone number on file."),
    Field("line_type", "code", "Line type of the phone number on file: mobile, landline, voip, ..."),
    Field("language", "language", "Preferred language, BCP 47 primary subtag (en, nl)."),
    Field("tier", "code", "Customer tier (vip, gold, ...)."),
    Field("note", "note", "Free text for people; never compared."),
    Field("first_seen", "timestamp", "When the source first saw the customer, RFC 3339; without an offset it is UTC."),
    Field("last_seen", "timestamp", "When the source last saw the customer, RFC 3339; without an offset it is UTC."),
    Field("verified_at", "timestamp", "When the identity was last verified, RFC 3339; without an offset it is UTC."),
    Field("sim_changed_at", "timestamp", "When the SIM card of the phone last changed, RFC 3339."),
)  # fmt: skip

IDENTIFIERS: Final[tuple[str, ...]] = tuple(name for name, field in FIELDS.items() if field.identifier)
"""The kinds of Identifier."""

SOCIAL_PREFIX: Final = "social_"


def vocabulary() -> tuple[Field, ...]:
    """All fields in the order of the documentation."""
    return tuple(FIELDS.values())


def is_attribute(name: str) -> bool:
    """Whether `name` is kept as a free attribute, because it is no field (social_NETWORK is the field social)."""
    return name not in FIELDS and not (name.startswith(SOCIAL_PREFIX) and len(name) > len(SOCIAL_PREFIX))
