"""Patterns over HTTP: which there are, loading and switching them, what fired, what a person is going through."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from firstring import limits
from firstring.api.access import Caller, allow
from firstring.api.people import PersonId
from firstring.api.services import Services
from firstring.journey.patterns import patterns_in
from firstring.store.journey.declared import Loaded, PatternReport, PatternShown, listed, load, report, switch
from firstring.store.journey.underway import PersonPatterns, patterns_of
from firstring.store.queries import sql

REPORT_PERSONS: Final = 300
"""Looked at while the caller waits; the command looks at more."""
LISTED: Final = 100
_SHORT: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,100}$(?!\n)"
_NAME: Final = r"^[A-Za-z0-9_]{1,64}$(?!\n)"
By = Annotated[str, Meta(pattern=_SHORT, description="Who does it; kept with the name of the token.")]
PatternName = Annotated[str, Meta(pattern=_NAME)]


class LoadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Patterns as YAML. on: true switches them on, false off; without it changed ones stay what they were, new ones are off.

    dry: checks and reports only.
    """

    declarations: Annotated[str, Meta(min_length=1, max_length=limits.PATTERN_FILE_CHARS)]
    by: By
    on: bool | None = None
    dry: bool = False


class SwitchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    patterns: Annotated[list[PatternName], Meta(min_length=1, max_length=limits.PATTERNS)]
    on: bool
    by: By


class Switched(msgspec.Struct, frozen=True):
    """switched: those that were otherwise before; reports: whom those that were switched on would have caught."""

    switched: list[str]
    reports: list[PatternReport]


class PatternsView(msgspec.Struct, frozen=True):
    """rebuilding: states are being made anew since the patterns changed; waiting: persons whose state is to be made anew.

    states: persons and households with anything kept; their bytes.
    """

    patterns: list[PatternShown]
    rebuilding: bool
    waiting: int
    states: int
    state_bytes_mean: float
    state_bytes_p99: int


class FiringView(msgspec.Struct, frozen=True):
    """A firing that was not retracted. is_past: it was seen too late to do anything."""

    firing_id: int
    pattern: str
    valence: str
    person_id: int
    at: datetime
    begun_at: datetime
    is_past: bool
    decided_at: datetime | None


class PatternsController(Controller):
    path = "/v1"
    tags = ("patterns",)

    @get("/patterns", guards=[allow("read", "steward")], summary="The patterns that are loaded")
    async def patterns(self, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> PatternsView:
        """With how often each fired in the last 30 days, and for how many persons."""
        shown = await listed(services.database, caller.tenant, services.clock.now())
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            row = await connection.fetchrow(sql("patterns", "how_far"), caller.tenant.tenant_id)
        assert row is not None
        return PatternsView(
            shown, row["rebuilding"], row["stale"], row["states"], round(row["mean_bytes"], 1), row["p99_bytes"]
        )

    @post("/patterns", guards=[allow("steward")], status_code=200, summary="Loads patterns")
    async def load(
        self, data: JSONBody[LoadRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> Loaded:
        """All of them, or none where one is refused; with whom they would have caught in the last 30 days."""
        found = patterns_in(data.declarations)
        now = services.clock.now()
        reports = await report(services.database, caller.tenant, found, now, persons=REPORT_PERSONS)
        if data.dry:
            return Loaded(reports=tuple(reports))
        by = f"{data.by} ({caller.name})"
        loaded = await load(services.database, caller.tenant, [("", data.declarations)], by=by, now=now, switch_on=data.on)
        services.timers.wake()
        return msgspec.structs.replace(loaded, reports=tuple(reports))

    @post("/patterns/switch", guards=[allow("steward")], status_code=200, summary="Switches patterns on or off")
    async def switch(
        self, data: JSONBody[SwitchRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> Switched:
        """States are made anew from the log in the background; what came true before starts no action."""
        now = services.clock.now()
        switched = await switch(services.database, caller.tenant, data.patterns, on=data.on, now=now)
        services.timers.wake()
        reports: list[PatternReport] = []
        if data.on and switched:
            texts = {one.id: one.declaration for one in await listed(services.database, caller.tenant, now)}
            found = [one for name in switched for one in patterns_in(texts[name])]
            reports = await report(services.database, caller.tenant, found, now, persons=REPORT_PERSONS)
        return Switched(switched, reports)

    @get("/patterns/fired", guards=[allow("read", "steward")], summary="The newest firings")
    async def fired(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        pattern: Annotated[str | None, Parameter(pattern=_NAME, description="Only those of this pattern.")] = None,
        before: Annotated[int, Parameter(ge=1, le=2**63 - 1, description="Those before this firing.")] = 2**63 - 1,
        at_most: Annotated[int, Parameter(ge=1, le=1_000)] = LISTED,
    ) -> list[FiringView]:
        """Newest first, without those that were retracted."""
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            statement = sql("patterns", "fired_list")
            rows = await connection.fetch(statement, caller.tenant.tenant_id, pattern, before, at_most)
        return [
            FiringView(
                row["firing_id"], row["pattern"], row["valence"], row["person_id"], row["at"], row["begun_at"],
                row["is_past"], row["acted_at"],
            )
            for row in rows
        ]  # fmt: skip

    @get("/persons/{person_id:int}/patterns", guards=[allow("read", "steward")], summary="What a person is going through")
    async def of_person(
        self,
        person_id: PersonId,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        retracted: Annotated[bool, Parameter(description="With firings that turned out not to be so.")] = False,
    ) -> PersonPatterns:
        """Patterns that fired, and those under way, each with the events that made it."""
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            return await patterns_of(connection, caller.tenant, person_id, services.clock.now(), retracted=retracted)
