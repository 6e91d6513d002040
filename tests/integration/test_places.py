"""Places that are no agent's: self-service beside the agents, overflow, agents kept free, waits that are announced."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.integration.test_decide import World, world
from tests.integration.test_house import house, newest, offered, who_has

from firstring.channels.contact_log import ContactLog
from firstring.channels.house import House
from firstring.channels.voice.caller import Caller
from firstring.channels.voice.contract import CallEvent
from firstring.channels.voice.phone import Phone
from firstring.channels.voice.redirect import RedirectServer
from firstring.contact import Decision, Evidence, OpenIssue, StepUp
from firstring.decide import differences, rederive
from firstring.errors import BadInput
from firstring.identity.caller.evidence import gather
from firstring.routing.declared.policy import policy_from_toml
from firstring.routing.pick.elsewhere import placed
from firstring.store.database import Tenant
from firstring.store.notices import Notice, Notices
from firstring.store.queries import sql
from firstring.store.routing.around import AroundWatch, PlacesWork, around_now
from firstring.store.routing.waits import WaitsWork

__all__ = ["house", "world"]

BOT = 'name = "bot"\naddress = "sip:bot@pbx.test"\nchannels = ["voice", "chat"]'


def with_policy(world: World, text: str) -> None:
    world.models = msgspec.structs.replace(world.models, routing=policy_from_toml(text))
    world.decider.models = world.models
    world.decider._around_of = around_now


def waits_of(world: World, notices: Notices) -> WaitsWork:
    return WaitsWork(world.database, world.contacts, notices, world.clock, world.decider, world.routed)


async def line_of(world: World, contact_id: uuid.UUID) -> Any:
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        return await connection.fetchrow(sql("board", "line_of"), world.tenant.tenant_id, contact_id)


async def replays(world: World, decision: Decision) -> None:
    profiles = await world.ring.profiles(world.tenant, decision.read.agents)
    assert differences(decision.derived, rederive(decision, profiles, world.models)) == []


async def state_of(world: World, contact_id: uuid.UUID) -> str:
    found = await world.ring.contact(world.tenant, contact_id)
    assert found is not None
    return found.state


async def test_self_service_that_is_worth_more_than_the_best_agent_gets_the_contact(world: World) -> None:
    ann = await world.agent("Ann")
    with_policy(world, f"[[routing.self_service]]\n{BOT}\nsuccess = [9, 1]\nintents = ['order']")
    mean = world.models.fit.mean_success
    offer = world.offer(intent="order.status")
    answer = await world.calls.offered(offer)
    assert answer.routes[0].uri == "sip:bot@pbx.test"
    assert "X-Firstring-Place: bot\r\n" in answer.routes[0].headers.extra
    contact_id = uuid.UUID(answer.decision.partition("/")[0])
    assert await state_of(world, contact_id) == "elsewhere"
    assert await who_has(world, contact_id) is None
    decision = await newest(world, contact_id)
    assert decision.outcome == "elsewhere"
    [place] = decision.derived.routing.places
    assert (place.name, place.kind, place.success, place.score) == ("bot", "self_service", 0.9, pytest.approx(0.9))
    assert place.reasons[-1].code == "beats_agents"
    assert place.reasons[-1].weight == pytest.approx(0.9 - mean)
    assert [one.agent_id for one in decision.derived.routing.ranked] == [ann], "the agent stands beside it in the decision"
    await replays(world, decision)
    await world.dispatcher.sweep(world.tenant)
    assert await state_of(world, contact_id) == "elsewhere", "nobody is claimed for it meanwhile"
    # another reason, and no reason: not what the bot is for
    other = await world.calls.offered(world.offer(intent="legal"))
    assert other.routes[0].uri == "sip:ann@agents.test"


async def test_self_service_that_is_worth_less_waits_until_no_agent_is_near(world: World, notices: Notices) -> None:
    with_policy(world, f"[routing]\nimpatience_s = 100\n[[routing.self_service]]\n{BOT}\nsuccess = [3, 7]")
    await world.agent("Ann")
    first = await offered(world)
    assert await who_has(world, first) is not None, "a free agent is worth more"
    waits = waits_of(world, notices)
    second = await offered(world)
    decision = await newest(world, second)
    assert decision.outcome == "wait"
    [bound] = decision.derived.routing.need.beyond
    assert bound.wait_s is not None
    assert 20 < bound.wait_s < 300, "after that wait as many have given up as self-service fails"
    await waits.tell(world.tenant)  # one agent, 300 s a contact: the estimate is longer
    assert await state_of(world, second) == "elsewhere"
    decision = await newest(world, second)
    assert decision.cause == "overflow"
    assert world.pushed[-1].contact.contact_id == second
    await replays(world, decision)


async def test_a_customer_leaves_self_service_for_a_person_with_the_place_of_their_arrival(
    world: World, house: House
) -> None:
    with_policy(world, f"[[routing.self_service]]\n{BOT}\nsuccess = [99, 1]")
    first = await offered(world, "chat")
    assert await state_of(world, first) == "elsewhere"
    with_policy(world, "[routing]")
    world.clock.ahead = timedelta(seconds=40)
    later = await offered(world, "chat")
    with_policy(world, f"[[routing.self_service]]\n{BOT}\nsuccess = [99, 1]")
    # what is said to the bot is evidence, and claims nobody
    more = await world.decider.again(
        world.tenant, first, "said", change=lambda known: msgspec.structs.replace(known, words="hm")
    )
    assert more is not None
    assert more.outcome == "keep"
    assert more.derived.routing.elsewhere is not None
    await replays(world, more)
    left = await house.person(world.tenant, first, by="bot")
    assert (left.outcome, left.cause) == ("wait", "left")
    assert left.evidence.wants_person
    [place] = left.derived.routing.places
    assert not place.eligible
    assert place.reasons[0].code == "wants_person"
    await replays(world, left)
    agent = await world.agent("Eve", channels=("chat",), capacity={"chat": 1})
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, first) == agent, "ahead of who came while they were there"
    assert await who_has(world, later) is None
    with pytest.raises(BadInput, match="neither in self-service"):
        await house.person(world.tenant, first, by="bot")


async def test_a_bot_that_is_full_gets_nobody(world: World) -> None:
    with_policy(world, f"[[routing.self_service]]\n{BOT}\nsuccess = [99, 1]\nat_once = 2")
    watch = AroundWatch(world.database, world.clock, lambda _: world.models.routing)
    inside = [await offered(world, "chat") for _ in range(2)]
    await watch.refresh(world.tenant)
    third = await newest(world, await offered(world, "chat"))
    assert third.outcome == "wait"
    assert third.derived.routing.places[0].reasons[0].code == "full"
    await replays(world, third)
    await world.contacts.event(world.tenant, inside[0], "finished")
    await watch.refresh(world.tenant)
    assert await state_of(world, await offered(world, "chat")) == "elsewhere"


async def test_a_bot_that_does_not_answer_and_a_caller_who_presses_zero_get_an_agent(world: World) -> None:
    with_policy(world, f"[[routing.self_service]]\n{BOT}\nsuccess = [99, 1]")
    await world.agent("Ann")
    await world.agent("Bob")
    for kind, wants in (("call.unreachable", False), ("call.wants_person", True)):
        offer = world.offer()
        answer = await world.calls.offered(offer)
        assert answer.routes[0].uri == "sip:bot@pbx.test"
        answer = await world.calls.no_agent(world.event(kind, offer, uri="sip:bot@pbx.test"))
        assert answer.routes[0].uri in ("sip:ann@agents.test", "sip:bob@agents.test")
        decision = await newest(world, uuid.UUID(answer.decision.partition("/")[0]))
        assert decision.evidence.tried == ("bot",)
        assert decision.evidence.wants_person == wants
        await replays(world, decision)


async def test_nobody_with_an_open_complaint_or_under_suspicion_is_sent_to_self_service(world: World) -> None:
    with_policy(world, f"[[routing.self_service]]\n{BOT}\nsuccess = [99, 1]")
    await world.agent("Ann")
    await world.person("1", given_name="Eve", family_name="Dahl", phone=["+12025550111"])
    offer = world.offer("+12025550111")
    answer = await world.calls.offered(offer)
    assert answer.routes[0].uri == "sip:bot@pbx.test"
    await world.calls.event(world.event("call.ended", offer))
    decision = await newest(world, uuid.UUID(answer.decision.partition("/")[0]))
    derived = decision.derived
    journeys = [
        msgspec.structs.replace(one, open_issues=(OpenIssue("complaint", "7", decision.decided_at, 1, one.person_id),))
        for one in derived.journeys
    ]
    asked = [msgspec.structs.replace(one, ask=StepUp("one_time_code", "Send it")) for one in derived.assurances]
    for its_journeys, its_assurances, code in (
        (journeys, derived.assurances, "open_complaint"),
        (derived.journeys, asked, "step_up_pending"),
        ((), derived.assurances, "journey_missing"),
    ):
        need = msgspec.structs.replace(derived.routing.need, elsewhere="")
        routing = placed(
            msgspec.structs.replace(derived.routing, places=(), need=need),
            decision.contact, decision.evidence, derived.resolution, its_assurances, its_journeys,
            policy=world.models.routing, fit=world.models.fit, live=world.models.live,
        )  # fmt: skip
        assert routing.need.elsewhere == ""
        [place] = routing.places
        assert not place.eligible
        assert place.reasons[0].code == code


async def test_what_nobody_may_serve_goes_on_at_once_and_says_why(world: World, notices: Notices) -> None:
    with_policy(
        world,
        """
        [routing]
        skill_dropped_after_s = 3600
        [routing.intents.claim]
        claims = 3
        [[routing.overflow]]
        name = "claims"
        when = "contact.intent == 'claim'"
        steps = [
          { wait_over_s = 60, for_s = 30, team = "reserve" },
          { wait_over_s = 600, to = "sip:claims@site2.test" },
        ]
        """,
    )
    await world.agent("Ann", skills={"billing": 4})
    waits = waits_of(world, notices)
    claim = await offered(world, evidence=Evidence(intent="claim"))
    other = await offered(world, evidence=Evidence(intent="sales"))
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, other) is not None
    for _ in range(4):
        await waits.tell(world.tenant)
    decision = await newest(world, claim)
    assert decision.outcome == "elsewhere"
    place = decision.derived.routing.elsewhere
    assert place is not None
    assert (place.name, place.address) == ("claims/2", "sip:claims@site2.test")
    assert place.reasons[0].code == "nobody_may_serve"
    assert "1 lacking claims" in place.reasons[0].text
    assert [one.step for one in decision.evidence.overflowed] == [0, 1]
    assert "overflow_team" in [reason.code for reason in decision.derived.routing.reasons]
    await replays(world, decision)


async def test_a_long_wait_opens_another_team_after_so_long(world: World, notices: Notices) -> None:
    with_policy(
        world,
        """
        [routing]
        skill_dropped_after_s = 3600
        [routing.intents.claim]
        claims = 3
        [[routing.overflow]]
        name = "claims"
        steps = [{ wait_over_s = 60, for_s = 30, team = "reserve" }]
        """,
    )
    ann = await world.agent("Ann", skills={"claims": 4})
    bob = await world.agent("Bob", tiers=("reserve",))
    waits = waits_of(world, notices)
    first, second = [await offered(world, evidence=Evidence(intent="claim")) for _ in range(2)]
    assert await who_has(world, first) == ann
    began_s = world.clock.monotonic_s()
    await waits.tell(world.tenant)
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, second) is None
    world.clock.monotonic_s = lambda: began_s + 31.0  # type: ignore[method-assign]
    await waits.tell(world.tenant)
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, second) == bob
    decision = await newest(world, second)
    [verdict] = decision.derived.routing.ranked
    assert "overflow_team" in [reason.code for reason in verdict.reasons]
    await replays(world, decision)


async def test_waits_are_announced_when_they_change_and_a_call_back_is_offered(
    world: World, notices: Notices, house: House
) -> None:
    with_policy(world, "[routing]\ncallback_over_s = 400\nannounce_s = 5")
    await world.agent("Ann")
    told: list[Notice] = []
    notices.subscribe(lambda notice: told.append(notice) if notice.what == "told" else None)
    contacts = [await offered(world, evidence=gather({"phone": f"+1202555014{n}"}, country="US")) for n in range(4)]
    waits = waits_of(world, notices)
    await waits.tell(world.tenant)
    rows = [await line_of(world, one) for one in contacts[1:]]
    assert [row["said_place"] for row in rows] == [1, 2, 3]
    assert [row["said_wait_s"] for row in rows] == pytest.approx([300, 600, 900])
    assert [row["callback_at"] is not None for row in rows] == [False, True, True]
    assert len(told) == 3
    base = world.clock.monotonic_s()
    at = [base]
    world.clock.monotonic_s = lambda: at[0]  # type: ignore[method-assign]
    await waits.tell(world.tenant)
    assert len(told) == 3, "nothing changed"
    await house.call_back(world.tenant, contacts[2], by="them")
    await world.contacts.event(world.tenant, contacts[1], "cancelled")
    at[0] = base + 6.0
    await waits.tell(world.tenant)
    row = await line_of(world, contacts[3])
    assert (row["said_place"], row["said_wait_s"]) == (2, pytest.approx(600))
    kept = await line_of(world, contacts[2])
    assert kept["said_place"] == 1, "who is to be called back keeps the place"


async def test_what_self_service_comes_to_is_learned(world: World, house: House) -> None:
    with_policy(world, f"[routing]\nback_within_s = 600\n[[routing.self_service]]\n{BOT}\nsuccess = [99, 1]")
    await world.person("9", given_name="Kim", family_name="Ray", phone=["+12025550144"])
    known = gather({"phone": "+12025550144"}, country="US")
    done = await offered(world, "chat", known)
    left, told = [await offered(world, "chat") for _ in range(2)]
    await house.person(world.tenant, left, by="bot")
    for one in (done, told):
        await world.contacts.event(world.tenant, one, "finished", outcome="resolved" if one == told else None)
    log = ContactLog(world.database, world.ring, world.contacts, world.clock, country="US", threshold=0.9)
    await log.write(world.tenant)
    policy = world.models.routing
    work = PlacesWork(world.database, world.contacts, world.clock, lambda _: policy)
    watch = AroundWatch(world.database, world.clock, lambda _: policy)
    await work.judge(world.tenant)
    around = await watch.refresh(world.tenant)
    assert around is not None
    assert around.contained == {"bot": (1, 0)}, "what was told counts at once"
    world.clock.ahead = timedelta(seconds=700)
    await work.judge(world.tenant)
    watch = AroundWatch(world.database, world.clock, lambda _: policy)
    around = await watch.refresh(world.tenant)
    assert around is not None
    assert around.contained == {"bot": (2, 1)}, "who left came back, who did not call again was served"
    decision = await newest(world, await offered(world, "chat", known))
    [place] = decision.derived.routing.places
    assert place.success == pytest.approx(101 / 103)
    [touch] = [one for one in decision.read.touches if one.properties.get("place") == "bot"]
    assert touch.name == "Chat Ended", "who was served there was not missed"
    await replays(world, decision)


async def test_over_sip_a_call_is_redirected_to_the_bot_and_one_that_nobody_may_serve_to_where_it_overflows(
    world: World, notices: Notices
) -> None:
    bot, voicemail, queue = (Phone(user=user) for user in ("bot", "voicemail", "queue"))
    caller = Caller()
    for endpoint in (bot, voicemail, queue, caller):
        await endpoint.start()
    with_policy(
        world,
        f"""
        [[routing.self_service]]
        name = "bot"
        address = "{bot.uri}"
        when = "contact.called == 'bot'"
        success = [99, 1]
        [[routing.overflow]]
        name = "night"
        steps = [{{ to = "{voicemail.uri}" }}]
        """,
    )
    server = RedirectServer(world.calls, default_uri=queue.uri, port=0)
    await server.start()

    async def routed(_tenant: Tenant, decision: Decision) -> None:
        await server.push(decision.contact.adapter_ref, world.calls.answer(decision, decision.contact.adapter_ref))

    result = await caller.call(f"sip:bot@{server.uri_host}")
    assert result.status == 200
    assert result.uris[-1] == bot.uri
    contact_id = uuid.UUID(bot.calls[result.call_id].header("X-Firstring-Contact"))
    assert bot.calls[result.call_id].header("X-Firstring-Place") == "bot"
    assert await state_of(world, contact_id) == "elsewhere"
    await world.calls.event(CallEvent(type="call.ended", call_id=result.call_id, adapter="redirect"))
    assert await state_of(world, contact_id) == "ended"

    waits = WaitsWork(world.database, world.contacts, notices, world.clock, world.decider, routed)
    calling = asyncio.create_task(caller.call(f"sip:sales@{server.uri_host}"))
    async with asyncio.timeout(10):
        while not server.waiting():
            await asyncio.sleep(0.01)
    for _ in range(2):  # nobody is signed in: two looks confirm it
        await waits.tell(world.tenant)
    result = await calling
    assert result.uris[-1] == voicemail.uri
    decision = await newest(world, uuid.UUID(voicemail.calls[result.call_id].header("X-Firstring-Contact")))
    assert decision.derived.routing.reasons[0].text == (
        "It goes to night/1: Nobody who is signed in may serve it (nobody is signed in)"
    )
    await server.stop()
    for endpoint in (bot, voicemail, queue, caller):
        await endpoint.stop()


async def test_chats_are_worked_in_parallel_and_one_whose_reason_turns_out_different_goes_to_who_serves_that(
    world: World, house: House
) -> None:
    with_policy(world, "[routing]\nskill_dropped_after_s = 3600\n[routing.intents.legal]\nlegal = 3")
    ann = await world.agent(
        "Ann", channels=("voice", "chat"), capacity={"voice": 1, "chat": 2}, mix=({"voice": 1}, {"chat": 2})
    )
    chats = [await offered(world, "chat") for _ in range(3)]
    assert [await who_has(world, one) for one in chats] == [ann, ann, None]
    assert await who_has(world, await offered(world)) is None, "no call beside chats"
    lea = await world.agent("Lea", channels=("chat",), capacity={"chat": 1}, skills={"legal": 4}, ready=False)
    # the reason turns out while it waits
    again = await world.decider.again(
        world.tenant, chats[2], "said", change=lambda known: msgspec.structs.replace(known, intent="legal")
    )
    assert again is not None
    assert again.outcome == "wait"
    await world.contacts.event(world.tenant, chats[0], "answered")
    await world.contacts.event(world.tenant, chats[0], "ended")
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, chats[2]) is None, "Ann's place is in wrap-up, and she may not serve it"
    await world.contacts.event(world.tenant, chats[0], "finished", outcome="resolved")
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, chats[2]) is None
    await world.contacts.set_presence(world.tenant, lea, "ready")
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, chats[2]) == lea
    # and while somebody talks: it is handed on with what is known
    await world.contacts.event(world.tenant, chats[2], "finished")
    await world.contacts.event(world.tenant, chats[1], "answered")
    handed = await house.transfer(world.tenant, chats[1], by="ann", because="a will", intent="legal")
    if handed.outcome == "wait":  # Lea's place became free a moment ago: it is the line's
        await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, chats[1]) == lea
    assert (await newest(world, chats[1])).evidence.intent == "legal"


async def test_agents_kept_free_are_there_for_the_tier_and_for_whoever_waited_long_enough(world: World) -> None:
    with_policy(
        world,
        """
        [routing.tiers.gold]
        priority = 20
        keep_free = 1
        keep_free_for_s = 15
        """,
    )
    watch = AroundWatch(world.database, world.clock, lambda _: world.models.routing)
    await world.person("1", given_name="Eve", family_name="Dahl", phone=["+12025550111"], tier="gold")
    ann, bob = await world.agent("Ann"), await world.agent("Bob")
    first = await offered(world)
    assert await who_has(world, first) is not None
    await world.contacts.event(world.tenant, first, "finished")
    gold = gather({"phone": "+12025550111"}, country="US")
    vip = await offered(world, evidence=gold)
    assert (await newest(world, vip)).derived.routing.need.tier == "gold"
    await world.contacts.event(world.tenant, vip, "finished")
    around = await watch.refresh(world.tenant)
    assert around is not None
    assert set(around.seen) == {"gold"}
    one, two = await offered(world), await offered(world)
    assert await who_has(world, one) == bob, "the place of the lower number is kept"
    assert await who_has(world, two) is None
    decision = await newest(world, two)
    assert "kept_free" in [reason.code for reason in decision.derived.routing.reasons]
    await replays(world, decision)
    for _ in range(2):
        await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, two) is None
    assert (await newest(world, two)).revision == decision.revision, "it is not decided again and again"
    vip = await offered(world, evidence=gold)
    assert await who_has(world, vip) == ann
    await world.contacts.event(world.tenant, vip, "finished")
    world.clock.ahead = timedelta(seconds=16)
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, two) == ann, "the hold has a bound"
