"""One profile out of a person's records: the newest value that is there wins, lists are merged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from firstring.contact import RecordRead
from firstring.identity.canonical import TRACES

SOURCES: Final = "sources"
"""Where a profile says which source each of its fields comes from: {field: source}."""
ATTRIBUTES: Final = "attributes"
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def newest_first(records: Sequence[RecordRead]) -> list[RecordRead]:
    """By last_seen, unknown last; ties by record id, so that the order of reading does not matter."""
    return sorted(records, key=lambda record: (record.last_seen or _NEVER, record.record_id), reverse=True)


def profile(records: Sequence[RecordRead]) -> dict[str, Any]:
    """The person's fields. A single field has its newest value, a list all values (newest record first, no duplicates).

    `sources` names for each field the source of its value (of a list: of its first). `attributes` are merged alike.
    """
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    attributes: dict[str, Any] = {}
    for record in newest_first(records):
        for name, value in record.fields.items():
            if name == ATTRIBUTES:
                attributes = {**value, **attributes}
            elif name == TRACES:
                continue  # refused values: they help to compare records, and are nobody's profile
            elif isinstance(value, list):
                kept = found.get(name)
                if kept is None:
                    found[name] = list(value)
                    sources[name] = record.source
                else:
                    kept += [one for one in value if one not in kept]
            elif name not in found and value not in (None, ""):
                found[name] = value
                sources[name] = record.source
    if attributes:
        found[ATTRIBUTES] = attributes
    if found:
        found[SOURCES] = sources
    return found
