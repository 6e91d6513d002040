"""CloudEvents 1.0: the event's name is the end of its type, its customer is named by an extension, the data or the subject.

`com.acme.order.completed` is "Order Completed": the longest end of the type that is a name of the spec, else the type as
it stands. The customer is the extension `userid` (or `anonymousid`), else `userId` in the data, else the subject. `source`
and `id` together make an event unique. Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from firstring.errors import BadInput
from firstring.journey.events.wire import Body, Format, an_object, malformed_batch, without_nothing
from firstring.journey.names import SPEC_NAMES, spec_name

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
_KNOWN: Final = frozenset(SPEC_NAMES)
_REQUIRED: Final = ("specversion", "id", "source", "type")
_OF_THE_CUSTOMER: Final = ("userId", "user_id", "anonymousId", "anonymous_id", "traits", "properties", "context")
_TYPES: Final = frozenset(("identify", "page", "screen", "alias", "group"))


def from_binary(headers: Mapping[str, str], content_type: str, body: bytes) -> dict[str, Any]:
    """The binary mode of HTTP as the structured one: attributes are headers `ce-*`, the data is the body."""
    event: dict[str, Any] = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    if not body:
        return event
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json") or not kind:
        try:
            event["data"] = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise malformed_batch("JSON, as its content type says") from error
    else:
        event["datacontenttype"] = kind
        event["data"] = body.decode("utf-8", "replace")
    return event


def split(body: Any) -> Body:
    if isinstance(body, list):
        return Body(body, {})
    if not isinstance(body, dict):
        raise malformed_batch("a CloudEvent")
    return Body([body], {})


def event(item: Any, _common: Mapping[str, Any]) -> dict[str, Any]:
    given = an_object(item)
    for name in _REQUIRED:
        if not isinstance(given.get(name), str) or not given[name]:
            raise BadInput(
                "malformed_event", f"A CloudEvent needs {name}.", where={"field": name}, hint="See the specification, 1.0."
            )
    data = _data(given)
    kind, name = _kind(given["type"])
    properties = data.get("properties")
    if not isinstance(properties, dict):
        properties = {key: value for key, value in data.items() if key not in _OF_THE_CUSTOMER}
    anonymous = given.get("anonymousid") or data.get("anonymousId") or data.get("anonymous_id")
    user = given.get("userid") or data.get("userId") or data.get("user_id")
    made = {
        "type": kind,
        "event": name if kind == "track" else None,
        "messageId": f"{given['source']} {given['id']}",
        "userId": user or (None if anonymous else given.get("subject")),
        "anonymousId": anonymous,
        "timestamp": given.get("time"),
        "properties": properties,
        "traits": data.get("traits"),
        "context": data.get("context"),
        "previousId": data.get("previousId"),
        "groupId": data.get("groupId"),
    }
    return without_nothing(made)


def _kind(name: str) -> tuple[str, str]:
    parts = name.split(".")
    if parts[-1].lower() in _TYPES:
        return parts[-1].lower(), name
    for start in range(len(parts)):
        known = spec_name(" ".join(parts[start:]))
        if known in _KNOWN:
            return "track", known
    return "track", name


def _data(given: dict[str, Any]) -> dict[str, Any]:
    data = given.get("data")
    packed = given.get("data_base64")
    if data is None and isinstance(packed, str):
        try:
            data = msgspec.json.decode(base64.b64decode(packed, validate=True))
        except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
            data = None  # bytes that are no JSON: the event happened all the same
    if data is None:
        return {}
    return data if isinstance(data, dict) else {"data": data}


FORMAT: Final = Format("cloudevents", split, event)
