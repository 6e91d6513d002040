"""Trials of routing in the store: planned, running (one at a time), over. Each process knows the one that runs.

A contact's arm follows from the trial's salt and the contact's id (or the interval it came in), so that every process, every
later decision and every replay finds the same one, and nothing is written for it.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from firstring.contact import InTrial
from firstring.errors import BadInput
from firstring.ports import Clock
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.trial.arms import arm_of
from firstring.routing.trial.plan import Basis, Draft, Trial, planned, policy_of
from firstring.routing.trial.result import Result, Row, basis_of, counted, result_of, value_of, watched
from firstring.store.database import Connection, Database, Tenant
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.routing.policies import stored
from firstring.store.watching import Watcher

_log = structlog.get_logger("firstring.trials")
CHANGED: Final = "trial"
"""What a notice says when a trial begins or ends."""
_KEPT: Final = "trial"
LOOK_S: Final = 60.0
"""How often guard rails are looked at."""
ROWS: Final = 1_000_000
"""Contacts of a trial that are looked at, the first."""
AT_ONCE: Final = 500
LOOKED_BACK: Final = timedelta(days=28)
"""The part of the log that a plan rests on."""
SETTLED: Final = timedelta(hours=6)
"""A trial's result is kept so long after it is over..."""
SETTLED_REPEAT: Final = timedelta(days=8)
"""... and after this where it is about who came again."""
LONGEST: Final = 3.0
"""A trial ends after so many times the days it was planned for, whatever its contacts."""


@dataclass(frozen=True, slots=True)
class Running:
    """The trial that runs, with its arms' policies by (version of the base, arm)."""

    name: str
    trial: Trial
    policies: dict[tuple[str, bool], RoutingPolicy] = field(default_factory=dict)


class TrialLine(msgspec.Struct, frozen=True):
    """A trial as lists show it. state: planned, running, stopped (by a guard rail or by hand) or ended."""

    name: str
    trial: Trial
    state: str
    planned_by: str
    planned_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    stopped_because: str | None
    result: Result | None


def trial_in_force(tenant: Tenant) -> Running | None:
    """The trial that runs. No I/O."""
    found = tenant.kept.get(_KEPT)
    return found if isinstance(found, Running) else None


def policy_in_force(
    tenant: Tenant, base: RoutingPolicy, contact_id: uuid.UUID, offered_at: datetime
) -> tuple[RoutingPolicy, InTrial | None]:
    """The policy by which a contact is routed: its arm's where a trial runs, else the base; and that arm. No I/O.

    A contact that was offered before the trial began is none of it.
    """
    running = trial_in_force(tenant)
    if running is None or running.trial.started_at is None or offered_at < running.trial.started_at:
        return base, None
    arm = arm_of(running.trial, contact_id, offered_at)
    told = InTrial(running.name, "treatment" if arm.treated else "control", arm.probability)
    if not arm.overrides:
        return base, told
    key = (base.version, arm.treated)
    if key not in running.policies:
        running.policies[key] = policy_of(base, arm.overrides)
    return running.policies[key], told


async def policy_named(connection: Connection, tenant: Tenant, base: RoutingPolicy, version: str) -> RoutingPolicy | None:
    """The policy of a version: the base, one that was in force before, or that of an arm of any trial; None where it is
    gone."""
    if version == base.version:
        return base
    bases = [base, *await stored(connection, tenant)]
    arms = [
        {},
        *(
            arm
            for line in await trials(connection, tenant)
            for arm in (line.trial.draft.control, line.trial.draft.treatment)
        ),
    ]
    for one in bases:
        for overrides in arms:
            found = policy_of(one, overrides)
            if found.version == version:
                return found
    return None


async def refresh(database: Database, tenant: Tenant) -> Running | None:
    """Asks which trial runs, and keeps it."""
    async with database.transaction(tenant.tenant_id) as connection:
        row = await connection.fetchrow(sql("trials", "running"), tenant.tenant_id)
    before = trial_in_force(tenant)
    if row is None:
        tenant.kept.pop(_KEPT, None)
        return None
    if before is not None and before.name == row["name"] and before.trial.started_at == row["started_at"]:
        return before
    found = Running(row["name"], _trial(row))
    tenant.kept[_KEPT] = found
    return found


def trial_watcher(database: Database) -> Watcher:
    """Keeps the trial that runs current in this process, for every tenant."""
    return Watcher(database, CHANGED, (refresh,))


# --- from plan to end ----------------------------------------------------------------------------------------------


async def plan(
    connection: Connection, tenant: Tenant, draft: Draft, *, now: datetime, by: str, basis: Basis | None = None
) -> Trial:
    """Plans a trial by the log of the last weeks, or by a stated basis. Raises BadInput trial_exists (409), plan_invalid,
    plan_too_long."""
    if basis is None:
        since = now - LOOKED_BACK
        first = await connection.fetchval(sql("trials", "first_outcome"), tenant.tenant_id, since)
        rows = await rows_between(connection, tenant, since, now)
        days = LOOKED_BACK / timedelta(days=1) if first is None else max((now - first) / timedelta(days=1), 1.0 / 24.0)
        basis = await asyncio.to_thread(basis_of, counted(draft, rows), draft.metric, days, draft.interval_s)
    made = planned(draft, basis, secrets.token_hex(16))
    added = await connection.fetchval(
        sql("trials", "add"), tenant.tenant_id, draft.name, msgspec.json.encode(made).decode(), by, now
    )
    if added is None:
        raise BadInput(
            "trial_exists",
            "There is a trial of this name.",
            where={"trial": draft.name},
            hint="Give it another name, or drop one that was only planned: firstring trial stop.",
            http_status=409,
        )
    return made


async def start(connection: Connection, tenant: Tenant, name: str, *, now: datetime, origin: str) -> Trial:
    """Starts a planned trial. Raises BadInput unknown_trial (404), trial_state (409)."""
    line = await trial(connection, tenant, name)
    if line.state != "planned":
        raise _state(line, "It can be started once.")
    begun = msgspec.structs.replace(line.trial, started_at=now)
    done = await connection.fetchval(
        sql("trials", "start"), tenant.tenant_id, name, now, msgspec.json.encode(begun).decode()
    )
    if done is None:
        raise _state(line, "Another trial runs; two at once would disturb one another.")
    await connection.execute(sql("trials", "tell"), tenant.tenant_id, origin)
    return begun


async def stop(
    connection: Connection, tenant: Tenant, name: str, *, now: datetime, because: str, origin: str, ended: bool = False
) -> TrialLine:
    """Stops a running trial, or drops one that was only planned. Raises BadInput unknown_trial (404), trial_state (409)."""
    line = await trial(connection, tenant, name)
    if line.state == "planned":
        await connection.execute(sql("trials", "drop"), tenant.tenant_id, name)
        return line
    state = "ended" if ended else "stopped"
    done = await connection.fetchval(sql("trials", "stop"), tenant.tenant_id, name, state, now, because)
    if done is None:
        raise _state(line, "It is over.")
    await connection.execute(sql("trials", "tell"), tenant.tenant_id, origin)
    return msgspec.structs.replace(line, state=state, stopped_at=now, stopped_because=because)


async def trial(connection: Connection, tenant: Tenant, name: str) -> TrialLine:
    """One trial. Raises BadInput unknown_trial (404)."""
    row = await connection.fetchrow(sql("trials", "named"), tenant.tenant_id, name)
    if row is None:
        raise BadInput(
            "unknown_trial",
            "There is no trial of this name.",
            where={"trial": name[:64]},
            hint="`firstring trial show` lists them.",
            http_status=404,
        )
    return _line(row)


async def trials(connection: Connection, tenant: Tenant, at_most: int = 100) -> list[TrialLine]:
    """Trials, the newest first."""
    return [_line(row) for row in await connection.fetch(sql("trials", "all"), tenant.tenant_id, at_most)]


async def rows_between(
    connection: Connection, tenant: Tenant, since: datetime, until: datetime, at_most: int = ROWS
) -> list[Row]:
    """Contacts that were offered in a time and are over. In pieces: the loop that reads them has calls to answer."""
    found: list[Row] = []
    cursor = await connection.cursor(sql("trials", "rows"), tenant.tenant_id, since, until, at_most, timeout=60.0)
    while rows := await cursor.fetch(AT_ONCE, timeout=60.0):
        found += [Row(*row.values()) for row in rows]
    return found


async def rows_of(connection: Connection, tenant: Tenant, line: TrialLine, now: datetime) -> list[Row]:
    """The contacts of a trial that are over and that it is about."""
    if line.started_at is None:
        return []
    return list(counted(line.trial.draft, await rows_between(connection, tenant, line.started_at, line.stopped_at or now)))


def _state(line: TrialLine, message: str) -> BadInput:
    return BadInput(
        "trial_state",
        f"The trial is {line.state}. {message}",
        where={"trial": line.name, "state": line.state},
        http_status=409,
    )


def _trial(row: Any) -> Trial:
    found = msgspec.json.decode(row["plan"], type=Trial)
    return msgspec.structs.replace(found, started_at=row["started_at"])


def _line(row: Any) -> TrialLine:
    return TrialLine(
        name=row["name"],
        trial=_trial(row),
        state=row["state"],
        planned_by=row["planned_by"],
        planned_at=row["planned_at"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
        stopped_because=row["stopped_because"],
        result=None if row["result"] is None else _result(row["result"]),
    )


def _result(text: str) -> Result:
    """A result as it was kept. JSON has no number for what is not known: it stands there as null."""

    def known(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: known(one) for name, one in value.items()}
        if isinstance(value, list):
            return [known(one) for one in value]
        return math.nan if value is None else value

    return msgspec.convert(known(msgspec.json.decode(text)), Result)


class TrialWork:
    """A chore of the queue task: looks at guard rails, ends what is complete, keeps results."""

    def __init__(self, database: Database, notices: Notices, clock: Clock) -> None:
        self._database = database
        self._notices = notices
        self._clock = clock
        self._look_s: dict[str, float] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on where it is time."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._look_s.get(tenant.name, 0.0):
            await self.check(tenant)
            self._look_s[tenant.name] = self._clock.monotonic_s() + LOOK_S

    async def check(self, tenant: Tenant) -> str | None:
        """Looks once; returns why the trial that ran does not run any more."""
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            await self._keep_results(connection, tenant, now)
            row = await connection.fetchrow(sql("trials", "running"), tenant.tenant_id)
            if row is None:
                return None
            one = _trial(row)
            rows = await rows_between(connection, tenant, row["started_at"], now)
        because, ended = await asyncio.to_thread(_over, one, counted(one.draft, rows), now)
        if because is None:
            return None
        async with self._database.transaction(tenant.tenant_id) as connection:
            await stop(connection, tenant, row["name"], now=now, because=because, origin=self._notices.origin, ended=ended)
        log = _log.info if ended else _log.warning
        log("trial_over", tenant=tenant.tenant_id, trial=row["name"], because=because)
        return because

    async def _keep_results(self, connection: Connection, tenant: Tenant, now: datetime) -> None:
        for row in await connection.fetch(sql("trials", "unresolved"), tenant.tenant_id, now - SETTLED):
            one = _trial(row)
            if one.draft.metric == "repeated" and row["stopped_at"] > now - SETTLED_REPEAT:
                continue
            rows = await rows_between(connection, tenant, row["started_at"], row["stopped_at"])
            found = await asyncio.to_thread(result_of, one, counted(one.draft, rows))
            await connection.execute(
                sql("trials", "keep_result"), tenant.tenant_id, row["name"], msgspec.json.encode(found).decode()
            )


def _over(one: Trial, rows: Sequence[Row], now: datetime) -> tuple[str | None, bool]:
    """Why a trial does not go on, and whether it came to its end."""
    for guard in watched(one, rows):
        if guard.broken:
            return f"guard rail: {guard.metric} is worse by {guard.low:.3g} at least, {guard.allowed:.3g} is allowed", False
    assert one.started_at is not None
    days = (now - one.started_at) / timedelta(days=1)
    # Planned for is the number of those that have the metric: a contact that nobody judged tells nothing of success.
    told = sum(not math.isnan(value_of(row, one.draft.metric)) for row in rows)
    if one.draft.kind == "contact" and told >= one.contacts:
        return f"complete: {one.contacts:,} contacts", True
    if one.draft.kind == "switchback" and days >= one.days:
        return f"complete: {one.days:.1f} days", True
    if days >= LONGEST * one.days:
        return f"too slow: {told:,} of {one.contacts:,} contacts in {days:.1f} days", True
    return None, False
