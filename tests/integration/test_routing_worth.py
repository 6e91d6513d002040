"""What routing is worth, on contacts that went through the store: other policies, regret, time saved, the audit."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from tests.making import agent_profile, contact

from firstring.contact import Evidence
from firstring.decide import Decider, Models, differences, rederive
from firstring.errors import BadInput
from firstring.identity.caller.weights import Weights
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import SystemClock, SystemIds
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.trial.audit import audit
from firstring.routing.trial.plan import Basis, draft_from_toml
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import SourceRecord, apply_records
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.ring import RingStore, opened_decision
from firstring.store.routing.meters import audited_between, regret_between, saved_between
from firstring.store.routing.models import FitWork, fit_in_force, refresh, train_now
from firstring.store.routing.trials import plan, policy_in_force, start
from firstring.store.routing.trials import refresh as refresh_trial
from firstring.store.routing.tries import chances_of, tried
from firstring.store.usedmodels import models_used
from firstring.trust.score import DEFAULT_PRIORS

BASE = RoutingPolicy(pick="first_come")
CHANCE = {("refund", 0): 0.9, ("refund", 1): 0.3, ("moving", 0): 0.3, ("moving", 1): 0.9}
TRIAL = """
name = "pick"
detect = 0.2
[treatment]
pick = "best"
"""


@dataclass
class Centre:
    """Two agents: each good at what the other is bad at. A model has learned it; a trial tries it."""

    database: Database
    tenant: Tenant
    ring: RingStore
    contacts: Contacts
    work: FitWork
    decider: Decider
    models: Models
    agents: list[int]

    async def call(self, intent: str) -> bool | None:
        """One call from the offer to its outcome, as chance has it for the agent who got it."""
        one = contact(offered_at=SystemClock().now())
        made = await self.decider.offered(self.tenant, one, Evidence(intent=intent))
        assert made.agent_id is not None
        await self.contacts.event(self.tenant, one.contact_id, "answered")
        await self.contacts.event(self.tenant, one.contact_id, "ended")
        worked = random.random() < CHANCE[intent, self.agents.index(made.agent_id)]
        code = "resolved" if worked else "follow_up"
        await self.contacts.event(self.tenant, one.contact_id, "finished", outcome=code)
        return worked


async def log(database: Database, tenant: Tenant, rows: list[tuple]) -> None:
    """(agent or None, intent, success, recognised, handle_s, person) of contacts that are over."""
    now = datetime.now(UTC) - timedelta(hours=12)
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.executemany(
            """insert into routing_outcome (tenant_id, contact_id, assignment_id, agent_id, last, person_id, known,
                 recognised, channel, intent, last_agent, met, offered_at, waited_s, answered_at, ended_at, handle_s,
                 outcome, success, policy, propensity)
               values ($1, $2, $2, $3, true, $8, 0.9, $6, 'voice', $4, false, false, $9, 5, $9, $10, $7, 'resolved', $5,
                 'test', 1)""",
            [
                (tenant.tenant_id, uuid.uuid4(), agent, intent, success, recognised, handle_s, person,
                 now + timedelta(seconds=20 * place), now + timedelta(seconds=20 * place + 15))
                for place, (agent, intent, success, recognised, handle_s, person) in enumerate(rows)
            ],
        )  # fmt: skip


async def derived_again(centre: Centre) -> None:
    """The newest decisions, of both arms, come out the same with the models that they name."""
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("contacts", "decisions"), centre.tenant.tenant_id, None, 40, 0)
    by_version: dict = {}
    for row in rows:
        made = opened_decision(centre.tenant, row)
        used = await models_used(centre.database, centre.tenant, centre.models, made.derived.versions, by_version)
        assert used is not None
        assert used.versions() == made.derived.versions
        profiles = await centre.ring.profiles(centre.tenant, made.read.agents)
        assert differences(made.derived, rederive(made, profiles, used)) == []
    assert len({versions[3].split("+")[0] for versions in by_version}) == 2


@pytest.fixture
async def centre(database: Database, tenant: Tenant, ring: RingStore, notices: Notices) -> Centre:
    random.seed(5)
    clock = SystemClock()
    contacts = Contacts(database, notices, clock, wrap_up_s=30.0)
    agents = []
    for _ in range(2):
        agent, _ = await contacts.put_agent(tenant, agent_profile())
        await contacts.set_presence(tenant, agent, "ready")
        agents.append(agent)
    learned = [
        (agents[place], intent, random.random() < chance, False, 100.0, None)
        for (intent, place), chance in CHANCE.items()
        for _ in range(100)
    ]
    random.shuffle(learned)
    await log(database, tenant, learned)
    models = Models(Weights(), DEFAULT_PRIORS, BUILT_IN, BASE)
    await train_now(database, tenant, policy=BASE, now=clock.now(), by="test", origin="test", at_most=10_000)
    await refresh(database, tenant)
    decider = Decider(
        ring, models, clock, SystemIds(), Metrics(),
        actions_of=lambda tenant, models: msgspec.structs.replace(models, fit=fit_in_force(tenant)),
        arm_of=lambda tenant, one, base: policy_in_force(tenant, base, one.contact_id, one.offered_at),
    )  # fmt: skip
    work = FitWork(database, notices, clock, lambda _: BASE)
    return Centre(database, tenant, ring, contacts, work, decider, models, agents)


async def test_what_another_policy_would_have_brought(centre: Centre) -> None:
    """Half the contacts go first come, half to whom they suit: the log tells what all would have brought the one way."""
    tenant, database = centre.tenant, centre.database
    with pytest.raises(BadInput) as nothing:
        await tried(database, tenant, centre.models, {"pick": "best"}, last=100)
    assert nothing.value.code == "log_empty"
    async with database.transaction(tenant.tenant_id) as connection:
        now = SystemClock().now()
        draft = draft_from_toml(TRIAL, base=BASE)
        await plan(connection, tenant, draft, now=now, by="test", basis=Basis(0, 0.6, 0.24, 500.0))
        await start(connection, tenant, "pick", now=now, origin="test")
    await refresh_trial(database, tenant)
    results = [await centre.call(random.choice(("refund", "moving"))) for _ in range(240)]
    centre.tenant.kept.pop("fit_built", None)
    while not await centre.work.settle(tenant):
        pass
    await derived_again(centre)
    best = await tried(database, tenant, centre.models, {"pick": "best"}, last=1_000)
    assert best.evaluation.rows == 240
    assert best.skipped == 0
    assert best.evaluation.logged.value == pytest.approx(sum(map(bool, results)) / 240)
    for one in (best.evaluation.ips, best.evaluation.snips, best.evaluation.dr):
        assert abs(one.value - 0.9) < 2.3 * (one.high - one.value)  # arms are by chance: 4.5 standard errors
        assert one.value > 0.7  # first come brings .6
    assert 0.1 < best.changed < 0.5
    assert best.by_chance > 0.3
    same = await tried(database, tenant, centre.models, {}, last=1_000)
    found = same.evaluation.snips
    assert abs(found.value - 0.6) < 2.3 * (found.high - found.value)
    assert same.evaluation.overlap == pytest.approx(1.0)


async def test_a_log_without_chance_says_what_it_cannot_tell(centre: Centre) -> None:
    for _ in range(40):
        await centre.call(random.choice(("refund", "moving")))
    await centre.work.settle(centre.tenant)
    found = await tried(centre.database, centre.tenant, centre.models, {"pick": "best"}, last=100)
    assert found.by_chance == 0.0
    assert found.evaluation.overlap < 0.9
    assert any("never took" in warning for warning in found.evaluation.warnings)
    assert found.evaluation.dr.value == pytest.approx(0.88, abs=0.25)


async def test_exploration_is_known_to_the_last_digit(centre: Centre) -> None:
    """A policy that explores: its chances sum to one, and the logged propensity is the chosen agent's."""
    exploring = msgspec.structs.replace(centre.models, routing=RoutingPolicy(explore=0.3), fit=fit_in_force(centre.tenant))
    for intent in ("refund", "moving", "new"):
        one = contact(offered_at=SystemClock().now())
        made = await centre.decider.offered(centre.tenant, one, Evidence(intent=intent))
        profiles = await centre.ring.profiles(centre.tenant, made.read.agents)
        routing = rederive(made, profiles, exploring).routing
        chances = chances_of(routing, 0.3)
        assert sum(chances.values()) == pytest.approx(1.0)
        assert chances[routing.ranked[0].agent_id] == pytest.approx(routing.propensity)
        await centre.contacts.event(centre.tenant, one.contact_id, "cancelled")
    assert chances_of(msgspec.structs.replace(routing, ranked=()), 0.3) == {}


async def test_regret_of_a_day(centre: Centre) -> None:
    """The log of the fixture is of agents who got contacts regardless of what suits them: they reach nothing of the gap."""
    now = datetime.now(UTC)
    since = now - timedelta(days=1)
    found = await regret_between(centre.database, centre.tenant, BASE, since, now)
    assert (found.contacts, found.served, found.agents) == (400, 400, 2)
    assert found.share is not None
    assert abs(found.share) < 0.05
    assert found.bound > found.chosen * 1.2
    await log(centre.database, centre.tenant, [(centre.agents[0], "refund", True, False, 100.0, None)] * 300)
    better = await regret_between(centre.database, centre.tenant, BASE, since, now)
    assert better.share is not None
    assert better.share > found.share + 0.2
    empty = await regret_between(centre.database, centre.tenant, BASE, now - timedelta(days=9), now - timedelta(days=8))
    assert (empty.contacts, empty.share) == (0, None)


async def test_time_saved_by_recognising(centre: Centre) -> None:
    rows = [
        (centre.agents[place % 2], "refund", True, place % 3 == 0, (80.0 if place % 3 == 0 else 110.0) + place % 7, None)
        for place in range(900)
    ]
    await log(centre.database, centre.tenant, rows)
    now = datetime.now(UTC)
    found = await saved_between(centre.database, centre.tenant, now - timedelta(days=1), now)
    assert (found.recognised, found.others) == (300, 1_000)
    assert found.adjusted is not None
    assert 20.0 < found.adjusted.low < found.adjusted.high < 35.0


async def test_the_audit_reads_protected_attributes_and_nothing_else_does(centre: Centre) -> None:
    now = datetime.now(UTC)
    born = {"female": "1990-05-05", "male": "1950-01-01"}
    records = [
        SourceRecord(str(n), {"given_name": f"P{n}", "family_name": "Test", "gender": gender, "birth_date": born[gender],
                              "phone": [f"+3120555{n:04d}"]})
        for n, gender in enumerate(["female", "male"] * 3)
    ]  # fmt: skip
    await apply_records(centre.database, centre.tenant, "crm", records, now=now)
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        found = await connection.fetch(
            "select person_id from record where tenant_id = $1 order by record_id", centre.tenant.tenant_id
        )
    persons = [row["person_id"] for row in found]
    rows = [
        (centre.agents[0], "refund", place % 6 < 3 or place % 2 == 0, True, 100.0, persons[place % 6])
        for place in range(300)
    ]
    await log(centre.database, centre.tenant, rows)
    contacts = await audited_between(centre.database, centre.tenant, now - timedelta(days=1), now)
    shown = {one.name: one for one in audit(contacts, protected=("gender", "age", "country")).dimensions}
    gender = {group.name: group for group in shown["gender"].groups}
    assert {name: group.contacts for name, group in gender.items()} == {"female": 150, "male": 150, "not known": 400}
    assert gender["male"].success == pytest.approx(1 / 3, abs=0.01)
    assert {group.name for group in shown["age"].groups} == {"30 to 44", "65 and older", "not known"}
    assert shown["gender"].protected
    plain = await audited_between(centre.database, centre.tenant, now - timedelta(days=1), now, protected=False)
    assert not {"gender", "age", "country"} & {name for one in plain for name in one.groups}


def test_a_page_is_written_where_it_can_be(tmp_path: Path) -> None:
    from firstring.steward.routing import _written

    _written(tmp_path / "audit.html", "x")
    assert (tmp_path / "audit.html").read_text("utf-8") == "x"
    with pytest.raises(BadInput) as refused:
        _written(tmp_path / "missing" / "audit.html", "x")
    assert refused.value.code == "file_not_written"
