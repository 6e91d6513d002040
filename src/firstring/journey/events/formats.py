"""The formats by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from firstring.journey.events import cloudevents, jitsu, posthog, rudder, segment, snowplow
from firstring.journey.events.wire import Format

FORMATS: Final[Mapping[str, Format]] = {
    module.FORMAT.name: module.FORMAT for module in (segment, rudder, jitsu, posthog, snowplow, cloudevents)
}
