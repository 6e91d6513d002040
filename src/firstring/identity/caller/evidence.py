"""Evidence out of the raw fields of a contact. Never raises for what a caller sent: garbage goes to `rejected`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import unquote

from firstring import limits
from firstring.contact import Evidence, Identifier, Reason
from firstring.errors import BadInput
from firstring.identity.canonical.fields import FIELDS, SOCIAL_PREFIX, is_attribute
from firstring.identity.canonical.record import canonical, canonical_list

Shown = Literal["shown", "absent", "unusable"]

ASSERTED: Final = ("pai", "p_asserted_identity", "p-asserted-identity")
"""The number that the network vouches for (RFC 3325); it wins over From, which the caller may write."""
STATED: Final = ("from", "caller", "caller_number", "ani", "cli")
"""Other names of the caller number, as channels call it. `phone` is one too."""
ALIASES: Final = {"name": "full_name", "first_name": "given_name", "last_name": "family_name", "surname": "family_name"}
REJECTED_MAX: Final = 32
"""Reasons kept for one contact."""

_ANONYMOUS: Final = frozenset(
    (
        "",
        "anonymous",
        "restricted",
        "unavailable",
        "unknown",
        "private",
        "withheld",
        "blocked",
        "none",
        "nobody",
        "-",
        "0",
    )
)
_ADDRESS = re.compile(r"<([^<>]*)>")
_SCHEME = re.compile(r"(sips?|tel|callto):", re.IGNORECASE)


def gather(raw: Mapping[str, Any], *, country: str) -> Evidence:
    """Evidence of one contact.

    raw: fields of the vocabulary and their ALIASES; the caller number under `pai`, `from` (see ASSERTED, STATED) or
    `phone`, national, E.164, tel: or sip:; `intent`; `said`, in their own words; `confirmed_person` (int) and `ruled_out`
    (ints). Other names are ignored: they belong to the channel. `country` (alpha-2) is how national forms are read.
    """
    rejected: list[Reason] = []
    identifiers: list[Identifier] = []
    claims: dict[str, str] = {}
    shown = _caller_number(raw, country, identifiers, rejected)
    for key, given in raw.items():
        name = ALIASES.get(key, key)
        if given is None or given == "" or name in ("phone", "record_id") or is_attribute(name):
            continue
        field = FIELDS.get(name)
        if field is None:
            handles = [given] if ":" in str(given)[:64] else [f"{name.removeprefix(SOCIAL_PREFIX)}:{given}"]
            _take_identifiers("social", handles, country, identifiers, rejected)
        elif field.identifier:
            _take_identifiers(name, given, country, identifiers, rejected)
        else:
            _take_claim(name, given, country, claims, rejected)
    if len(identifiers) > limits.IDENTIFIERS_PER_CONTACT:
        rejected.append(Reason("too_many_identifiers", f"more than {limits.IDENTIFIERS_PER_CONTACT} identifiers"))
    intent = _text("intent", raw.get("intent"), rejected)
    return Evidence(
        identifiers=tuple(identifiers[: limits.IDENTIFIERS_PER_CONTACT]),
        claims=claims,
        caller_number=shown,
        intent=intent,
        words=words_in(raw.get("said")),
        confirmed_person=_person("confirmed_person", raw.get("confirmed_person"), rejected),
        ruled_out=_persons(raw.get("ruled_out"), rejected),
        rejected=tuple(rejected[:REJECTED_MAX]),
    )


def words_in(said: object) -> str | None:
    """What somebody said, bounded; None where it is no text."""
    text = said.strip() if isinstance(said, str) else ""
    return text[-limits.WORDS_CHARS :] or None


def caller_number(raw: str) -> str | None:
    """The number text inside a From, PAI, tel: or sip: value, or None when the caller withheld it.

    '"Ann" <sip:+12025550123@pbx;user=phone>' -> '+12025550123'; 'sip:anonymous@anonymous.invalid' -> None.
    """
    text = raw.strip()
    if match := _ADDRESS.search(text):
        text = match[1].strip()
    scheme = _SCHEME.match(text)
    if scheme:
        text = text[scheme.end() :]
    user, _, host = text.partition("@")
    user, *parameters = user.split(";")
    user = unquote(user).strip().strip('"')
    if user.lower() in _ANONYMOUS or host.lower().split(";")[0].split(":")[0].endswith("anonymous.invalid"):
        return None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        # RFC 3966: a local number in the context of a prefix; a context that is a domain says nothing to us.
        if name.strip().lower() == "phone-context" and value.startswith("+") and not user.startswith("+"):
            user = value + user
    return user


def _caller_number(raw: Mapping[str, Any], country: str, identifiers: list[Identifier], rejected: list[Reason]) -> Shown:
    """The best of the caller numbers offered becomes the first identifier: asserted, then From, then phone.

    A From that withholds the number is respected even where the network asserts one (RFC 3323, RFC 3325).
    """
    offered = [(key, raw[key]) for key in (*ASSERTED, *STATED) if raw.get(key) is not None]
    withheld = any(key in STATED and isinstance(given, str) and _is_withheld(given) for key, given in offered)
    shown: Shown = "absent"
    for key, given in () if withheld else offered:
        for one in given if isinstance(given, list | tuple) else (given,):
            text = _number_text(key, one, rejected)
            if text is None:
                continue
            found = _first_phone(key, text, country, rejected)
            if found:
                _add(identifiers, Identifier("phone", found))
                shown = "shown"
                break
            shown = "unusable"
        if shown == "shown":
            break
    phones = raw.get("phone")
    for one in phones if isinstance(phones, list | tuple) else (phones,):
        text = _number_text("phone", one, rejected) if one is not None else None
        if text is not None:
            found = _first_phone("phone", text, country, rejected)
            if found:
                _add(identifiers, Identifier("phone", found))
            if not offered and shown != "shown":
                shown = "shown" if found else "unusable"
    return shown


def _is_withheld(given: str) -> bool:
    text = given.strip() if len(given) <= limits.FIELD_CHARS else "x"
    return bool(text) and caller_number(text) is None


def _number_text(key: str, given: Any, rejected: list[Reason]) -> str | None:
    """The number inside the raw value as text; None when it is withheld."""
    if isinstance(given, str) and len(given) <= limits.FIELD_CHARS:
        return caller_number(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given) if abs(given) < 10**40 else "?"
    if isinstance(given, str):
        rejected.append(Reason("too_long", f"{key} is longer than {limits.FIELD_CHARS} characters", field=key))
        return "?"
    return "?"


def _first_phone(key: str, text: str, country: str, rejected: list[Reason]) -> str | None:
    try:
        return canonical("phone", text, country=country)
    except BadInput as error:
        rejected.append(Reason(error.code, error.message.replace("phone", key, 1), field=key))
        return None


def _add(identifiers: list[Identifier], identifier: Identifier) -> None:
    if identifier not in identifiers:
        identifiers.append(identifier)


def _take_identifiers(name: str, given: Any, country: str, identifiers: list[Identifier], rejected: list[Reason]) -> None:
    bounded = given[: limits.IDENTIFIERS_PER_CONTACT + 1] if isinstance(given, list | tuple) else given
    values, dropped = canonical_list(name, bounded, country=country)
    rejected += dropped
    for value in values:
        _add(identifiers, Identifier(name, value))


def _take_claim(name: str, given: Any, country: str, claims: dict[str, str], rejected: list[Reason]) -> None:
    one = given[0] if isinstance(given, list | tuple) and given else given
    try:
        claims[name] = canonical(name, one, country=country)
    except BadInput as error:
        if error.code != "empty":
            rejected.append(Reason(error.code, error.message, field=name))


def _text(name: str, given: Any, rejected: list[Reason]) -> str | None:
    if given is None or given == "":
        return None
    try:
        return canonical("note", given, country="")
    except BadInput as error:
        rejected.append(Reason(error.code, error.message.replace("note", name, 1), field=name))
        return None


def _person(name: str, given: Any, rejected: list[Reason]) -> int | None:
    if given is None or given == "":
        return None
    if isinstance(given, int) and not isinstance(given, bool) and 0 < given < 2**63:
        return given
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 19:
        return int(given)
    rejected.append(Reason("invalid_person", f"{name} is no id of a person", field=name))
    return None


def _persons(given: Any, rejected: list[Reason]) -> tuple[int, ...]:
    listed = given if isinstance(given, list | tuple) else [] if given is None else [given]
    found = (_person("ruled_out", one, rejected) for one in listed[: limits.CANDIDATES])
    return tuple(sorted({one for one in found if one is not None}))
