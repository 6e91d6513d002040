"""What came of actions, and what is learned of it.

A decision is settled once its time is over, never before: looking early would see the successes first. It worked where one
of its goal's events happened to the person in time; without a goal, where it was accepted. What never went out for a reason
that is not the customer's (a gate closed, the channel failed) is void and teaches nothing; what went out and was not seen in
time counts: the chance is that of the decision, not of those who looked. Events that anybody may have sent (a public write
key) teach nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
import structlog

from firstring.nextbest.actions import Action, Catalogue
from firstring.nextbest.learning.logistic import ENOUGH, Logistic, better, facts_of
from firstring.nextbest.learning.posterior import Learned, Tally, key_of
from firstring.ports import Clock
from firstring.store.database import Connection, Database, Tenant
from firstring.store.nextbest.decisions import opened
from firstring.store.nextbest.offers import rebuild
from firstring.store.nextbest.policies import catalogue_named, in_force
from firstring.store.notices import Notices
from firstring.store.queries import sql

_log = structlog.get_logger("firstring.actions")
Result = Literal["worked", "failed", "void"]

LEARN_S: Final = 300.0
"""How often outcomes are looked at."""
REBUILD_S: Final = 3_600.0
"""How often the model of offers is made anew."""
REMEMBERED: Final = timedelta(days=180)
"""Older outcomes teach nothing any more."""
ACCEPTED: Final = "Action Accepted"
FAILED: Final = "Action Failed"
FITTED_TO: Final = 5_000
"""The newest outcomes of an action that a regression is fitted to."""
_AT_ONCE: Final = 200
_WITHIN_S: Final = 5.0
_EVENTS: Final = 5_000
_NOT_SENT: Final = ("failed", "withdrawn", "pending")


class Learning:
    """A chore of the queue task: settles what is over, and learns of it."""

    def __init__(self, database: Database, notices: Notices, clock: Clock) -> None:
        self._database = database
        self._notices = notices
        self._clock = clock
        self._look_s: dict[str, float] = {}
        self._rebuild_s: dict[str, float] = {}

    async def look(self, tenant: Tenant) -> None:
        """Goes on where it is time."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._look_s.get(tenant.name, 0.0):
            done = await self.learn(tenant)
            self._look_s[tenant.name] = self._clock.monotonic_s() + (LEARN_S if done else 0.0)
        if now_s >= self._rebuild_s.get(tenant.name, 0.0):
            await rebuild(self._database, tenant, now=self._clock.now(), origin=self._notices.origin)
            self._rebuild_s[tenant.name] = self._clock.monotonic_s() + REBUILD_S

    async def learn(self, tenant: Tenant) -> bool:
        """Settles decisions for a while; False where more are left. What was learned is in force when it returns."""
        until_s = self._clock.monotonic_s() + _WITHIN_S
        settled = 0
        done = False
        while not done and self._clock.monotonic_s() <= until_s:
            async with self._database.transaction(tenant.tenant_id) as connection:
                count = await settle(connection, tenant, self._clock.now())
            settled += count
            done = count < _AT_ONCE
        if settled:
            async with self._database.transaction(tenant.tenant_id) as connection:
                await relearn(connection, tenant, self._clock.now(), origin=self._notices.origin)
            _log.info("actions_settled", tenant=tenant.tenant_id, count=settled)
        return done


async def settle(connection: Connection, tenant: Tenant, now: datetime) -> int:
    """Settles some decisions whose time is over; returns how many."""
    rows = await connection.fetch(sql("actions", "unsettled"), tenant.tenant_id, now, _AT_ONCE)
    known: dict[str, Catalogue] = {}
    found: dict[uuid.UUID, Result] = {}
    for row in rows:
        if row["policy"] not in known:
            known[row["policy"]] = await catalogue_named(connection, tenant, row["policy"]) or in_force(tenant).catalogue
        action = known[row["policy"]].by_name.get(row["action"])
        found[row["decision_id"]] = "void" if action is None else await _result(connection, tenant, row, action)
    if found:
        await connection.execute(sql("actions", "settle"), tenant.tenant_id, list(found), list(found.values()))
    return len(rows)


async def _result(connection: Connection, tenant: Tenant, row: Any, action: Action) -> Result:
    events = await connection.fetch(
        sql("actions", "happened_between"), tenant.tenant_id, row["record_id"], row["decided_at"], row["settles_at"], _EVENTS
    )
    wanted = action.goal.events if action.goal is not None else frozenset((ACCEPTED,))
    told: set[str] = set()
    happened: set[str] = set()
    for event in events:
        payload = tenant.keys.open(event["wrapped_key"], event["sealed"]) if event["standing"] > 0 else None
        if payload is None:
            continue
        name = payload["name"]
        if (payload.get("properties") or {}).get("decision_id") == str(row["decision_id"]):
            told.add(name)
        else:
            happened.add(name)
    return result_of(wanted, told, happened if action.goal is not None else (), row["outcome"], row["state"])


def result_of(
    wanted: Collection[str], told: Collection[str], happened: Collection[str], outcome: str, state: str | None
) -> Result:
    """What came of a decision. told: names of events about it; happened: of others; state: its delivery's, None without."""
    if any(name in wanted for name in (*told, *happened)):
        return "worked"
    if outcome == "acted" and (FAILED in told or state in _NOT_SENT):
        return "void"
    return "failed"


async def relearn(connection: Connection, tenant: Tenant, now: datetime, *, origin: str) -> Learned:
    """Counts what came of everything lately, and puts it in force."""
    rows = await connection.fetch(sql("actions", "tallies"), tenant.tenant_id, now - REMEMBERED)
    actions: dict[str, Tally] = {}
    contexts: dict[str, Tally] = {}
    held: dict[str, Tally] = {}
    for row in rows:
        name, tally = row["action"], Tally(float(row["tried"]), float(row["worked"]))
        if row["outcome"] == "held_out":
            held[name] = _plus(held.get(name), tally)
        else:
            actions[name] = _plus(actions.get(name), tally)
            contexts[key_of(name, row["context"])] = tally
    models = await _models(connection, tenant, [name for name, tally in actions.items() if tally.tried >= ENOUGH], now)
    learned = Learned("", dict(sorted(actions.items())), dict(sorted(contexts.items())), dict(sorted(held.items())), models)
    content = msgspec.json.encode(learned)
    learned = msgspec.structs.replace(learned, version="learned-" + hashlib.sha256(content).hexdigest()[:12])
    await connection.execute(sql("actions", "retire_learned"), tenant.tenant_id, learned.version)
    await connection.execute(
        sql("actions", "add_learned"), tenant.tenant_id, learned.version, msgspec.json.encode(learned).decode(),
        sum(row["tried"] for row in rows), now,
    )  # fmt: skip
    await connection.execute(sql("actions", "tell"), tenant.tenant_id, origin)
    return learned


async def _models(connection: Connection, tenant: Tenant, names: list[str], now: datetime) -> dict[str, Logistic]:
    """Of the actions those of which a regression says more than the rate."""
    found: dict[str, Logistic] = {}
    for name in sorted(names):
        rows = await connection.fetch(sql("actions", "outcomes_of"), tenant.tenant_id, name, now - REMEMBERED, FITTED_TO)
        model, gain = await asyncio.to_thread(_fitted, tenant, rows)
        if model is not None:
            found[name] = model
            _log.info("action_modelled", tenant=tenant.tenant_id, action=name, gain_nats=round(gain, 5))
    return found


def _fitted(tenant: Tenant, rows: Sequence[Any]) -> tuple[Logistic | None, float]:
    facts, worked = [], []
    for row in reversed(rows):  # the oldest first
        if row["sealed"] is None:
            continue
        decided = opened(tenant.keys.open_bytes(row["wrapped_key"], row["sealed"]))
        facts.append(facts_of(decided.moment.traits, row["context"], decided.moment.experience))
        worked.append(row["result"] == "worked")
    return better(facts, worked)


def _plus(one: Tally | None, other: Tally) -> Tally:
    return other if one is None else Tally(one.tried + other.tried, one.worked + other.worked)
