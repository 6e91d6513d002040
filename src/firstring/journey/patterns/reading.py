"""Canonical events as patterns see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from firstring.journey.events import Event
from firstring.journey.patterns.runs import Happened

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def seen(event: Event) -> Happened:
    """A canonical event."""
    return happened(event.name, event.channel, event.occurred_at, event.properties)


def happened(name: str, channel: str, occurred_at: datetime, properties: dict[str, Any]) -> Happened:
    """The same out of its parts, such as those of a contact.TouchRead."""
    asked = {"name": name, "channel": channel, "time": occurred_at, "properties": properties}
    return Happened((occurred_at - _EPOCH) // _MS, name, asked)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded down."""
    return (moment - _EPOCH) // _MS


def moment_of(at_ms: int) -> datetime:
    """The moment so many milliseconds after 1970."""
    return _EPOCH + at_ms * _MS
