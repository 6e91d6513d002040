"""What is read in the words of an event, as an event of its own: "Words Read", of the same record, about that event.

It is made ready with its event, stored in the same transaction, once each, and goes wherever its event goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from firstring.journey.events import Event
from firstring.journey.names import WORDS_READ
from firstring.journey.words.textmodel import TextModel
from firstring.journey.words.texts import words_of
from firstring.store.database import Connection, Tenant
from firstring.store.queries import sql
from firstring.store.seal import TenantKeys

CHANNEL: Final = "backend"
"""It is no contact of the customer's."""


class Derived(NamedTuple):
    """One "Words Read" ready for the store. about: the message key of the event whose words were read."""

    message_key: bytes
    about: bytes
    event: Event
    row: tuple[Any, ...]

    @property
    def language(self) -> str:
        return str(self.event.properties.get("language", ""))


class StoredWords(NamedTuple):
    """One that was stored now."""

    event_id: int
    record_id: int
    event: Event


def derived(
    keys: TenantKeys, source: str, event: Event, about: bytes, standing: int, reasons: TextModel | None = None
) -> Derived | None:
    """What is read in an event's words, sealed; None where there is nothing to say. Pure, for a thread of its own.

    reasons: the tenant's text model, whose labels are its topics.
    """
    said = words_of(event, reasons)
    if said is None:
        return None
    own = Event(
        message_id=f"words:{event.message_id}",
        type="track",
        name=WORDS_READ,
        channel=CHANNEL,
        occurred_at=event.occurred_at,
        received_at=event.received_at,
        record_id=event.record_id,
        anonymous_id=event.anonymous_id,
        properties={"about": event.message_id, "of": event.name, "channel": event.channel, **said.properties()},
        standing=event.standing,
    )
    payload: dict[str, Any] = {"name": own.name, "properties": own.properties, "type": own.type}
    if own.record_id is not None:
        payload["user"] = own.record_id
    if own.standing == "claimed":
        payload["claimed"] = True
    wrapped, sealed = keys.seal(payload)
    # A domain of its own: no message id that anybody sends can take its place.
    key = keys.blind(f"words:{source}", event.message_id)
    return Derived(key, about, own, (CHANNEL, own.occurred_at, own.received_at, standing, wrapped, sealed))


async def store_words(connection: Connection, tenant: Tenant, ready: Sequence[Derived]) -> list[StoredWords]:
    """Stores them beside their events, which are there already; those that are there are left alone."""
    if not ready:
        return []
    columns = [list(column) for column in zip(*((one.message_key, one.about, *one.row) for one in ready), strict=True)]
    rows = await connection.fetch(sql("words", "insert_words"), tenant.tenant_id, *columns)
    by_key = {one.message_key: one.event for one in ready}
    return [StoredWords(row["event_id"], row["record_id"], by_key[row["message_key"]]) for row in rows]
