"""From the items of a body to stored events: read, checked, stored or kept as refused, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from firstring import limits
from firstring.api.access import Caller
from firstring.api.services import Services
from firstring.errors import BadInput
from firstring.journey.events import Event, Standing
from firstring.journey.events.reading import read_event
from firstring.journey.events.wire import Format
from firstring.store.access import signing_secret
from firstring.store.database import Tenant
from firstring.store.journey.events import Incoming
from firstring.store.journey.rejected import Letter, Refused

SOURCE: Final = "events"
"""The source of events whose token names none."""
_THREAD_FROM_EVENTS: Final = 64
"""Reading more than so many would keep a serving process from ringing calls for milliseconds."""


class Sender(NamedTuple):
    """Whose events they are. secret: signs user ids, where the sender's key is public; else None."""

    tenant: Tenant
    source: str
    standing: Standing
    secret: str | None
    token_id: int = 0


class Rejected(msgspec.Struct, frozen=True):
    """A record or event that was not taken (or, in left_out, one value of a record): its place in the batch and why."""

    index: int
    code: str
    message: str
    field: str | None = None


class Taken(msgspec.Struct, frozen=True):
    """What became of a call's events, durably. passed_over: items that are about no customer."""

    stored: int
    duplicates: int
    rejected: list[Rejected]
    passed_over: int = 0


class _Read(NamedTuple):
    events: list[Event]
    letters: list[Letter]
    places: list[int]
    refused: list[Refused]


def sender_of(caller: Caller, source: str | None = None) -> Sender:
    """The sender behind a token. Raises BadInput source_not_allowed (403) for another source than the token's own."""
    if caller.source is not None and source not in (None, caller.source):
        raise BadInput(
            "source_not_allowed",
            "This token belongs to another source.",
            where={"field": "source"},
            hint="Leave source out, or make a token for this source.",
            http_status=403,
        )
    is_public = caller.role == "write_key"
    secret = signing_secret(caller.tenant.keys, caller.token_id) if is_public else None
    return Sender(
        caller.tenant, caller.source or source or SOURCE, "claimed" if is_public else "reported", secret, caller.token_id
    )


async def take(
    services: Services,
    sender: Sender,
    form: Format,
    items: Sequence[Any],
    common: Mapping[str, Any],
    *,
    now: datetime,
) -> Taken:
    """Stores the events of one call. Raises BadInput batch_too_large, and Retryable."""
    bounded(items)
    if len(items) >= _THREAD_FROM_EVENTS:
        read = await asyncio.to_thread(_read, sender, form, items, common, now)
    else:
        read = _read(sender, form, items, common, now)
    incoming = Incoming(sender.source, read.events, read.letters, read.refused)
    result = await services.intake.store(sender.tenant, incoming)
    rejected = [Rejected(one.place, one.cause.code, one.cause.message, one.cause.where.get("field")) for one in read.refused]
    rejected += [Rejected(read.places[index], code, message) for index, code, message in result.rejected]
    passed_over = len(items) - len(read.events) - len(read.refused)
    metrics = services.metrics
    for name, count in (
        ("stored", result.stored),
        ("duplicate", result.duplicates),
        ("rejected", len(rejected)),
        ("passed_over", passed_over),
    ):
        metrics.events(name, count)
    for one in rejected:
        metrics.event_rejected(one.code)
    for language in result.languages:
        metrics.words_read(language)
    return Taken(result.stored, result.duplicates, sorted(rejected, key=lambda one: one.index), passed_over)


def bounded(items: Sequence[Any]) -> None:
    if len(items) > limits.EVENTS_PER_BATCH:
        raise BadInput(
            "batch_too_large",
            f"A batch has at most {limits.EVENTS_PER_BATCH} entries.",
            where={"field": "batch", "count": len(items)},
            hint="Send several batches.",
        )


def _read(sender: Sender, form: Format, items: Sequence[Any], common: Mapping[str, Any], now: datetime) -> _Read:
    read = _Read([], [], [], [])
    for place, item in enumerate(items):
        letter = Letter(form.name, item, common, sender.standing, sender.token_id)
        try:
            event = read_event(form, item, common, received_at=now, standing=sender.standing, secret=sender.secret)
        except BadInput as error:
            read.refused.append(Refused(place, letter, error))
            continue
        if event is not None:
            read.events.append(event)
            read.letters.append(letter)
            read.places.append(place)
    return read
