"""Segment: the canonical form itself. One event, or {"batch": [...]} with what holds for all of them beside it.

Source: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from firstring.journey.events.wire import Body, Format, an_object, key_in, malformed_batch


def split(body: Any) -> Body:
    if not isinstance(body, dict):
        raise malformed_batch("an object")
    key = key_in(body, "writeKey")
    batch = body.get("batch")
    if batch is None:
        return Body([body], {}, key)
    if not isinstance(batch, list):
        raise malformed_batch('an object with a list "batch"')
    common = {name: body[name] for name in ("sentAt", "context") if body.get(name)}
    return Body(batch, common, key)


def event(item: Any, common: Mapping[str, Any]) -> dict[str, Any]:
    """The item with what its batch says of all: the time of sending, the context."""
    made = dict(an_object(item))
    if common:
        if not made.get("sentAt"):
            made["sentAt"] = common.get("sentAt")
        shared = common.get("context")
        if isinstance(shared, dict):
            own = made.get("context")
            made["context"] = {**shared, **own} if isinstance(own, dict) else shared
    return made


FORMAT: Final = Format("segment", split, event)
