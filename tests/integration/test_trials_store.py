"""Trials in the store: planned by the log, decided by chance through the way of a contact, stopped by guard rails, ended."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.making import agent_profile, contact

from firstring.contact import Evidence, InTrial
from firstring.decide import Decider, Models
from firstring.errors import BadInput
from firstring.identity.caller.weights import Weights
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import SystemClock, SystemIds
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.trial.arms import arm_of
from firstring.routing.trial.plan import Basis, draft_from_toml
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.store.routing.trials import (
    TrialWork,
    plan,
    policy_in_force,
    policy_named,
    refresh,
    rows_of,
    start,
    stop,
    trial,
    trial_in_force,
    trials,
)
from firstring.trust.score import DEFAULT_PRIORS

TOML = """
name = "continuity"
detect = 0.1
[treatment]
continuity_s = 0.0
"""
BASIS = Basis(0, 0.66, 0.66 * 0.34, 1_000.0)
BASE = RoutingPolicy()


class Shifted:
    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.at.timestamp()


async def running(database: Database, tenant: Tenant, text: str = TOML, *, now: datetime | None = None) -> None:
    """Planned and started, and known to this process."""
    at = now or SystemClock().now()
    async with database.transaction(tenant.tenant_id) as connection:
        draft = draft_from_toml(text)
        await plan(connection, tenant, draft, now=at, by="test", basis=BASIS)
        await start(connection, tenant, draft.name, now=at, origin="test")
    await refresh(database, tenant)


async def outcomes(
    database: Database, tenant: Tenant, count: int, at: datetime, *, lost: float = 0.0, every_s: float = 20.0
) -> None:
    """Contacts as they are written down once they are over; a share of those in the treatment was lost."""
    found = trial_in_force(tenant)
    rows = []
    for place in range(count):
        identity, offered = uuid.uuid4(), at + timedelta(seconds=place * every_s)
        treated = found is not None and arm_of(found.trial, identity, offered).treated
        is_lost = treated and place % 100 < lost * 100
        rows.append((tenant.tenant_id, identity, identity, None if is_lost else 1, offered, offered + timedelta(seconds=90),
                     None if is_lost else 60.0, None if is_lost else place % 3 > 0))  # fmt: skip
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.executemany(
            """insert into routing_outcome (tenant_id, contact_id, assignment_id, agent_id, last, known, recognised, channel,
                 last_agent, met, offered_at, waited_s, ended_at, handle_s, success, policy, propensity)
               values ($1, $2, $3, $4, true, 0, false, 'voice', false, false, $5, 5, $6, $7, $8, 'test', 1)""",
            rows,
        )


async def test_a_trial_goes_through_its_states(database: Database, tenant: Tenant) -> None:
    now = SystemClock().now()
    async with database.transaction(tenant.tenant_id) as connection:
        draft = draft_from_toml(TOML)
        with pytest.raises(BadInput) as nothing:
            await plan(connection, tenant, draft, now=now, by="test")
        assert nothing.value.code == "plan_invalid"  # the log is empty
        made = await plan(connection, tenant, draft, now=now, by="test", basis=BASIS)
        assert made.contacts == 2 * 809
        with pytest.raises(BadInput) as twice:
            await plan(connection, tenant, draft, now=now, by="test", basis=BASIS)
        assert twice.value.code == "trial_exists"
        with pytest.raises(BadInput) as unknown:
            await start(connection, tenant, "other", now=now, origin="test")
        assert unknown.value.code == "unknown_trial"
        assert (await trial(connection, tenant, "continuity")).state == "planned"
        await start(connection, tenant, "continuity", now=now, origin="test")
        second = msgspec.structs.replace(draft, name="second")
        await plan(connection, tenant, second, now=now, by="test", basis=BASIS)
        for name in ("continuity", "second"):
            with pytest.raises(BadInput) as one_at_a_time:
                await start(connection, tenant, name, now=now, origin="test")
            assert one_at_a_time.value.code == "trial_state"
    assert (await refresh(database, tenant)) is trial_in_force(tenant) is not None
    async with database.transaction(tenant.tenant_id) as connection:
        over = await stop(connection, tenant, "continuity", now=now, because="enough", origin="test")
        assert (over.state, over.stopped_because) == ("stopped", "enough")
        await stop(connection, tenant, "second", now=now, because="", origin="test")  # only planned: dropped
        assert [line.name for line in await trials(connection, tenant)] == ["continuity"]
        with pytest.raises(BadInput):
            await stop(connection, tenant, "continuity", now=now, because="", origin="test")
    await refresh(database, tenant)
    assert trial_in_force(tenant) is None


async def test_a_contact_is_routed_by_its_arm_and_derived_again(
    database: Database, tenant: Tenant, ring: RingStore, notices: Notices
) -> None:
    """Each contact's decisions carry the policy of its arm; that policy is found by its version afterwards."""
    clock, ids = SystemClock(), SystemIds()
    before = contact(offered_at=clock.now())
    await running(database, tenant)
    contacts = Contacts(database, notices, clock, wrap_up_s=30.0)
    for _ in range(2):
        agent, _ = await contacts.put_agent(tenant, agent_profile(voice=30))
        await contacts.set_presence(tenant, agent, "ready")
    models = Models(Weights(), DEFAULT_PRIORS, BUILT_IN, BASE)
    decider = Decider(
        ring, models, clock, ids, Metrics(),
        arm_of=lambda tenant, one, base: policy_in_force(tenant, base, one.contact_id, one.offered_at),
    )  # fmt: skip
    found = trial_in_force(tenant)
    assert found is not None
    seen = set()
    for _ in range(30):
        one = contact(offered_at=clock.now())
        made = await decider.offered(tenant, one, Evidence())
        treated = arm_of(found.trial, one.contact_id, one.offered_at).treated
        assert made.trial == InTrial("continuity", "treatment" if treated else "control", 0.5)
        assert (made.derived.versions.routing == BASE.version) is not treated
        again = await decider.again(tenant, one.contact_id, "said", change=lambda evidence: evidence)
        assert again is not None
        assert again.derived.versions.routing == made.derived.versions.routing
        seen.add(made.derived.versions.routing)
    assert len(seen) == 2
    early = await decider.offered(tenant, before, Evidence())
    assert early.derived.versions.routing == BASE.version  # it was offered before the trial began
    async with database.transaction(tenant.tenant_id) as connection:
        for version in seen:
            policy = await policy_named(connection, tenant, BASE, version)
            assert policy is not None
            assert policy.version == version
        assert await policy_named(connection, tenant, BASE, "routing-000000000000") is None


async def test_harm_stops_a_trial_by_itself(database: Database, tenant: Tenant, notices: Notices) -> None:
    begun = datetime.now(UTC) - timedelta(days=1)
    await running(database, tenant, now=begun)
    clock = Shifted(begun + timedelta(hours=9))
    work = TrialWork(database, notices, clock)
    assert await work.check(tenant) is None
    await outcomes(database, tenant, 1_500, begun, lost=0.4)
    because = await work.check(tenant)
    assert because is not None
    assert because.startswith("guard rail: abandoned")
    async with database.transaction(tenant.tenant_id) as connection:
        line = await trial(connection, tenant, "continuity")
        assert (line.state, line.stopped_because) == ("stopped", because)
    assert await work.check(tenant) is None


async def test_a_trial_ends_when_it_is_complete_and_its_result_is_kept(
    database: Database, tenant: Tenant, notices: Notices
) -> None:
    begun = datetime.now(UTC) - timedelta(days=2)
    await running(database, tenant, now=begun)
    await outcomes(database, tenant, 1_618, begun)
    clock = Shifted(begun + timedelta(hours=10))
    work = TrialWork(database, notices, clock)
    because = await work.check(tenant)
    assert because == "complete: 1,618 contacts"
    async with database.transaction(tenant.tenant_id) as connection:
        line = await trial(connection, tenant, "continuity")
        assert (line.state, line.result) == ("ended", None)
        assert len(await rows_of(connection, tenant, line, clock.now())) == 1_618
    clock.at += timedelta(hours=7)
    await work.check(tenant)
    async with database.transaction(tenant.tenant_id) as connection:
        kept = (await trial(connection, tenant, "continuity")).result
    assert kept is not None
    assert kept.main.rows[0] + kept.main.rows[1] == 1_618
    difference = kept.main.difference
    assert abs(difference.value) < 2.5 * (difference.high - difference.value)  # nothing was planted; arms are by chance


async def test_a_switchback_ends_by_the_clock(database: Database, tenant: Tenant, notices: Notices) -> None:
    begun = datetime.now(UTC) - timedelta(days=9)
    await running(database, tenant, "kind = 'switchback'\ninterval_s = 1800\ncarry_over_s = 300\n" + TOML, now=begun)
    found = trial_in_force(tenant)
    assert found is not None
    work = TrialWork(database, notices, Shifted(begun + timedelta(days=found.trial.days - 0.01)))
    assert await work.check(tenant) is None
    work = TrialWork(database, notices, Shifted(begun + timedelta(days=found.trial.days + 0.01)))
    because = await work.check(tenant)
    assert because is not None
    assert because.startswith("complete")


async def test_a_plan_rests_on_the_log(database: Database, tenant: Tenant) -> None:
    now = datetime.now(UTC)
    await outcomes(database, tenant, 2_000, now - timedelta(days=4), every_s=172.0)
    async with database.transaction(tenant.tenant_id) as connection:
        made = await plan(connection, tenant, draft_from_toml(TOML), now=now, by="test")
    assert made.basis.mean == pytest.approx(2 / 3, abs=0.01)
    assert made.basis.per_day == pytest.approx(500, rel=0.02)
    assert made.days == pytest.approx(made.contacts / made.basis.per_day)
