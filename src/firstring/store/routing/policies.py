"""The routing policy of a running server: routing.toml of its home, read again when it changes.

A file with a mistake leaves the policy that was read before in force, and says so. Each policy is stored before the first
decision is made with it, so that decisions are derived again with theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from firstring.errors import BadInput
from firstring.ports import Clock
from firstring.routing.declared.policy import RoutingPolicy, policy_from_file
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql
from firstring.store.watching import Watcher

_log = structlog.get_logger("firstring.routing")
FILE: Final = "routing.toml"
CHANGED: Final = "routing"
_KEPT: Final = "routing_policy"
POLICIES: Final = 1_000
"""Policies of the past that are looked through for the arm of a trial, the newest."""

Mark = tuple[int, int, int] | None


def policy_of_tenant(tenant: Tenant, otherwise: RoutingPolicy) -> RoutingPolicy:
    """The policy in force for a tenant, without the arms of a trial. No I/O."""
    found = tenant.kept.get(_KEPT, otherwise)
    assert isinstance(found, RoutingPolicy)
    return found


class PolicyFile:
    """One server's file. policy: as it was read when the server started; told: hears whether the file is refused (True) or
    in force (False)."""

    def __init__(
        self, database: Database, path: Path, policy: RoutingPolicy, clock: Clock, told: Callable[[bool], None]
    ) -> None:
        self.policy = policy
        self._database = database
        self._path = path
        self._clock = clock
        self._told = told
        self._mark: Mark = _mark_of(path)
        self._is_refused = False

    def watcher(self) -> Watcher:
        """Looks at the file as often as at all that is kept in memory (watching.POLL_S)."""
        return Watcher(self._database, CHANGED, (self.refresh,))

    async def refresh(self, database: Database, tenant: Tenant) -> RoutingPolicy:
        """Reads the file again if it changed, stores what is in force, and then puts it in force for the tenant."""
        await asyncio.to_thread(self._look)
        policy = self.policy
        before = tenant.kept.get(_KEPT)
        if before is not policy:
            async with database.transaction(tenant.tenant_id) as connection:
                await connection.execute(
                    sql("policies", "put"), tenant.tenant_id, policy.version, msgspec.json.encode(policy).decode(),
                    self._clock.now(),
                )  # fmt: skip
            tenant.kept[_KEPT] = policy
            if before is not None:
                _log.info("routing_policy_changed", tenant=tenant.tenant_id, version=policy.version)
        return policy

    def _look(self) -> None:
        mark = _mark_of(self._path)
        if mark == self._mark:
            return
        try:
            if mark is None:
                raise BadInput(
                    "file_unreadable",
                    "The routing policy is gone.",
                    where={"file": str(self._path)},
                    hint="What was read before stays in force until a server starts. Write it again (an empty file is the "
                    "built-in policy).",
                )
            found = policy_from_file(self._path)
        except BadInput as error:
            self._say(error)
        else:
            self.policy = self.policy if found.version == self.policy.version else found
            self._told_of(False)
        self._mark = mark

    def _say(self, error: BadInput) -> None:
        where = {name: error.where[name] for name in ("file", "field", "line") if name in error.where}
        _log.error("routing_policy_refused", code=error.code, version=self.policy.version, **where)
        self._told_of(True)

    def _told_of(self, is_refused: bool) -> None:
        if is_refused != self._is_refused:
            self._is_refused = is_refused
            self._told(is_refused)


async def stored(connection: Connection, tenant: Tenant) -> list[RoutingPolicy]:
    """The policies that were in force on any server, the newest first."""
    rows = await connection.fetch(sql("policies", "all"), tenant.tenant_id, POLICIES)
    found = []
    for row in rows:
        try:
            found.append(msgspec.json.decode(row["content"], type=RoutingPolicy))
        except msgspec.MsgspecError:  # a newer program's
            continue
    return found


def _mark_of(path: Path) -> Mark:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
