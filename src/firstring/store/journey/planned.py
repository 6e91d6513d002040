"""An event made ready for the store: keyed hashes and a sealed payload. Pure computation, for a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from firstring.contact import Identifier
from firstring.errors import BadInput
from firstring.identity.canonical.record import CanonicalRecord, canonical, canonical_record
from firstring.identity.persons.blocking import identifier_keys
from firstring.journey.clicks import token_in, verify_click
from firstring.journey.consents import NAMES, privacy_signal
from firstring.journey.events import Event, Standing
from firstring.journey.issues import issue_of
from firstring.journey.stitch import Mark
from firstring.journey.words.textmodel import TextModel
from firstring.store.identity.records import external_key
from firstring.store.journey.words import Derived, derived
from firstring.store.seal import TenantKeys

STANDINGS: Final[tuple[Standing, ...]] = ("claimed", "reported", "signed")
"""By the number that the column has."""
_STRENGTH: Final = ("national_id", "account", "email", "social", "phone", "device", "cookie")
"""Identifiers by how surely they lead to one person (identity.weights), the strongest first."""
CLICK_DOMAIN: Final = "click"
"""The domain of the MAC of click tokens."""
OF_THE_VISITOR: Final = ("cookie", "device")
"""What a browser knows of itself. All else that comes with a public key is what somebody said."""


OWN_SOURCE: Final = "firstring"
"""The source of what Firstring itself tells as events: they come of no visitor."""
_NAMES_KEPT: Final = 32_768
"""Canonical ids of users and visitors that are kept: who is busy sends many events."""
_SIGNED_OUT: Final = "Signed Out"
_TYPED: Final = ("phone", "email")
FACETS: Final = {
    **dict.fromkeys(("Order Completed", "Order Cancelled", "Order Refunded", "Refund Issued", "Refund Completed"), 1),
    **dict.fromkeys(NAMES, 2),
}
"""Names of events by which a profile is computed, by the number that the column has."""
SIGNAL_FACET: Final = 3


class Planned(NamedTuple):
    """An event ready to be placed. user: the key of its user's record; previous: that of the name that an alias gives up;
    identifiers: (key, identifier), strongest first. place: its place among the events of the call. visitor: the key of its
    visitor; mark: what it says of who is there; click: the record whose mail was opened; typed: (key, kind) of
    numbers and addresses in it that are claims."""

    place: int
    event: Event
    message_key: bytes
    user: bytes | None
    previous: bytes | None
    identifiers: list[tuple[bytes, Identifier]]
    payload: dict[str, Any]
    row: tuple[Any, ...]
    visitor: bytes | None = None
    mark: Mark = Mark.NONE
    click: int = 0
    typed: tuple[tuple[bytes, str], ...] = ()
    words: Derived | None = None
    """What was read in its words."""


def plan(
    keys: TenantKeys, source: str, events: Sequence[Event], country: str, reasons: TextModel | None = None
) -> tuple[list[Planned], list[tuple[int, BadInput]]]:
    """(events that can be placed, place and cause of those that cannot). reasons: the tenant's text model."""
    planned: list[Planned] = []
    rejected: list[tuple[int, BadInput]] = []
    for place, event in enumerate(events):
        try:
            planned.append(_planned(keys, source, place, event, country, reasons))
        except BadInput as error:
            rejected.append((place, error))
    return planned, rejected


def _planned(keys: TenantKeys, source: str, place: int, event: Event, country: str, reasons: TextModel | None) -> Planned:
    user = previous = None
    identifiers: list[tuple[bytes, Identifier]] = []
    if event.record_id is not None:
        user = external_key(keys, source, _record_id(event.record_id, country))
        if event.previous_id is not None:
            previous = external_key(keys, source, _record_id(event.previous_id, country))
    else:
        found = _identifiers(event, country)
        identifiers = [(keys.blind(one.kind, one.value), one) for one in found]
        if not identifiers:
            raise BadInput("missing_identity", "nothing in the event identifies anybody", where={"field": "anonymousId"})
    issue = issue_of(event)
    payload = _payload(event, None if issue is None else issue.ref)
    try:
        wrapped, sealed = keys.seal(payload)
    except (OverflowError, ValueError, TypeError) as error:
        raise BadInput("malformed_event", "the event holds a number that is too large") from error
    row = (
        event.channel, event.occurred_at, event.received_at, issue.kind if issue else None, issue.effect if issue else 0,
        STANDINGS.index(event.standing), _facet(event), wrapped, sealed,
    )  # fmt: skip
    message_key = keys.blind(f"message:{source}", event.message_id)
    visitor = None if source == OWN_SOURCE else _visitor(keys, event, country)
    words = derived(keys, source, event, message_key, STANDINGS.index(event.standing), reasons)
    if visitor is None:
        return Planned(place, event, message_key, user, previous, identifiers, payload, row, words=words)
    mark, click = _mark(keys, event)
    typed = _typed(keys, event, country) if event.standing == "claimed" or event.record_id is None else ()
    return Planned(place, event, message_key, user, previous, identifiers, payload, row, visitor, mark, click, typed, words)


def _identifiers(event: Event, country: str) -> list[Identifier]:
    """Those of an event without a user's id, the strongest first."""
    if len(event.fields) == 1 and event.anonymous_id is not None and event.fields.get("cookie") == event.anonymous_id:
        text = _cookie(event.anonymous_id, country)  # of most visitors nothing else is known
        return [] if text is None else [Identifier("cookie", text)]
    fields = record_of(event, country).fields
    return sorted(identifier_keys(fields), key=lambda one: _STRENGTH.index(one.kind))


def _facet(event: Event) -> int | None:
    found = FACETS.get(event.name)
    return SIGNAL_FACET if found is None and event.context and privacy_signal(event.context) else found


def _visitor(keys: TenantKeys, event: Event, country: str) -> bytes | None:
    """The key of the visitor that an event is of. An alias of a visitor's id is of that visitor."""
    named = event.anonymous_id or event.previous_id
    text = _cookie(named, country) if named is not None else None
    return None if text is None else keys.blind("cookie", text)


@lru_cache(maxsize=_NAMES_KEPT)
def _cookie(text: str, country: str) -> str | None:
    try:
        return canonical("cookie", text, country=country)
    except BadInput:
        return None


def _mark(keys: TenantKeys, event: Event) -> tuple[Mark, int]:
    """What an event says of who is there; of a click in a mail whose mail it was."""
    leaves = event.name == _SIGNED_OUT
    if event.record_id is not None:
        if event.standing == "claimed":
            return (Mark.OUT if leaves else Mark.CLAIMED), 0
        return (Mark.KNOWN_OUT if leaves else Mark.KNOWN), 0
    if leaves:
        return Mark.OUT, 0
    token = token_in(event.properties, event.context)
    if token is not None:
        click = verify_click(lambda text: keys.blind(CLICK_DOMAIN, text), token, event.received_at)
        if click is not None:
            return Mark.SEEN, click.record_id
    return Mark.NONE, 0


def _typed(keys: TenantKeys, event: Event, country: str) -> tuple[tuple[bytes, str], ...]:
    """The keys of phone numbers and e-mail addresses that a visitor typed: in traits, or in the fields of a form."""
    found: dict[bytes, str] = {}
    holders = (event.properties,) if event.standing != "claimed" else (event.properties, event.fields)
    for holder in holders:
        for kind in _TYPED:
            value = holder.get(kind)
            if isinstance(value, str) and value:
                try:
                    found[keys.blind(kind, canonical(kind, value, country=country))] = kind
                except BadInput:
                    continue
    return tuple(found.items())


@lru_cache(maxsize=_NAMES_KEPT)
def _record_id(text: str, country: str) -> str:
    """Canonical; raises BadInput record_id_invalid. Who is busy sends many events: kept for a while."""
    return canonical_record({"record_id": text}, country=country, findable=False).record_id


def _payload(event: Event, issue_ref: str | None) -> dict[str, Any]:
    payload: dict[str, Any] = {"name": event.name, "properties": event.properties, "type": event.type}
    if issue_ref is not None:
        payload["issue_ref"] = issue_ref
    if event.fields:
        payload["fields"] = event.fields
    if event.context:
        payload["context"] = event.context
    if event.record_id is not None:
        payload["user"] = event.record_id
    if event.previous_id is not None:
        payload["previous"] = event.previous_id
    if event.standing == "claimed":
        payload["claimed"] = True
    return payload


def contradicts(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two payloads of one message id say different things; what one of them leaves out is no contradiction."""
    return any(name in one and name in other and one[name] != other[name] for name in ("type", "name", "properties", "user"))


def record_of(event: Event, country: str) -> CanonicalRecord:
    """What the event says of the customer, canonical: the record that is made where there is none yet.

    Of an event that is claimed only what the browser knows of itself, and of nobody who is named. So nobody's e-mail
    address or number becomes theirs because a web page said so. A record of somebody who is named has neither visitor nor
    device: two people may sit at one computer, and who sat there when is told by the visitor's log (journey/stitch.py).
    """
    fields = event.fields
    if event.record_id is not None:
        kept = event.standing == "reported"
        fields = {name: value for name, value in fields.items() if kept and name not in OF_THE_VISITOR}
    elif event.standing != "reported":
        fields = {name: fields[name] for name in OF_THE_VISITOR if name in fields}
    raw = {**fields, "record_id": event.record_id or "anonymous"}
    try:
        record = canonical_record(raw, country=country)
    except BadInput as error:
        if error.code not in ("nothing_usable", "record_too_large"):
            raise
        # Neither a name nor an identifier: a user id may be all that is known.
        record = CanonicalRecord(_record_id(raw["record_id"], country), {})
    last_seen = event.occurred_at.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    return msgspec.structs.replace(record, fields={"last_seen": last_seen, **record.fields})
