"""Key material: the texts under which records are found and by which they are glued into persons.

The store turns each text into a keyed hash (HMAC under the tenant's key); nothing here is stored as it is. No value of
low entropy (a name, a birth date, a postcode) is a key alone. docs/decisions/identity-keys.md says why these keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from firstring import limits
from firstring.contact import Identifier
from firstring.identity.canonical.codes import postcode_key
from firstring.identity.canonical.fields import FIELDS, IDENTIFIERS
from firstring.identity.canonical.names import PersonName, name_of

_SEPARATOR: Final = "\x1f"
"""Canonical values hold no control character, so that two different lists of parts are never one text."""
_LINKING: Final = ("phone", "email", "account")
"""Identifiers that glue records together with a name. A device or cookie is shared too easily, a handle too rarely."""


def identifier_keys(fields: Mapping[str, Any]) -> list[Identifier]:
    """The identifiers of a record or of evidence, at most limits.IDENTIFIERS_PER_RECORD. An IP address is none."""
    found = [Identifier(kind, value) for kind in IDENTIFIERS for value in _values(fields, kind)]
    return found[: limits.IDENTIFIERS_PER_RECORD]


def composite_key(fields: Mapping[str, Any]) -> str | None:
    """Formal given name + family name + birth date + postcode; None unless all are there.

    By it a record is found for a contact that says who it is and where it lives; it has no suffix, because callers
    leave it out. Works on the canonical fields of a record and on the claims of evidence.
    """
    name = name_of(fields)
    born, postcode = fields.get("birth_date"), fields.get("postcode")
    if not (name.key and born and postcode):
        return None
    return _key("composite", name.key, born, postcode_key(postcode))


def link_keys(fields: Mapping[str, Any]) -> list[str]:
    """The composite keys by which a record is glued to others: records that share one are one person.

    Wide keys are an identifier with the name. A record that states its birth date also has, for each wide key, the
    narrow one with the birth year (see `link_guards`). Keys with the birth date itself need no guard.
    """
    name = name_of(fields)
    guards = _guards(fields, name)
    born = fields.get("birth_date")
    keys = dict.fromkeys(guards)
    for narrow in guards.values():
        if narrow:
            keys[narrow] = None
    if born:
        for number in _values(fields, "national_id"):
            keys[_key("national_id+born", number, born)] = None
        if len(name.root) > 1:
            for number in _values(fields, "account"):
                keys[_key("account+given+born", number, name.root, name.suffix, born)] = None
        postcode = fields.get("postcode")
        if name.key and postcode:
            keys[_key("name+born+postcode", name.key, name.suffix, born, postcode_key(postcode))] = None
    return list(keys)[: limits.IDENTIFIERS_PER_RECORD]


def link_guards(fields: Mapping[str, Any]) -> dict[str, str | None]:
    """Each wide key of `link_keys` with its narrow one, or None where the record states no birth date.

    Two records that share a wide key and state different birth years are two people (father and son of one name). A
    wide key with more than one narrow one among its records is contested: it glues nobody, and goes into `hot` of
    `clusters.components`. The narrow keys still glue. Contested is a function of the set of records, not of order.
    """
    return _guards(fields, name_of(fields))


def contested(links: Iterable[tuple[bytes, bytes | None]]) -> frozenset[bytes]:
    """Of (wide key, narrow key or None) of records, the wide keys with more than one narrow key."""
    first: dict[bytes, bytes] = {}
    found: set[bytes] = set()
    for wide, narrow in links:
        if narrow is not None and first.setdefault(wide, narrow) != narrow:
            found.add(wide)
    return frozenset(found)


def must_link_key(record_id: int) -> str:
    """The key that an agent's or steward's confirmation gives to a record and to the record it is glued to."""
    return _key("must", str(record_id))


def _guards(fields: Mapping[str, Any], name: PersonName) -> dict[str, str | None]:
    wide: list[str] = []
    if len(name.root) > 1:
        for number in _values(fields, "national_id"):
            wide.append(_key("national_id+given", number, name.root, name.suffix))
    if name.key:
        for kind in _LINKING:
            for value in _values(fields, kind):
                wide.append(_key(f"{kind}+name", value, name.key, name.suffix))
    born = fields.get("birth_date")
    # The year, because it survives a mistyped day or month; a father and his son never share it.
    return {key: _SEPARATOR.join((key, born[:4])) if born else None for key in wide}


def _values(fields: Mapping[str, Any], kind: str) -> list[str]:
    value = fields.get(kind)
    if not value:
        return []
    return list(value) if FIELDS[kind].several and not isinstance(value, str) else [value]


def _key(kind: str, *parts: str) -> str:
    return _SEPARATOR.join(("link", kind, *parts))
