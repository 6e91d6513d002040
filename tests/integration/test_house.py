"""What people of the house do about contacts: carried out, bounded, written down with who, when and why."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.integration.test_decide import World, world
from tests.making import contact

from firstring.channels.callbacks.calling import CallBacks
from firstring.channels.callbacks.opening import Opening
from firstring.channels.house import House
from firstring.contact import Decision, Evidence
from firstring.decide import differences, rederive
from firstring.errors import BadInput
from firstring.identity.caller.evidence import gather
from firstring.ports import SystemIds
from firstring.store.interventions import listed
from firstring.store.notices import Notices
from firstring.store.routing.waits import WaitsWork, kept

__all__ = ["world"]


@pytest.fixture
def house(world: World, notices: Notices) -> House:
    callbacks = CallBacks(
        world.database,
        world.decider,
        world.contacts,
        notices,
        world.clock,
        SystemIds(),
        Opening(),
        world.routed,
        country="US",
    )
    return House(world.database, world.ring, world.decider, world.contacts, callbacks, world.clock, world.routed)


async def offered(world: World, channel: str = "voice", evidence: Evidence | None = None, **more: object) -> uuid.UUID:
    made = contact(channel=channel, adapter="api", offered_at=world.clock.now(), **more)
    decision = await world.decider.offered(world.tenant, made, evidence or Evidence())
    return decision.contact.contact_id


async def newest(world: World, contact_id: uuid.UUID) -> Decision:
    found = await world.ring.decision(world.tenant, contact_id)
    assert found is not None
    return found


async def who_has(world: World, contact_id: uuid.UUID) -> int | None:
    state = await world.ring.contact(world.tenant, contact_id)
    assert state is not None
    return state.agent_id


async def test_a_contact_brought_forward_is_served_first(world: World, house: House) -> None:
    first, second = [await offered(world) for _ in range(2)]
    await house.direct(world.tenant, second, by="sam", because="called twice", points=20)
    agent_id = await world.agent()
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, second) == agent_id
    assert await who_has(world, first) is None
    [line] = await listed(world.database, world.tenant)
    assert (line.what, line.by, line.because, line.detail, line.contact_id) == (
        "prioritise", "sam", "called twice", "points=+20", second,
    )  # fmt: skip
    assert abs((line.at - datetime.now(UTC)).total_seconds()) < 30


async def test_a_contact_sent_to_somebody_busy_waits_for_them_alone_and_not_for_ever(world: World, house: House) -> None:
    ann = await world.agent("Ann")
    taken = await offered(world)
    assert await who_has(world, taken) == ann
    bob = await world.agent("Bob", ready=False)
    waits = await offered(world)
    await house.direct(world.tenant, waits, by="sam", because="knows the case", to_agent=ann)
    await world.contacts.set_presence(world.tenant, bob, "ready")
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, waits) is None, "capacity holds for direct targets too"
    world.clock.ahead = timedelta(seconds=world.models.routing.directed_s + 1)
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, waits) == bob


async def test_a_note_reaches_whoever_has_the_contact(world: World, house: House) -> None:
    ann = await world.agent("Ann")
    mine = await offered(world)
    decision = await house.direct(world.tenant, mine, by="sam", because="to know", note=" lost\x00 her\nhusband ")
    assert (decision.outcome, decision.agent_id) == ("keep", ann)
    assert decision.evidence.directions is not None
    assert decision.evidence.directions.notes == (("sam", "lost her husband"),)
    assert world.pushed[-1].contact.contact_id == mine
    with pytest.raises(BadInput, match="Somebody has this contact"):
        await house.direct(world.tenant, mine, by="sam", because="x", points=5)


async def test_a_transfer_takes_all_that_is_known_along(world: World, house: House) -> None:
    ann = await world.agent("Ann")
    mine = await offered(world, "chat", gather({"phone": "+12025550144"}, country="US"))
    assert await who_has(world, mine) is None
    chatty = await world.agent("Eve", channels=("chat",), capacity={"chat": 1})
    other = await world.agent("Lea", ready=False, channels=("chat",), capacity={"chat": 1}, skills={"legal": 4})
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, mine) == chatty
    await world.contacts.event(world.tenant, mine, "answered")
    decision = await house.transfer(
        world.tenant, mine, by="eve", because="it is about a will", skills={"legal": 3}, note="angry"
    )
    assert decision.outcome == "wait"
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, mine) is None, "neither back to whoever had it, nor to somebody without the skill"
    await world.contacts.set_presence(world.tenant, other, "ready")
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, mine) == other
    final = await newest(world, mine)
    assert final.evidence.identifiers[0].value == "+12025550144"
    assert final.evidence.directions is not None
    assert final.evidence.directions.notes[-1] == ("eve", "angry")
    assert ann != other
    profiles = await world.ring.profiles(world.tenant, final.read.agents)
    assert differences(final.derived, rederive(final, profiles, world.models)) == []


async def test_another_reason_than_was_thought_goes_to_whoever_serves_it(world: World, house: House) -> None:
    policy = msgspec.structs.replace(world.models.routing, intents={"legal": {"legal": 3}})
    world.decider.models = msgspec.structs.replace(world.models, routing=policy)
    await world.agent("Ann")
    mine = await offered(world)
    await world.contacts.event(world.tenant, mine, "answered")
    lea = await world.agent("Lea", skills={"legal": 4})
    decision = await house.transfer(world.tenant, mine, by="ann", because="not a bill", intent="legal")
    assert (decision.outcome, decision.agent_id, decision.agent_address) == ("route", lea, "sip:lea@agents.test")
    assert decision.derived.routing.need.intent == "legal"


async def test_a_caller_who_is_called_back_keeps_the_place(world: World, house: House) -> None:
    offer = world.offer("+12025550133")
    answer = await world.calls.offered(offer)
    mine = uuid.UUID(answer.decision.split("/")[0])
    later = await offered(world)
    await house.call_back(world.tenant, mine, by="ivr")
    # The caller hangs up: that is not the end of the contact.
    await world.calls.event(world.event("call.cancelled", offer))
    state = await world.ring.contact(world.tenant, mine)
    assert state is not None
    assert state.state == "waiting"
    assert (state.contact.adapter, state.contact.called, state.contact.dials) == ("callback", offer.to, "+12025550133")
    agent_id = await world.agent()
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, mine) == agent_id
    assert await who_has(world, later) is None


async def test_a_place_that_was_promised_is_kept_however_long_it_takes(world: World, house: House) -> None:
    mine, other = await offered(world), await offered(world)
    await house.call_back(world.tenant, mine, by="ivr", phone="+12025550133")
    world.clock.ahead = timedelta(hours=9)
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, mine) is None
    states = [await world.ring.contact(world.tenant, one) for one in (mine, other)]
    assert [state.state for state in states if state] == ["waiting", "ended"], "nobody holds a line for nine hours"
    agent_id = await world.agent()
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, mine) == agent_id


async def test_what_cannot_be_done_is_refused_and_says_so_in_the_log(world: World, house: House) -> None:
    mine = await offered(world)
    for because, more, code in (
        ("x", {}, "nothing_asked"),
        (" \n ", {"points": 1}, "because_missing"),
        ("x", {"points": 5_000}, "out_of_range"),
        ("x", {"to_agent": 999_999_999}, "unknown_agent"),
        ("x", {"skills": {"no/name": 1}}, "name_invalid"),
        ("x", {"note": "n" * 501}, "out_of_range"),
    ):
        with pytest.raises(BadInput) as refused:
            await house.direct(world.tenant, mine, by="sam", because=because, **more)
        assert refused.value.code == code
    with pytest.raises(BadInput, match="no such contact"):
        await house.direct(world.tenant, uuid.uuid4(), by="sam", because="x", points=1)
    with pytest.raises(BadInput, match="Nobody has this contact"):
        await house.transfer(world.tenant, mine, by="sam", because="x", intent="legal")
    email = await offered(world, "email")
    with pytest.raises(BadInput, match="Only callers"):
        await house.call_back(world.tenant, email, by="ivr")
    await world.contacts.event(world.tenant, mine, "cancelled")
    with pytest.raises(BadInput, match="is over"):
        await house.direct(world.tenant, mine, by="sam", because="x", points=1)
    assert await listed(world.database, world.tenant) == []


async def test_a_break_is_written_down(world: World, house: House) -> None:
    agent_id = await world.agent()
    await house.presence(world.tenant, agent_id, "away", by="sam", because="long day")
    [state] = await world.contacts.agents(world.tenant)
    assert state.presence == "away"
    [line] = await listed(world.database, world.tenant)
    assert (line.what, line.agent_id, line.detail, line.because) == ("presence", agent_id, "away", "long day")


async def test_waits_are_told_once_and_held_against_what_came(world: World, notices: Notices) -> None:
    work = WaitsWork(world.database, world.contacts, notices, world.clock)
    nobody = await offered(world)
    assert await work.tell(world.tenant) == 0, "nobody is signed in who could serve it"
    agents = [await world.agent(f"A{number}") for number in range(2)]
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, nobody) == agents[0]
    await offered(world)
    waiting = [await offered(world) for _ in range(3)]
    assert await work.tell(world.tenant) == 3
    assert await work.tell(world.tenant) == 0
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        rows = await connection.fetch(
            "select told_low_s, told_wait_s, told_high_s from contact where tenant_id = $1 and told_at is not null"
            " order by turn_at",
            world.tenant.tenant_id,
        )
    # Two agents, 300 s each: one is free every 150 s.
    assert [round(row["told_wait_s"]) for row in rows] == [150, 300, 450]
    assert all(row["told_low_s"] < row["told_wait_s"] < row["told_high_s"] for row in rows)
    world.clock.ahead = timedelta(seconds=100)
    for agent in agents:
        for line in await world.contacts.of_agent(world.tenant, agent):
            await world.contacts.event(world.tenant, line.contact_id, "finished")
    await world.dispatcher.sweep(world.tenant)
    await world.contacts.event(world.tenant, waiting[2], "cancelled")
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        came, ratios = await kept(connection, world.tenant, world.clock.now())
    assert (came.over, came.within, came.served) == (2, 2, 2), "who gave up before the interval was over says nothing"
    assert [round(ratio, 1) for ratio in sorted(ratios)] == [0.3, 0.7]
