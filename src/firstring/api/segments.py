"""Segments over HTTP: which there are, loading them, who is in them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from firstring import limits
from firstring.api.access import Caller, allow
from firstring.api.services import Services
from firstring.store.nextbest.segments import Members, SegmentsLoaded, SegmentsView, listed, load, members

_SHORT: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,100}$(?!\n)"
_NAME: Final = r"^[A-Za-z0-9_]{1,64}$(?!\n)"
By = Annotated[str, Meta(pattern=_SHORT, description="Who does it; kept with the name of the token.")]
SegmentName = Annotated[str, Parameter(pattern=_NAME, description="The segment's id.")]


class SegmentsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Segments as YAML."""

    declarations: Annotated[str, Meta(min_length=1, max_length=limits.PATTERN_FILE_CHARS)]
    by: By


class SegmentsController(Controller):
    path = "/v1/segments"
    tags = ("segments",)

    @get("/", guards=[allow("read", "steward")], summary="The segments that are loaded")
    async def segments(self, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> SegmentsView:
        """With how many persons are in each; while `evaluating`, not everybody has been looked at yet."""
        return await listed(services.database, caller.tenant)

    @post("/", guards=[allow("steward")], status_code=200, summary="Loads segments")
    async def load(
        self, data: JSONBody[SegmentsRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> SegmentsLoaded:
        """All of them, or none where one is refused. Everybody is looked at in the background."""
        by = f"{data.by} ({caller.name})"
        texts = [("", data.declarations)]
        loaded = await load(services.database, caller.tenant, texts, by=by, now=services.clock.now())
        services.timers.wake()
        return loaded

    @get("/{segment:str}/members", guards=[allow("read", "steward")], summary="Who is in a segment")
    async def members(
        self,
        segment: SegmentName,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        after: Annotated[int, Parameter(ge=0, le=2**63 - 1, description="Persons after this one: `next` of a page.")] = 0,
        limit: Annotated[int, Parameter(ge=1, le=limits.SEGMENT_MEMBERS, description="How many at most.")] = 100,
    ) -> Members:
        """By person id, a page at a time. To stay in step, follow `entered` and `left` in the feed of changes."""
        return await members(services.database, caller.tenant, segment, after=after, at_most=limit)
