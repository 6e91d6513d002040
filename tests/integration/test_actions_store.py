"""Policies exchanged and gone back to, outcomes learned of, offers loaded and ranked, commands, in a real store."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.following_rig import SHOP, SetClock, World
from tests.integration.test_steward_commands import _told, command  # noqa: F401 - the fixture
from tests.linked_store import linked_tenant

from firstring.errors import BadInput
from firstring.nextbest.learning.posterior import Tally, key_of
from firstring.nextbest.library import BUILT_IN
from firstring.ports import SystemIds, SystemRandom
from firstring.store.database import Database, Tenant
from firstring.store.identity.decisions import decide_link
from firstring.store.identity.records import external_key
from firstring.store.journey.firings import Firing
from firstring.store.nextbest.acting import TIMER, Acting
from firstring.store.nextbest.decisions import decision, decisions
from firstring.store.nextbest.offers import load_offers, read_rows, rebuild
from firstring.store.nextbest.outcomes import Learning, result_of
from firstring.store.nextbest.policies import back_to, in_force, load_policy, policies, refresh
from firstring.store.notices import Notices
from firstring.store.timers import timers_of

OFFER = """
actions:
  - id: tea
    kind: offer
    route: web
    trigger: {patterns: [thing]}
    chance: 0.2
    value: 50
    goal: {any: [Order Completed], within: 2d}
    content: {en: {text: "Tea?"}}
"""
THING = "{id: thing, match: {event: Thing}}"


class Rig:
    """A tenant whose pattern `thing` fires at every event of that name."""

    def __init__(self, database: Database, tenant: Tenant, notices: Notices) -> None:
        self.world = World(database, tenant, SetClock())
        self.database, self.tenant, self.clock = database, tenant, self.world.clock
        self.acting = Acting(database, notices, self.clock, SystemIds(), SystemRandom(5))
        self.learning = Learning(database, notices, self.clock)

    async def load(self, text: str) -> str:
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            made = await load_policy(connection, self.tenant, [("p.yaml", text)], by="eve", now=self.clock.now(), origin="t")
        await refresh(self.database, self.tenant)
        return made.version

    async def fires(self, user: str) -> Firing:
        await self.world.send(self.world.event(user, "Thing", email=f"{user}@example.com"))
        return self.world.told.pop()

    async def act(self, user: str) -> Any:
        return await self.acting.act(self.tenant, await self.fires(user))


@pytest.fixture
async def rig(database: Database, tenant: Tenant, notices: Notices) -> Rig:
    made = Rig(database, tenant, notices)
    await made.world.declare(THING)
    return made


async def test_a_pattern_that_fires_is_acted_on(rig: Rig) -> None:
    await rig.load(OFFER.replace("actions:", "policy: {holdout: 0.0}\nactions:"))
    decided = await rig.act("ann")
    assert (decided.outcome, decided.action, decided.moment.fired) == ("acted", "tea", "thing")
    assert decided.content["text"] == "Tea?"
    stored = await decision(rig.database, rig.tenant, decided.decision_id)
    assert stored.trace is not None
    assert stored.trace.same


async def test_policies_are_exchanged_and_gone_back_to(rig: Rig) -> None:
    assert in_force(rig.tenant).catalogue == BUILT_IN
    first = await rig.load(OFFER)
    second = await rig.load(OFFER.replace("0.2", "0.3"))
    assert in_force(rig.tenant).catalogue.version == second != first
    with pytest.raises(BadInput, match="no id"):
        await rig.load("actions: [{kind: offer}]")
    assert in_force(rig.tenant).catalogue.version == second
    async with rig.database.transaction(rig.tenant.tenant_id) as connection:
        await back_to(connection, rig.tenant, first, origin="t")
        assert [(one.version, one.active) for one in await policies(connection, rig.tenant)][-1] == (first, True)
        with pytest.raises(BadInput, match="No policy"):
            await back_to(connection, rig.tenant, "actions-0", origin="t")
    kept = await refresh(rig.database, rig.tenant)
    assert kept.catalogue.version == first
    assert await refresh(rig.database, rig.tenant) is kept, "nothing changed: nothing is read"


async def test_what_came_of_it_is_learned(rig: Rig) -> None:
    await rig.load(OFFER.replace("actions:", "policy: {holdout: 0.5}\nactions:"))
    outcomes = {}
    for number in range(24):
        user = f"user{number}"
        outcomes[user] = await rig.act(user)
        if number % 3 == 0:
            await rig.world.send(rig.world.event(user, "Order Completed", rig.clock.now() + timedelta(seconds=1)))
    held = {user for user, one in outcomes.items() if one.outcome == "held_out"}
    assert 4 < len(held) < 20
    assert {one.outcome for one in outcomes.values()} == {"acted", "held_out"}
    assert await rig.learning.learn(rig.tenant)
    assert in_force(rig.tenant).learned.version == "unlearned", "too early to tell"
    # what never reached anybody for a reason of ours teaches nothing
    void = next(user for user in outcomes if user not in held)
    async with rig.database.transaction(rig.tenant.tenant_id) as connection:
        await connection.execute(
            "update delivery set state = case when decision_id = $2 then 'withdrawn' else 'shown' end where tenant_id = $1",
            rig.tenant.tenant_id, outcomes[void].decision_id,
        )  # fmt: skip
    rig.clock.passes(days=2, minutes=1)
    assert await rig.learning.learn(rig.tenant)
    await refresh(rig.database, rig.tenant)
    learned = in_force(rig.tenant).learned
    worked = {user for number, user in enumerate(outcomes) if number % 3 == 0}
    tried = set(outcomes) - held - ({void} - worked)
    assert learned.actions["tea"] == Tally(len(tried), len(tried & worked))
    assert learned.contexts[key_of("tea", "web")] == learned.actions["tea"]
    assert learned.held_out["tea"] == Tally(len(held), len(held & worked))
    again = await rig.act("somebody")
    assert again.chosen.learned == learned.version
    stored = await decision(rig.database, rig.tenant, again.decision_id)
    assert stored.trace is not None
    assert stored.trace.same, "derived again with what was learned then"


def test_what_counts_as_worked() -> None:
    assert result_of(["Action Accepted"], ["Action Shown", "Action Accepted"], (), "acted", "accepted") == "worked"
    assert result_of(["Action Accepted"], ["Action Shown", "Action Dismissed"], (), "acted", "dismissed") == "failed"
    assert result_of(["Action Accepted"], [], (), "acted", "expired") == "failed", "decided for, and not seen in time"
    assert result_of(["Action Accepted"], [], (), "acted", "withdrawn") == "void"
    assert result_of(["Action Accepted"], ["Action Failed"], (), "acted", None) == "void"
    assert result_of(["Order Completed"], [], ["Order Completed"], "held_out", None) == "worked"
    assert result_of(["Order Completed"], [], ["Call Started"], "held_out", None) == "failed"


async def test_later_and_at_another_hour(rig: Rig) -> None:
    later = OFFER.replace("[thing]}", "[thing], after: 3h}\n    hours: {quiet: '14:00-16:00'}\n    expires: 4h")
    await rig.load(later.replace("actions:", "policy: {holdout: 0.0}\nactions:"))
    firing = await rig.fires("ann")  # at 12:00
    assert await rig.acting.act(rig.tenant, firing) is None
    async with rig.database.transaction(rig.tenant.tenant_id) as connection:
        [timer] = await timers_of(connection, rig.tenant, TIMER)
    assert timer.due_at == firing.at + timedelta(hours=3)
    payload = {"record_id": firing.record_id, "pattern": "thing", "at": firing.at.isoformat()}
    rig.clock.passes(hours=3)
    await rig.world.send(rig.world.event("ann", "Page Viewed"))  # still on the page
    await rig.acting.due(rig.tenant, timer.key, payload)  # a quiet hour
    assert await decisions(rig.database, rig.tenant) == []
    async with rig.database.transaction(rig.tenant.tenant_id) as connection:
        [timer] = await timers_of(connection, rig.tenant, TIMER)
    assert timer.due_at == firing.at + timedelta(hours=4)
    rig.clock.passes(hours=1)
    await rig.world.send(rig.world.event("ann", "Page Viewed"))  # still on the page
    await rig.acting.due(rig.tenant, timer.key, payload)
    await rig.acting.due(rig.tenant, timer.key, payload)
    [line] = await decisions(rig.database, rig.tenant)
    assert (line.cause, line.action, line.outcome) == ("timer", "tea", "acted")


async def test_decisions_go_with_their_records(database: Database, notices: Notices) -> None:
    rig = Rig(database, await linked_tenant(database), notices)
    await rig.world.declare(THING)
    capped = OFFER.replace("goal:", "caps: [{most: 1, per: 7d}]\n    goal:").replace(
        "actions:", "policy: {holdout: 0.0}\nactions:"
    )
    await rig.load(capped)
    assert (await rig.act("ann")).outcome == "acted"
    assert (await rig.act("bob")).outcome == "acted"
    await rig.fires("cid")
    now = rig.clock.now()
    made = await decide_link(rig.database, rig.tenant, "must", (SHOP, "ann"), (SHOP, "cid"), by="eve", reason="one", now=now)
    assert made.merged == 1
    capped_now = await rig.act("cid")
    assert capped_now.outcome == "none", "what ann got counts for the person that both are now"
    assert {one.code for one in capped_now.chosen.considered[0].gated_by} == {"cap_action"}


async def test_offers_are_ranked(rig: Rig, command: Callable[..., Any], tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "offers.csv"
    file.write_text(
        "offer_id,title,price,currency,category,url,products\n"
        "green,Green tea,4.90,EUR,tea,https://shop.example/green,g1 g2\n"
        "black,Black tea,3.90,EUR,tea,/black,b1\n"
        "mug,Mug,8.00,EUR,things,/mug,\n"
        ",Nameless,1,EUR,,,\n"
        "cup,Cup,a lot,EUR,,,\n"
    )
    told = _told(command("offers", "load", str(file)))
    assert "3 offers, 2 rows rejected" in told
    assert "row 4: The offer has no offer_id." in told
    assert "offers.csv row 5: price is no amount of money." in _told(command("offers", "list", "--rejected"))
    assert "3 offers, 3 available, 2 rows rejected" in _told(command("offers", "list"))
    assert isinstance(command("offers", "load", str(tmp_path / "none.csv")).exception, BadInput)

    bought = (("ann", "g1"), ("ann", "mug"), ("bob", "g2"), ("bob", "mug"), ("cid", "b1"), ("dan", "mug"), ("eve", "mug"))
    for user, product in bought:
        await rig.world.send(rig.world.event(user, "Product Added", product_id=product))
    assert await rebuild(rig.database, rig.tenant, now=rig.clock.now(), origin="t")
    shown = OFFER.replace(
        'content: {en: {text: "Tea?"}}', 'offers: {most: 2}\n    content: {en: {text: "{offer}, {price}"}}'
    )
    await rig.load(shown.replace("actions:", "policy: {holdout: 0.0}\nactions:"))
    unknown = await rig.act("new")
    assert unknown.content["items"][0]["offer_id"] == "mug", "what is popular"
    assert unknown.content["text"] == "Mug, 8.00 EUR"
    await rig.world.send(rig.world.event("fan", "Product Viewed", product_id="b1"))
    known = await rig.act("fan")
    assert known.content["items"][0]["offer_id"] == "black"
    await rig.world.send(rig.world.event("fan", "Order Completed", products=[{"product_id": "b1"}]))
    rig.clock.passes(seconds=1)
    again = await rig.act("fan")
    assert "black" not in [item["offer_id"] for item in again.content["items"]], "it was bought just now"
    worse = tmp_path / "worse.jsonl"
    worse.write_text('{"title": "No id"}\n[1]\nnot json\n')
    assert isinstance(command("offers", "load", str(worse)).exception, BadInput)
    assert "3 offers" in _told(command("offers", "list")), "what was loaded before stays"


async def test_the_model_of_offers_looks_at_the_newest_events_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig.database.transaction(rig.tenant.tenant_id) as connection:
        found, _ = read_rows([{"offer_id": "old", "title": "Old"}, {"offer_id": "new", "title": "New"}])
        await load_offers(connection, rig.tenant, "x", found, [], now=rig.clock.now(), origin="t")
    for user, product in (("ann", "old"), ("bob", "old"), ("ann", "new"), ("bob", "new")):
        await rig.world.send(rig.world.event(user, "Product Added", product_id=product))
    monkeypatch.setattr("firstring.store.nextbest.offers._PAGE", 1)
    monkeypatch.setattr("firstring.store.nextbest.offers.EVENTS_LEARNED_FROM", 2)
    model = await rebuild(rig.database, rig.tenant, now=rig.clock.now(), origin="t")
    assert model is not None
    assert set(model.popularity) == {"new"}


def test_rows_of_offers() -> None:
    good = {"offer_id": "1", "title": "A"}
    bad = [{"url": "javascript:alert(1)"}, {"size": "1"}, {"price": "-1"}, {"ends_at": "soon"}, {"available": "maybe"},
           {"starts_at": "2026-02-01", "ends_at": "2026-01-01"}, {"title": "x" * 2_000}]  # fmt: skip
    rows = [good, {**good, "offer_id": "2", "available": "no"}, *({**good, **one} for one in bad)]
    offers, rejected = read_rows(rows)
    assert [(offer.offer_id, available) for offer, available in offers] == [("1", True), ("2", False)]
    assert [one.number for one in rejected] == [3, 4, 5, 6, 7, 8, 9]


async def test_commands(rig: Rig, command: Callable[..., Any], tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "tea.yaml"
    file.write_text(OFFER + "  - {id: other, kind: service, text: x, trigger: {patterns: [nobody_declares]}}\n")
    assert "tea: offer by web, on thing" in _told(command("actions", "check", str(file)))
    told = _told(command("actions", "load", str(file), "--by", "eve"))
    assert "15 actions" in told
    assert "no pattern nobody_declares is on: other will wait for it in vain" in told
    assert "tea: offer by web, on thing" in _told(command("actions", "list"))
    assert "in force" in _told(command("actions", "list", "--versions"))
    await refresh(rig.database, rig.tenant)
    decided = await rig.act("ann")
    listed = json.loads(_told(command("actions", "decisions", "--json")))
    assert [one["decision_id"] for one in listed] == [str(decided.decision_id)]
    text = _told(command("actions", "explain", str(decided.decision_id)))
    assert "derived again: the same" in text
    assert "tea" in text
    assert isinstance(command("actions", "explain", "nothing").exception, BadInput)
    assert isinstance(command("actions", "library", "nothing").exception, BadInput)
    assert "id: cart_reminder" in _told(command("actions", "library", "cart_reminder"))
    assert external_key(rig.tenant.keys, SHOP, "ann")
