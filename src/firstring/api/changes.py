"""GET /v1/changes: what became of persons, from any position on."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import Parameter

from firstring import limits
from firstring.api.access import Caller, allow
from firstring.api.services import Services
from firstring.channels.outbound.feeds import with_profiles
from firstring.errors import BadInput
from firstring.store import changes as store
from firstring.store.changes import PersonChange

WAIT_MAX_S: Final = 10.0
LOOK_S: Final = 0.25
"""How often it is looked while somebody waits."""
After = Annotated[
    int | None, Parameter(ge=0, le=2**63 - 1, description="Changes after this position. Without it: from now on.")
]
Limit = Annotated[int, Parameter(ge=1, le=limits.CHANGES_READ, description="How many at most.")]
Wait = Annotated[float, Parameter(ge=0, le=WAIT_MAX_S, description="For how long to wait, in s, where there are none.")]
Profiles = Annotated[bool, Parameter(description="With the golden record of each person as it is now; at most 100 changes.")]


class ChangesView(msgspec.Struct, frozen=True):
    """A part of the feed. next: ask again after it. persons: golden records by id, where they were asked for; of persons
    who are no more there is none."""

    changes: list[PersonChange]
    next: int
    last: int
    persons: dict[str, dict[str, Any]] | None = None


class ChangesController(Controller):
    path = "/v1/changes"
    tags = ("persons",)

    @get("/", guards=[allow("read", "steward", "adapter")], summary="Changes of persons, in order, from any position on")
    async def changes(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        after: After = None,
        limit: Limit = 100,
        wait_s: Wait = 0.0,
        profiles: Profiles = False,
    ) -> ChangesView:
        """Changes are noted from the first time that anybody asks. 410 where the position is too old."""
        if profiles and caller.role not in ("administrator", "read", "steward"):
            where = {"role": caller.role, "allowed": ["administrator", "read", "steward"]}
            raise BadInput("role_not_allowed", "This token's role may not read profiles.", where=where, http_status=403)
        ends_s = services.clock.monotonic_s() + wait_s
        limit = min(limit, 100) if profiles else limit
        while True:
            async with services.database.transaction(caller.tenant.tenant_id) as connection:
                found = await store.read(connection, caller.tenant, after, limit)
                if found is not None and (found.changes or services.clock.monotonic_s() >= ends_s or services.stopping):
                    now, rules = services.clock.now(), services.models.survivorship
                    persons = await with_profiles(connection, caller.tenant, found, rules, now) if profiles else None
                    return ChangesView(found.changes, found.next, found.last, persons)
            if found is None:
                await store.begin(services.database, caller.tenant, services.clock.now())
                continue
            after = found.next if after is None else after
            await asyncio.sleep(LOOK_S)
