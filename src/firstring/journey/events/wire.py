"""What the formats have in common: a body is split into items, and each item becomes an event in Segment's form.

A format is pure: the HTTP adapter (api/ingest) decodes and finds the write key's owner, the store keeps what comes out. An
item that cannot be mapped is refused alone; a body that cannot be split is refused whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from firstring.errors import BadInput

KEY_CHARS: Final = 200


class Body(NamedTuple):
    """A body taken apart. items: one for each event. common: what the sender said once for all of them. write_key: the
    key where the format carries it in the body."""

    items: list[Any]
    common: dict[str, Any]
    write_key: str | None = None


class Format(NamedTuple):
    """name: stored with what is refused, so that it can be read again. split: raises BadInput malformed_batch. event: the
    event of one item in Segment's form; None for what says nothing of any customer; raises BadInput."""

    name: str
    split: Callable[[Any], Body]
    event: Callable[[Any, Mapping[str, Any]], dict[str, Any] | None]


def malformed_batch(what: str) -> BadInput:
    return BadInput("malformed_batch", f"The body is not {what}.", hint="Send it as the SDK of this endpoint does.")


def an_object(item: Any) -> dict[str, Any]:
    """The item, which must be an object. Raises BadInput malformed_event."""
    if not isinstance(item, dict):
        raise BadInput("malformed_event", "The event is not an object.", hint="Send a JSON object.")
    return item


def text(value: Any) -> str | None:
    """Text that is there; None for anything else."""
    return value if isinstance(value, str) and value else None


def key_in(body: Mapping[str, Any], *names: str) -> str | None:
    """A write key among the members of a body."""
    for name in names:
        value = body.get(name)
        if isinstance(value, str) and 0 < len(value) <= KEY_CHARS:
            return value
    return None


def without_nothing(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event less the members that are not there."""
    return {name: value for name, value in event.items() if value is not None and value != {}}
