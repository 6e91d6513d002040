"""While it rings an action stands before the same gates as outside a contact: consents, caps, patterns, traits, hours."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.integration.test_acting import NOW, World

from firstring.channels.contact_log import ContactLog
from firstring.contact import AgentProfile, Contact, Decision, Evidence, Identifier
from firstring.decide import Decider, Models, differences, rederive
from firstring.desk.views import pop_view
from firstring.identity.caller.weights import Weights
from firstring.identity.canonical.record import canonical_record
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import SystemIds
from firstring.routing.declared.policy import RoutingPolicy
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import apply_records, external_key
from firstring.store.nextbest.policies import with_actions
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.trust.score import DEFAULT_PRIORS

POLICY = """
policy: {holdout: 0.0, timezone: UTC}
actions:
  - {id: tea, kind: offer, text: "Tea?", chance: 0.9, value: 100, trigger: {contact: true, patterns: [cart_left]},
     caps: [{most: 1, per: 7d}, {most: 2, per: 24h, of: everyone}]}
  - {id: mug, kind: offer, text: "Mug?", chance: 0.9, value: 90}
  - {id: loyal, kind: offer, text: "Loyal?", chance: 0.9, value: 80, audience: "traits.orders >= 3 && experience > 10.0"}
  - {id: calm, kind: service, text: Calm them, chance: 0.9, value: 10, audience: "'cart_left' in patterns"}
  - {id: night, kind: service, text: Not at night, chance: 0.9, value: 10, hours: {quiet: "21:00-08:00"}}
"""


class Ringing(World):
    """A world in which calls come in."""

    def __init__(self, database: Database, tenant: Tenant, notices: Notices) -> None:
        super().__init__(database, tenant, notices)
        models = Models(Weights(), DEFAULT_PRIORS, BUILT_IN, RoutingPolicy())
        self.ring = RingStore(database, notices)
        self.decider = Decider(
            self.ring, models, self.clock, SystemIds(), Metrics(), actions_of=with_actions
        )  # fmt: skip

    async def rings(
        self, user: str, *, is_sure: bool = True, person: int | None = None, intent: str | None = None
    ) -> Decision:
        person = (await self.record(user))[1] if person is None else person
        contact = Contact(SystemIds().new(), "voice", self.clock.at, f"{user}{self.clock.at}{is_sure}")
        evidence = Evidence(
            (Identifier("email", f"{user}@example.com"),), intent=intent, confirmed_person=person if is_sure else None
        )
        decision = await self.decider.offered(self.tenant, contact, evidence)
        models = self.decider.models_of(self.tenant)
        stored = await self.ring.decision(self.tenant, contact.contact_id)
        assert stored is not None
        profiles = await self.ring.profiles(self.tenant, stored.read.agents)
        assert not differences(stored.derived, rederive(stored, profiles, models)), (
            "it is derived again out of what was read"
        )
        self.clock.at += timedelta(seconds=1)
        return decision

    async def gates_of(self, user: str, action: str, person: int | None = None) -> set[str]:
        considered = (await self.rings(user, person=person)).derived.action.considered
        return {reason.code for one in considered if one.action == action for reason in one.gated_by}


@pytest.fixture
async def calls(database: Database, tenant: Tenant, notices: Notices) -> Ringing:
    made = Ringing(database, tenant, notices)
    await made.load(POLICY)
    return made


async def test_consent(calls: Ringing) -> None:
    await calls.happen("ann", "Product Added")
    assert "consent_withdrawn" not in await calls.gates_of("ann", "mug"), "nobody has said anything: an agent may ask"
    await calls.happen("ann", "Consent Withdrawn", minutes=4, purpose="marketing", channel="email")
    assert "consent_withdrawn" not in await calls.gates_of("ann", "mug"), "it was about mails"
    await calls.happen("ann", "Consent Withdrawn", minutes=3, purpose="marketing", channel="phone")
    assert "consent_withdrawn" in await calls.gates_of("ann", "mug")
    assert "consent_withdrawn" in await calls.gates_of("ann", "tea")
    assert "consent_withdrawn" not in await calls.gates_of("ann", "night"), "it sells nothing"
    shown = pop_view(await calls.rings("ann"), 0.9)
    assert "Their consent to marketing was withdrawn." in shown.lock_reasons, "the agent sees why nothing is offered"
    await calls.happen("ann", "Consent Given", minutes=2, purpose="marketing", channel="phone")
    assert "consent_withdrawn" not in await calls.gates_of("ann", "mug")


async def test_consent_of_an_imported_record(calls: Ringing) -> None:
    """An attribute consent_PURPOSE of a file, as imports make it."""
    raw = {"record_id": "7", "full_name": "Bob Ray", "email": "bob@example.com", "consent_marketing": "no"}
    await apply_records(calls.database, calls.tenant, "crm", [canonical_record(raw, country="DE")], now=NOW)
    async with calls.database.transaction(calls.tenant.tenant_id) as connection:
        key = external_key(calls.tenant.keys, "crm", "7")
        person = await connection.fetchval("select person_id from record where external_key = $1", key)
    assert "consent_withdrawn" in await calls.gates_of("bob", "mug", person)


async def test_caps_of_what_went_out_before(calls: Ringing) -> None:
    await calls.happen("cid", "Product Added")
    record = await calls.record("cid")
    assert not await calls.gates_of("cid", "tea") & {"cap_action", "cap_everyone"}
    went = await calls.acting.act(calls.tenant, await calls.fire(record))
    assert went is not None
    assert went.outcome == "acted"
    assert "cap_action" in await calls.gates_of("cid", "tea")
    await calls.happen("dan", "Product Added")
    assert "cap_action" not in await calls.gates_of("dan", "tea"), "that was somebody else"
    await calls.acting.act(calls.tenant, await calls.fire(await calls.record("dan")))
    await calls.happen("eve", "Product Added")
    assert await calls.gates_of("eve", "tea") >= {"cap_everyone"}
    calls.clock.at += timedelta(days=8)
    assert not await calls.gates_of("cid", "tea") & {"cap_action", "cap_everyone"}


async def test_caps_count_what_agents_were_shown_in_contacts(calls: Ringing, notices: Notices) -> None:
    await calls.load(
        POLICY
        + """
  - {id: wave, kind: service, text: Wave, chance: 0.9, value: 900,
     caps: [{most: 1, per: 7d}, {most: 2, per: 24h, of: everyone}]}
"""
    )
    contacts = Contacts(calls.database, notices, calls.clock, wrap_up_s=0.0)
    log = ContactLog(
        calls.database, calls.ring, contacts, calls.clock, country="DE", threshold=0.9,
        actions_of=lambda tenant: calls.decider.models_of(tenant).actions,
    )  # fmt: skip
    agent_id, _ = await contacts.put_agent(calls.tenant, AgentProfile(0, 0, "Ann", "sip:ann@agents.test"))
    await contacts.set_presence(calls.tenant, agent_id, "ready")
    await calls.happen("kim", "Product Added")
    shown = await calls.rings("kim", intent="opening_hours")  # for which nobody has to be verified
    assert (shown.derived.action.action, shown.agent_id) == ("wave", agent_id)
    await calls.happen("lou", "Product Added")
    assert "cap_everyone" not in await calls.gates_of("lou", "wave")
    await contacts.event(calls.tenant, shown.contact.contact_id, "answered")
    assert "cap_action" not in await calls.gates_of("kim", "wave"), "it is not over yet"
    await contacts.event(calls.tenant, shown.contact.contact_id, "finished")
    missed = await calls.rings("kim")
    await contacts.event(calls.tenant, missed.contact.contact_id, "cancelled")
    for _ in range(2):  # told twice it counts once
        await log.write(calls.tenant)
        async with calls.database.transaction(calls.tenant.tenant_id) as connection:
            await connection.execute("update contact set logged_at = null where tenant_id = $1", calls.tenant.tenant_id)
            rows = await connection.fetch("select cause, action from action_decision")
        assert [tuple(row) for row in rows] == [("contact", "wave")], "nobody was shown anything in a call that was missed"
    assert "cap_action" in await calls.gates_of("kim", "wave")
    assert "cap_everyone" not in await calls.gates_of("lou", "wave"), "one of two"


async def test_patterns_traits_and_hours(calls: Ringing) -> None:
    await calls.happen("fay", "Product Added")
    assert "not_applicable" in await calls.gates_of("fay", "calm")
    await calls.fire(await calls.record("fay"))
    assert "not_applicable" not in await calls.gates_of("fay", "calm")
    assert "not_applicable" in await calls.gates_of("fay", "loyal")
    for number in range(3):
        await calls.happen("fay", "Order Completed", minutes=30 + number, order_id=str(number), total=9, currency="EUR")
    assert "not_applicable" not in await calls.gates_of("fay", "loyal")
    assert "quiet_hours" not in await calls.gates_of("fay", "night")
    calls.clock.at = NOW.replace(hour=20, minute=30)  # 21:30 in Berlin, where the number is
    assert "quiet_hours" in await calls.gates_of("fay", "night")


async def test_who_is_not_identified_is_asked_for_nothing(calls: Ringing) -> None:
    await calls.happen("gil", "Product Added")
    await calls.fire(await calls.record("gil"))
    decision = await calls.rings("gil", is_sure=False)
    of_calm = [one for one in decision.derived.action.considered if one.action == "calm"]
    best = decision.derived.resolution.best
    assert best is not None
    known = best.probability >= 0.9
    assert ("not_applicable" in {reason.code for reason in of_calm[0].gated_by}) is not known
