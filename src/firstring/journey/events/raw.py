"""Reading the raw event: a bounded JSON object, its members, its texts and its times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from firstring import limits
from firstring.errors import BadInput

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def as_json(raw: object, plain: bool) -> dict[str, Any]:
    """`raw` through JSON: bounded in size, and of plain values whatever reader it came from (Parquet has datetimes)."""
    if not isinstance(raw, dict) and not isinstance(raw, Mapping):
        raise BadInput("malformed_event", "The event is not an object.", hint="Send a JSON object.")
    try:
        encoded = msgspec.json.encode(raw)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            "malformed_event",
            "The event cannot be written as JSON.",
            hint="Use objects, lists, text without lone surrogates, numbers, true, false and null.",
        ) from error
    if len(encoded) > limits.RECORD_BYTES:
        raise BadInput(
            "event_too_large",
            f"The event has {len(encoded)} bytes; the limit is {limits.RECORD_BYTES}.",
            hint="Send references instead of content.",
            http_status=413,
        )
    return cast(dict[str, Any], raw if plain else msgspec.json.decode(encoded))


def unflattened(event: dict[str, Any]) -> dict[str, Any]:
    """Columns such as "properties.order_id" or "context.ip" as members of their object; empty cells are absent."""
    dotted = [key for key in event if "." in key and key.startswith(("properties.", "traits.", "context."))]
    for key in dotted:
        value = event.pop(key)
        if value is None or value == "":
            continue
        parent, _, member = key.partition(".")
        holder = object_in(event, parent)
        holder.setdefault(member, value)
        event[parent] = holder
    return event


def object_in(event: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The object in `field`: {} when absent; text that is a JSON object (a cell of a CSV file) is read."""
    value = event.get(field)
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _not_an_object(field) from error
    if not isinstance(value, dict):
        raise _not_an_object(field)
    return value


def _not_an_object(field: str) -> BadInput:
    return BadInput(
        "malformed_event",
        f"{field} is not an object.",
        where={"field": field},
        hint='Send an object, such as {"order_id": "1042"}.',
    )


def text_in(event: Mapping[str, Any], *names: str) -> str | None:
    """The first of `names` that holds text or a whole number, trimmed and checked; None when there is none."""
    for name in names:
        value = event.get(name)
        if value is None:
            continue
        if type(value) is not str and (
            isinstance(value, bool) or not isinstance(value, (str, int)) or (isinstance(value, int) and value >= 10**100)
        ):
            raise BadInput("malformed_event", f"{name} is not text.", where={"field": name}, hint="Send text.")
        text = str(value).strip()
        if not text:
            continue
        if len(text) > limits.FIELD_CHARS:
            raise BadInput(
                "field_too_long",
                f"{name} has {len(text)} characters; the limit is {limits.FIELD_CHARS}.",
                where={"field": name},
                hint="Send a shorter one.",
            )
        if not text.isprintable() and _CONTROL.search(text):
            raise BadInput(
                "control_character",
                f"{name} holds a control character.",
                where={"field": name},
                hint="Remove it; check the encoding of the sender.",
            )
        return text
    return None


# --- time --------------------------------------------------------------------------------------------------------


def times(
    event: Mapping[str, Any], received_at: datetime, *, correct_skew: bool
) -> tuple[datetime | None, datetime | None, datetime]:
    """(time as stated by the sender, sentAt, when it occurred on our clock)."""
    original = _time(event, "originalTimestamp", "original_timestamp")
    timestamp = _time(event, "timestamp", "occurred_at")
    sent_at = _time(event, "sentAt", "sent_at")
    archived = _time(event, "receivedAt", "received_at") is not None
    stated = timestamp or original
    if stated is None:
        return None, sent_at, received_at
    occurred_at = stated
    if correct_skew and sent_at is not None and not archived:
        try:
            occurred_at = received_at - (sent_at - (original or stated))
        except OverflowError as error:
            raise _malformed_time("sentAt") from error
    if occurred_at > received_at + timedelta(seconds=limits.EVENT_AHEAD_S):
        raise BadInput(
            "time_in_future",
            f"The event lies more than {limits.EVENT_AHEAD_S} s in the future.",
            where={"field": "timestamp"},
            hint="Set the sender's clock, or send sentAt so that its error can be corrected.",
        )
    if occurred_at < limits.EVENT_EARLIEST:
        raise BadInput(
            "time_too_early",
            f"The event lies before {limits.EVENT_EARLIEST.date().isoformat()}.",
            where={"field": "timestamp"},
            hint="Such a time is mostly a placeholder; leave timestamp out when it is not known.",
        )
    return stated, sent_at, occurred_at


def _time(event: Mapping[str, Any], *names: str) -> datetime | None:
    """The first of `names` as aware UTC; a time without a zone is UTC, a date is its midnight (ISO 8601)."""
    for name in names:
        value = event.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise _malformed_time(name)
        try:
            time = datetime.fromisoformat(value.strip())
            if time.tzinfo is UTC:
                return time
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise _malformed_time(name) from error
    return None


def _malformed_time(field: str) -> BadInput:
    return BadInput(
        "malformed_time",
        f"{field} is not a time.",
        where={"field": field},
        hint="Send ISO 8601, such as 2026-01-31T12:00:00.000Z.",
    )
