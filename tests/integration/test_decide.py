"""The way of a contact over the real store: calls in, decisions and claims out."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import pytest_asyncio

from firstring.channels.calls import Calls, CallSettings
from firstring.channels.certificates import CertificateCache
from firstring.channels.contact_log import ContactLog
from firstring.channels.signatures import SignatureVerifier
from firstring.channels.voice.contract import CallEvent, CallOffer
from firstring.contact import AgentProfile, Decision, Evidence
from firstring.decide import Decider, Models, differences, rederive
from firstring.dispatch import Dispatcher
from firstring.identity.caller.weights import Weights
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import SystemIds
from firstring.routing.declared.policy import RoutingPolicy
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import SourceRecord, apply_records
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.trust.score import DEFAULT_PRIORS


class JumpingClock:
    """Real time plus an offset that a test moves, back as well as forth."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


class Desk:
    """What a desk was shown, in order."""

    def __init__(self) -> None:
        self.shown: list[tuple[uuid.UUID, int, int | None]] = []

    async def show(self, _tenant: Tenant, decision: Decision) -> None:
        self.shown.append((decision.contact.contact_id, decision.revision, decision.agent_id))


class World:
    """One tenant with everything between the switch and the store."""

    def __init__(self, database: Database, tenant: Tenant, notices: Notices, certificates: CertificateCache) -> None:
        self.tenant = tenant
        self.database = database
        self.clock = JumpingClock()
        self.ring = RingStore(database, notices)
        self.contacts = Contacts(database, notices, self.clock, wrap_up_s=30.0)
        self.models = Models(Weights(), DEFAULT_PRIORS, BUILT_IN, RoutingPolicy())
        self.decider = Decider(self.ring, self.models, self.clock, SystemIds(), Metrics())
        self.desk = Desk()
        self.failed_open: list[str] = []
        self.pushed: list[Decision] = []
        self.calls = Calls(
            tenant,
            self.decider,
            self.ring,
            self.contacts,
            SignatureVerifier(certificates, (), self.clock),
            self.clock,
            SystemIds(),
            CallSettings("US", "http://desk.test", 15_000),
            self.desk.show,
            self.routed,
            self.failed_open.append,
        )

        async def only_this() -> list[Tenant]:
            return [tenant]

        self.dispatcher = Dispatcher(self.contacts, self.ring, self.decider, self.clock, only_this, self.routed)

    async def routed(self, _tenant: Tenant, decision: Decision) -> None:
        self.pushed.append(decision)

    async def agent(self, name: str = "Ann", *, ready: bool = True, **changes: object) -> int:
        profile = msgspec.structs.replace(
            AgentProfile(0, 0, name, f"sip:{name.lower()}@agents.test", languages={"en": 5}), **changes
        )
        agent_id, _ = await self.contacts.put_agent(self.tenant, profile)
        if ready:
            await self.contacts.set_presence(self.tenant, agent_id, "ready")
        return agent_id

    async def person(self, record_id: str, **fields: object) -> None:
        await apply_records(
            self.database,
            self.tenant,
            "crm",
            [SourceRecord(record_id, fields)],
            now=datetime.now(UTC),
        )

    def offer(self, number: str = "+12025550111", **changes: object) -> CallOffer:
        values = {"call_id": secrets.token_hex(8), "from_": number, "to": "18005550100", "adapter": "kamailio"}
        return CallOffer(**{**values, "adapter_ref": "ref-1", **changes})  # type: ignore[arg-type]

    def event(self, kind: str, offer: CallOffer, **changes: object) -> CallEvent:
        return CallEvent(type=kind, call_id=offer.call_id, adapter=offer.adapter, **changes)  # type: ignore[arg-type]

    async def state(self, offer: CallOffer) -> str | None:
        contact_id = await self.ring.contact_by_call(self.tenant, offer.adapter, offer.call_id)
        if contact_id is None:
            return None
        found = await self.ring.contact(self.tenant, contact_id)
        return found.state if found else None


@pytest_asyncio.fixture(loop_scope="session")
async def world(database: Database, tenant: Tenant, notices: Notices) -> AsyncIterator[World]:
    from firstring.ports import SystemClock

    certificates = CertificateCache(SystemClock())
    made = World(database, tenant, notices, certificates)
    yield made
    await made.calls.stop()
    await certificates.aclose()


async def test_known_caller_is_routed_and_popped_before_the_switch_is_answered(world: World) -> None:
    agent_id = await world.agent()
    await world.person("c-1", given_name="Maria", family_name="Lopez", phone=["+12025550111"])
    offer = world.offer()
    answer = await world.calls.offered(offer)
    assert [route.uri for route in answer.routes] == ["sip:ann@agents.test"]
    assert [(revision, agent) for _, revision, agent in world.desk.shown] == [(1, agent_id)]
    assert "X-Firstring-Contact" in answer.routes[0].headers.extra
    assert "Lopez" not in answer.routes[0].headers.extra
    contact_id = world.desk.shown[0][0]
    decision = await world.ring.decision(world.tenant, contact_id)
    assert decision is not None
    best = decision.derived.resolution.best
    assert best is not None
    assert best.profile["family_name"] == "Lopez"
    total = sum(c.probability for c in decision.derived.resolution.candidates)
    total += decision.derived.resolution.someone_new + decision.derived.resolution.another_in_household
    assert total == pytest.approx(1.0, abs=1e-9)


async def test_a_stored_decision_derives_again_without_difference(world: World) -> None:
    await world.agent()
    for number, name in enumerate(("Ana", "Bo", "Cleo")):
        await world.person(f"h-{number}", given_name=name, family_name="Okafor", phone=["+12025550122"])
    answer = await world.calls.offered(world.offer("+12025550122"))
    contact_id = uuid.UUID(answer.decision.split("/")[0])
    stored = await world.ring.decision(world.tenant, contact_id)
    assert stored is not None
    profiles = await world.ring.profiles(world.tenant, stored.read.agents)
    assert differences(stored.derived, rederive(stored, profiles, world.models)) == []
    tampered = msgspec.structs.replace(stored, read=msgspec.structs.replace(stored.read, records=stored.read.records[1:]))
    assert differences(stored.derived, rederive(tampered, profiles, world.models)) != []


async def test_busy_and_no_answer_ask_for_the_next_agent_anew(world: World) -> None:
    first = await world.agent("Ann")
    second = await world.agent("Bob")
    offer = world.offer()
    answer = await world.calls.offered(offer)
    assert answer.routes[0].uri == "sip:ann@agents.test"
    answer = await world.calls.no_agent(world.event("call.busy", offer))
    assert answer.routes[0].uri == "sip:bob@agents.test"
    answer = await world.calls.no_agent(world.event("call.no_answer", offer))
    assert answer.action == "wait"
    states = {state.profile.agent_id: state.presence for state in await world.contacts.agents(world.tenant)}
    assert states == {first: "ready", second: "away"}


async def test_waiting_contact_gets_the_agent_who_becomes_free(world: World) -> None:
    agent_id = await world.agent(ready=False)
    offer = world.offer()
    answer = await world.calls.offered(offer)
    assert answer.action == "wait"
    await world.dispatcher.sweep(world.tenant)
    assert world.pushed == []
    await world.contacts.set_presence(world.tenant, agent_id, "ready")
    await world.dispatcher.sweep(world.tenant)
    assert [decision.agent_id for decision in world.pushed] == [agent_id]
    assert world.pushed[0].cause == "capacity"
    assert world.pushed[0].contact.adapter_ref == "ref-1"
    assert await world.state(offer) == "assigned"


async def test_answered_ended_wrap_up_and_finish_free_the_place(world: World) -> None:
    agent_id = await world.agent()
    offer = world.offer()
    contact_id = uuid.UUID((await world.calls.offered(offer)).decision.split("/")[0])
    await world.calls.event(world.event("call.ringing", offer))
    await world.calls.event(world.event("call.answered", offer))
    await world.calls.event(world.event("call.ended", offer))
    line = (await world.contacts.of_agent(world.tenant, agent_id))[0]
    assert (line.state, line.assignment_state) == ("ended", "wrap_up")
    second = await world.calls.offered(world.offer())
    assert second.action == "wait"
    await world.contacts.event(world.tenant, contact_id, "finished", outcome="resolved")
    assert [line.contact_id for line in await world.contacts.of_agent(world.tenant, agent_id)] == []
    await world.dispatcher.sweep(world.tenant)
    assert len(world.pushed) == 1


async def test_same_call_twice_gets_the_same_agent_and_one_contact(world: World) -> None:
    await world.agent("Ann")
    await world.agent("Bob")
    offer = world.offer()
    first, second = await asyncio.gather(world.calls.offered(offer), world.calls.offered(offer))
    assert first.decision == second.decision
    assert first.routes[0].uri == second.routes[0].uri
    busy = [state.live for state in await world.contacts.agents(world.tenant)]
    assert sorted(busy) == [0, 1]


async def test_reconcile_ends_calls_that_ended_unheard(world: World) -> None:
    await world.agent("Ann")
    await world.agent("Bob")
    gone, live = world.offer(), world.offer()
    await world.calls.offered(gone)
    await world.calls.offered(live)
    await world.calls.reconcile("kamailio", [live.call_id])
    assert await world.state(gone) is None
    assert await world.state(live) == "assigned"


async def test_expired_offer_is_taken_back_and_decided_anew(world: World) -> None:
    await world.agent("Ann")
    offer = world.offer()
    await world.calls.offered(offer)
    bob = await world.agent("Bob")
    world.clock.ahead = timedelta(seconds=31)
    await world.dispatcher.sweep(world.tenant)
    world.clock.ahead = timedelta(seconds=32.5)
    await world.dispatcher.sweep(world.tenant)
    assert [decision.agent_id for decision in world.pushed] == [bob]


async def test_a_clock_that_jumps_back_loses_nobody(world: World) -> None:
    agent_id = await world.agent(ready=False)
    offer = world.offer()
    await world.calls.offered(offer)
    world.clock.ahead = -timedelta(hours=3)
    await world.contacts.set_presence(world.tenant, agent_id, "ready")
    await world.dispatcher.sweep(world.tenant)
    assert [decision.agent_id for decision in world.pushed] == [agent_id]
    answer = await world.calls.offered(world.offer())
    assert answer.action == "wait"


async def test_store_that_does_not_answer_sends_the_call_to_the_default_queue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.agent()
    read: Callable[..., Awaitable[object]] = world.ring.read

    async def slow(*arguments: object, **named: object) -> object:
        await asyncio.sleep(5)
        return await read(*arguments, **named)

    monkeypatch.setattr(world.ring, "read", slow)
    answer = await world.calls.offered(world.offer(deadline_ms=120))
    assert answer.action == "default"
    assert world.failed_open == ["deadline"]


async def test_a_claim_that_came_too_late_is_given_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_id = await world.agent()
    commit = world.ring.commit

    async def late(*arguments: object, **named: object) -> object:
        done = await commit(*arguments, **named)  # type: ignore[arg-type]
        await asyncio.sleep(5)
        return done

    monkeypatch.setattr(world.ring, "commit", late)
    offer = world.offer(deadline_ms=300)
    assert (await world.calls.offered(offer)).action == "default"
    await world.calls.stop()
    assert await world.contacts.of_agent(world.tenant, agent_id) == []
    free, _ = await world.contacts.free_agents(world.tenant)
    assert [agent.agent_id for agent in free["voice"]] == [agent_id]


async def test_open_refund_locks_every_offer(world: World) -> None:
    from firstring.journey.events import parse_event
    from firstring.store.journey.events import ingest

    await world.agent()
    await world.person("c-9", given_name="Ida", family_name="Berg", phone=["+12025550133"])
    now = datetime.now(UTC)
    raw = {
        "type": "track",
        "event": "Refund Requested",
        "userId": "c-9",
        "messageId": "m-1",
        "timestamp": (now - timedelta(hours=2)).isoformat(),
        "properties": {"order_id": "1042"},
    }
    await ingest(world.database, world.tenant, "crm", [parse_event(raw, received_at=now)], now=now)
    answer = await world.calls.offered(world.offer("+12025550133"))
    decision = await world.ring.decision(world.tenant, uuid.UUID(answer.decision.split("/")[0]))
    assert decision is not None
    issues = [issue.kind for journey in decision.derived.journeys for issue in journey.open_issues]
    assert issues == ["refund"]
    offers = [verdict for verdict in decision.derived.action.considered if verdict.kind == "offer"]
    assert offers
    assert not any(verdict.allowed for verdict in offers)
    assert all("open_refund" in {reason.code for reason in verdict.gated_by} for verdict in offers)


async def test_an_agents_pick_is_evidence_and_keeps_the_agent(world: World) -> None:
    agent_id = await world.agent()
    await world.person("p-1", given_name="Kim", family_name="Vance", phone=["+12025550144"])
    await world.person("p-2", given_name="Lee", family_name="Vance", phone=["+12025550144"])
    answer = await world.calls.offered(world.offer("+12025550144"))
    contact_id = uuid.UUID(answer.decision.split("/")[0])
    first = await world.ring.decision(world.tenant, contact_id)
    assert first is not None
    picked = first.derived.resolution.candidates[1].person_id

    def confirmed(known: Evidence) -> Evidence:
        return msgspec.structs.replace(known, confirmed_person=picked)

    second = await world.decider.again(world.tenant, contact_id, "confirmed", change=confirmed)
    assert second is not None
    assert (second.outcome, second.revision, second.agent_id) == ("keep", 2, agent_id)
    assert second.derived.resolution.best is not None
    assert second.derived.resolution.best.person_id == picked
    assert second.derived.resolution.best.probability > 0.9


@pytest.mark.parametrize("number", ["anonymous", "", "x" * 300, "sip:anonymous@anonymous.invalid", "+1\x00\r\n555"])
async def test_hostile_or_absent_numbers_reach_an_agent(world: World, number: str) -> None:
    await world.agent()
    answer = await world.calls.offered(world.offer(number))
    assert answer.action == "route"
    assert world.failed_open == []


async def test_a_contact_that_is_over_is_a_touch_of_its_person(world: World) -> None:
    log = ContactLog(world.database, world.ring, world.contacts, world.clock, country="US", threshold=0.9)
    await world.agent()
    await world.person("t-1", given_name="Ravi", family_name="Shah", phone=["+12025550155"], email=["ravi@example.com"])
    offer = world.offer("+12025550155")
    answer = await world.calls.offered(offer)
    contact_id = uuid.UUID(answer.decision.split("/")[0])
    await world.calls.event(world.event("call.answered", offer))
    await world.calls.event(world.event("call.ended", offer))
    assert await log.write(world.tenant) == 0, "the agent is still in wrap-up"
    await world.contacts.event(world.tenant, contact_id, "finished", outcome="resolved")
    assert await log.write(world.tenant) == 1
    assert await log.write(world.tenant) == 0
    again = await world.calls.offered(world.offer("+12025550155"))
    decision = await world.ring.decision(world.tenant, uuid.UUID(again.decision.split("/")[0]))
    assert decision is not None
    assert len(decision.derived.resolution.candidates) == 1
    assert [touch.name for journey in decision.derived.journeys for touch in journey.touches] == ["Call Ended"]


async def test_an_unanswered_call_of_a_household_makes_nobody_new(world: World) -> None:
    log = ContactLog(world.database, world.ring, world.contacts, world.clock, country="US", threshold=0.9)
    for number, name in enumerate(("Ana", "Bo")):
        await world.person(f"u-{number}", given_name=name, family_name="Reyes", phone=["+12025550166"])
    offer = world.offer("+12025550166")
    await world.calls.offered(offer)
    await world.calls.event(world.event("call.cancelled", offer))
    assert await log.write(world.tenant) == 1
    answer = await world.calls.offered(world.offer("+12025550166"))
    decision = await world.ring.decision(world.tenant, uuid.UUID(answer.decision.split("/")[0]))
    assert decision is not None
    assert len(decision.derived.resolution.candidates) == 2
    assert [touch.name for journey in decision.derived.journeys for touch in journey.touches] == ["Call Missed"] * 2
