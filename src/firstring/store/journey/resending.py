"""Sends refused events again, after the program, its settings or the event itself was mended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from firstring.errors import BadInput
from firstring.journey.events import Event
from firstring.journey.events.formats import FORMATS
from firstring.journey.events.reading import read_event
from firstring.store.access import signing_secret
from firstring.store.database import Database, Tenant
from firstring.store.journey.events import Incoming, ingest_all
from firstring.store.journey.firings import Told
from firstring.store.journey.rejected import RejectedEvent, rejected_named, settle


class StillRejected(msgspec.Struct, frozen=True):
    """An event that was refused again, and why."""

    rejected_id: int
    code: str
    message: str


class Resent(msgspec.Struct, frozen=True):
    """taken: stored now or there already, and no longer among the refused; forgotten: given up; unknown: not there."""

    taken: int = 0
    forgotten: int = 0
    rejected: tuple[StillRejected, ...] = ()
    unknown: tuple[int, ...] = ()


async def resend(
    database: Database,
    tenant: Tenant,
    ids: Sequence[int],
    *,
    mended: Mapping[int, Any],
    now: datetime,
    country: str,
    forget: bool = False,
    told: Told | None = None,
) -> Resent:
    """Sends the refused events of these numbers again, with the time at which they first came; each counts once.

    mended: by number, the event as it should have come. forget: gives them up instead. told: as of `ingest`. Interrupted and
    called again it goes on: what was stored is known by its message id.
    """
    letters = await rejected_named(database, tenant, ids)
    unknown = tuple(sorted(set(ids) - {letter.rejected_id for letter in letters}))
    if forget:
        await settle(database, tenant, [letter.rejected_id for letter in letters])
        return Resent(forgotten=len(letters), unknown=unknown)
    refused: list[StillRejected] = []
    taken: list[int] = []
    by_source: dict[str, list[tuple[RejectedEvent, Event]]] = {}
    for letter in letters:
        try:
            event = _event(tenant, letter, mended.get(letter.rejected_id, letter.event))
        except BadInput as error:
            refused.append(StillRejected(letter.rejected_id, error.code, error.message))
            continue
        if event is None:
            taken.append(letter.rejected_id)
        else:
            by_source.setdefault(letter.source, []).append((letter, event))
    incoming = [Incoming(source, [event for _, event in pairs]) for source, pairs in by_source.items()]
    results = await ingest_all(database, tenant, incoming, now=now, country=country, told=told)
    for pairs, result in zip(by_source.values(), results, strict=True):
        again = {index: (code, message) for index, code, message in result.rejected}
        for index, (letter, _) in enumerate(pairs):
            if index in again:
                refused.append(StillRejected(letter.rejected_id, *again[index]))
            else:
                taken.append(letter.rejected_id)
    await settle(database, tenant, taken)
    return Resent(len(taken), 0, tuple(sorted(refused, key=lambda one: one.rejected_id)), unknown)


def _event(tenant: Tenant, letter: RejectedEvent, item: Any) -> Event | None:
    if item is None:
        raise BadInput("event_not_kept", "The event was too large to be kept.", hint="Send it from its source again.")
    if letter.format not in FORMATS:
        raise BadInput("format_unknown", "The event is of a format that is no longer read.", where={"format": letter.format})
    secret = signing_secret(tenant.keys, letter.token_id) if letter.standing == "claimed" and letter.token_id else None
    return read_event(
        FORMATS[letter.format],
        item,
        letter.common,
        received_at=letter.received_at,
        standing=letter.standing,
        secret=secret,
    )
