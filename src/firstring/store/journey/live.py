"""The patterns of a tenant that are on, ready to run in this process; read anew when the tenant's set has changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from firstring.journey.patterns import Pattern, PatternSet, patterns_in
from firstring.store.database import Connection, Tenant
from firstring.store.queries import sql

_KEPT = "patterns"


class Live(NamedTuple):
    """of_person: those by person and by visit; of_household: those by household. by_id: number and pattern of each.

    rebuilt_to: while states are made anew because the patterns have changed, up to which person they are. any_stale: whether
    anybody's is to be.
    """

    version: int
    of_person: PatternSet
    of_household: PatternSet
    by_id: dict[str, tuple[int, Pattern]]
    rebuilt_to: int | None
    changed_at: datetime
    any_stale: bool = False


async def live_patterns(connection: Connection, tenant: Tenant) -> Live | None:
    """Those that are on now; None where none is. Whoever steps states holds `lock_shared`: none is switched meanwhile."""
    return await live_in(connection, tenant, await connection.fetchrow(sql("patterns", "set_of"), tenant.tenant_id))


async def live_in(connection: Connection, tenant: Tenant, row: Any) -> Live | None:
    """The same out of a row of `set_of`."""
    if row is None or not row["is_on"]:
        return None
    known = tenant.kept.get(_KEPT)
    if not isinstance(known, Live) or known.version != row["version"]:
        rows = await connection.fetch(sql("patterns", "those_on"), tenant.tenant_id)
        known = tenant.kept[_KEPT] = live_of(
            row["version"], row["changed_at"], [(each["number"], each["declaration"]) for each in rows]
        )
    return known._replace(rebuilt_to=row["rebuilt_to"], any_stale=row["any_stale"])


def seen_live(tenant: Tenant) -> bool:
    """Whether this process has met patterns of the tenant that are on."""
    return _KEPT in tenant.kept


def live_of(version: int, changed_at: datetime, declared: list[tuple[int, str]]) -> Live:
    """Out of numbers and declarations."""
    numbered = [(number, one) for number, text in declared for one in patterns_in(text)]
    by_id = {one.id: (number, one) for number, one in numbered}
    home = [(number, one) for number, one in numbered if one.by == "household"]
    alone = [(number, one) for number, one in numbered if one.by != "household"]
    return Live(version, _set(alone), _set(home), by_id, None, changed_at)


def _set(numbered: list[tuple[int, Pattern]]) -> PatternSet:
    return PatternSet([one for _, one in numbered], numbers=[number for number, _ in numbered])
