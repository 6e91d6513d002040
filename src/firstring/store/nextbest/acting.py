"""Acts when a pattern has fired, when an action's time has come, or when somebody asks: reads, decides, and writes the
decision with its delivery in one transaction. Exactly one decision for a firing, also where a process dies at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from firstring.errors import BadInput
from firstring.identity.golden.rules import DEFAULT as DEFAULT_RULES
from firstring.identity.golden.rules import Rules
from firstring.nextbest.actions import Action, Catalogue
from firstring.nextbest.decided import Decided, decide, delivery_of, settles_at, waits_until
from firstring.nextbest.moment import Moment
from firstring.ports import Clock, Ids, Random
from firstring.store.database import Connection, Database, Tenant
from firstring.store.delivery import Announced, enqueue, hand_over
from firstring.store.journey.firings import Firing
from firstring.store.nextbest.policies import InForce, in_force
from firstring.store.nextbest.proposed import count_for_everyone
from firstring.store.nextbest.reading import moment_of, read_situation
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.timers import set_timer

_log = structlog.get_logger("firstring.actions")
TIMER: Final = "action"
"""The kind of timers of actions that come some time after their pattern."""


class _Why(NamedTuple):
    """Why a decision is made. moment: its cause and chance. actions: those that come into question."""

    record_id: int
    moment: Moment
    firing_id: int | None
    after_ms: int
    by: str | None
    actions: Sequence[Action]


class Acting:
    """Decides actions and hands them to delivery; one for each process."""

    def __init__(
        self,
        database: Database,
        notices: Notices,
        clock: Clock,
        ids: Ids,
        random: Random,
        *,
        rules: Rules = DEFAULT_RULES,
        force_of: Callable[[Tenant], InForce] = in_force,
    ) -> None:
        self._database = database
        self._notices = notices
        self._clock = clock
        self._ids = ids
        self._random = random
        self._rules = rules
        self._force_of = force_of

    async def fired(self, tenant: Tenant, firings: Sequence[Firing]) -> None:
        """The hook of firings. Those that no action waits for are left alone."""
        for firing in firings:
            await self.act(tenant, firing)

    async def act(self, tenant: Tenant, firing: Firing) -> Decided | None:
        """Decides about one firing, once; None where no action waits for its pattern, or it was decided before."""
        force = self._force_of(tenant)
        waiting = force.catalogue.by_pattern.get(firing.pattern, ())
        if not waiting:
            return None
        now = self._clock.now()
        later = sorted({action.trigger.after_ms for action in waiting} - {0})
        at_once = [action for action in waiting if not action.trigger.after_ms]
        moment = Moment(cause="pattern", fired=firing.pattern, fired_at=firing.at)
        why = _Why(firing.record_id, moment, firing.firing_id, 0, None, at_once)
        # Until the disk has it nothing of it is shown or sent: whoever does that commits durably first. A crash of
        # PostgreSQL before that undoes the claim with the decision, and the firing is told again.
        transaction = self._database.transaction(tenant.tenant_id, plans_kept=True, waits_for_disk=False)
        async with transaction as connection:
            claimed = await connection.fetchrow(sql("actions", "claim_and_lock"), tenant.tenant_id, firing.firing_id, now)
            if claimed is None:
                return None
            for after_ms in later:
                due_at = firing.at + timedelta(milliseconds=after_ms)
                await _set_timer(connection, tenant, why._replace(after_ms=after_ms), due_at)
            decides = at_once and claimed["person_id"] is not None
            made = await self._read_and_decide(connection, tenant, force, why, now) if decides else None
        return self._told(tenant, made)

    async def due(self, tenant: Tenant, key: str, payload: dict[str, Any]) -> None:
        """The handler of timers: an action's time has come. A firing that was retracted meanwhile is let be."""
        force = self._force_of(tenant)
        firing_id, after_ms = (int(part) for part in key.split(":"))
        waiting = force.catalogue.by_pattern.get(payload["pattern"], ())
        actions = [action for action in waiting if action.trigger.after_ms == after_ms]
        if not actions:
            return
        now = self._clock.now()
        fired_at = datetime.fromisoformat(payload["at"])
        moment = Moment(cause="timer", fired=payload["pattern"], fired_at=fired_at, after_ms=after_ms)
        why = _Why(payload["record_id"], moment, firing_id, after_ms, None, actions)
        async with self._database.transaction(tenant.tenant_id) as connection:
            if await connection.fetchval(sql("actions", "decided_of_firing"), tenant.tenant_id, firing_id, after_ms):
                return
            if not await connection.fetchval(sql("actions", "firing_holds"), tenant.tenant_id, firing_id):
                return
            made = await self._decide(connection, tenant, force, why, now)
        self._told(tenant, made)

    async def by_hand(
        self, tenant: Tenant, person_id: int, action: str, *, by: str, record_id: int | None = None
    ) -> Decided:
        """An action that somebody asks for, for a person, under the same gates; what came of it is in the decision.

        record_id: whom it is addressed to (default: the person's record that was seen last). Raises BadInput unknown_action,
        unknown_person, record_of_another (404, 409).
        """
        force = self._force_of(tenant)
        found = force.catalogue.by_name.get(action)
        if found is None:
            raise BadInput(
                "unknown_action", "There is no such action.", where={"action": action[:64]}, http_status=404,
                hint="`firstring actions list` lists them.",
            )  # fmt: skip
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            living = await connection.fetchval(sql("actions", "living"), tenant.tenant_id, person_id)
            chosen = record_id
            if chosen is None and living is not None:
                chosen = await connection.fetchval(sql("actions", "newest_record"), tenant.tenant_id, living)
            if chosen is None:
                raise BadInput("unknown_person", "There is no such person.", where={"person": person_id}, http_status=404)
            if await connection.fetchval(sql("actions", "owner"), tenant.tenant_id, chosen) != living:
                raise BadInput(
                    "record_of_another", "The record is not of this person.", where={"record": chosen}, http_status=409,
                    hint="Look the person up again: its records may have moved.",
                )  # fmt: skip
            why = _Why(chosen, Moment(cause="hand", asked=action), None, 0, by[:100], [found])
            made = await self._decide(connection, tenant, force, why, now)
        if made is None:  # deleted meanwhile
            raise BadInput("unknown_person", "There is no such person.", where={"person": person_id}, http_status=404)
        self._told(tenant, made)
        return made[0]

    async def _decide(
        self, connection: Connection, tenant: Tenant, force: InForce, why: _Why, now: datetime
    ) -> tuple[Decided, Announced | None] | None:
        """Reads, decides, writes. None where the record is gone."""
        if await connection.fetchval(sql("actions", "owner_locked"), tenant.tenant_id, why.record_id) is None:
            return None
        return await self._read_and_decide(connection, tenant, force, why, now)

    async def _read_and_decide(
        self, connection: Connection, tenant: Tenant, force: InForce, why: _Why, now: datetime
    ) -> tuple[Decided, Announced | None] | None:
        """The same where the person is locked already."""
        seen = await read_situation(connection, tenant, why.record_id, now=now, rules=self._rules)
        if seen is None:
            return None
        catalogue = force.catalogue
        draws = tuple(self._random.random() for _ in range(catalogue.policy.explored)) if force.loaded else ()
        base = msgspec.structs.replace(why.moment, draws=draws)
        moment = await moment_of(connection, tenant, seen, force, base, why.actions, now)
        moment = msgspec.structs.replace(moment, everyone=await _brakes(connection, tenant, why.actions, force, now))
        parts = (seen.journeys, seen.resolution, seen.assurances, seen.channel)
        decision_id = self._ids.new()
        while True:
            decided = decide(decision_id, why.record_id, parts, moment, catalogue, force.learned, now)
            if decided.outcome != "acted" or await _braked(connection, tenant, decided, catalogue, now):
                break
            # Others took the last of it at this moment: it is decided again, with this cap reached.
            reached = tuple(10**9 for _ in catalogue.plans[decided.action].caps)
            moment = msgspec.structs.replace(moment, everyone={**moment.everyone, decided.action: reached})
        waits = waits_until(decided, catalogue)
        if waits is not None and why.firing_id is not None:
            # It is the hour alone: decided again when that is over, and not written before.
            await _set_timer(connection, tenant, why, waits)
            return None
        announced = None
        if decided.outcome == "acted":
            announced = await enqueue(connection, tenant, delivery_of(decided, catalogue, self._ids.new()), now=now)
        await _write(connection, tenant, decided, why, catalogue)
        return decided, announced

    def _told(self, tenant: Tenant, made: tuple[Decided, Announced | None] | None) -> Decided | None:
        """After the commit."""
        if made is None:
            return None
        decided, announced = made
        if announced is not None:
            hand_over(self._notices, tenant, announced)
        _log.info(
            "action_decided", tenant=tenant.tenant_id, decision=str(decided.decision_id), action=decided.action,
            outcome=decided.outcome, cause=decided.moment.cause,
        )  # fmt: skip
        return decided


async def _set_timer(connection: Connection, tenant: Tenant, why: _Why, due_at: datetime) -> None:
    fired_at = why.moment.fired_at
    assert fired_at is not None, "timers are set for firings"
    payload = {"record_id": why.record_id, "pattern": why.moment.fired, "at": fired_at.isoformat()}
    await set_timer(connection, tenant, TIMER, f"{why.firing_id}:{why.after_ms}", due_at, payload)


async def _brakes(
    connection: Connection, tenant: Tenant, actions: Sequence[Action], force: InForce, now: datetime
) -> dict[str, tuple[int, ...]]:
    """How often each action went out to anybody, in the stretch of time of each of its caps of everyone."""
    capped = {
        action.name: [cap for cap in force.catalogue.plans[action.name].caps if cap.of == "everyone"] for action in actions
    }
    capped = {name: caps for name, caps in capped.items() if caps}
    if not capped:
        return {}
    rows = await connection.fetch(sql("actions", "brakes"), tenant.tenant_id, list(capped), now)
    counts = {(row["action"], row["place"]): row["count"] for row in rows}
    return {name: tuple(counts.get((name, place), 0) for place in range(len(caps))) for name, caps in capped.items()}


async def _braked(connection: Connection, tenant: Tenant, decided: Decided, catalogue: Catalogue, now: datetime) -> bool:
    """Whether it may go out: counts it for its caps of everyone."""
    return await count_for_everyone(connection, tenant, decided.action, catalogue, now)


async def _write(connection: Connection, tenant: Tenant, decided: Decided, why: _Why, catalogue: Catalogue) -> None:
    action = catalogue.by_name.get(decided.action)
    factors = next((one.factors for one in decided.chosen.considered if one.action == decided.action), None)
    kind, route = ("service", "desk") if action is None else (action.kind, action.route)
    wrapped, sealed = tenant.keys.seal(decided)
    await connection.execute(
        sql("actions", "add_decision"), tenant.tenant_id, decided.decision_id, decided.record_id, decided.moment.cause,
        why.firing_id, why.after_ms, decided.action, kind, route,
        factors.context if factors is not None else "", decided.outcome, decided.propensity, catalogue.version,
        decided.chosen.learned, why.by, decided.at, settles_at(decided, catalogue), wrapped, sealed,
    )  # fmt: skip
