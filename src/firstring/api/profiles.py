"""Profiles and timelines over HTTP: everything of one person across channels, now or as of a past moment."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter

from firstring.api.access import Caller, allow
from firstring.api.people import PersonId
from firstring.api.persons import At, Merged, shown
from firstring.api.services import Services
from firstring.store.identity.persons import moment
from firstring.store.journey.profiles import PAGE_MAX, Profile, Timeline, read_profile, read_timeline

Before = Annotated[
    str | None, Parameter(description="`before` of the page before.", pattern=r"^-?[0-9]{1,18}\.[0-9]{1,19}$")
]
Limit = Annotated[int, Parameter(ge=1, le=PAGE_MAX, description="Events on a page.")]
ChannelName = Annotated[
    str | None,
    Parameter(
        description="Of this channel only: voice, chat, email, web, messaging, social, mobile, backend.",
        pattern=r"^[a-z]{1,20}$",
    ),
]
_MERGED = {308: ResponseSpec(Merged, generate_examples=False, description="Merged into another person.")}


class ProfilesController(Controller):
    path = "/v1/persons/{person_id:int}"
    tags = ("persons",)

    @get(
        "/profile",
        guards=[allow("read", "steward")],
        summary="A person's attributes, traits, open issues, consents, household, experience, patterns",
        responses=_MERGED,
    )
    async def profile(
        self,
        person_id: PersonId,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        at: At = None,
    ) -> Response[Profile | Merged]:
        """308 with the living person's address where this one was merged; with `at`, as of that moment."""
        then = None if at is None else moment(at)
        found = await read_profile(
            services.database,
            caller.tenant,
            person_id,
            now=services.clock.now(),
            rules=services.models.survivorship,
            at=then,
        )
        if then is None and found.person_id != person_id:
            return _merged(person_id, found.person_id, "profile")
        sees_ids = caller.role == "administrator"
        return Response(msgspec.structs.replace(found, attributes=shown(found.attributes, sees_ids)))

    @get("/timeline", guards=[allow("read", "steward")], summary="What a person has been through", responses=_MERGED)
    async def timeline(
        self,
        person_id: PersonId,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        at: At = None,
        before: Before = None,
        limit: Limit = 50,
        channel: ChannelName = None,
    ) -> Response[Timeline | Merged]:
        """Newest first, a page at a time; 308 as for the profile."""
        then = None if at is None else moment(at)
        found = await read_timeline(
            services.database, caller.tenant, person_id, at=then, before=before, limit=limit, channel=channel
        )
        if then is None and found.person_id != person_id:
            asked = {"before": before, "limit": limit if limit != 50 else None, "channel": channel}
            query = urlencode({name: value for name, value in asked.items() if value is not None})
            return _merged(person_id, found.person_id, f"timeline?{query}" if query else "timeline")
        return Response(found)


def _merged(person_id: int, living: int, where: str) -> Response[Any]:
    return Response(Merged(person_id, living), status_code=308, headers={"Location": f"/v1/persons/{living}/{where}"})
