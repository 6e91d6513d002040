"""RudderStack: Segment's form, with traits in the context of every event and the visitor among them.

Source: https://www.rudderstack.com/docs/api/http-api/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from firstring.journey.events import segment
from firstring.journey.events.wire import Format

_NOT_TRAITS: Final = ("anonymousId", "userId", "id")


def event(item: Any, common: Mapping[str, Any]) -> dict[str, Any]:
    made = segment.event(item, common)
    context = made.get("context")
    if isinstance(context, dict) and isinstance(context.get("traits"), dict):
        traits = {name: value for name, value in context["traits"].items() if name not in _NOT_TRAITS}
        made["context"] = {**context, "traits": traits}
    return made


FORMAT: Final = Format("rudder", segment.split, event)
