"""Events that were refused: what they are and why, and sending them again once the cause is mended."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from firstring import limits
from firstring.api.access import Caller, allow
from firstring.api.ingest.taking import bounded
from firstring.api.services import Services
from firstring.store.journey.rejected import RejectedCode, RejectedEvent, rejected_codes, rejected_events
from firstring.store.journey.resending import Resent, resend

RejectedId = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class RejectedList(msgspec.Struct, frozen=True):
    """Refused events from the oldest on; codes: how many there are of each."""

    codes: list[RejectedCode]
    events: list[RejectedEvent]


class Resend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Refused events by their numbers. mended: by number, the event as it should have come, in the format it came in."""

    ids: Annotated[list[RejectedId], Meta(max_length=limits.EVENTS_PER_BATCH)]
    mended: dict[str, dict[str, Any]] = {}
    forget: bool = False


class RejectedController(Controller):
    path = "/v1/events/rejected"
    tags = ("people",)

    @get("/", guards=[allow()], summary="Events that were refused, with their reasons")
    async def rejected(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        after: Annotated[int, Parameter(ge=0, le=2**63 - 1)] = 0,
        code: Annotated[str | None, Parameter(max_length=100)] = None,
        limit: Annotated[int, Parameter(ge=1, le=1000)] = 100,
    ) -> RejectedList:
        codes = await rejected_codes(services.database, caller.tenant)
        events = await rejected_events(services.database, caller.tenant, after=after, code=code, at_most=limit)
        return RejectedList(codes, events)

    @post("/resend", status_code=200, guards=[allow()], summary="Sends refused events again")
    async def resend(
        self, data: JSONBody[Resend], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> Resent:
        """What is taken now is no longer among the refused; what is refused again stays, with its new reason."""
        bounded(data.ids)
        mended = {
            int(name): event for name, event in data.mended.items() if name.isascii() and name.isdigit() and len(name) < 19
        }
        return await resend(
            services.database,
            caller.tenant,
            data.ids,
            mended=mended,
            forget=data.forget,
            now=services.clock.now(),
            country=services.settings.country,
            told=services.firings.tell,
        )
