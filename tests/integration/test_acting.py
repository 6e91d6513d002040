"""Acting on firings in a real store: one decision each, its delivery with it, under every gate; by hand; learned from."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firstring.contact import AgentProfile
from firstring.errors import BadInput
from firstring.journey.events import Event
from firstring.nextbest.decided import again, delivery_of
from firstring.ports import SystemIds, SystemRandom
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.delivery import listed, put_off, take_due
from firstring.store.identity.records import external_key
from firstring.store.journey.events import ingest
from firstring.store.journey.firings import Firing
from firstring.store.nextbest.acting import Acting
from firstring.store.nextbest.decisions import decision, decisions
from firstring.store.nextbest.forgetting import Forgetting
from firstring.store.nextbest.gating import still_allowed
from firstring.store.nextbest.policies import in_force, load_policy, refresh
from firstring.store.notices import Notices

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)

POLICY = """
policy: {holdout: 0.0, timezone: Europe/Berlin}
actions:
  - id: cart_mail
    kind: offer
    route: email
    trigger: {patterns: [cart_left]}
    chance: 0.2
    value: 50
    cost: 0.1
    caps: [{most: 1, per: 7d}]
    hours: {quiet: "21:00-08:00"}
    content:
      en: {subject: "Your basket{name}", text: "Still there."}
      de: {subject: "Ihr Warenkorb{name}", text: "Noch da."}
    expires: 2h
  - id: sorry_mail
    kind: service
    route: email
    trigger: {patterns: [complaint_seen]}
    content: {en: {subject: Sorry, text: "We are on it{complaint}."}}
"""


class FixedClock:
    def __init__(self, now: datetime = NOW) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.at.timestamp()


def event(user: str, name: str, at: datetime, **properties: Any) -> Event:
    fields = {"email": f"{user}@example.com", "given_name": user.title(), "phone": ["+493012345678"]}
    return Event(
        message_id=f"{user}-{name}-{at.isoformat()}-{properties}", type="track", received_at=at, name=name,
        channel="web", occurred_at=at,
        properties=properties, record_id=user, fields=fields, standing="reported",
    )  # fmt: skip


class World:
    """A store with a policy, and firings made by hand: what patterns do is tested with them."""

    def __init__(self, database: Database, tenant: Tenant, notices: Notices) -> None:
        self.database, self.tenant = database, tenant
        self.clock = FixedClock()
        self.acting = Acting(database, notices, self.clock, SystemIds(), SystemRandom(7))

    async def load(self, text: str = POLICY) -> None:
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            await load_policy(connection, self.tenant, [("policy.yaml", text)], by="test", now=NOW, origin="test")
        await refresh(self.database, self.tenant)

    async def happen(self, user: str, *names: str, minutes: int = 5, **properties: Any) -> None:
        at = self.clock.at - timedelta(minutes=minutes)
        events = [event(user, name, at + timedelta(seconds=place), **properties) for place, name in enumerate(names)]
        result = await ingest(self.database, self.tenant, "shop", events, now=self.clock.at)
        assert result.stored == len(events), result

    async def record(self, user: str) -> tuple[int, int]:
        """(record, person) of a user."""
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            key = external_key(self.tenant.keys, "shop", user)
            statement = "select record_id, person_id from record where tenant_id = $1 and external_key = $2"
            row = await connection.fetchrow(statement, self.tenant.tenant_id, key)
        assert row is not None
        return (row["record_id"], row["person_id"])

    async def fire(self, record: tuple[int, int], pattern: str = "cart_left") -> Firing:
        statement = """
            insert into pattern_fired (tenant_id, kind, subject_id, person_id, record_id, event_id, number, pattern, valence,
                                       at, begun_at, same_key, found_at, is_past)
            values ($1, 0, $3, $3, $2, 0, 1, $4, 'negative', $5, $5, (random() * 1e9)::bigint, $5, false)
            returning firing_id"""
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            firing_id = await connection.fetchval(statement, self.tenant.tenant_id, *record, pattern, self.clock.at)
        return Firing(
            firing_id, record[1], record[0], pattern, "negative", self.clock.at, self.clock.at, 0, 1, None, False, None
        )

    async def gates(self, firing: Firing) -> list[str]:
        decided = await self.acting.act(self.tenant, firing)
        assert decided is not None
        return [reason.code for one in decided.chosen.considered for reason in one.gated_by]


@pytest.fixture
async def world(database: Database, tenant: Tenant, notices: Notices) -> World:
    made = World(database, tenant, notices)
    await made.load()
    return made


async def test_a_firing_is_decided_once_and_delivered(world: World) -> None:
    await world.happen("ann", "Product Added", "Consent Given", purpose="marketing", channel="email")
    record = await world.record("ann")
    firing = await world.fire(record)
    made = await asyncio.gather(*[world.acting.act(world.tenant, firing) for _ in range(5)])
    [decided] = [one for one in made if one is not None]
    assert (decided.outcome, decided.action) == ("acted", "cart_mail")
    assert decided.content["subject"] == "Your basket Ann"
    [line] = await listed(world.database, world.tenant, "pending", 10)
    assert (line.decision_id, line.route, line.record_id) == (decided.decision_id, "email", record[0])

    stored = await decision(world.database, world.tenant, decided.decision_id)
    assert stored.decided == decided
    force = in_force(world.tenant)
    assert again(stored.decided, force.catalogue, force.learned) == decided
    assert [one.action for one in await decisions(world.database, world.tenant, person_id=record[1])] == ["cart_mail"]

    assert await world.gates(await world.fire(record)) == ["cap_action"], "once a week"


async def test_without_consent_nothing_is_sold_by_mail(world: World) -> None:
    await world.happen("bob", "Product Added")
    assert await world.gates(await world.fire(await world.record("bob"))) == ["consent_unknown"]
    await world.happen("bob", "Consent Given", minutes=4, purpose="marketing", channel="email")
    await world.happen("bob", "Consent Withdrawn", minutes=3, purpose="marketing", channel="email")
    assert await world.gates(await world.fire(await world.record("bob"))) == ["consent_withdrawn"]


async def test_an_open_issue_locks_and_service_goes_out(world: World) -> None:
    await world.happen("cid", "Product Added", "Consent Given", purpose="marketing", channel="email")
    await world.happen("cid", "Complaint Opened", complaint_id="7")
    record = await world.record("cid")
    assert await world.gates(await world.fire(record)) == ["open_complaint"]
    served = await world.acting.act(world.tenant, await world.fire(record, "complaint_seen"))
    assert served is not None
    assert served.action == "sorry_mail"
    assert served.content["text"] == "We are on it: Complaint opened, case 7."


async def test_decisions_are_kept_for_a_time(world: World) -> None:
    await world.happen("dora", "Product Added", "Consent Given", purpose="marketing", channel="email")
    record = await world.record("dora")
    old = await world.acting.act(world.tenant, await world.fire(record))
    assert old is not None
    chore = Forgetting(world.database, world.clock, 180)
    world.clock.at += timedelta(days=181)
    await world.happen("dora", "Product Added")
    new = await world.acting.act(world.tenant, await world.fire(record))
    assert new is not None

    async def kept() -> set[uuid.UUID]:
        return {one.decision_id for one in await decisions(world.database, world.tenant, person_id=record[1])}

    await chore.look(world.tenant)
    assert await kept() == {old.decision_id, new.decision_id}, "it is not known yet what came of the first one"
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        await connection.execute("update action_decision set result = 'worked'")
    world.clock.at += timedelta(hours=2)
    await chore.look(world.tenant)
    assert await kept() == {new.decision_id}


async def test_quiet_hours_where_the_customer_is(world: World) -> None:
    world.clock.at = datetime(2026, 3, 4, 20, 30, tzinfo=UTC)  # 21:30 in Berlin, where the number is
    await world.happen("dan", "Product Added", "Consent Given", purpose="marketing", channel="email")
    assert await world.gates(await world.fire(await world.record("dan"))) == ["quiet_hours"]


async def test_what_changes_before_delivery_stops_it(world: World) -> None:
    await world.happen("eve", "Product Added", "Consent Given", purpose="marketing", channel="email")
    record = await world.record("eve")
    decided = await world.acting.act(world.tenant, await world.fire(record))
    assert decided is not None
    delivery = delivery_of(decided, in_force(world.tenant).catalogue, SystemIds().new())
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        assert await still_allowed(connection, world.tenant, delivery, world.clock.at) is None
    await world.happen("eve", "Refund Requested", minutes=2, order_id="1")
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        assert await still_allowed(connection, world.tenant, delivery, world.clock.at) == "open_refund"
    await world.happen("eve", "Order Refunded", minutes=1, order_id="1")
    await world.happen("eve", "Consent Withdrawn", minutes=0, purpose="marketing", channel="email")
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        assert await still_allowed(connection, world.tenant, delivery, world.clock.at) == "consent_withdrawn"


async def test_events_that_contradict_each_other(world: World) -> None:
    """At one moment the withdrawal counts; what is closed before it was opened stays open, whatever came first."""
    await world.happen("flo", "Product Added")
    at = world.clock.at - timedelta(minutes=3)
    said = {"purpose": "marketing", "channel": "email"}
    both = [event("flo", name, at, **said) for name in ("Consent Withdrawn", "Consent Given")]
    assert (await ingest(world.database, world.tenant, "shop", both, now=world.clock.at)).stored == 2
    record = await world.record("flo")
    assert await world.gates(await world.fire(record)) == ["consent_withdrawn"]
    await world.happen("flo", "Consent Given", minutes=2, **said)
    await world.happen("flo", "Order Refunded", minutes=30, order_id="1")
    await world.happen("flo", "Refund Requested", minutes=20, order_id="1")
    assert await world.gates(await world.fire(record)) == ["open_refund"]
    await world.happen("flo", "Order Refunded", minutes=10, order_id="1")
    decided = await world.acting.act(world.tenant, await world.fire(record))
    assert decided is not None
    assert decided.outcome == "acted"


async def test_an_action_without_any_eligible_agent(world: World, notices: Notices) -> None:
    """No invitation to a chat when nobody can answer it: neither decided nor, where the last one has gone, shown."""
    invite = """
  - id: chat_now
    kind: service
    route: web
    answered_on: chat
    trigger: {patterns: [lost]}
    content: {en: {text: "Shall we help?"}}
    form: chat
"""
    await world.load(POLICY.rstrip() + invite)
    await world.happen("gus", "Product Viewed")
    record = await world.record("gus")
    assert await world.gates(await world.fire(record, "lost")) == ["no_agent"]
    contacts = Contacts(world.database, notices, world.clock, wrap_up_s=30.0)
    profile = AgentProfile(0, 0, "Ann", "sip:ann@agents.test", channels=("voice",), capacity={"voice": 1})
    await contacts.put_agent(world.tenant, profile)
    chatting, _ = await contacts.put_agent(
        world.tenant, AgentProfile(0, 0, "Bo", "sip:bo@agents.test", channels=("chat",), capacity={"chat": 1})
    )
    assert await world.gates(await world.fire(record, "lost")) == ["no_agent"], "nobody is ready"
    await contacts.set_presence(world.tenant, chatting, "ready")
    decided = await world.acting.act(world.tenant, await world.fire(record, "lost"))
    assert decided is not None
    assert (decided.outcome, decided.action) == ("acted", "chat_now")
    delivery = delivery_of(decided, in_force(world.tenant).catalogue, SystemIds().new())
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        assert await still_allowed(connection, world.tenant, delivery, world.clock.at) is None
    await contacts.set_presence(world.tenant, chatting, "away")
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        assert await still_allowed(connection, world.tenant, delivery, world.clock.at) == "no_agent"


async def test_waiting_for_the_hour_uses_up_no_try(world: World) -> None:
    """A mail that waits for the end of the night is not a dead letter at its first failure in the morning."""
    await world.happen("hal", "Product Added", "Consent Given", purpose="marketing", channel="email")
    await world.acting.act(world.tenant, await world.fire(await world.record("hal")))
    for tried in (*[False] * 10, True):
        async with world.database.transaction(world.tenant.tenant_id) as connection:
            [due] = await take_due(connection, world.tenant, world.clock.at, turn_s=90, at_most=10)
            assert due.attempts == 1
            await put_off(connection, world.tenant, due.delivery.delivery_id, world.clock.at, "quiet_hours", tried=tried)
    [line] = await listed(world.database, world.tenant, "pending", 10)
    assert line.attempts == 1


async def test_by_hand_under_the_same_gates(world: World) -> None:
    await world.happen("fay", "Product Added", "Consent Given", purpose="marketing", channel="email")
    record = await world.record("fay")
    decided = await world.acting.by_hand(world.tenant, record[1], "cart_mail", by="Eve Fox")
    assert (decided.outcome, decided.action, decided.moment.cause) == ("acted", "cart_mail", "hand")
    decided = await world.acting.by_hand(world.tenant, record[1], "cart_mail", by="Eve Fox")
    assert decided.outcome == "none"
    with pytest.raises(BadInput, match="no such action"):
        await world.acting.by_hand(world.tenant, record[1], "no_such", by="Eve Fox")
    with pytest.raises(BadInput, match="no such person"):
        await world.acting.by_hand(world.tenant, 10**9, "cart_mail", by="Eve Fox")


async def test_a_pattern_that_fires_for_everyone_is_braked(world: World) -> None:
    braked = POLICY.replace("caps: [{most: 1, per: 7d}]", "caps: [{most: 1, per: 7d}, {most: 3, per: 1h, of: everyone}]")
    await world.load(braked)
    firings = []
    for user in ("g1", "g2", "g3", "g4", "g5", "g6"):
        at = world.clock.at - timedelta(minutes=5)
        said = {"purpose": "marketing", "channel": "email"}
        one = event(user, "Consent Given", at, **said)
        fields = {"email": f"{user}@example.com", "given_name": user}
        one = type(one)(**{**{name: getattr(one, name) for name in one.__struct_fields__}, "fields": fields})
        await ingest(world.database, world.tenant, "shop", [one], now=world.clock.at)
        firings.append(await world.fire(await world.record(user)))
    made = await asyncio.gather(*[world.acting.act(world.tenant, firing) for firing in firings])
    outcomes = [one.outcome for one in made if one is not None]
    assert sorted(outcomes) == ["acted"] * 3 + ["none"] * 3
    world.clock.at += timedelta(hours=1)
    [last] = [one for one in made if one is not None and one.outcome == "none"][:1]
    record = (last.record_id, last.person_id)
    decided = await world.acting.act(world.tenant, await world.fire(record))
    assert decided is not None
    assert decided.outcome == "acted", "the next hour"
