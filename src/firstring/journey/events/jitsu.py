"""Jitsu: Segment's form, one event a request; the browser's address and identifiers of other tools in the context.

Source: https://docs.jitsu.com/sending-data/http
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from firstring.journey.events import segment
from firstring.journey.events.wire import Format


def event(item: Any, common: Mapping[str, Any]) -> dict[str, Any]:
    made = segment.event(item, common)
    context = made.get("context")
    if isinstance(context, dict) and "userAgent" not in context and isinstance(context.get("user_agent"), str):
        made["context"] = {**context, "userAgent": context["user_agent"]}
    return made


FORMAT: Final = Format("jitsu", segment.split, event)
