"""People over HTTP: resolve who somebody is, hand in records and events."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from firstring import limits
from firstring.api.access import Caller, allow
from firstring.api.ingest.taking import Rejected, sender_of, take
from firstring.api.services import Services
from firstring.contact import Resolution
from firstring.decide import looked_up, who
from firstring.errors import BadInput
from firstring.identity.caller.evidence import gather
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.journey.events.formats import FORMATS

Source = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,100}$(?!\n)", description="The system that the data come from.")
]
PersonId = Annotated[int, Parameter(ge=1, le=2**63 - 1)]
LEFT_OUT_SHOWN: Final = 1_000
"""Values left out that are listed in one answer."""
_MANY_RECORDS: Final = 100
"""More are read beside the event loop, which answers calls meanwhile."""


class ResolveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Raw fields of the vocabulary; several values as a list."""

    fields: dict[str, str | list[str]]


class EventsRequest(msgspec.Struct, frozen=True):
    """A batch of events in Segment's form; `source` names the system they come from, where the token does not."""

    batch: list[dict[str, Any]]
    source: Source | None = None


class EventsResult(msgspec.Struct, frozen=True):
    """What was stored durably, what was there already, what was refused."""

    stored: int
    duplicates: int
    rejected: list[Rejected]


class RecordsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Source records by fields of the vocabulary (docs/importing.md), each with a record_id of the source's own.

    A value is text, a number, a truth value, or a list of them; any other field name is kept as an attribute.
    """

    source: Source
    records: list[dict[str, Any]]


class RecordsResult(msgspec.Struct, frozen=True):
    """What became of the records, durably. merged and split count persons, in the transaction that stored the records:
    what arrives at the same time shares one. rejected: records that were not taken; left_out: values that could not be
    used, of records that were taken."""

    inserted: int
    updated: int
    unchanged: int
    merged: int
    split: int
    rejected: list[Rejected]
    left_out: list[Rejected]


class PeopleController(Controller):
    path = "/v1"
    tags = ("people",)

    @post("/resolve", status_code=200, guards=[allow("read", "adapter")], summary="Who is this?")
    async def resolve(
        self, data: JSONBody[ResolveRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> Resolution:
        evidence = gather(data.fields, country=services.settings.country)
        read = await services.ring.read(caller.tenant, looked_up(evidence), None)
        models = services.decider.models_of(caller.tenant)
        return who(evidence, read, weights=models.weights, now=services.clock.now(), rules=models.survivorship)

    @post(
        "/records",
        status_code=200,
        guards=[allow("import")],
        request_max_body_size=limits.RECORDS_BODY_BYTES,
        summary="Source records, stored before the answer",
    )
    async def records(
        self, data: JSONBody[RecordsRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> RecordsResult:
        """Idempotent: the same records again change nothing. Of several versions of one record the last counts."""
        _bounded("records", data.records, limits.IMPORT_BATCH_RECORDS)
        country = services.settings.country
        if len(data.records) > _MANY_RECORDS:
            good, rejected, left_out = await asyncio.to_thread(_canonical, data.records, country)
        else:
            good, rejected, left_out = _canonical(data.records, country)
        applied = await services.arrivals.apply(caller.tenant, data.source, good, now=services.clock.now())
        return RecordsResult(
            applied.inserted,
            applied.updated,
            applied.unchanged,
            applied.merged,
            applied.split,
            rejected,
            left_out[:LEFT_OUT_SHOWN],
        )

    @post(
        "/events",
        status_code=200,
        guards=[allow("events", "write_key")],
        summary="Events of customers, stored before the answer",
    )
    async def events(
        self,
        data: JSONBody[EventsRequest],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        request: Request[Any, Any, Any],
    ) -> EventsResult:
        """Idempotent by messageId."""
        sender = sender_of(caller, data.source)
        services.flow.events(caller, services.flow.client(request.scope), len(data.batch))
        taken = await take(services, sender, FORMATS["segment"], data.batch, {}, now=services.clock.now())
        return EventsResult(taken.stored, taken.duplicates, taken.rejected)


def _canonical(records: list[dict[str, Any]], country: str) -> tuple[list[CanonicalRecord], list[Rejected], list[Rejected]]:
    """The records that can be used, those that cannot, and what was left out of the former."""
    good: list[CanonicalRecord] = []
    rejected: list[Rejected] = []
    left_out: list[Rejected] = []
    for index, raw in enumerate(records):
        try:
            record = canonical_record(raw, country=country)
        except BadInput as error:
            rejected.append(Rejected(index, error.code, error.message, error.where.get("field")))
            continue
        good.append(record)
        left_out += [Rejected(index, reason.code, reason.text, reason.field) for reason in record.dropped]
    return good, rejected, left_out


def _bounded(field: str, batch: list[dict[str, Any]], at_most: int) -> None:
    if len(batch) > at_most:
        raise BadInput(
            "batch_too_large",
            f"A batch has at most {at_most} entries.",
            where={"field": field, "count": len(batch)},
            hint="Send several batches.",
        )
