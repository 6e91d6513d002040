"""The canonical event, in the form of the Segment Spec, and how a raw one becomes it.

`parse_event` is used for events that arrive over HTTP and for events in files alike. It reads the spec's own spelling
(messageId, userId, sentAt) and the snake case of files (message_id, user_id, sent_at), objects and dotted columns
("properties.order_id"). Source: https://segment.com/docs/connections/spec/common/
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

import msgspec

from firstring.errors import BadInput
from firstring.journey.clicks import PARAMETER
from firstring.journey.events.raw import as_json, object_in, text_in, times, unflattened
from firstring.journey.names import spec_name

EventType = Literal["track", "identify", "page", "screen", "alias", "group"]
Standing = Literal["claimed", "reported", "signed"]
"""What an event is worth as evidence of whose it is. claimed: anybody may have sent it (a public write key); signed:
the same, with a signature of the user id that only one's own server can make; reported: one's own server sent it."""

_TYPES: Final = frozenset(("track", "identify", "page", "screen", "alias", "group"))
_NAME_OF_TYPE: Final = {
    "identify": "Identified",
    "page": "Page Viewed",
    "screen": "Screen Viewed",
    "alias": "Aliased",
    "group": "Group Joined",
}
_NOBODY: Final = frozenset(("", "null", "undefined", "none", "nan"))
"""What broken clients send as a user id when nobody is signed in; taken at its word it would glue them all together."""
_NOBODY_CHARS: Final = max(map(len, _NOBODY))

_TRAITS: Final = {
    "firstName": "given_name",
    "first_name": "given_name",
    "middleName": "middle_name",
    "lastName": "family_name",
    "last_name": "family_name",
    "name": "full_name",
    "birthday": "birth_date",
    "createdAt": "first_seen",
    "created_at": "first_seen",
}
_ADDRESS: Final = {
    "street": "street",
    "city": "city",
    "state": "region",
    "region": "region",
    "postalCode": "postcode",
    "postal_code": "postcode",
    "postcode": "postcode",
    "country": "country",
}
"""Segment's reserved traits as fields of the identity vocabulary; a trait of any other name keeps its name."""

_CHANNELS: Final = {
    "voice": "voice",
    "phone": "voice",
    "chat": "chat",
    "email": "email",
    "web": "web",
    "browser": "web",
    "messaging": "messaging",
    "sms": "messaging",
    "whatsapp": "messaging",
    "social": "social",
    "mobile": "mobile",
}
_CHANNEL_OF_NAME: Final = (("Call ", "voice"), ("Live Chat ", "chat"), ("Chat ", "chat"), ("Email ", "email"))
_BACKEND: Final = "backend"
_CONTEXT: Final = (
    "page", "campaign", "locale", "timezone", "userAgent", "library", "sessionId", "consent", "gpc", "globalPrivacyControl",
    "dnt", "doNotTrack", PARAMETER,
)  # fmt: skip
"""What is kept of the context beside traits, network address and device."""
_HASHES: Final = ("userHash", "user_hash")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of somebody, canonical.

    message_id: unique per source; the same id is the same event. name: Segment Spec spelling. channel: one of
    contact.Channel, or "backend" when a system reported it and no channel was involved. occurred_at: aware UTC, on
    our clock. record_id: the source's own id of the person (userId). anonymous_id: the visitor (a cookie); at least
    one of the two is there. fields: raw values under names of the identity vocabulary, not yet canonical. context: the
    page, campaign, locale, time zone, browser, library and session, as sent. previous_id: of an alias, the id that is
    another name of the user. user_hash: the signature that came with it, not yet checked.
    """

    message_id: str
    type: EventType
    name: str
    channel: str
    occurred_at: datetime
    received_at: datetime
    sent_at: datetime | None = None
    record_id: str | None = None
    anonymous_id: str | None = None
    fields: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    previous_id: str | None = None
    standing: Standing = "reported"
    user_hash: str | None = None


def parse_event(
    raw: Mapping[str, Any],
    *,
    received_at: datetime,
    correct_skew: bool = True,
    standing: Standing = "reported",
    plain: bool = False,
) -> Event:
    """The canonical event of one raw event.

    received_at: aware, when it reached us. correct_skew: whether sentAt tells the error of the sender's clock
    (Segment: time = receivedAt - (sentAt - timestamp)); pass False for events out of a file, which nobody sent just
    now. An event with a receivedAt of its own comes from an archive and was corrected before. plain: `raw` was decoded
    from JSON just now, so that it holds plain values only; it may be changed here.

    Without a messageId the id is a digest of the content, so that the same file read twice counts once.

    Raises BadInput with the code malformed_event, event_too_large, unsupported_event_type, missing_name,
    missing_identity, missing_previous_id, alias_of_itself, missing_group, field_too_long, control_character,
    malformed_time, time_in_future or time_too_early.
    """
    assert received_at.tzinfo is not None, "received_at must be aware"
    event = unflattened(as_json(raw, plain))
    kind = _type(event)
    properties = object_in(event, "properties")
    context = object_in(event, "context")
    name = _name(event, kind, properties)
    record_id = _user(event, "userId", "user_id")
    anonymous_id = _user(event, "anonymousId", "anonymous_id")
    if record_id is None and anonymous_id is None:
        raise BadInput(
            "missing_identity",
            "The event names nobody.",
            where={"field": "userId"},
            hint="Give userId (the source's own id of the person) or anonymousId (the visitor).",
        )
    previous_id = _previous(event, record_id) if kind == "alias" else None
    traits = object_in(event, "traits") or object_in(context, "traits")
    user_hash = _hash(context, traits)
    if kind == "group":
        traits = _group(event, properties, traits, object_in(context, "traits"))
    received_at = received_at.astimezone(UTC)
    stated, sent_at, occurred_at = times(event, received_at, correct_skew=correct_skew)
    fields = _fields(traits, context, anonymous_id)
    message_id = text_in(event, "messageId", "message_id")
    if message_id is None:
        when = stated or received_at
        message_id = _digest([kind, name, record_id, anonymous_id, when, properties, fields])
    return Event(
        message_id=message_id,
        type=kind,
        name=name,
        channel=_channel(event, kind, name, context, properties),
        occurred_at=occurred_at,
        received_at=received_at,
        sent_at=sent_at,
        record_id=record_id,
        anonymous_id=anonymous_id,
        fields=fields,
        properties=properties,
        context={name: context[name] for name in _CONTEXT if context.get(name)},
        previous_id=previous_id,
        standing=standing,
        user_hash=user_hash,
    )


# --- the raw event -----------------------------------------------------------------------------------------------


def _type(event: Mapping[str, Any]) -> EventType:
    value = event.get("type") or "track"
    if not isinstance(value, str) or value not in _TYPES:
        raise BadInput(
            "unsupported_event_type",
            "The event is of a type that is not read.",
            where={"field": "type"},
            hint=f"Send one of {', '.join(sorted(_TYPES))}.",
        )
    return cast(EventType, value)


def _name(event: Mapping[str, Any], kind: EventType, properties: dict[str, Any]) -> str:
    """The name of a track event; that of a page or screen goes into `properties`, as the spec has it."""
    if kind != "track":
        title = text_in(event, "name")
        if title is not None and kind in ("page", "screen"):
            properties.setdefault("name", title)
        return _NAME_OF_TYPE[kind]
    name = text_in(event, "event", "name")
    if name is None:
        raise BadInput(
            "missing_name",
            "The event has no name.",
            where={"field": "event"},
            hint='Give event, in the manner of the Segment Spec: "Order Completed".',
        )
    return spec_name(name)


def _user(event: Mapping[str, Any], *names: str) -> str | None:
    text = text_in(event, *names)
    return None if text is None or (len(text) <= _NOBODY_CHARS and text.casefold() in _NOBODY) else text


def _previous(event: Mapping[str, Any], record_id: str | None) -> str:
    """The other name of an alias."""
    previous = _user(event, "previousId", "previous_id")
    if previous is None or record_id is None:
        raise BadInput(
            "missing_previous_id",
            "An alias needs two ids.",
            where={"field": "previousId" if previous is None else "userId"},
            hint="Give previousId (the id so far) and userId (the id from now on).",
        )
    if previous == record_id:
        raise BadInput(
            "alias_of_itself",
            "The alias names the same id twice.",
            where={"field": "previousId"},
            hint="Send an alias only where the id changes.",
        )
    return previous


def _group(
    event: Mapping[str, Any], properties: dict[str, Any], traits: dict[str, Any], own: dict[str, Any]
) -> dict[str, Any]:
    """Puts the group and its traits into `properties`; returns the traits of the person, which the context may have."""
    group = text_in(event, "groupId", "group_id")
    if group is None:
        raise BadInput("missing_group", "The event names no group.", where={"field": "groupId"}, hint="Give groupId.")
    properties.setdefault("group_id", group)
    if traits is not own and traits:
        properties.setdefault("group", traits)
    return own if event.get("traits") else {}


def _hash(context: dict[str, Any], traits: dict[str, Any]) -> str | None:
    """The signature of the user id, from where clients let one put it: the context or the traits."""
    for holder in (context, traits):
        for name in _HASHES:
            value = holder.get(name)
            if isinstance(value, str) and 0 < len(value) <= 200:
                return value
    return None


def _digest(content: list[Any]) -> str:
    return "sha256:" + hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:40]


# --- who and where -----------------------------------------------------------------------------------------------


def _fields(traits: Mapping[str, Any], context: Mapping[str, Any], anonymous_id: str | None) -> dict[str, Any]:
    """Raw fields of the identity vocabulary out of traits, address of the network, device and visitor."""
    fields: dict[str, Any] = {}
    for name, value in traits.items():
        if name == "address" and isinstance(value, dict):
            for part, field in _ADDRESS.items():
                if value.get(part) not in (None, ""):
                    fields[field] = value[part]
        elif value not in (None, "") and name not in _HASHES:
            fields.setdefault(_TRAITS.get(name, name), value)
    ip = context.get("ip")
    if isinstance(ip, str) and ip:
        fields.setdefault("ip", ip)
    device = context.get("device")
    if isinstance(device, dict) and isinstance(device.get("id"), str) and device["id"]:
        fields.setdefault("device", device["id"])
    if anonymous_id is not None:
        fields["cookie"] = anonymous_id
    return fields


def _channel(
    event: Mapping[str, Any],
    kind: EventType,
    name: str,
    context: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> str:
    """What the event says of its channel, else what its name, type or library imply, else "backend"."""
    for stated in (properties.get("channel"), event.get("channel"), context.get("channel")):
        if isinstance(stated, str) and stated.casefold() in _CHANNELS:
            return _CHANNELS[stated.casefold()]
    for prefix, channel in _CHANNEL_OF_NAME:
        if name.startswith(prefix):
            return channel
    if kind == "screen":
        return "mobile"
    if kind == "page" or "page" in context or "userAgent" in context:
        return "web"
    return "mobile" if "device" in context else _BACKEND
