"""Snowplow's tracker protocol, version 2 (tp2): every value is text, events of one's own are JSON in base64.

The write key is the application's id (`aid`), as the protocol has no place for another. The event's name is that of its
schema: iglu:com.acme/order_completed/jsonschema/1-0-0 is "Order Completed". A self-describing event named `identify`
carries traits. Source: https://docs.snowplow.io/docs/sources/trackers/snowplow-tracker-protocol/
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from firstring.errors import BadInput
from firstring.journey.events.wire import Body, Format, an_object, key_in, malformed_batch, text, without_nothing

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SESSION: Final = "client_session"


def split(body: Any) -> Body:
    """`body`: the object of a POST, or the parameters of a GET."""
    if not isinstance(body, dict):
        raise malformed_batch("an object")
    data = body.get("data") if "schema" in body else [body]
    if not isinstance(data, list):
        raise malformed_batch('an object with a list "data"')
    first = data[0] if data and isinstance(data[0], dict) else {}
    return Body(data, {}, key_in(first, "aid"))


def event(item: Any, _common: Mapping[str, Any]) -> dict[str, Any] | None:
    given = an_object(item)
    entities = _entities(given)
    session = entities.get(_SESSION, {})
    exact = given.get("ttm")
    context = {
        "ip": text(given.get("ip")),
        "page": without_nothing({"url": given.get("url"), "title": given.get("page"), "referrer": given.get("refr")}),
        "timezone": text(given.get("tz")),
        "locale": text(given.get("lang")),
        "userAgent": text(given.get("ua")),
        "sessionId": given.get("sid") or session.get("sessionId"),
        "library": without_nothing({"name": "snowplow", "version": text(given.get("tv"))}),
        "channel": {"web": "web", "mob": "mobile"}.get(str(given.get("p"))),
    }
    made = {
        "messageId": given.get("eid"),
        "userId": given.get("uid"),
        "anonymousId": given.get("duid") or session.get("userId") or given.get("tnuid") or given.get("nuid"),
        "timestamp": _time("ttm", exact) if exact else _time("dtm", given.get("dtm")),
        "sentAt": None if exact else _time("stm", given.get("stm")),
        "context": without_nothing(context),
    }
    return without_nothing(made | _kind(given))


def _kind(given: dict[str, Any]) -> dict[str, Any]:
    kind = given.get("e")
    if kind == "ue":
        return _own(given)
    if kind == "pv":
        page = {"title": given.get("page"), "url": given.get("url"), "referrer": given.get("refr")}
        return {"type": "page", "name": text(given.get("page")), "properties": without_nothing(page)}
    if kind == "pp":
        return {"type": "track", "event": "Page Pinged", "properties": without_nothing({"url": given.get("url")})}
    if kind == "se":
        properties = {
            "category": given.get("se_ca"),
            "label": given.get("se_la"),
            "property": given.get("se_pr"),
            "value": _number(given.get("se_va")),
        }
        return {"type": "track", "event": given.get("se_ac"), "properties": without_nothing(properties)}
    if kind == "tr":
        order = {"order_id": given.get("tr_id"), "total": _number(given.get("tr_tt")), "currency": given.get("tr_cu")}
        return {"type": "track", "event": "Order Completed", "properties": without_nothing(order)}
    if kind == "ti":
        line = {
            "order_id": given.get("ti_id"),
            "sku": given.get("ti_sk"),
            "name": given.get("ti_nm"),
            "price": _number(given.get("ti_pr")),
            "quantity": _number(given.get("ti_qu")),
        }
        return {"type": "track", "event": "Order Line", "properties": without_nothing(line)}
    raise BadInput(
        "unsupported_event_type",
        "The event is of a type that is not read.",
        where={"field": "e"},
        hint="Send one of ue, pv, pp, se, tr, ti.",
    )


def _own(given: dict[str, Any]) -> dict[str, Any]:
    """A self-describing event: {"schema": ..., "data": {"schema": iglu, "data": {...}}}."""
    whole = _json(given, "ue_px", "ue_pr")
    inner = whole.get("data") if isinstance(whole, dict) else None
    name = _schema_name(inner.get("schema")) if isinstance(inner, dict) else None
    data = inner.get("data") if isinstance(inner, dict) else None
    if name is None or not isinstance(data, dict):
        raise _malformed("ue_px")
    if name == "identify":
        return {"type": "identify", "traits": data}
    if name == "screen_view":
        return {"type": "screen", "name": text(data.get("name")), "properties": data}
    return {"type": "track", "event": name, "properties": data}


def _entities(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Attached entities by the name of their schema; what cannot be read of them is left out."""
    try:
        whole = _json(given, "cx", "co")
    except BadInput:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for entity in whole.get("data") or [] if isinstance(whole, dict) else []:
        name = _schema_name(entity.get("schema")) if isinstance(entity, dict) else None
        if name is not None and isinstance(entity.get("data"), dict):
            found.setdefault(name, entity["data"])
    return found


def _json(given: dict[str, Any], packed: str, plain: str) -> Any:
    value = given.get(packed)
    try:
        if isinstance(value, str):
            padded = value.replace("-", "+").replace("_", "/")
            return msgspec.json.decode(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True))
        value = given.get(plain)
        return msgspec.json.decode(value) if isinstance(value, str) else {}
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise _malformed(packed) from error


def _malformed(field: str) -> BadInput:
    return BadInput(
        "malformed_event",
        f"{field} holds no self-describing event.",
        where={"field": field},
        hint="Send JSON in base64, of the form that the trackers send.",
    )


def _schema_name(schema: Any) -> str | None:
    """order_completed out of iglu:com.acme/order_completed/jsonschema/1-0-0."""
    parts = schema.removeprefix("iglu:").split("/") if isinstance(schema, str) else []
    return parts[1] if len(parts) == 4 and parts[1] else None


def _time(field: str, value: Any) -> str | None:
    """Milliseconds since 1970 as ISO 8601."""
    if value is None or value == "":
        return None
    try:
        return (_EPOCH + timedelta(milliseconds=int(value))).isoformat()
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(
            "malformed_time", f"{field} is not a time.", where={"field": field}, hint="Send milliseconds since 1970."
        ) from error


def _number(value: Any) -> Any:
    """The number that a text says; anything else as it is."""
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return number if not isinstance(number, float) or math.isfinite(number) else value


FORMAT: Final = Format("snowplow", split, event)
