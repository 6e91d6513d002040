"""Segments in a real store: who is in which, whatever happens to them, and what the feed of changes says of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.following_rig import SHOP, SetClock, World

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.identity.golden.rules import DEFAULT
from firstring.nextbest.segments import NAMES, segments_in, together
from firstring.nextbest.situation import VARIABLES as OF_ACTIONS
from firstring.store import changes
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import apply_records, delete_records
from firstring.store.nextbest.segments import listed, load, members, switch_off
from firstring.store.nextbest.segmentwork import PERSONS_AT_ONCE, SWEEP_EVERY, SegmentWork

BUYERS = "{id: buyers, title: Buyers, where: 'has(traits.orders) && traits.orders >= 1'}"
LOYAL = "{id: loyal, where: 'has(traits.orders) && traits.orders >= 2'}"
ANN = {"full_name": "Ann Lee", "birth_date": "1980-02-03"}
BUYS: dict[str, Any] = {"total": 9, "currency": "EUR"}


class Shop(World):
    """A tenant with segments, and whoever looks at persons."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        super().__init__(database, tenant, SetClock())
        self.failed: Counter[str] = Counter()
        self.segments = SegmentWork(database, self.clock, DEFAULT, lambda segment: self.failed.update([segment]))

    async def put(self, record_id: str, source: str = SHOP, **fields: Any) -> None:
        record = canonical_record({"record_id": record_id, **fields}, country="GB")
        await apply_records(self.database, self.tenant, source, [record], now=self.clock.now())

    async def load(self, *texts: str) -> Any:
        files = [(f"{number}.yaml", text) for number, text in enumerate(texts)]
        return await load(self.database, self.tenant, files, by="ann", now=self.clock.now())

    async def look(self, work: SegmentWork | None = None) -> None:
        """All that is to be looked at by now."""
        for _ in range(400):
            due = await (work or self.segments).look(self.tenant)
            if due is None or due - self.clock.now() > timedelta(minutes=1):
                return
            if due > self.clock.now():
                await asyncio.sleep(0.002)
        raise AssertionError("it never ends")

    async def who(self, segment: str) -> set[int]:
        page = await members(self.database, self.tenant, segment, at_most=limits.SEGMENT_MEMBERS)
        return {one.person_id for one in page.members}

    async def person(self, record_id: str, source: str = SHOP) -> int:
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            key = self.tenant.keys.blind(f"record:{source}", record_id)
            person = await connection.fetchval("select person_id from record where external_key = $1", key)
        assert isinstance(person, int)
        return person

    async def said(self) -> list[tuple[str, int, str]]:
        """Entered and left, in the order of the feed."""
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            found = await changes.read(connection, self.tenant, 0, 10_000, ["entered", "left"])
        assert found is not None
        return [(one.kind, one.person_id, one.what or "") for one in found.changes]

    async def check(self) -> None:
        """Who entered and did not leave since is a member: by the feed alone, and by the store."""
        told: dict[tuple[str, int], int] = {}
        for kind, person, segment in await self.said():
            told[segment, person] = told.get((segment, person), 0) + (1 if kind == "entered" else -1)
            assert told[segment, person] in (0, 1), "nobody enters or leaves twice"
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            rows = await connection.fetch("select segment, person_id from segment_member")
        assert {place for place, there in told.items() if there} == {(row["segment"], row["person_id"]) for row in rows}


@pytest.fixture
async def shop(database: Database, tenant: Tenant) -> Shop:
    made = Shop(database, tenant)
    await changes.begin(database, tenant, made.clock.now())
    return made


async def test_entering_by_an_event_and_leaving(shop: Shop) -> None:
    await shop.put("u1", **ANN, email="ann@lee.org", city="Leeds")
    await shop.happens("u1", "Order Completed", **BUYS)
    loaded = await shop.load(f"{BUYERS}\n---\n{LOYAL}", "segments: [{id: leeds, where: person.city == 'Leeds'}]")
    assert loaded.added == ("buyers", "loyal", "leeds")
    view = await listed(shop.database, shop.tenant)
    assert (view.evaluating, [one.members for one in view.segments]) == (True, [0, 0, 0])
    await shop.look()
    ann = await shop.person("u1")
    assert not (await listed(shop.database, shop.tenant)).evaluating
    assert await shop.said() == [("entered", ann, "buyers"), ("entered", ann, "leeds")]
    await shop.happens("u1", "Order Completed", **BUYS)
    await shop.happens("u2", "Page Viewed")
    await shop.look()
    assert (await shop.said())[2:] == [("entered", ann, "loyal")]
    assert shop.failed == {"leeds": 1}, "u2 has no city: an error, which is not being in it"
    shop.clock.passes(minutes=1)
    await shop.put("u1", **ANN, email="ann@lee.org", city="York")
    await shop.look()
    assert (await shop.said())[3:] == [("left", ann, "leeds")]
    assert (await shop.who("buyers"), await shop.who("leeds")) == ({ann}, set())
    await shop.look()
    await shop.check()


async def test_nothing_changes_where_a_load_is_refused(shop: Shop) -> None:
    await shop.load(BUYERS)
    before = await listed(shop.database, shop.tenant)
    wrong = [
        ("{id: a, where: 'true'}\n---\nid: b\nwhere: traits.orders >", "expression_invalid", 4),
        ("id: a\nwhere: contact.known", "expression_invalid", 2),
        ("id: a\nwhere: traits", "expression_invalid", 2),
        ("id: a\ntitel: A\nwhere: 'true'", "segment_invalid", 2),
        ("id: a b\nwhere: 'true'", "segment_invalid", 1),
        ("id: a", "segment_invalid", 1),
        ("id: a\nwhere: 'true'\n---\nid: a\nwhere: 'true'", "segment_invalid", 4),
        ("id: [a", "segment_invalid", 1),
        ("", "segment_invalid", 1),
        (f"id: a\ntitle: {'x' * 201}\nwhere: 'true'", "segment_invalid", 2),
    ]
    for text, code, line in wrong:
        with pytest.raises(BadInput) as refused:
            await shop.load("{id: good, where: 'true'}", text)
        error = refused.value
        assert (error.code, error.where["file"], error.where["line"]) == (code, "1.yaml", line), text
        assert error.hint, text
    many = "\n---\n".join(f"{{id: s{number}, where: 'true'}}" for number in range(limits.SEGMENTS))
    with pytest.raises(BadInput) as refused:
        await shop.load(many)
    assert refused.value.code == "too_many_segments"
    for call in (
        members(shop.database, shop.tenant, "x"),
        switch_off(shop.database, shop.tenant, "x", now=shop.clock.now()),
    ):
        with pytest.raises(BadInput) as unknown:
            await call
        assert (unknown.value.code, unknown.value.status) == ("unknown_segment", 404)
    assert await listed(shop.database, shop.tenant) == before


async def test_of_who_are_merged_the_one_who_stays_is_in_it_and_an_unmerge_leaves_no_trace(shop: Shop) -> None:
    await shop.load(BUYERS, LOYAL)
    await shop.put("u1", full_name="Ann Lee", phone="+447911123401", last_seen="2026-01-01")
    await shop.put("u2", full_name="Ann Lee", email="ann@lee.org", last_seen="2026-01-02")
    await shop.happens("u1", "Order Completed", **BUYS)
    await shop.happens("u2", "Order Completed", **BUYS)
    await shop.look()
    one, two = await shop.person("u1"), await shop.person("u2")
    assert (await shop.who("buyers"), await shop.who("loyal")) == ({one, two}, set())
    await shop.put("both", "crm", full_name="Ann Lee", phone="+447911123401", email="ann@lee.org")
    stays = await shop.person("u1")
    assert stays == await shop.person("u2")
    [gone] = {one, two} - {stays}
    await shop.look()
    assert (await shop.who("buyers"), await shop.who("loyal")) == ({stays}, {stays})
    assert set((await shop.said())[2:]) == {("left", gone, "buyers"), ("entered", stays, "loyal")}
    await shop.check()
    await delete_records(shop.database, shop.tenant, "crm", ["both"], now=shop.clock.now())
    await shop.look()
    parted = {await shop.person("u1"), await shop.person("u2")}
    assert len(parted) == 2
    assert (await shop.who("buyers"), await shop.who("loyal")) == (parted, set())
    await shop.check()


async def test_somebody_who_is_deleted_is_in_nothing_any_more(shop: Shop) -> None:
    await shop.load("{id: all, where: 'true'}")
    await shop.put("u1", **ANN)
    await shop.look()
    ann = await shop.person("u1")
    assert await shop.who("all") == {ann}
    await delete_records(shop.database, shop.tenant, SHOP, ["u1"], now=shop.clock.now())
    assert await shop.who("all") == set(), "at once"
    await shop.look()
    assert await shop.said() == [("entered", ann, "all"), ("left", ann, "all")]
    await shop.check()


async def test_a_process_that_ends_half_way_is_gone_on_from(shop: Shop) -> None:
    """Another process goes on where one stopped, in the walk and in the notes; each person enters once."""
    people = 3 * PERSONS_AT_ONCE
    await shop.send(*(shop.event(f"u{number}", "Order Completed", **BUYS) for number in range(people)))
    await shop.load(BUYERS)
    first = SegmentWork(shop.database, shop.clock, DEFAULT)
    while not await shop.who("buyers"):
        await first.look(shop.tenant)
    assert len(await shop.who("buyers")) == PERSONS_AT_ONCE
    with pytest.raises(RuntimeError):  # one that dies in the middle of its transaction leaves everything to be done
        await SegmentWork(shop.database, shop.clock, _Dies(), lambda _segment: None).look(shop.tenant)  # type: ignore[arg-type]
    assert len(await shop.who("buyers")) == PERSONS_AT_ONCE
    await asyncio.gather(*(SegmentWork(shop.database, shop.clock, DEFAULT).look(shop.tenant) for _ in range(3)))
    await shop.look()
    assert len(await shop.who("buyers")) == people
    await shop.load(LOYAL)
    await shop.look()
    await shop.send(*(shop.event(f"u{number}", "Order Completed", **BUYS) for number in range(people)))
    await first.look(shop.tenant)
    assert 0 < len(await shop.who("loyal")) < people
    await shop.look()
    assert len(await shop.who("loyal")) == people
    await shop.check()
    pages, after = set(), 0
    while True:
        page = await members(shop.database, shop.tenant, "loyal", after=after, at_most=40)
        pages |= {one.person_id for one in page.members}
        if page.next is None:
            break
        after = page.next
    assert pages == await shop.who("loyal")


class _Dies:
    """Rules by which nothing can be read."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


async def test_what_is_being_written_while_segments_are_loaded_is_not_missed(shop: Shop) -> None:
    """Its transaction does not know of the segments, and its person may have been looked at before it commits."""
    await shop.put("u1", **ANN)
    ann = await shop.person("u1")
    statement = "update record set version = version + 1 where person_id = $1"
    async with shop.database.transaction(shop.tenant.tenant_id) as writing:
        await writing.execute(statement, ann)
        await shop.load("{id: all, where: 'true'}")
        for _ in range(20):
            due = await shop.segments.look(shop.tenant)
            assert due is not None
            assert await shop.who("all") == set()
    await shop.look()
    assert await shop.who("all") == {ann}


async def test_once_a_day_everybody_is_looked_at_because_time_has_passed(shop: Shop) -> None:
    await shop.put("u1", **ANN)
    day = (shop.clock.now() + timedelta(hours=30)).isoformat()
    await shop.load(f"{{id: until, where: \"now < timestamp('{day}')\"}}")
    await shop.look()
    ann = await shop.person("u1")
    assert await shop.who("until") == {ann}
    shop.clock.passes(hours=23)
    await shop.look()
    assert await shop.who("until") == {ann}
    shop.clock.passes(hours=2)
    await shop.look()
    assert await shop.who("until") == {ann}, "looked at, and it still holds"
    shop.clock.passes(days=SWEEP_EVERY.days, minutes=1)
    await shop.look()
    assert await shop.who("until") == set()
    await shop.check()


async def test_changed_switched_off_and_loaded_again(shop: Shop) -> None:
    await shop.put("u1", **ANN)
    await shop.put("u2", full_name="Bob Ray", birth_date="1990-02-03")
    await shop.load("{id: some, where: person.full_name == 'Ann Lee'}", "{id: all, where: 'true'}")
    await shop.look()
    ann, bob = await shop.person("u1"), await shop.person("u2")
    assert await shop.who("some") == {ann}
    again = await shop.load("{id: some, where: person.full_name == 'Bob Ray'}", "{id: all, where: 'true'}")
    assert (again.added, again.changed, again.unchanged) == ((), ("some",), ("all",))
    await shop.look()
    assert await shop.who("some") == {bob}
    renamed = await shop.load("{id: all, title: Everybody, where: 'true'}")
    assert renamed.changed == ("all",)
    assert not (await listed(shop.database, shop.tenant)).evaluating, "a title is no reason to look at anybody"
    for segment in ("some", "all"):
        assert await switch_off(shop.database, shop.tenant, segment, now=shop.clock.now())
        assert not await switch_off(shop.database, shop.tenant, segment, now=shop.clock.now())
    await shop.look()
    assert (await shop.who("some"), await shop.who("all")) == (set(), set())
    await shop.happens("u1", "Page Viewed")
    assert (await listed(shop.database, shop.tenant)).waiting == 0, "nobody is noted while no segment is on"
    await shop.check()
    assert (await shop.load("{id: all, where: 'true'}")).added == ("all",)
    await shop.look()
    assert await shop.who("all") == {ann, bob}
    await shop.check()


async def test_consents_issues_patterns_and_experience(shop: Shop) -> None:
    await shop.declare("{id: twice, title: Twice, valence: negative, within: 7d, match: {event: Call Started, count: 2}}")
    await shop.load(
        "{id: mail, where: 'consents[\"marketing/email\"]'}",
        "{id: waits, where: '\"refund\" in issues && experience < 75.0'}",
        "{id: calls, where: '\"twice\" in patterns'}",
    )
    await shop.happens("u1", "Consent Given", purpose="marketing", channel="email")
    await shop.happens("u1", "Refund Requested", order_id="1")
    for _ in range(2):
        await shop.happens("u1", "Call Started")
    await shop.settle()
    await shop.look()
    ann = await shop.person("u1")
    assert {name: await shop.who(name) for name in ("mail", "waits", "calls")} == {
        "mail": {ann}, "waits": {ann}, "calls": {ann},
    }  # fmt: skip
    await shop.happens("u1", "Consent Withdrawn", at=shop.clock.now() + timedelta(seconds=1), purpose="marketing")
    await shop.look()
    assert await shop.who("mail") == set()
    await shop.check()


def test_conditions_are_of_the_language_and_the_variables_of_actions() -> None:
    assert set(NAMES) == set(OF_ACTIONS) - {"contact", "fired", "reason", "assurance"}
    [one] = segments_in("id: a\nwhere: |\n  traits.orders > 1\n  && now > now\n")
    assert (one.id, one.title, one.line) == ("a", "a", 1)
    assert one.condition.split() == ["traits.orders", ">", "1", "&&", "now", ">", "now"]
    assert [each.id for each in together([("a", BUYERS), ("b", LOYAL)])] == ["buyers", "loyal"]


async def test_events_that_change_hands_change_who_is_in_a_segment(shop: Shop) -> None:
    """An order of a visitor is of whoever signs in, and goes back where a sign-out comes to light that was before."""
    await shop.load(BUYERS)
    await shop.put("ann", **ANN)
    await shop.look()

    async def visited(name: str, user: str | None = None, minutes: float = 0) -> None:
        at = shop.clock.now() - timedelta(minutes=minutes)
        made = msgspec.structs.replace(
            shop.event("", name, at, **(BUYS if name == "Order Completed" else {})),
            record_id=user, anonymous_id="visitor-1", fields={"cookie": "visitor-1"},
        )  # fmt: skip
        await shop.send(made)
        await shop.look()

    await visited("Order Completed")
    [nobody] = await shop.who("buyers")
    ann = await shop.person("ann")
    assert nobody != ann
    shop.clock.passes(minutes=2)
    await visited("Signed In", user="ann")
    assert await shop.who("buyers") == {ann}
    await visited("Signed Out", minutes=1)
    assert await shop.who("buyers") == {nobody}
    await shop.check()
