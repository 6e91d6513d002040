"""People over HTTP: resolve who somebody is, hand in records and events."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, post

from firstring import limits
from firstring.api.access import Caller, allow
from firstring.api.services import Services
from firstring.contact import Resolution
from firstring.decide import looked_up
from firstring.errors import BadInput
from firstring.identity.evidence import gather
from firstring.identity.resolver import resolve
from firstring.journey.events import Event, parse_event
from firstring.store.events import ingest


class ResolveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Raw fields of the vocabulary; several values as a list."""

    fields: dict[str, str | list[str]]


class EventsRequest(msgspec.Struct, frozen=True):
    """A batch of events in Segment's form; `source` names the system they come from."""

    batch: list[dict[str, Any]]
    source: str = "events"


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not taken: its place in the batch and why."""

    index: int
    code: str
    message: str


class EventsResult(msgspec.Struct, frozen=True):
    """What was stored durably, what was there already, what was refused."""

    stored: int
    duplicates: int
    rejected: list[Rejected]


class PeopleController(Controller):
    path = "/v1"
    tags = ("people",)

    @post("/resolve", status_code=200, guards=[allow("read", "adapter")], summary="Who is this?")
    async def resolve(self, data: ResolveRequest, services: Services, caller: Caller) -> Resolution:
        evidence = gather(data.fields, country=services.settings.country)
        read = await services.ring.read(caller.tenant, looked_up(evidence), None)
        return resolve(evidence, read, weights=services.models.weights, now=services.clock.now())

    @post("/events", status_code=200, guards=[allow("events")], summary="Events of customers, stored before the answer")
    async def events(self, data: EventsRequest, services: Services, caller: Caller) -> EventsResult:
        if len(data.batch) > limits.EVENTS_PER_BATCH:
            raise BadInput(
                "too_many_events",
                f"A batch has at most {limits.EVENTS_PER_BATCH} events.",
                where={"field": "batch", "count": len(data.batch)},
            )
        now = services.clock.now()
        good: list[Event] = []
        places: list[int] = []
        rejected: list[Rejected] = []
        for index, raw in enumerate(data.batch):
            try:
                good.append(parse_event(raw, received_at=now))
                places.append(index)
            except BadInput as error:
                rejected.append(Rejected(index, error.code, error.message))
        result = await ingest(services.database, caller.tenant, data.source, good, now=now)
        rejected += [Rejected(places[index], code, message) for index, code, message in result.rejected]
        services.metrics.events("stored", result.stored)
        services.metrics.events("duplicate", result.duplicates)
        services.metrics.events("rejected", len(rejected))
        return EventsResult(result.stored, result.duplicates, sorted(rejected, key=lambda item: item.index))
