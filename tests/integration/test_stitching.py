"""Stitching in the store: the same owners whatever the order in which events arrive, and what goes wrong."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from firstring import limits
from firstring.contact import Identifier
from firstring.identity.canonical.record import canonical_record
from firstring.journey import stitch
from firstring.journey.attention import contact_priors
from firstring.journey.clicks import PARAMETER, click_token
from firstring.journey.events import Event, parse_event
from firstring.journey.events.canonical import Standing
from firstring.journey.stitch import Entry, Mark
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import apply_records, delete_records
from firstring.store.journey import typed
from firstring.store.journey.events import ingest
from firstring.store.journey.planned import CLICK_DOMAIN
from firstring.store.journey.restitching import restitch
from firstring.store.ring import RingStore

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SHOP = "shop"
VISITOR = "visitor-1"


def event(name: str, minute: float, *, standing: Standing = "reported", user: str | None = None, **raw: Any) -> Event:
    given = {
        "event": name,
        "messageId": raw.pop("message", f"{name} {minute} {user} {standing}"),
        "timestamp": (NOW - timedelta(days=40) + timedelta(minutes=minute)).isoformat(),
        "anonymousId": raw.pop("visitor", VISITOR),
        **({"userId": user} if user else {}),
        **raw,
    }
    return parse_event(given, received_at=NOW, standing=standing)


async def counted(database: Database, tenant: Tenant) -> dict[str, str]:
    """Name of each event -> the source's own id of the record that it is counted with."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(
            "select e.wrapped_key, e.sealed, r.wrapped_key as record_wrapped, r.sealed as record_sealed "
            "from event e join record r using (tenant_id, record_id) order by e.event_id"
        )
    opened = tenant.keys.open
    return {
        opened(row["wrapped_key"], row["sealed"])["name"]: opened(row["record_wrapped"], row["record_sealed"])["record_id"]
        for row in rows
    }


async def send(database: Database, tenant: Tenant, *events: Event, now: datetime = NOW) -> None:
    result = await ingest(database, tenant, SHOP, events, now=now, country="GB")
    assert not result.rejected


ANONYMOUS = "cookie:visitor-1"


async def test_a_visit_becomes_known_backwards_and_forwards(database: Database, tenant: Tenant) -> None:
    await send(database, tenant, event("Last Week", -9_000), event("Product Viewed", 0), event("Cart Viewed", 5))
    assert set((await counted(database, tenant)).values()) == {ANONYMOUS}
    await send(database, tenant, event("Signed In", 10, user="u1"), event("Checkout Started", 12))
    await send(database, tenant, event("Two Days Later", 2_880), event("Much Later", 60 * 24 * 31))
    assert await counted(database, tenant) == {
        "Last Week": ANONYMOUS, "Product Viewed": "u1", "Cart Viewed": "u1", "Signed In": "u1", "Checkout Started": "u1",
        "Two Days Later": "u1", "Much Later": ANONYMOUS,
    }  # fmt: skip


async def test_two_people_on_one_computer_share_no_event(database: Database, tenant: Tenant) -> None:
    events = [
        event("Hers Before", 0), event("Signed In", 5, user="her"), event("Hers", 6), event("Signed Out", 8),
        event("His Before", 10), event("He Signs In", 12, user="him"), event("His", 13),
        event("She Comes Back", 20, user="her"), event("Hers Again", 21),
    ]  # fmt: skip
    told = {
        "Hers Before": "her", "Signed In": "her", "Hers": "her", "Signed Out": "her", "His Before": "him",
        "He Signs In": "him", "His": "him", "She Comes Back": "her", "Hers Again": "her",
    }  # fmt: skip
    for one in random.Random(1).sample(events, len(events)):
        await send(database, tenant, one)
    assert await counted(database, tenant) == told
    async with database.transaction(tenant.tenant_id) as connection:
        assert await connection.fetchval("select count(distinct person_id) from record where person_id is not null") == 3


async def test_a_late_sign_out_takes_back_what_was_counted(database: Database, tenant: Tenant) -> None:
    await send(database, tenant, event("Signed In", 0, user="u1"), event("Viewed", 5), event("Next Day", 1_500))
    assert (await counted(database, tenant))["Next Day"] == "u1"
    await send(database, tenant, event("Signed Out", 6, user="u1"))
    assert await counted(database, tenant) == {
        "Signed In": "u1", "Viewed": "u1", "Next Day": ANONYMOUS, "Signed Out": "u1",
    }  # fmt: skip


async def test_a_claim_gives_nobody_anything_and_ends_what_was_somebody_elses(database: Database, tenant: Tenant) -> None:
    claim = event("Claimed", 3, user="u2", standing="claimed")
    await send(database, tenant, event("Before", 0), claim, event("After", 4), event("Known", 60, user="u1"))
    await send(database, tenant, event("Hers", 61), event("Same", 62, user="u1", standing="claimed"), event("Still", 63))
    await send(database, tenant, event("Other", 64, user="u2", standing="claimed"), event("Nobodys", 65))
    assert await counted(database, tenant) == {
        "Before": ANONYMOUS, "Claimed": "u2", "After": ANONYMOUS, "Known": "u1", "Hers": "u1", "Same": "u1", "Still": "u1",
        "Other": "u2", "Nobodys": ANONYMOUS,
    }  # fmt: skip


async def test_a_click_in_a_mail_makes_the_visit_known(database: Database, tenant: Tenant) -> None:
    await apply_records(
        database, tenant, "crm", [canonical_record({"record_id": "7", "email": "ann@lee.org"}, country="GB")], now=NOW
    )
    async with database.transaction(tenant.tenant_id) as connection:
        record_id = await connection.fetchval("select record_id from record")

    def mac(text: str) -> bytes:
        return tenant.keys.blind(CLICK_DOMAIN, text)

    token = click_token(mac, record_id, uuid.uuid4(), NOW - timedelta(days=2))
    page = {"url": f"https://shop.example/offers?a=1&{PARAMETER}={token}", "search": f"?a=1&{PARAMETER}={token}"}
    forged = {"search": f"?{PARAMETER}={token[:-4]}AAAA"}
    await send(
        database,
        tenant,
        event("Landed", 0, standing="claimed", context={"page": page}),
        event("Looked", 4, standing="claimed"),
        event("Next Day", 1_500, standing="claimed"),
        event("Forged", 4_000, standing="claimed", context={"page": forged}),
    )
    assert await counted(database, tenant) == {
        "Landed": "7", "Looked": "7", "Next Day": ANONYMOUS, "Forged": ANONYMOUS,
    }  # fmt: skip
    async with database.transaction(tenant.tenant_id) as connection:
        assert await connection.fetchval("select max(standing) from event") == 0, "a claim stays a claim"


async def test_an_alias_makes_the_visitor_known_and_one_in_a_loop_is_refused(database: Database, tenant: Tenant) -> None:
    await send(database, tenant, event("Viewed", 0))
    alias = parse_event(
        {"type": "alias", "userId": "u1", "previousId": VISITOR, "messageId": "a1",
         "timestamp": (NOW - timedelta(days=40, minutes=-3)).isoformat()},
        received_at=NOW,
    )  # fmt: skip
    await send(database, tenant, alias)
    assert (await counted(database, tenant))["Viewed"] == "u1"
    back = parse_event({"type": "alias", "userId": VISITOR, "previousId": "u1", "messageId": "a2"}, received_at=NOW)
    result = await ingest(database, tenant, SHOP, [back], now=NOW)
    assert [code for _, code, _ in result.rejected] == ["alias_loop"]
    assert (await counted(database, tenant))["Viewed"] == "u1"


async def test_skewed_clocks_are_put_right_before_anything_is_stitched(database: Database, tenant: Tenant) -> None:
    """The page's clock is two hours behind, which its sentAt shows; the server's is right."""

    def from_page(name: str, at: datetime) -> Event:
        wrong = timedelta(hours=2)
        raw = {"event": name, "messageId": name, "anonymousId": VISITOR, "timestamp": (at - wrong).isoformat(),
               "sentAt": (NOW - wrong).isoformat()}  # fmt: skip
        return parse_event(raw, received_at=NOW)

    at = NOW - timedelta(minutes=30)
    signed_in = parse_event(
        {"event": "Signed In", "messageId": "s", "anonymousId": VISITOR, "userId": "u1", "timestamp": at.isoformat()},
        received_at=NOW,
    )
    await send(database, tenant, from_page("Before", at - timedelta(minutes=4)), signed_in)
    await send(
        database, tenant, from_page("Out", at + timedelta(minutes=5)), from_page("Signed Out", at + timedelta(minutes=6))
    )
    await send(database, tenant, from_page("After", at + timedelta(minutes=7)))
    assert await counted(database, tenant) == {
        "Before": "u1", "Signed In": "u1", "Out": "u1", "Signed Out": "u1", "After": ANONYMOUS,
    }  # fmt: skip


async def test_future_dated_and_ten_year_old_events(database: Database, tenant: Tenant) -> None:
    def at(name: str, when: datetime, **raw: Any) -> Event:
        given = {"event": name, "messageId": name, "anonymousId": VISITOR, "timestamp": when.isoformat(), **raw}
        return parse_event(given, received_at=NOW, correct_skew=False)

    old = NOW.replace(year=2016)
    await send(
        database, tenant, at("Viewed", NOW), at("Old Sign In", old, userId="u1"), at("Old", old + timedelta(minutes=1))
    )
    assert await counted(database, tenant) == {"Viewed": ANONYMOUS, "Old Sign In": "u1", "Old": "u1"}
    with pytest.raises(Exception, match="future"):
        at("Too Early", NOW + timedelta(seconds=limits.EVENT_AHEAD_S + 60))
    await send(database, tenant, at("A Little Ahead", NOW + timedelta(minutes=20), userId="u2"))
    assert await counted(database, tenant) == {
        "Viewed": "u2", "Old Sign In": "u1", "Old": "u1", "A Little Ahead": "u2",
    }  # fmt: skip


async def test_a_deleted_record_takes_its_events_and_the_rest_is_told_anew(database: Database, tenant: Tenant) -> None:
    await send(
        database, tenant, event("Known", 0, user="u1"), event("Hers", 1), event("Mistaken", 2, user="u2"), event("His", 3)
    )
    await delete_records(database, tenant, SHOP, ["u2"], now=NOW)
    await send(database, tenant, event("Later", 4))
    while await restitch(database, tenant):
        pass
    assert await counted(database, tenant) == {"Known": "u1", "Hers": "u1", "Later": "u1"}
    await delete_records(database, tenant, SHOP, [ANONYMOUS], now=NOW)
    assert await counted(database, tenant) == {"Known": "u1"}


async def test_a_number_typed_into_a_form_is_a_claim_until_its_caller_is_confirmed(
    database: Database, tenant: Tenant, ring: RingStore
) -> None:
    number = Identifier("phone", "+447911123401")
    records = [
        canonical_record({"record_id": "7", "full_name": "Ann Lee", "phone": number.value}, country="GB"),
        canonical_record({"record_id": "8", "full_name": "Bob Lee", "phone": number.value}, country="GB"),
    ]
    await apply_records(database, tenant, "crm", records, now=NOW)
    await send(
        database, tenant, event("Looked", 0, standing="claimed"),
        event("Form Submitted", 1, standing="claimed", properties={"phone": "07911 123401"}),
        event("Refund Requested", 2, standing="claimed", properties={"order_id": "9"}),
        event("Elsewhere", 3, standing="claimed", visitor="visitor-2"), now=NOW - timedelta(days=40),
    )  # fmt: skip
    read = await ring.read(tenant, [number], None)
    persons = {record.person_id for record in read.records}
    assert len(persons) == 2
    typed_by = {(touch.person_id, touch.name) for touch in read.touches}
    assert typed_by == {(one, name) for one in persons for name in ("Looked", "Form Submitted", "Refund Requested")}
    assert all(touch.claimed and touch.issue_effect == 0 for touch in read.touches), "it proves nothing and opens nothing"
    priors = contact_priors(persons, read.touches, now=NOW - timedelta(days=40))
    assert {prior.facts == {} for prior in priors.values()} == {True}
    assert (await ring.read(tenant, [Identifier("phone", "+447911123402")], None)).touches == ()
    ann = next(record for record in read.records if record.fields["full_name"] == "Ann Lee")
    await typed.confirm(database, tenant, [number], ann.record_id, at=NOW - timedelta(days=39))
    assert await counted(database, tenant) == {
        "Looked": "7", "Form Submitted": "7", "Refund Requested": "7", "Elsewhere": "cookie:visitor-2",
    }  # fmt: skip
    bob = next(record for record in read.records if record.fields["full_name"] == "Bob Lee")
    await typed.confirm(database, tenant, [number], bob.record_id, at=NOW - timedelta(days=39))
    assert (await counted(database, tenant))["Looked"] == "8", "the later word counts"
    await typed.confirm(database, tenant, [number], ann.record_id, at=NOW)
    assert (await counted(database, tenant))["Looked"] == "8", "typed too long ago"


async def test_what_arrives_at_the_same_time_is_stitched_all_the_same(database: Database, tenant: Tenant) -> None:
    events = [event(f"E{number}", number / 2, visitor=f"visitor-{number % 3}") for number in range(45)]
    events += [event(f"S{number}", 3 + number, user=f"u{number}", visitor=f"visitor-{number}") for number in range(3)]
    random.Random(3).shuffle(events)
    await asyncio.gather(*(send(database, tenant, *events[start : start + 4]) for start in range(0, len(events), 4)))
    told = await counted(database, tenant)
    assert told == {f"E{n}": f"u{n % 3}" for n in range(45)} | {f"S{n}": f"u{n}" for n in range(3)}


async def test_what_visitors_type_is_bounded(database: Database, tenant: Tenant) -> None:
    events = [
        event(f"F{number}", number, standing="claimed", properties={"phone": f"+4479111234{number:02}"})
        for number in range(limits.TYPED_PER_VISITOR + 5)
    ]
    then = NOW - timedelta(days=39)
    await send(database, tenant, *events, now=then)
    other = event("Other", 10, standing="claimed", visitor="v2", properties={"email": "ann@lee.org"})
    await send(database, tenant, other, now=then)
    async with database.transaction(tenant.tenant_id) as connection:
        assert await connection.fetchval("select count(*) from typed") == limits.TYPED_PER_VISITOR + 1
    later = event("Newer", 60 * 24 * 39, standing="claimed", visitor="v3", properties={"email": "bob@lee.org"})
    await send(database, tenant, later)
    async with database.transaction(tenant.tenant_id) as connection:
        assert await connection.fetchval("select count(*) from typed") == 1, "what is too old is forgotten"


async def test_a_visitor_who_is_signed_in_is_found_by_the_cookie(
    database: Database, tenant: Tenant, ring: RingStore
) -> None:
    cookie = Identifier("cookie", VISITOR)
    await send(database, tenant, event("Claimed", 0, user="u9", standing="claimed"))
    assert (await ring.read(tenant, [cookie], None)).records == ()
    await send(database, tenant, event("Signed In", 5, user="u1"), event("Viewed", 6))
    records = (await ring.read(tenant, [cookie], None)).records
    assert {record.fields["record_id"]: record.matched for record in records}["u1"] == (cookie,)
    await send(database, tenant, event("Signed Out", 7, user="u1"))
    assert "u1" not in {record.fields["record_id"] for record in (await ring.read(tenant, [cookie], None)).records}


@pytest.mark.parametrize("seed", range(12))
async def test_owners_are_the_same_in_any_order_of_arrival(
    database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, superuser: asyncpg.Connection, seed: int
) -> None:
    """Against the rule on the whole log; with short reaches, so that their bounds are met too."""
    draw = random.Random(seed)
    monkeypatch.setattr(stitch, "REACH", draw.choice((1, 2, 3, 1_000)))
    monkeypatch.setattr(stitch, "LOOK_BACK", draw.choice((1, 2, 20)))
    await apply_records(
        database, tenant, "crm", [canonical_record({"record_id": "7", "email": "ann@lee.org"}, country="GB")], now=NOW
    )
    async with database.transaction(tenant.tenant_id) as connection:
        clicked = await connection.fetchval("select record_id from record")
    token = click_token(lambda text: tenant.keys.blind(CLICK_DOMAIN, text), clicked, uuid.uuid4(), NOW)
    events = []
    minute = 0.0
    for number in range(60):
        minute += draw.choice((0, 0, 1, 10, 29, 30, 31, 60 * 24, 60 * 24 * 15))
        visitor = f"visitor-{draw.randrange(2)}"
        sort = draw.choice(("plain", "plain", "plain", "plain", "known", "claimed", "out", "known out", "click"))
        more: dict[str, Any] = {"visitor": visitor, "message": f"m{number}"}
        if sort in ("known", "claimed", "known out"):
            more["user"] = draw.choice(("u1", "u2"))
        if sort == "claimed":
            more["standing"] = "claimed"
        if sort == "click":
            more["properties"] = {PARAMETER: token}
        events.append(event("Signed Out" if "out" in sort else f"e{number}", minute - 60 * 24 * 200, **more))
    draw.shuffle(events)
    while events:
        size = draw.choice((1, 1, 2, 5, 12))
        await send(database, tenant, *events[:size])
        del events[:size]
    rows = await superuser.fetch("select * from event where tenant_id = $1", tenant.tenant_id)
    logs: dict[bytes, list[Entry]] = {}
    for row in rows:
        mark, anonymous = Mark(row["mark"]), row["came_in"] is not None
        names = row["seen"] or 0 if mark is Mark.SEEN else 0 if anonymous else row["record_id"]
        at = round((row["occurred_at"] - NOW) / timedelta(microseconds=1))
        logs.setdefault(row["visitor"], []).append(Entry(at, row["message_key"], mark, names, anonymous))
    assert len(logs) == 2
    told = {row["message_key"]: row for row in rows if row["came_in"] is not None}
    for log in logs.values():
        for key, owner in stitch.owners(log).items():
            row = told.pop(key)
            assert row["record_id"] == (row["came_in"] if owner is None else owner)
    assert not told
