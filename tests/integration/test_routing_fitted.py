"""A trained model in force: who fits gets the contact while it rings and out of the line; prices are found by the elected
task alone; decisions name both and are derived again with them."""

from __future__ import annotations

import uuid
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from tests.integration.test_decide import World, world
from tests.making import contact
from tests.unit.test_routing_live import model

from firstring.contact import Decision, Evidence
from firstring.decide import Decider, differences, profiles_of, rederive
from firstring.dispatch import Dispatcher
from firstring.errors import BadInput
from firstring.observe import Metrics
from firstring.ports import SystemIds
from firstring.routing.declared.policy import policy_from_toml
from firstring.routing.fit.model import FitModel, model_to_json
from firstring.store.notices import Notices
from firstring.store.queries import sql
from firstring.store.ring import RingStore
from firstring.store.routing.models import FitWork, fit_in_force, fit_named, refresh
from firstring.store.routing.outcomes import hard_contacts
from firstring.store.routing.prices import PricesWork, live_in_force, live_named
from firstring.store.routing.why import why

__all__ = ["world"]


async def put(world: World, made: FitModel, agents: list[int]) -> FitModel:
    """The model for these agents, trained and in force."""
    content = msgspec.structs.replace(made.content, agents=tuple(agents))
    text = model_to_json(FitModel(content))
    version = FitModel(content).version
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        await connection.execute(
            sql("fit", "add_model"), world.tenant.tenant_id, version, None, version, text, 1_000, world.clock.now(),
            world.clock.now(), "test",
        )  # fmt: skip
    found = await refresh(world.database, world.tenant)
    assert found.version == version
    world.decider.models = msgspec.structs.replace(
        world.decider.models, fit=fit_in_force(world.tenant), live=live_in_force(world.tenant)
    )
    return found


async def offered(world: World, **more: object) -> Decision:
    made = contact(channel="voice", adapter="api", offered_at=world.clock.now(), **more)
    return await world.decider.offered(world.tenant, made, Evidence())


async def same_again(world: World, contact_id: uuid.UUID) -> Decision:
    """The newest decision, derived again with what it names."""
    stored = await world.ring.decision(world.tenant, contact_id)
    assert stored is not None
    _, fit_version, prices_version = stored.derived.versions.routing.split("+")
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        fit = await fit_named(connection, world.tenant, fit_version)
        live = await live_named(connection, world.tenant, prices_version)
    assert fit is not None
    assert live is not None
    models = msgspec.structs.replace(world.models, fit=fit, live=live)
    profiles = await world.ring.profiles(world.tenant, stored.read.agents)
    assert differences(stored.derived, rederive(stored, profiles, models)) == []
    return stored


async def test_who_fits_gets_the_call_and_it_is_derived_again(world: World) -> None:
    agents = [await world.agent(name) for name in ("Ann", "Bob", "Eve")]
    await put(world, model(0.0, 1.0, -1.0), agents)
    rings = await offered(world)
    assert rings.agent_id == agents[1], "Ann is idle longest, Bob fits"
    stored = await same_again(world, rings.contact.contact_id)
    assert [verdict.agent_id for verdict in stored.derived.routing.ranked] == [agents[1], agents[0], agents[2]]
    second = stored.derived.routing.ranked[1]
    assert any(reason.code == "would_be_first" for reason in second.reasons)
    assert stored.derived.routing.propensity == 1.0
    told = [await why(world.database, world.ring, world.tenant, stored, agent_id) for agent_id in agents]
    assert [(one.place, one.got_it, one.eligible) for one in told] == [(2, False, True), (1, True, True), (3, False, True)]
    assert [part.success for part in told[1].parts if part.name == "agent"] == [pytest.approx(1.0, abs=1e-4)]
    late = await world.agent("Lea")
    gone = await why(world.database, world.ring, world.tenant, stored, late)
    assert (gone.eligible, gone.place, gone.reasons[0].code) == (False, None, "not_free")
    with pytest.raises(BadInput, match="no such agent"):
        await why(world.database, world.ring, world.tenant, stored, 2**40)


async def test_out_of_the_line_all_are_looked_at_together(world: World) -> None:
    agents = [await world.agent(name, ready=False) for name in ("Ann", "Bob")]
    await put(world, model(0.5, -0.5), agents)
    waits = [await offered(world) for _ in range(3)]
    assert {one.outcome for one in waits} == {"wait"}
    for agent_id in agents:
        await world.contacts.set_presence(world.tenant, agent_id, "ready")
    await world.dispatcher.sweep(world.tenant)
    held = [(await world.ring.contact(world.tenant, one.contact.contact_id)) for one in waits]
    assert sorted(state.agent_id for state in held if state and state.agent_id) == agents
    assert held[2] is not None
    assert held[2].agent_id is None, "of equals the first come go first"
    for state in held[:2]:
        assert state is not None
        stored = await same_again(world, state.contact.contact_id)
        assert stored.cause == "capacity"
        assert stored.derived.routing.need.preferred == (state.agent_id,)


async def test_prices_are_of_the_elected_task_and_come_into_the_decision(world: World, notices: Notices) -> None:
    agents = [await world.agent(name) for name in ("Ann", "Bob")]
    fit = await put(world, model(1.0, 0.8), agents)
    for _ in range(3):
        made = await offered(world)
        await world.contacts.event(world.tenant, made.contact.contact_id, "answered")
        await world.contacts.event(world.tenant, made.contact.contact_id, "finished")
    work = PricesWork(world.database, notices, world.clock, lambda _: world.models.routing)
    assert await work.find(world.tenant, fit) is None, "nobody was elected"
    assert await world.contacts.take_lease(world.tenant, "queue") is not None
    found = await work.find(world.tenant, fit)
    assert found is not None
    assert found.prices.agents == tuple(agents)
    assert all(price >= 0.0 for price in found.prices.price)
    assert live_in_force(world.tenant).version == found.version
    world.decider.models = msgspec.structs.replace(world.decider.models, live=found)
    stored = await same_again(world, (await offered(world)).contact.contact_id)
    assert stored.derived.versions.routing.endswith(found.version)
    # Another task that was elected meanwhile: what this one found is not put in force.
    other = PricesWork(
        world.database, Notices(world.database.arguments, "other"), world.clock, lambda _: world.models.routing
    )
    world.clock.ahead = timedelta(minutes=40)
    assert await other.find(world.tenant, fit) is None


async def test_who_had_hard_contacts_is_spared_and_it_is_said(world: World, notices: Notices) -> None:
    """Of two agents who are alike the one with two hard contacts within the hour comes second; later both count alike."""
    agents = [await world.agent(name) for name in ("Ann", "Bob")]
    alike = await put(world, model(0.5, 0.5), agents)
    for code in ("follow_up", "follow_up", "resolved"):
        await world.contacts.set_presence(world.tenant, agents[1], "away")
        made = await offered(world)
        assert made.agent_id == agents[0]
        await world.contacts.event(world.tenant, made.contact.contact_id, "answered")
        await world.contacts.event(world.tenant, made.contact.contact_id, "finished", outcome=code)
        await world.contacts.set_presence(world.tenant, agents[1], "ready")
    await world.contacts.set_presence(world.tenant, agents[0], "away")
    await world.contacts.set_presence(world.tenant, agents[0], "ready")
    work = FitWork(world.database, notices, world.clock, lambda _: world.models.routing)
    assert await work.settle(world.tenant)
    fit = await refresh(world.database, world.tenant)
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        hard = await hard_contacts(connection, world.tenant, fit, world.clock.now())
        later = await hard_contacts(connection, world.tenant, fit, world.clock.now() + timedelta(hours=2))
    assert (hard, later) == ({agents[0]: 2}, {})
    prices = PricesWork(world.database, notices, world.clock, lambda _: world.models.routing)
    assert await world.contacts.take_lease(world.tenant, "queue") is not None
    found = await prices.find(world.tenant, fit)
    assert found is not None
    assert found.prices.hard == ((agents[0], 2),)
    even = msgspec.structs.replace(world.models.routing, fairness=0.0)
    world.decider.models = msgspec.structs.replace(world.decider.models, fit=alike, live=found, routing=even)
    made = await offered(world)
    assert made.agent_id == agents[1]
    said = {one.agent_id: [reason.text for reason in one.reasons if reason.code == "agents_side"]
            for one in made.derived.routing.ranked}  # fmt: skip
    assert "2 hard contacts within the hour" in said[agents[0]][0]
    assert not any("hard" in text for text in said[agents[1]])
    profiles = await world.ring.profiles(world.tenant, made.read.agents)
    models = msgspec.structs.replace(world.models, fit=alike, live=found, routing=even)
    stored = await world.ring.decision(world.tenant, made.contact.contact_id)
    assert stored is not None
    assert differences(stored.derived, rederive(stored, profiles, models)) == []


@pytest.mark.parametrize("pick", ["best", "first_come"])
async def test_without_a_model_and_by_choice_it_is_first_come_longest_idle(world: World, pick: str) -> None:
    agents = [await world.agent(name) for name in ("Ann", "Bob")]
    if pick == "first_come":
        await put(world, model(-1.0, 1.0), agents)
        routing = msgspec.structs.replace(world.models.routing, pick="first_come")
        world.decider.models = msgspec.structs.replace(world.decider.models, routing=routing)
    rings = await offered(world)
    assert rings.agent_id == agents[0]
    assert "+" not in rings.derived.versions.routing


async def test_out_of_the_line_too_a_contact_is_routed_by_its_arm(world: World) -> None:
    """A trial in which one arm is first come: its contacts are not matched by who fits because others are."""
    agents = [await world.agent(name, ready=False) for name in ("Ann", "Bob")]
    await put(world, model(-1.0, 1.0), agents)
    first_come = msgspec.structs.replace(world.models.routing, pick="first_come")
    decider = Decider(
        world.ring, world.decider.models, world.clock, SystemIds(), Metrics(),
        arm_of=lambda _, one, base: (first_come if one.called == "control" else base, None),
    )  # fmt: skip

    async def only_this() -> list[object]:
        return [world.tenant]

    dispatcher = Dispatcher(world.contacts, world.ring, decider, world.clock, only_this, world.routed)
    for called, agent_id in (("control", agents[0]), ("", agents[1])):
        made = contact(channel="voice", adapter="api", offered_at=world.clock.now(), called=called)
        assert (await decider.offered(world.tenant, made, Evidence())).outcome == "wait"
        for one in agents:
            await world.contacts.set_presence(world.tenant, one, "ready")
        await dispatcher.sweep(world.tenant)
        stored = await world.ring.decision(world.tenant, made.contact_id)
        assert stored is not None
        assert (stored.cause, stored.agent_id) == ("capacity", agent_id), called
        assert ("+" in stored.derived.versions.routing) == (not called)
        await world.contacts.event(world.tenant, made.contact_id, "finished")
        for one in agents:
            await world.contacts.set_presence(world.tenant, one, "away")


async def test_a_contact_of_which_nothing_can_be_read_has_its_turn(world: World, superuser: asyncpg.Connection) -> None:
    """Its decision is damaged. Others, of whom more is known, are not served before it for ever."""
    ann = await world.agent("Ann", ready=False)
    await put(world, model(0.5), [ann])
    waits = [(await offered(world)).contact.contact_id for _ in range(3)]
    await superuser.execute("update decision set sealed = 'nonsense' where contact_id = $1", waits[0])
    for contact_id in waits:
        await world.contacts.set_presence(world.tenant, ann, "ready")
        await world.dispatcher.sweep(world.tenant)
        state = await world.ring.contact(world.tenant, contact_id)
        assert state is not None
        assert state.agent_id == ann
        await world.contacts.event(world.tenant, contact_id, "finished")


async def test_one_that_is_left_out_does_not_hide_those_far_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firstring.dispatch.PER_SWEEP", 3)
    policy = policy_from_toml(
        "[routing]\nskill_relaxed_after_s = 3600\nskill_dropped_after_s = 3600\n[routing.called.kyc]\nskills = {kyc = 3}"
    )
    world.decider.models = msgspec.structs.replace(world.decider.models, routing=policy)
    hard = [await offered(world, called="kyc") for _ in range(4)]
    easy = await offered(world)
    world.dispatcher._left_out[hard[1].contact.contact_id] = float("inf")
    ann = await world.agent()
    for _ in range(2):
        await world.dispatcher.sweep(world.tenant)
    state = await world.ring.contact(world.tenant, easy.contact.contact_id)
    assert state is not None
    assert state.agent_id == ann


async def test_by_a_program_that_has_seen_nobody_yet_it_is_derived_again_too(world: World, notices: Notices) -> None:
    """Whom a decision compares with are also those who were busy: what is expected on average is over all of them."""
    agents = [await world.agent(name) for name in ("Ann", "Bob", "Eve")]
    fit = await put(world, model(2.0, 1.0, -1.0), agents)
    assert (await offered(world)).agent_id == agents[0]
    second = await offered(world)
    assert second.agent_id == agents[1]
    stored = await world.ring.decision(world.tenant, second.contact.contact_id)
    assert stored is not None
    assert stored.read.busy
    fresh = RingStore(world.database, notices)
    profiles = await profiles_of(fresh, world.tenant, stored.read)
    assert {agent_id for agent_id, _ in profiles} == set(agents)
    models = msgspec.structs.replace(world.models, fit=fit, live=world.decider.models.live)
    assert differences(stored.derived, rederive(stored, profiles, models)) == []
