"""What never happens to contacts and agents, whatever comes: an agent who flaps, two who accept at once, everybody gone,
nobody with the skill, a clock that goes back, a long queue after an outage, an elected task that dies."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from tests.integration.test_decide import World, world
from tests.integration.test_killed import BROKEN
from tests.making import contact

from firstring import limits
from firstring.contact import Decision, Evidence
from firstring.decide import Decider
from firstring.dispatch import Dispatcher
from firstring.observe import Metrics
from firstring.ports import SystemIds
from firstring.routing.declared.policy import RoutingPolicy, policy_from_toml
from firstring.store.contacts import Contacts
from firstring.store.notices import Notices
from firstring.store.ring import RingStore

__all__ = ["world"]


async def offered(world: World, **more: object) -> Decision:
    made = contact(**{"channel": "voice", "adapter": "api", "offered_at": world.clock.now(), **more})
    return await world.decider.offered(world.tenant, made, Evidence())


async def who_has(world: World, contact_id: uuid.UUID) -> int | None:
    state = await world.ring.contact(world.tenant, contact_id)
    assert state is not None
    return state.agent_id


def with_policy(world: World, policy: RoutingPolicy) -> None:
    world.decider.models = msgspec.structs.replace(world.models, routing=policy)


def another_process(world: World, name: str) -> tuple[Dispatcher, Decider, Contacts]:
    """A server beside the first, over the same store."""
    notices = Notices(world.database.arguments, name)
    ring = RingStore(world.database, notices)
    contacts = Contacts(world.database, notices, world.clock, wrap_up_s=30.0)
    decider = Decider(ring, world.decider.models, world.clock, SystemIds(), Metrics())

    async def only_this() -> list[object]:
        return [world.tenant]

    return Dispatcher(contacts, ring, decider, world.clock, only_this, world.routed), decider, contacts


async def test_presence_flapping_ten_times_a_second(world: World, superuser: asyncpg.Connection) -> None:
    agent_id = await world.agent()

    async def flap() -> None:
        for number in range(40):
            await world.contacts.set_presence(world.tenant, agent_id, "away" if number % 2 else "ready")
            await asyncio.sleep(0.01)

    async def calls() -> list[uuid.UUID]:
        made = []
        for _ in range(10):
            made.append((await offered(world)).contact.contact_id)
            await world.dispatcher.sweep(world.tenant)
            assert await superuser.fetch(BROKEN, world.tenant.tenant_id) == []
            await asyncio.sleep(0.02)
        return made

    _, made = await asyncio.gather(flap(), calls())
    await world.contacts.set_presence(world.tenant, agent_id, "ready")
    # Who came while the agent was ready may have taken the place of one who came while they were away. Nobody is lost.
    served = []
    for _ in made:
        await world.dispatcher.sweep(world.tenant)
        [had] = [contact_id for contact_id in made if await who_has(world, contact_id) == agent_id]
        await world.contacts.event(world.tenant, had, "answered")
        await world.contacts.event(world.tenant, had, "finished")
        served.append(had)
    assert sorted(served) == sorted(made)
    rest = [contact_id for contact_id in served if contact_id != served[0]]
    assert rest == [contact_id for contact_id in made if contact_id != served[0]], "the line in the order in which they came"
    assert await superuser.fetch(BROKEN, world.tenant.tenant_id) == []


async def test_two_agents_accept_at_once(world: World, superuser: asyncpg.Connection) -> None:
    """Whoever was asked first let it ring; both accept at the moment at which the second is asked."""
    chat = {"channels": ("chat",), "capacity": {"chat": 1}}
    ann, bob = await world.agent("Ann", **chat), await world.agent("Bob", **chat)
    first = await offered(world, channel="chat")
    assert first.agent_id == ann
    await world.contacts.event(world.tenant, first.contact.contact_id, "rejected", assignment_id=first.assignment_id)
    second = await world.decider.again(world.tenant, first.contact.contact_id, "rejected")
    assert second is not None
    assert second.agent_id == bob
    changes = await asyncio.gather(
        *(
            world.contacts.event(world.tenant, first.contact.contact_id, "answered", assignment_id=one.assignment_id)
            for one in (first, second, first, second)
        )
    )
    assert [change.after for change in changes].count("answered") >= 1
    assert await who_has(world, first.contact.contact_id) == bob
    assert await superuser.fetch(BROKEN, world.tenant.tenant_id) == []
    assert (await world.contacts.of_agent(world.tenant, ann)) == []


async def test_several_servers_decide_on_one_contact_at_once(world: World, superuser: asyncpg.Connection) -> None:
    waits = await offered(world)
    for name in ("Ann", "Bob", "Eve"):
        await world.agent(name)
    deciders = [another_process(world, f"other-{number}")[1] for number in range(3)]
    made = await asyncio.gather(
        *(one.again(world.tenant, waits.contact.contact_id, "capacity") for one in (*deciders, world.decider))
    )
    assert sum(one is not None for one in made) == 1
    live = await superuser.fetchval(
        "select count(*) from assignment where tenant_id = $1 and ended_at is null", world.tenant.tenant_id
    )
    assert live == 1


async def test_who_has_just_come_does_not_take_the_agent_whom_others_wait_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment between an agent who becomes free and the task that looks at the line, on a channel and with a mix."""
    looks = itertools.count()
    begun = world.clock.now()
    monkeypatch.setattr(world.clock, "now", lambda: begun + world.clock.ahead + timedelta(milliseconds=next(looks)))
    chat = {"channels": ("chat",), "capacity": {"chat": 1}}
    for channel, kind in (("voice", {}), ("chat", chat), ("chat", {**chat, "at_once": 1})):
        agent_id = await world.agent(ready=False, **kind)
        waits = (await offered(world, channel=channel)).contact.contact_id
        await world.contacts.set_presence(world.tenant, agent_id, "ready")
        new = (await offered(world, channel=channel)).contact.contact_id
        assert await who_has(world, new) is None
        await world.dispatcher.sweep(world.tenant)
        assert [await who_has(world, one) for one in (waits, new)] == [agent_id, None]
        await world.contacts.event(world.tenant, waits, "answered")
        await world.contacts.event(world.tenant, waits, "finished")
        late = (await offered(world, channel=channel)).contact.contact_id
        assert await who_has(world, late) is None
        await world.dispatcher.sweep(world.tenant)
        assert [await who_has(world, one) for one in (new, late)] == [agent_id, None]
        await world.contacts.event(world.tenant, new, "finished")
        # No task looks at the line: a moment later whoever rings takes the agent.
        world.clock.ahead += timedelta(seconds=0.3)
        assert (await offered(world, channel=channel)).agent_id == agent_id
        await world.contacts.set_presence(world.tenant, agent_id, "offline")
        await world.contacts.event(world.tenant, late, "cancelled")


async def test_all_sign_out_with_callers_waiting(world: World) -> None:
    ann = await world.agent("Ann")
    talking = await offered(world)
    waits = [(await offered(world)).contact.contact_id for _ in range(3)]
    await world.contacts.set_presence(world.tenant, ann, "offline")
    await world.dispatcher.sweep(world.tenant)
    await world.contacts.event(world.tenant, talking.contact.contact_id, "finished")
    await world.dispatcher.sweep(world.tenant)
    assert [await who_has(world, one) for one in waits] == [None] * 3, "nobody is claimed who is gone"
    bob = await world.agent("Bob")
    await world.dispatcher.sweep(world.tenant)
    assert [await who_has(world, one) for one in waits] == [bob, None, None]


async def test_no_agent_has_the_skill(world: World) -> None:
    with_policy(
        world,
        policy_from_toml(
            '[[routing.rules]]\nname = "kyc"\nwhen = "contact.called == \'kyc\'"\n'
            "steps = [{agent = \"agent.skills['kyc'] >= 3\"}]"
        ),
    )
    ann = await world.agent("Ann")
    hard = await offered(world, called="kyc")
    assert hard.outcome == "wait"
    codes = {reason.code: reason for reason in hard.derived.routing.reasons}
    assert codes["no_agent_eligible"]
    assert codes["rule_unmet"].field == "agent.skills['kyc'] >= 3"
    easy = (await offered(world)).contact.contact_id
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, easy) == ann, "whoever waits for a skill holds nobody up"
    revision = hard.revision
    for _ in range(5):
        await world.dispatcher.sweep(world.tenant)
    state = await world.ring.contact(world.tenant, hard.contact.contact_id)
    assert state is not None
    assert state.revision == revision, "and is not decided on over and over"
    eve = await world.agent("Eve", skills={"kyc": 4})
    await world.dispatcher.sweep(world.tenant)
    assert await who_has(world, hard.contact.contact_id) == eve


async def test_somebody_complained_about_is_not_asked_over_and_over(world: World) -> None:
    """The queue task knows of it, not only the decision."""
    ann = await world.agent("Ann", ready=False)
    waits = await offered(world)
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        await connection.execute(
            "update contact set need = jsonb_set(need, '{barred}', $3::text::jsonb)"
            " where tenant_id = $1 and contact_id = $2",
            world.tenant.tenant_id, waits.contact.contact_id, f"[{ann}]",
        )  # fmt: skip
    await world.contacts.set_presence(world.tenant, ann, "ready")
    for _ in range(3):
        await world.dispatcher.sweep(world.tenant)
    state = await world.ring.contact(world.tenant, waits.contact.contact_id)
    assert state is not None
    assert (state.agent_id, state.revision) == (None, 1)


async def test_the_clock_goes_back(world: World, superuser: asyncpg.Connection) -> None:
    first = await offered(world)
    world.clock.ahead = timedelta(hours=-1)
    second = await offered(world)
    ann = await world.agent()
    await world.dispatcher.sweep(world.tenant)
    had = [await who_has(world, one.contact.contact_id) for one in (first, second)]
    assert sorted(had, key=bool) == [None, ann], "somebody is served, and one only"
    taken = first if had[0] else second
    await world.contacts.event(world.tenant, taken.contact.contact_id, "answered")
    await world.contacts.event(world.tenant, taken.contact.contact_id, "finished")
    await world.dispatcher.sweep(world.tenant)
    left = second if had[0] else first
    assert await who_has(world, left.contact.contact_id) == ann
    assert await superuser.fetch(BROKEN, world.tenant.tenant_id) == []


async def test_a_queue_of_50_000_after_an_outage(world: World) -> None:
    """All but the last wait for a skill that nobody has; the one agent who is idle serves that last one."""
    with_policy(world, RoutingPolicy(called=policy_from_toml("[routing.called.kyc]\nskills = {kyc = 3}").called,
                                     skill_relaxed_after_s=3_600.0, skill_dropped_after_s=3_600.0))  # fmt: skip
    world.clock.ahead = timedelta(minutes=-10)
    hard = await offered(world, called="kyc", channel="chat")
    world.clock.ahead = timedelta()
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        await connection.execute(
            "insert into contact (tenant_id, contact_id, channel, call_key, adapter, state, revision, need, offered_at,"
            " waiting_since, turn_at, wrapped_key, sealed)"
            " select tenant_id, gen_random_uuid(), channel, decode(md5(n::text), 'hex'), adapter, state, revision, need,"
            " offered_at, waiting_since, turn_at + make_interval(secs => n / 1000.0), wrapped_key, sealed"
            " from contact, generate_series(1, 49999) n where tenant_id = $1 and contact_id = $2",
            world.tenant.tenant_id, hard.contact.contact_id,
        )  # fmt: skip
    last = await offered(world, channel="chat")
    assert last.outcome == "wait"
    ann = await world.agent(channels=("chat",), capacity={"chat": 1})
    rounds = 0
    while await who_has(world, last.contact.contact_id) is None:
        rounds += 1
        assert rounds <= 101, "each round looks one page further"
        started = asyncio.get_running_loop().time()
        await world.dispatcher.sweep(world.tenant)
        assert asyncio.get_running_loop().time() - started < 5.0
    assert await who_has(world, last.contact.contact_id) == ann
    assert await world.contacts.due(world.tenant)


async def test_the_elected_task_dies_and_another_takes_over(world: World, superuser: asyncpg.Connection) -> None:
    first, _, first_contacts = another_process(world, "first")
    second, _, second_contacts = another_process(world, "second")
    await first.sweep(world.tenant)
    epoch = await first_contacts.take_lease(world.tenant, "queue")
    assert epoch is not None
    assert await second_contacts.take_lease(world.tenant, "queue") is None
    # It dies here. Ringing goes on: any server claims in its own decision.
    ann = await world.agent("Ann")
    rings = await offered(world)
    assert rings.agent_id == ann
    waits = await offered(world)
    bob = await world.agent("Bob")
    async with asyncio.timeout(limits.LEASE_S + 5):
        while await who_has(world, waits.contact.contact_id) is None:
            await second.sweep(world.tenant)
            await asyncio.sleep(0.1)
    assert await who_has(world, waits.contact.contact_id) == bob
    taken_over = await superuser.fetchval(
        "select epoch from assignment where tenant_id = $1 and contact_id = $2", world.tenant.tenant_id,
        waits.contact.contact_id,
    )  # fmt: skip
    assert taken_over == epoch + 1, "every assignment of the task carries its epoch"
    # The first one was only stopped, and goes on with what it had in mind: its epoch is over.
    late = await offered(world)
    await world.agent("Eve")
    assert await world.decider.again(world.tenant, late.contact.contact_id, "capacity", epoch=epoch) is None
    assert await who_has(world, late.contact.contact_id) is None


@pytest.mark.parametrize("priority", [0, 60])
async def test_nobody_is_overtaken_by_who_came_much_later(world: World, priority: int) -> None:
    """The bound of the line as it is stored: 30 s, whatever the priority."""
    with_policy(world, policy_from_toml(f"[routing.called.vip]\npriority = {priority}"))
    plain = await offered(world)
    for ahead_s, overtakes in ((29.0, priority > 0), (31.0, False)):
        world.clock.ahead = timedelta(seconds=ahead_s)
        dear = await offered(world, called="vip")
        order = [one.contact_id for one, _ in await world.contacts.waiting(world.tenant)]
        assert (order.index(dear.contact.contact_id) < order.index(plain.contact.contact_id)) == overtakes


async def test_a_need_that_cannot_be_read_holds_up_nobody(world: World, superuser: asyncpg.Connection) -> None:
    """Damaged, or written by a newer program: it is decided anew by what is known of it, as the others are."""
    damaged, other = [(await offered(world)).contact.contact_id for _ in range(2)]
    await superuser.execute('update contact set need = \'{"channel": "telepathy"}\' where contact_id = $1', damaged)
    agents = [await world.agent(name) for name in ("Ann", "Bob")]
    await world.dispatcher.sweep(world.tenant)
    assert {await who_has(world, one) for one in (damaged, other)} == set(agents)  # served at the same time
