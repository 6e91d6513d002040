"""How one value survives among several, by field, as data: criteria in order, how fast a value ages, what conflicts.

The defaults below are priors (basis: judgement, not fitted). A file survivorship.toml in the home directory changes them:

    [sources]
    crm = 10                        # trust: of two sources the one with the higher number wins; 0 where none is named

    [numbers]
    verified_days = 730

    [fields.phone]
    order = ["verified", "newest"]  # without "first_party" what providers append competes on equal terms
    half_life_days = 365
    life_days = 1095                # 0: it never expires

    [fields.family_name]
    conflict = true
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from firstring.errors import BadInput
from firstring.identity.canonical.fields import FIELDS

CRITERIA: Final[dict[str, str]] = {
    "steward": "a steward chose it",
    "live": "the other has expired",
    "first_party": "it comes from a source of one's own, the other from a provider",
    "verified": "the identity was verified when the source held it",
    "trusted": "its source is trusted more",
    "newest": "it was seen last",
    "placed": "its record names it first",
    "frequent": "more sources say so",
    "complete": "it says more",
    "earliest": "it is the earliest",
    "latest": "it is the latest",
    "tie": "all else is equal: by source and the source's own id",
    "only": "no other value is there",
    "with_address": "it belongs to the address that was chosen",
}
"""Why a value wins, in words; of a loser: what the winner has."""
ORDERABLE: Final = (
    "first_party", "verified", "trusted", "newest", "placed", "frequent", "complete", "earliest", "latest",
)  # fmt: skip
ATTRIBUTE: Final = "attribute"
"""The rule of every free attribute."""
ADDRESS: Final = ("address", "street", "house_number", "city", "postcode")
"""Parts of one address: they win and lose together, so that no address is made up of two."""
ALONG: Final = ("region", "country")
"""What goes along with an address, and says nothing of where in it somebody lives."""
_DEFAULT_ORDER: Final = ("first_party", "verified", "trusted", "newest", "frequent", "complete")
_LIST_ORDER: Final = ("first_party", "verified", "newest", "placed", "trusted", "frequent")
_FIXED_ORDER: Final = ("first_party", "verified", "trusted", "frequent", "newest", "complete")
_YEAR: Final = 365.0
DAYS_MAX: Final = 36_525.0
RULES_FILE: Final = "survivorship.toml"
"""In the home directory."""


class FieldRule(msgspec.Struct, frozen=True):
    """How a field's values compete. half_life_days: None, it does not fade. life_days: None, it does not expire.

    conflict: two values with comparable support are put before a steward.
    """

    order: tuple[str, ...] = _DEFAULT_ORDER
    half_life_days: float | None = 3 * _YEAR
    life_days: float | None = None
    conflict: bool = False


class Numbers(msgspec.Struct, frozen=True):
    """Numbers of all fields.

    verified_days: how long a verification counts. unknown_age_days: the age of a value of which no time is known.
    reverify_below: a contact detail or name with less confidence is to be asked again. conflict_ratio: a value contradicts
    another with at least this share of its confidence. *_confidence: of a value on the day it was seen.
    """

    verified_days: float = 3 * _YEAR
    unknown_age_days: float = 2 * _YEAR
    reverify_below: float = 0.5
    conflict_ratio: float = 0.5
    verified_confidence: float = 0.98
    first_party_confidence: float = 0.9
    enrichment_confidence: float = 0.6


def _address() -> FieldRule:
    return FieldRule(half_life_days=6 * _YEAR, life_days=15 * _YEAR)


DEFAULT_FIELDS: Final[dict[str, FieldRule]] = {
    "full_name": FieldRule(half_life_days=20 * _YEAR),
    "given_name": FieldRule(half_life_days=40 * _YEAR),
    "middle_name": FieldRule(half_life_days=40 * _YEAR),
    "family_name": FieldRule(half_life_days=20 * _YEAR),
    "suffix": FieldRule(half_life_days=None, conflict=True),
    "birth_date": FieldRule(_FIXED_ORDER, None, None, conflict=True),
    "gender": FieldRule(half_life_days=None),
    "national_id": FieldRule(_FIXED_ORDER, None, None, conflict=True),
    "phone": FieldRule(_LIST_ORDER, 3 * _YEAR, 6 * _YEAR),
    "email": FieldRule(_LIST_ORDER, 4 * _YEAR, 8 * _YEAR),
    "account": FieldRule(_LIST_ORDER, None, None),
    "device": FieldRule(_LIST_ORDER, 1 * _YEAR, 3 * _YEAR),
    "cookie": FieldRule(_LIST_ORDER, 90.0, 400.0),
    "ip": FieldRule(_LIST_ORDER, 30.0, 180.0),
    "social": FieldRule(_LIST_ORDER, 4 * _YEAR, 10 * _YEAR),
    **{part: _address() for part in (*ADDRESS, *ALONG)},
    "carrier": FieldRule(half_life_days=2 * _YEAR, life_days=5 * _YEAR),
    "line_type": FieldRule(half_life_days=2 * _YEAR, life_days=5 * _YEAR),
    "language": FieldRule(half_life_days=20 * _YEAR),
    "tier": FieldRule(half_life_days=1 * _YEAR, life_days=5 * _YEAR),
    "note": FieldRule(half_life_days=1 * _YEAR),
    "first_seen": FieldRule(("earliest",), None),
    "last_seen": FieldRule(("latest",), None),
    "verified_at": FieldRule(("latest",), None),
    "sim_changed_at": FieldRule(("latest",), None),
    ATTRIBUTE: FieldRule(half_life_days=3 * _YEAR),
}
"""Half-lives and lives follow how often people change these: a name by marriage, a home about every seven years, a
number when they change their provider; browsers keep a cookie for 400 days at most."""
ASKED_AGAIN: Final = ("full_name", "given_name", "family_name", "phone", "email", *ADDRESS)
"""Fields that a person can be asked for again."""


class Rules(msgspec.Struct, frozen=True, dict=True):
    """All of it. `trust` is by source."""

    fields: dict[str, FieldRule] = msgspec.field(default_factory=lambda: DEFAULT_FIELDS)
    trust: dict[str, int] = {}
    numbers: Numbers = Numbers()

    @cached_property
    def version(self) -> str:
        """Named after the content."""
        text = msgspec.json.encode(msgspec.to_builtins(self), order="deterministic")
        return "survivorship-" + hashlib.sha256(text).hexdigest()[:12]

    def of(self, field: str) -> FieldRule:
        """The rule of a field, or of an attribute."""
        return self.fields.get(field) or self.fields[ATTRIBUTE]


DEFAULT: Final = Rules()


def rules_from_file(path: Path) -> Rules:
    """The rules of a file over the defaults; the defaults where there is no file.

    Raises BadInput survivorship_unreadable, or survivorship_invalid with the file and the key.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return DEFAULT
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        raise BadInput(
            "survivorship_unreadable", f"The rules cannot be read: {reason}.", where={"file": str(path)}
        ) from error
    try:
        return rules_of(tables)
    except BadInput as error:
        raise BadInput(error.code, error.message, where={"file": str(path), **error.where}, hint=error.hint) from None


def rules_of(tables: Mapping[str, Any]) -> Rules:
    """Rules out of parsed TOML. Raises BadInput survivorship_invalid with the key."""
    for name in tables:
        _known(name, ("sources", "numbers", "fields"), name)
    numbers = {}
    for name, value in _table(tables.get("numbers", {}), "numbers").items():
        key = f"numbers.{name}"
        _known(name, Numbers.__struct_fields__, key)
        numbers[name] = _number(value, key, DAYS_MAX if name.endswith("_days") else 1.0)
    trust = {}
    for source, value in _table(tables.get("sources", {}), "sources").items():
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 1_000:
            raise _invalid(f"sources.{source}", "is no whole number from -1000 to 1000")
        trust[source] = value
    fields = dict(DEFAULT_FIELDS)
    for name, value in _table(tables.get("fields", {}), "fields").items():
        _known(name, DEFAULT_FIELDS, f"fields.{name}")
        fields[name] = _field_rule(name, _table(value, f"fields.{name}"))
    return Rules(fields, trust, Numbers(**numbers))


def _field_rule(name: str, table: Mapping[str, Any]) -> FieldRule:
    changes: dict[str, Any] = {}
    for key, value in table.items():
        where = f"fields.{name}.{key}"
        _known(key, FieldRule.__struct_fields__, where)
        if key == "order":
            changes[key] = _order(name, value, where)
        elif key == "conflict":
            if not isinstance(value, bool):
                raise _invalid(where, "is neither true nor false")
            if name in FIELDS and FIELDS[name].several and value:
                raise _invalid(where, "cannot be: the field holds several values")
            changes[key] = value
        else:
            changes[key] = _number(value, where, DAYS_MAX) or None
    return msgspec.structs.replace(DEFAULT_FIELDS[name], **changes)


def _order(name: str, value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise _invalid(where, "is no list of different criteria")
    for criterion in value:
        if criterion not in ORDERABLE:
            raise _invalid(where, "names an unknown criterion", f"Criteria: {', '.join(ORDERABLE)}.")
        if criterion in ("earliest", "latest") and (name not in FIELDS or FIELDS[name].kind != "timestamp"):
            raise _invalid(where, f"cannot hold {criterion}: the field is no time")
    return tuple(value)


def _table(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(key, "is no table")
    return value


def _number(value: Any, key: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise _invalid(key, f"is no number from 0 to {most:g}")
    return float(value)


def _known(name: str, known: Any, key: str) -> None:
    if name not in known:
        raise _invalid(key, "is not known", f"Known: {', '.join(known)}.")


def _invalid(key: str, what: str, hint: str = "") -> BadInput:
    return BadInput("survivorship_invalid", f"{key} {what}.", where={"key": key}, hint=hint)
