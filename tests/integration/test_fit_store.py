"""Outcomes by agent out of real contacts in the store, the model learned of them, and what is in force."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from tests.making import agent_profile, contact, decision, new_id

from firstring.contact import Candidate, Evidence, Journey, LikelyReason, Resolution
from firstring.errors import BadInput
from firstring.ports import SystemClock
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.fit.asked import Asked, Person
from firstring.routing.fit.model import PRIOR, model_from_json
from firstring.routing.fit.predict import fits
from firstring.settings import Settings
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import SourceRecord, apply_records
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.store.routing.models import FitWork, back_to, fit_in_force, fit_named, models, refresh, train_now
from firstring.store.routing.outcomes import judged, outcome_of, outcomes_since, served_by
from firstring.store.server import embedded

POLICY = RoutingPolicy()


class Shifted:
    """The clock of contacts that ended some days ago."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.at.timestamp()


class Centre:
    """A call centre with a store of its own: agents, persons, calls that are answered and finished."""

    def __init__(self, database: Database, tenant: Tenant, ring: RingStore, notices: Notices) -> None:
        self.database, self.tenant, self.ring, self.notices = database, tenant, ring, notices
        self.clock = Shifted(datetime.now(UTC) - timedelta(days=20))
        self.contacts = Contacts(database, notices, self.clock, wrap_up_s=30.0)
        self.work = FitWork(database, notices, self.clock, lambda _: POLICY)

    async def agent(self, **languages: int) -> int:
        profile = msgspec.structs.replace(agent_profile(), languages=languages)
        agent_id, _ = await self.contacts.put_agent(self.tenant, profile)
        await self.contacts.set_presence(self.tenant, agent_id, "ready")
        return agent_id

    async def person(self) -> int:
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            return await connection.fetchval(
                "insert into person (tenant_id, created_at) values ($1, $2) returning person_id",
                self.tenant.tenant_id, self.clock.now(),
            )  # fmt: skip

    async def call(
        self, agents: list[int], *, person: int | None = None, sure: float = 1.0, seconds: float = 120.0,
        intent: str = "refund", outcome: str | None = "resolved", tier: str = "", stated: bool = False,
        answered: bool = True,
    ) -> uuid.UUID:  # fmt: skip
        """One call from the offer to the end, of a person known with a probability."""
        of = contact(offered_at=self.clock.now(), language="nl-BE")
        made = decision(of, agents, evidence=Evidence(intent=intent if stated else None))
        candidates = ()
        if person is not None:
            candidates = (Candidate(person, sure, profile={"tier": tier} if tier else {}),)
        journey = Journey(
            person or 1,
            likely_reasons=(LikelyReason(intent, 0.8, "because"), LikelyReason("other", 0.2, "or")),
            experience=30.0,
        )
        derived = msgspec.structs.replace(
            made.derived,
            resolution=Resolution(candidates, 1.0 - (sure if candidates else 0.0), 0.0, "prior", "test"),
            assurances=(),
            journeys=(journey,),
        )
        made = msgspec.structs.replace(made, derived=derived, decided_at=self.clock.now())
        committed = await self.ring.commit(self.tenant, made, assignment_id=new_id())
        assert committed.outcome == ("route" if agents else "wait")
        self.clock.at += timedelta(seconds=5)
        if not answered:
            await self.contacts.event(self.tenant, of.contact_id, "cancelled")
            return of.contact_id
        await self.contacts.event(self.tenant, of.contact_id, "ringing")
        await self.contacts.event(self.tenant, of.contact_id, "answered")
        self.clock.at += timedelta(seconds=seconds)
        await self.contacts.event(self.tenant, of.contact_id, "ended")
        await self.contacts.event(self.tenant, of.contact_id, "finished", outcome=outcome)
        return of.contact_id

    async def settled(self) -> None:
        assert await self.work.settle(self.tenant)

    async def rows(self) -> list:
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            return await connection.fetch(
                "select * from routing_outcome where tenant_id = $1 order by offered_at, answered_at", self.tenant.tenant_id
            )


@pytest.fixture
def centre(database: Database, tenant: Tenant, ring: RingStore, notices: Notices) -> Centre:
    return Centre(database, tenant, ring, notices)


async def test_what_came_of_a_contact_is_written_down_once(centre: Centre) -> None:
    agent, person = await centre.agent(nl=4), await centre.person()
    await centre.call([agent], person=person, tier="vip", seconds=200.0)
    await centre.settled()
    await centre.settled()
    [row] = await centre.rows()
    assert (row["agent_id"], row["person_id"], row["intent"], row["language"], row["tier"]) == (
        agent,
        person,
        "refund",
        "nl",
        "vip",
    )
    assert (row["success"], row["outcome"], row["language_level"], row["experience"]) == (True, "resolved", 4, 30.0)
    assert (row["handle_s"], row["waited_s"], row["recognised"]) == (200.0, 5.0, True)
    assert (row["last_agent"], row["met"], row["repeated"], row["policy"]) == (False, False, None, "test")


async def test_the_wrap_up_counts_and_is_waited_for(centre: Centre) -> None:
    agent = await centre.agent()
    of = await centre.call([agent], outcome=None, seconds=60.0)
    await centre.settled()
    [row] = await centre.rows()
    assert (row["success"], row["person_id"], row["handle_s"]) == (None, None, 60.0)
    assert row["contact_id"] == of


async def test_nobody_answered(centre: Centre) -> None:
    await centre.call([], answered=False)
    await centre.settled()
    [row] = await centre.rows()
    assert (row["agent_id"], row["outcome"], row["success"], row["waited_s"]) == (None, "cancelled", None, 5.0)


async def test_a_caller_who_is_hardly_known_is_nobody(centre: Centre) -> None:
    agent, person = await centre.agent(), await centre.person()
    await centre.call([agent], person=person, sure=0.4, stated=True, intent="moving")
    await centre.settled()
    [row] = await centre.rows()
    assert (row["person_id"], row["intent"], row["tier"]) == (None, "moving", None)
    assert row["known"] == pytest.approx(0.4)


async def test_an_uncertain_caller_is_learned_of_by_expectation(centre: Centre) -> None:
    """All whom it may have been, and why, are kept with their probabilities, and come back as they were."""
    agent, person = await centre.agent(), await centre.person()
    await centre.call([agent], person=person, sure=0.4, tier="vip")
    await centre.call([agent], person=person, stated=True)
    await centre.settled()
    first, second = await centre.rows()
    assert second["cases"] == "[]", "of whom it is certain who they are, and why they called, there is one case"
    outcome = outcome_of(first)
    assert [(case.weight, case.intent, case.tier, case.band) for case in outcome.cases] == [
        (pytest.approx(0.6), "", "", ""), (pytest.approx(0.32), "refund", "vip", "low"), (0.08, "other", "vip", "low")
    ]  # fmt: skip
    assert not any(case.last_agent or case.met for case in outcome.cases)
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        learned, _ = await outcomes_since(connection, centre.tenant, centre.clock.now() - timedelta(days=2), 10)
    assert [one.cases for one in learned] == [outcome.cases, ()]
    assert (learned[1].intent, learned[1].band) == ("refund", "low")


@pytest.mark.parametrize(("threshold", "recognised"), [(0.7, True), (0.85, False)])
async def test_who_is_recognised_is_said_by_the_setting(centre: Centre, threshold: float, recognised: bool) -> None:
    centre.work = FitWork(centre.database, centre.notices, centre.clock, lambda _: POLICY, threshold=threshold)
    await centre.call([await centre.agent()], person=await centre.person(), sure=0.8)
    await centre.settled()
    [row] = await centre.rows()
    assert row["recognised"] is recognised


async def test_who_comes_again_within_a_week(centre: Centre) -> None:
    one, other = await centre.agent(), await centre.agent()
    person, somebody = await centre.person(), await centre.person()
    await centre.call([one], person=person)
    await centre.call([other], person=somebody)
    centre.clock.at += timedelta(days=2)
    await centre.settled()
    await centre.call([one], person=person)
    centre.clock.at += timedelta(days=8)
    await centre.settled()
    await centre.settled()  # what a week later shows is asked for now and then: the clock has moved
    first, second, third = await centre.rows()
    assert (first["repeated"], second["repeated"], third["repeated"]) == (True, False, False)
    assert (third["last_agent"], third["met"]) == (True, True)
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        served = await served_by(connection, centre.tenant, [person, somebody], centre.clock.now())
        assert served == {person: (one,), somebody: (other,)}
        assert await served_by(connection, centre.tenant, [person], first["ended_at"] - timedelta(seconds=1)) == {}


async def test_whom_a_merged_person_knew_they_still_know(centre: Centre) -> None:
    one, person, other = await centre.agent(), await centre.person(), await centre.person()
    await centre.call([one], person=other)
    await centre.settled()
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        await connection.execute(
            "update person set merged_into = $2 where tenant_id = $1 and person_id = $3",
            centre.tenant.tenant_id,
            person,
            other,
        )
    await centre.call([one], person=person)
    await centre.settled()
    first, second = await centre.rows()
    assert first["repeated"] is True
    assert second["last_agent"] is True


async def test_a_complaint_is_about_the_contact_before_it(centre: Centre) -> None:
    agent = await centre.agent()
    record = SourceRecord("1", {"given_name": "Ada", "family_name": "Byron", "phone": ["+31205551234"]})
    await apply_records(centre.database, centre.tenant, "crm", [record], now=centre.clock.now())
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        row = await connection.fetchrow(
            "select record_id, person_id from record where tenant_id = $1", centre.tenant.tenant_id
        )
    await centre.call([agent], person=row["person_id"])
    centre.clock.at += timedelta(hours=1)
    await centre.call([agent], person=row["person_id"])
    await centre.call([agent], person=await centre.person())
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        await connection.execute(
            """insert into event (tenant_id, message_key, record_id, channel, occurred_at, received_at, issue_kind,
                 issue_effect)
               values ($1, 'm', $2, 'email', $3, $3, 'complaint', 1)""",
            centre.tenant.tenant_id, row["record_id"], centre.clock.now() + timedelta(hours=1),
        )  # fmt: skip
    await centre.settled()
    assert [one["complained"] for one in await centre.rows()] == [False, True, False]
    centre.clock.at += timedelta(hours=1)
    await centre.settled()  # looked at again: nothing more
    assert sum(one["complained"] for one in await centre.rows()) == 1


async def test_a_damaged_decision_holds_up_nobody(centre: Centre) -> None:
    agent = await centre.agent()
    damaged = await centre.call([agent], person=await centre.person())
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        await connection.execute(
            "update decision set sealed = 'nonsense' where tenant_id = $1 and contact_id = $2",
            centre.tenant.tenant_id,
            damaged,
        )
    await centre.call([agent], person=await centre.person())
    await centre.settled()
    first, second = await centre.rows()
    assert first["person_id"] is None
    assert second["person_id"] is not None
    assert first["handle_s"] == 120.0


async def test_a_model_is_trained_updated_and_found_again(
    centre: Centre, server: embedded.EmbeddedServer, master_key: bytes
) -> None:
    """60 calls of two agents: one quick, one slow. Then the slow one becomes quick: updates show it, each found again. It is
    trained as a server does it, in a process of its own."""
    settings = Settings(home=server.home, master_key=master_key.hex())
    centre.work = FitWork(centre.database, centre.notices, centre.clock, lambda _: POLICY, settings=settings)
    random.seed(3)
    quick, slow = await centre.agent(), await centre.agent()
    assert fit_in_force(centre.tenant) is PRIOR
    with pytest.raises(BadInput) as few:
        await train_now(
            centre.database, centre.tenant, policy=POLICY, now=centre.clock.now(), by="test", origin="test", at_most=1_000
        )
    assert few.value.code == "outcomes_too_few"
    for _ in range(30):
        await centre.call([quick], person=await centre.person(), seconds=random.uniform(50.0, 70.0))
        await centre.call([slow], person=await centre.person(), seconds=random.uniform(250.0, 350.0), outcome="follow_up")
    await centre.settled()
    model = await centre.work.train(centre.tenant)
    assert model is not None
    assert await centre.work.train(centre.tenant) is None  # the night is over
    assert (await refresh(centre.database, centre.tenant)).version == model.version == fit_in_force(centre.tenant).version
    asked = Asked("voice", "nl", (Person(1.0, "", "low", (("refund", 1.0),)),))
    ids = np.array([quick, slow, 10**6])
    trained = fits(model, asked, ids)
    assert trained.handle_s[0] < 90.0 < trained.handle_s[2] < 220.0 < trained.handle_s[1]
    for _ in range(20):
        await centre.call([slow], person=await centre.person(), seconds=60.0)
    await centre.settled()
    now = await refresh(centre.database, centre.tenant)
    assert now.version != model.version
    assert fits(now, asked, ids).handle_s[1] < 0.8 * trained.handle_s[1]
    assert fits(now, asked, ids).handle_s[0] == pytest.approx(trained.handle_s[0])
    centre.tenant.kept.clear()
    again = await refresh(centre.database, centre.tenant)  # another process: the root, and its updates in turn
    assert again.version == now.version
    assert np.array_equal(fits(again, asked, ids).handle_s, fits(now, asked, ids).handle_s)
    async with centre.database.transaction(centre.tenant.tenant_id) as connection:
        old = await fit_named(connection, centre.tenant, model.version)
        assert old is not None
        assert np.array_equal(fits(old, asked, ids).handle_s, trained.handle_s)
        assert await fit_named(connection, centre.tenant, "fit-000000000000") is None
        [line] = await models(connection, centre.tenant)
        assert (line.version, line.active, line.outcomes) == (model.version, True, 60)
        assert line.updates >= 1
        assert await back_to(connection, centre.tenant, model.version, origin="test") == now.version
        with pytest.raises(BadInput) as unknown:
            await back_to(connection, centre.tenant, "fit-000000000000", origin="test")
        assert unknown.value.code == "fit_model_unknown"
        stored = await connection.fetchval(
            "select content from routing_model where tenant_id = $1 and version = $2", centre.tenant.tenant_id, model.version
        )
    assert model_from_json(stored).version == model.version


async def test_two_processes_write_an_outcome_once(centre: Centre) -> None:
    agent = await centre.agent()
    for _ in range(5):
        await centre.call([agent], person=await centre.person())
    other = FitWork(centre.database, centre.notices, SystemClock(), lambda _: POLICY)
    await asyncio.gather(centre.work.settle(centre.tenant), other.settle(centre.tenant))
    await centre.settled()
    assert len(await centre.rows()) == 5


async def test_tenants_are_kept_apart(centre: Centre, make_tenant: object) -> None:
    agent = await centre.agent()
    await centre.call([agent])
    await centre.settled()
    other = await make_tenant()  # type: ignore[operator]
    async with centre.database.transaction(other.tenant_id) as connection:
        assert await connection.fetchval("select count(*) from routing_outcome") == 0
        assert await connection.fetchval("select count(*) from routing_model") == 0


def test_what_counts_as_success() -> None:
    policy = RoutingPolicy(success=("resolved", "sold"), not_judged=("test",))
    codes = ("resolved", "sold", "follow_up", "test", None, "finished", "expired")
    assert [judged(code, policy) for code in codes] == [True, True, False, None, None, None, None]
