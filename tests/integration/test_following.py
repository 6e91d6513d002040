"""Patterns follow the events: what is stored is what a replay of the log comes to, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.following_rig import SHOP, T0, SetClock, World
from tests.linked_store import linked_tenant

from firstring import limits
from firstring.errors import BadInput, FirstringError
from firstring.identity.canonical.record import canonical_record
from firstring.ports import SystemClock
from firstring.store.database import Database, Tenant
from firstring.store.identity.decisions import decide_link, revoke_decision
from firstring.store.identity.records import apply_records, delete_records
from firstring.store.journey.declared import listed, load, report, switch
from firstring.store.journey.firings import Firing, Firings, claim_firings
from firstring.store.journey.replaying import mark_stale
from firstring.store.nextbest.forgetting import Forgetting

CART = "{id: cart_left, valence: negative, within: 3h, match: {seq: [Product Added, {absent: Order Completed, for: 2h}]}}"
TWICE = "{id: twice, within: 7d, match: {event: Call Started, count: 2}}"
RAGE = "{id: rage, by: visit, within: 1m, same: event.properties.k, match: {event: Clicked, count: 3}}"
ANY = "{id: thing, match: {event: Thing}}"
HOME = "{id: outage, by: household, within: 6h, match: {event: Outage Reported, count: 2}}"
HOME_QUIET = "{id: home_quiet, by: household, within: 2h, match: {seq: [Outage Reported, {absent: Outage Ended, for: 1h}]}}"
ALL = (CART, TWICE, RAGE, ANY, HOME, HOME_QUIET)


@pytest.fixture
async def world(database: Database, tenant: Tenant) -> World:
    made = World(database, tenant)
    await made.declare(*ALL)
    await made.settle()
    return made


async def test_what_comes_true_is_told_with_its_event(world: World) -> None:
    await world.happens("ann", "Call Started")
    assert world.told == []
    world.clock.passes(days=1)
    await world.happens("ann", "Call Started")
    [firing] = world.told
    assert (firing.pattern, firing.at, firing.begun_at, firing.household_id) == ("twice", T0 + timedelta(days=1), T0, None)
    await world.check()
    assert [one.pattern for one in await world.noted()] == ["twice"]


async def test_an_absence_comes_true_when_its_time_has_passed_and_never_before(world: World) -> None:
    await world.happens("ann", "Product Added")
    await world.happens("bob", "Product Added")
    world.clock.passes(hours=1)
    await world.happens("bob", "Order Completed")
    assert await world.work.absences(world.tenant) == T0 + timedelta(hours=2)
    assert world.told == []
    world.clock.passes(hours=1)
    await world.settle()
    [firing] = world.told
    assert (firing.pattern, firing.at) == ("cart_left", T0 + timedelta(hours=2))
    await world.check()


async def test_a_late_event_takes_back_what_is_no_longer_so_and_its_own_firing_is_found(world: World) -> None:
    await world.happens("ann", "Product Added")
    world.clock.passes(hours=2)
    await world.settle()
    assert [one.pattern for one in world.told] == ["cart_left"]
    await world.happens("ann", "Order Completed", T0 + timedelta(hours=1))  # it had been under way for an hour
    await world.check()
    assert await world.noted() == []
    assert [one.pattern for one in await world.noted(retracted=True)] == ["cart_left"]
    await world.happens("ann", "Call Started")
    await world.happens("ann", "Call Started", world.clock.now() - timedelta(minutes=1))
    assert [one.pattern for one in world.told] == ["cart_left", "twice"]
    await world.check()


async def test_what_is_old_is_forgotten_and_a_replay_does_not_bring_it_back(world: World) -> None:
    await world.declare("{id: twice, within: 1d, match: {event: Call Started, count: 2}}")
    begun = world.clock.now()
    for _ in range(2):
        await world.happens("ann", "Call Started")
    world.clock.passes(days=300)
    for _ in range(2):
        await world.happens("ann", "Call Started")
    assert len(await world.noted()) == 2
    database, tenant = world.database, world.tenant
    async with database.transaction(tenant.tenant_id) as connection:
        open_ones = "select count(*) from pattern_fired where next_at is not null"
        assert await connection.fetchval(open_ones) == 2, "nobody has decided what to do"
    chore = Forgetting(database, world.clock, 180)
    await chore.look(tenant)
    assert len(await world.noted()) == 2, "about the first one something is still to be done"
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute("update pattern_fired set next_at = null")
    world.clock.passes(hours=2)
    await chore.look(tenant)
    [kept] = await world.noted()
    assert kept.at_ms == round((begun + timedelta(days=300)).timestamp() * 1000)
    await world.happens("ann", "Call Started", begun + timedelta(hours=1))  # late: the log is replayed
    await world.settle()
    assert await world.noted() == [kept]


async def test_what_came_true_long_ago_starts_nothing(world: World) -> None:
    old = world.clock.now() - timedelta(days=40)
    await world.send(*(world.event("ann", "Call Started", old + timedelta(days=days)) for days in (0, 1, 2, 3)))
    await world.send(*(world.event("ann", "Product Added", old + timedelta(days=days)) for days in (1, 2, 3)))
    await world.check()
    assert len(await world.noted()) == 5
    assert world.told == []


async def test_events_of_one_moment_count_in_the_order_in_which_they_came(database: Database, tenant: Tenant) -> None:
    world = World(database, tenant)
    await world.declare("{id: a_then_b, within: 1h, match: {seq: [A, B]}}")
    await world.happens("ann", "A", T0)
    await world.happens("ann", "B", T0)
    await world.happens("bob", "B", T0)
    await world.happens("bob", "A", T0)
    await world.send(world.event("eve", "A", T0), world.event("eve", "B", T0))
    await world.check()
    assert len(await world.noted()) == 2


async def test_a_household_is_those_who_share_an_identifier(world: World) -> None:
    async def home(*people: str, phone: str) -> None:
        rows = [
            canonical_record({"record_id": one, "full_name": f"{one} Lee", "phone": phone}, country="GB") for one in people
        ]
        await apply_records(world.database, world.tenant, SHOP, rows, now=world.clock.now())

    await home("ann", "bob", phone="+442079460000")
    await home("eve", phone="+442079460001")
    await world.happens("ann", "Outage Reported")
    world.clock.passes(minutes=10)
    await world.happens("eve", "Outage Reported")
    assert world.told == []
    world.clock.passes(minutes=10)
    await world.happens("bob", "Outage Reported")
    [firing] = world.told
    assert (firing.pattern, firing.household_id) == ("outage", min(await world.log()))
    await world.check()
    await home("eve", phone="+442079460000")  # she moved in: seen with her next event
    await world.happens("eve", "Outage Reported")
    await world.check()
    await home("bob", phone="+442079460002")  # he moved out
    await world.happens("bob", "Outage Reported")
    await world.check()
    world.clock.passes(hours=2)
    await world.check()
    assert sum(one.pattern == "home_quiet" for one in await world.noted()) >= 2


async def test_patterns_are_switched_on_and_off_and_their_states_made_out_of_the_log(
    database: Database, tenant: Tenant
) -> None:
    world = World(database, tenant)
    for number in range(30):
        await world.happens(f"u{number}", "Call Started")
    assert await world.states() == {}
    await world.declare(TWICE, on=False)
    await world.happens("u1", "Call Started")
    assert await world.noted() == []
    assert await switch(database, tenant, ["twice"], on=True, now=world.clock.now()) == ["twice"]
    assert await switch(database, tenant, ["twice"], on=True, now=world.clock.now()) == []
    await world.happens("u2", "Call Started")
    await world.check()
    assert len(await world.noted()) == 2
    assert len(await world.states()) == 30
    changed = TWICE.replace("count: 2", "count: 1")
    loaded = await load(database, tenant, [("", changed)], by="ann", now=world.clock.now(), switch_on=None)
    assert (loaded.changed, loaded.on) == (("twice",), ("twice",))
    await world.happens("u3", "Call Started")
    await world.check()
    assert len([one for one in await world.noted() if one.pattern == "twice"]) == 33
    await switch(database, tenant, ["twice"], on=False, now=world.clock.now())
    await world.happens("u3", "Call Started")
    await world.settle()
    assert [one.is_on for one in await listed(database, tenant, world.clock.now())] == [False]
    await load(database, tenant, [("", TWICE)], by="ann", now=world.clock.now(), switch_on=True)  # the first one again
    await world.settle()
    states, noted = await world.expected()
    assert await world.states() == states
    assert await world.noted() == noted


async def test_a_refused_file_changes_nothing(world: World) -> None:
    before = await listed(world.database, world.tenant, world.clock.now())
    with pytest.raises(BadInput, match="no field wihtin"):
        await world.declare(ANY.replace("Thing", "Other"), "{id: wrong, wihtin: 3d, match: A}")
    with pytest.raises(BadInput, match="Two patterns have the id"):
        await world.declare(ANY.replace("Thing", "Other"), ANY)
    assert await listed(world.database, world.tenant, world.clock.now()) == before


async def test_a_report_says_whom_patterns_would_have_caught_before_they_are_on(database: Database, tenant: Tenant) -> None:
    from firstring.journey.patterns import patterns_in

    world = World(database, tenant)
    for number in range(24):
        await world.happens(f"u{number}", "Thing")
        if number % 8 == 0:
            await world.send(*(world.event(f"u{number}", "Call Started") for _ in range(4)))
    await world.happens("old", "Thing", world.clock.now() - timedelta(days=60))
    patterns = [one for text in (TWICE, ANY, CART) for one in patterns_in(text)]
    twice, thing, cart = await report(database, tenant, patterns, world.clock.now())
    assert (twice.fired, twice.caught, twice.persons, twice.active, twice.warnings) == (6, 3, 24, 24, ())
    assert (thing.fired, thing.caught) == (24, 24)
    assert "tells nobody apart" in thing.warnings[0]
    assert "would not have fired" in cart.warnings[0]
    assert twice.says == "would have fired 6 times, for 3 of 24 persons with events in the last 30 days"
    [fewer] = await report(database, tenant, patterns[:1], world.clock.now(), persons=6)
    assert (fewer.persons, fewer.active) == (6, 24)
    assert "6 of 24 persons" in fewer.says
    assert await world.noted() == []


async def test_states_that_are_over_are_deleted_and_a_newer_event_begins_anew(world: World) -> None:
    await world.happens("ann", "Call Started")
    await world.happens("bob", "Product Added")
    world.clock.passes(days=7)
    await world.settle()
    await world.work.evict(world.tenant)
    assert len(await kept(world)) == 2  # an event that is a day old may still come
    world.clock.passes(days=1, seconds=1)
    await world.work.evict(world.tenant)
    assert await kept(world) == []
    await world.check()
    await world.happens("ann", "Call Started", world.clock.now() - timedelta(hours=23))
    await world.happens("bob", "Call Started", T0 + timedelta(days=1))
    await world.happens("ann", "Call Started", T0 + timedelta(days=2))
    await world.check()
    assert {one.pattern for one in await world.noted()} == {"twice", "cart_left"}


async def kept(world: World) -> list[Any]:
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        return await connection.fetch("select * from pattern_state")


async def test_a_long_log_is_replayed_beside_the_events(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATTERN_INLINE_EVENTS", 3)
    monkeypatch.setattr(limits, "PATTERN_REPLAY_EVENTS", 5)
    for user in ("ann", "bob", "eve"):
        for hours in range(4):
            await world.happens(user, "Thing", T0 - timedelta(hours=hours))
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        assert await connection.fetchval("select count(*) from pattern_stale") > 0
    await world.check()
    assert len(await world.noted()) == 12


# --- everything at once ------------------------------------------------------------------------------------------------

users = st.sampled_from(["u0", "u1", "u2", "u3"])
names = st.sampled_from(
    ["Product Added", "Order Completed", "Call Started", "Clicked", "Clicked", "Thing", "Outage Reported", "Outage Ended"]
)
minutes = st.sampled_from([0, 0, 1, 20, 45, 90, 200, 3_000, 12_000])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("events"), st.lists(st.tuples(users, names, minutes), min_size=1, max_size=5)),
        st.tuples(st.just("events"), st.lists(st.tuples(users, names, minutes), min_size=1, max_size=5)),
        st.tuples(st.just("pass"), minutes),
        st.tuples(st.just("merge"), users, users),
        st.tuples(st.just("unmerge"), st.integers(0, 3)),
        st.tuples(st.just("delete"), users),
        st.tuples(st.just("work"), st.booleans()),
        st.tuples(st.just("switch"), st.sampled_from(["twice", "cart_left", "outage"]), st.booleans()),
    ),
    min_size=4,
    max_size=16,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps)
async def test_whatever_happens_it_is_as_if_it_had_always_been_so(database: Database, steps: list[Any]) -> None:
    """Events in any order, merges and their undoing, deletions, patterns switched: what is stored and not retracted is what
    a replay of the log, as it belongs to persons now, comes to."""
    world = World(database, await linked_tenant(database), SetClock())
    await world.declare(*ALL)
    decisions: list[int] = []
    for step in steps:
        await _do(world, step, decisions)
    await world.check()
    for decision in decisions:
        await _try(revoke_decision(database, world.tenant, decision, by="ann", reason="apart", now=world.clock.now()))
    await world.check()
    of_users = await world.log()
    assert len(of_users) <= 4


async def _do(world: World, step: Any, decisions: list[int]) -> None:
    kind = step[0]
    now = world.clock.now()
    if kind == "events":
        await world.send(*(world.event(user, name, now - timedelta(minutes=late), k=name) for user, name, late in step[1]))
    elif kind == "pass":
        world.clock.passes(minutes=step[1])
    elif kind == "merge":
        left, right = ((SHOP, one) for one in step[1:])
        done = await _try(decide_link(world.database, world.tenant, "must", left, right, by="ann", reason="one", now=now))
        decisions += done.decision_ids if done else ()
    elif kind == "unmerge" and decisions:
        chosen = decisions.pop(step[1] % len(decisions))
        await _try(revoke_decision(world.database, world.tenant, chosen, by="ann", reason="apart", now=now))
    elif kind == "delete":
        await _try(delete_records(world.database, world.tenant, SHOP, [step[1]], now=now))
    elif kind == "work":
        await (world.work.replays if step[1] else world.work.absences)(world.tenant)
    elif kind == "switch":
        await switch(world.database, world.tenant, [step[1]], on=step[2], now=now)


async def _try(work: Any) -> Any:
    """What is refused (a record that is not there, a decision of its own) changes nothing."""
    try:
        return await work
    except BadInput:
        return None


async def test_many_at_once_meet_and_nothing_is_lost(database: Database) -> None:
    """Batches of the same persons in several transactions, while records move between persons, and patterns are switched."""
    world = World(database, await linked_tenant(database), SetClock(SystemClock().now()))
    await world.declare(*ALL)
    random = Random(7)
    people = [f"u{number}" for number in range(8)]
    made: list[int] = []
    for one in people:
        await world.happens(one, "Thing")

    async def again(work: Any) -> None:
        for _ in range(20):
            try:
                await work()
                return
            except BadInput:
                return
            except FirstringError as error:
                if error.code != "database_conflict":
                    raise
        raise AssertionError("never through")

    async def sender(seed: int) -> None:
        chance = Random(seed)
        for _ in range(12):
            batch = [
                world.event(
                    chance.choice(people),
                    chance.choice(["Call Started", "Product Added", "Order Completed", "Clicked", "Outage Reported"]),
                    world.clock.now() - timedelta(minutes=chance.choice([0, 0, 0, 5, 100])),
                    k=1,
                )
                for _ in range(chance.randrange(1, 9))
            ]
            await again(lambda batch=batch: world.send(*batch))

    async def decide(kind: Any, left: Any, right: Any) -> None:
        now = world.clock.now()
        done = await decide_link(database, world.tenant, kind, left, right, by="ann", reason="one", now=now)
        made.extend(done.decision_ids)

    async def revoke(decision: int) -> None:
        await revoke_decision(database, world.tenant, decision, by="ann", reason="apart", now=world.clock.now())

    async def steward() -> None:
        for _ in range(10):
            left, right = ((SHOP, one) for one in random.sample(people, 2))
            kind = random.choice(["must", "must", "cannot"])
            await again(partial(decide, kind, left, right))
            if made and random.random() < 0.5:
                await again(partial(revoke, made[-1]))

    async def worker() -> None:
        for turn in range(12):
            await again(lambda: world.work.replays(world.tenant))
            await again(lambda: world.work.absences(world.tenant))
            await again(lambda turn=turn: switch(database, world.tenant, ["twice"], on=turn % 2 == 1, now=world.clock.now()))
            await asyncio.sleep(0.02)

    await asyncio.gather(*(sender(seed) for seed in range(4)), steward(), worker(), worker())
    await world.check()


# --- telling -------------------------------------------------------------------------------------------------------------


class Heard:
    """A hook that notes what it is told; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.firings: list[Firing] = []
        self.failures = failures

    async def __call__(self, tenant: Tenant, firings: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError
        self.firings += firings


async def test_hooks_are_told_and_what_nobody_decided_is_told_again(world: World) -> None:
    firings = Firings(world.database, world.clock)
    heard = Heard()
    firings.hooks.append(heard)
    await world.happens("ann", "Thing")
    firings.tell(world.tenant, world.told)
    await firings.stop()
    assert [one.pattern for one in heard.firings] == ["thing"]
    assert await firings.catch_up(world.tenant) is None
    await world.happens("bob", "Thing")  # the process dies before anybody is told
    assert await firings.catch_up(world.tenant) == world.clock.now() + timedelta(seconds=15)
    world.clock.passes(seconds=15)
    heard.failures = 2
    for pause in (0, 2, 4):
        world.clock.passes(seconds=pause)
        await firings.catch_up(world.tenant)
    assert [one.pattern for one in heard.firings] == ["thing", "thing"]
    assert await firings.catch_up(world.tenant) is None


async def test_a_firing_is_decided_once_and_one_that_was_retracted_never(world: World) -> None:
    await world.happens("ann", "Thing")
    await world.happens("ann", "Product Added")
    world.clock.passes(hours=2)
    await world.settle()
    thing, left = world.told
    await world.happens("ann", "Order Completed", T0 + timedelta(hours=1))
    await world.settle()
    for expected in ({thing.firing_id}, set()):
        async with world.database.transaction(world.tenant.tenant_id) as connection:
            ids = [thing.firing_id, left.firing_id]
            assert await claim_firings(connection, world.tenant, ids, world.clock.now()) == expected


async def test_what_was_decided_before_a_merge_is_not_decided_again_after_it(database: Database) -> None:
    world = World(database, await linked_tenant(database), SetClock())
    await world.declare(ANY, CART)
    await world.happens("ann", "Thing")
    await world.happens("bob", "Thing")
    now = world.clock.now()
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        await claim_firings(connection, world.tenant, [one.firing_id for one in world.told], now)
    made = await decide_link(database, world.tenant, "must", (SHOP, "ann"), (SHOP, "bob"), by="a", reason="b", now=now)
    await world.check()
    assert made.merged == 1
    assert len(await world.noted()) == 2
    await revoke_decision(database, world.tenant, made.decision_ids[0], by="a", reason="b", now=now)
    await world.check()
    assert len(world.told) == 2
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        assert await connection.fetchval("select count(*) from pattern_fired where acted_at is null") == 0


async def test_persons_marked_stale_are_made_anew(world: World) -> None:
    await world.happens("ann", "Call Started")
    [person] = await world.log()
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        await connection.execute(
            "update pattern_state set content = content || '\\x09'"
        )  # of another version of the program
    await world.happens("ann", "Call Started")
    await world.check()
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        await connection.execute("delete from pattern_state")
        await mark_stale(connection, world.tenant, [person, 10**12])
    await world.check()
