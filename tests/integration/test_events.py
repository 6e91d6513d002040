"""Events: durable, once each, attached to the right record, and carried along when persons change."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firstring import limits
from firstring.contact import Identifier
from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.journey.events import Event, parse_event
from firstring.journey.issues import open_issues
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import SourceRecord, apply_records, delete_records
from firstring.store.journey.events import IngestResult, ingest
from firstring.store.ring import RingStore

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SHOP = "shop"


def record(record_id: str, **fields: Any) -> SourceRecord:
    return canonical_record({"record_id": record_id, **fields}, country="GB")


def event(name: str, message: str = "", **raw: Any) -> Event:
    given = {"event": name, "timestamp": (NOW - timedelta(hours=1)).isoformat(), **raw}
    if message:
        given["messageId"] = message
    return parse_event(given, received_at=NOW)


async def owners(database: Database, tenant: Tenant) -> dict[str, str]:
    """Name of every event -> the source's id of the record that it belongs to."""
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


async def test_an_event_of_a_known_user_goes_to_their_record_and_changes_nothing_of_it(
    database: Database, tenant: Tenant, ring: RingStore
) -> None:
    await apply_records(database, tenant, SHOP, [record("7", full_name="Ann Lee", email="ann@lee.org")], now=NOW)
    seen = event(
        "Refund Requested", "m1", userId="7", context={"traits": {"phone": "+447911123401"}}, properties={"order_id": 9}
    )
    assert await ingest(database, tenant, SHOP, [seen], now=NOW) == IngestResult(stored=1)
    read = await ring.read(tenant, [Identifier("email", "ann@lee.org")], None)
    (touch,) = read.touches
    assert (touch.name, touch.channel, touch.occurred_at) == ("Refund Requested", "backend", NOW - timedelta(hours=1))
    assert (touch.issue_kind, touch.issue_ref, touch.issue_effect) == ("refund", "9", 1)
    assert [issue.ref for issue in open_issues(read.touches)] == ["9"]
    assert "phone" not in read.records[0].fields, "a public write key must not give a number to somebody's record"


async def test_a_new_user_gets_a_record_that_a_later_import_fills(
    database: Database, tenant: Tenant, ring: RingStore
) -> None:
    seen = [
        event("Signed Up", "m1", userId="8", type="identify", traits={"email": "Bob@Ray.org", "name": "Bob Ray"}),
        event("Product Viewed", "m2", userId="8"),
        event("Order Completed", "m3", userId="bare"),
    ]
    assert (await ingest(database, tenant, SHOP, seen, now=NOW)).stored == 3
    read = await ring.read(tenant, [Identifier("email", "bob@ray.org")], None)
    assert read.records[0].fields["full_name"] == "Bob Ray"
    assert read.records[0].last_seen == NOW - timedelta(hours=1)
    assert {touch.name for touch in read.touches} == {"Identified", "Product Viewed"}
    applied = await apply_records(database, tenant, SHOP, [record("bare", full_name="Cy Orr", email="cy@orr.org")], now=NOW)
    assert applied.updated == 1
    read = await ring.read(tenant, [Identifier("email", "cy@orr.org")], None)
    assert [touch.name for touch in read.touches] == ["Order Completed"]


async def test_the_same_event_never_counts_twice(database: Database, tenant: Tenant) -> None:
    one = event("Order Completed", "m1", userId="7")
    first = await ingest(database, tenant, SHOP, [one, one], now=NOW)
    again = await ingest(database, tenant, SHOP, [one], now=NOW)
    other_source = await ingest(database, tenant, "till", [one], now=NOW)
    assert (first.stored, first.duplicates) == (1, 1)
    assert (again.stored, again.duplicates) == (0, 1)
    assert other_source.stored == 1
    results = await asyncio.gather(
        *(
            ingest(database, tenant, SHOP, [event("Product Viewed", "m2", anonymousId="visitor-1")], now=NOW)
            for _ in range(6)
        )
    )
    assert sorted(result.stored for result in results) == [0, 0, 0, 0, 0, 1]
    async with database.transaction(tenant.tenant_id) as connection:
        assert await connection.fetchval("select count(*) from event") == 3
        assert await connection.fetchval("select count(*) from record") == 3


async def test_an_anonymous_event_goes_to_the_single_person_behind_its_strongest_identifier(
    database: Database, tenant: Tenant
) -> None:
    await apply_records(
        database,
        tenant,
        "crm",
        [
            record("old", full_name="Ann Lee", email="ann@lee.org", last_seen="2020-01-01"),
            record("new", full_name="Ann Lee", email="ann@lee.org", cookie="visitor-1", last_seen="2026-01-01"),
            record("him", full_name="Bob Ray", phone="+447911123402", cookie="shared-pc"),
            record("her", full_name="Cy Orr", phone="+447911123403", cookie="shared-pc"),
        ],
        now=NOW,
    )
    seen = [
        event("By Email", anonymousId="visitor-9", context={"traits": {"email": "ann@lee.org"}}),
        event("By Cookie", anonymousId="visitor-1"),
        event("Of Two People", anonymousId="shared-pc"),
        event("Of Two Again", anonymousId="shared-pc"),
        event("Unknown", anonymousId="visitor-2"),
        event("Unknown Again", anonymousId="visitor-2"),
    ]
    assert (await ingest(database, tenant, SHOP, seen[:5], now=NOW)).stored == 5
    assert (await ingest(database, tenant, SHOP, seen[5:], now=NOW)).stored == 1
    assert await owners(database, tenant) == {
        "By Email": "new",
        "By Cookie": "new",
        "Of Two People": "cookie:shared-pc",
        "Of Two Again": "cookie:shared-pc",
        "Unknown": "cookie:visitor-2",
        "Unknown Again": "cookie:visitor-2",
    }


async def test_a_hot_identifier_attracts_no_events(
    database: Database, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOT_KEY_RECORDS", 2)
    crowd = [record(str(number), full_name="Ann Lee", email="info@lee.org", cookie=f"c{number}-x") for number in range(3)]
    await apply_records(database, tenant, "crm", crowd, now=NOW)
    seen = [
        event("Weaker One", anonymousId="c1-x", context={"traits": {"email": "info@lee.org"}}),
        event("Nobody", anonymousId="visitor-5", context={"traits": {"email": "info@lee.org"}}),
    ]
    await ingest(database, tenant, SHOP, seen, now=NOW)
    assert await owners(database, tenant) == {"Weaker One": "1", "Nobody": "cookie:visitor-5"}


async def test_events_go_with_their_records_through_merge_and_split(
    database: Database, tenant: Tenant, ring: RingStore
) -> None:
    left = record("1", full_name="Ann Lee", phone="+447911123401")
    right = record("2", full_name="Ann Lee", email="ann@lee.org")
    bridge = record("3", full_name="Ann Lee", phone="+447911123401", email="ann@lee.org")
    await apply_records(database, tenant, SHOP, [left, right], now=NOW)
    await ingest(database, tenant, SHOP, [event("Of One", userId="1"), event("Of Two", userId="2")], now=NOW)

    async def touches() -> set[str]:
        return {touch.name for touch in (await ring.read(tenant, [Identifier("phone", "+447911123401")], None)).touches}

    assert await touches() == {"Of One"}
    await apply_records(database, tenant, SHOP, [bridge], now=NOW)
    assert await touches() == {"Of One", "Of Two"}
    await delete_records(database, tenant, SHOP, ["3"], now=NOW)
    assert await touches() == {"Of One"}


async def test_what_cannot_be_attached_or_stored_is_rejected_and_the_rest_is_stored(
    database: Database, tenant: Tenant
) -> None:
    seen = [
        event("Fine", userId="7"),
        event("Nobody Usable", anonymousId="0"),
        event("Long Id", userId="x" * 500),
        event("Huge Number", userId="7", properties={"total": 10**30}),
    ]
    result = await ingest(database, tenant, SHOP, seen, now=NOW)
    assert result.stored == 1
    assert [(index, code) for index, code, _ in result.rejected] == [
        (1, "missing_identity"),
        (2, "record_id_invalid"),
        (3, "malformed_event"),
    ]
    with pytest.raises(BadInput) as too_many:
        await ingest(database, tenant, SHOP, [seen[0]] * (limits.EVENTS_PER_BATCH + 1), now=NOW)
    assert too_many.value.code == "too_many_events"


async def test_a_large_batch_is_stored_in_one_go(database: Database, tenant: Tenant) -> None:
    seen = [
        event("Page Viewed", f"m{number}", anonymousId=f"visitor-{number % 300}")
        for number in range(limits.EVENTS_PER_BATCH)
    ]
    assert (await ingest(database, tenant, SHOP, seen, now=NOW)).stored == limits.EVENTS_PER_BATCH
    async with database.transaction(tenant.tenant_id) as connection:
        assert await connection.fetchval("select count(*) from record") == 300
        sealed = await connection.fetchval("select string_agg(encode(sealed, 'escape'), '') from event")
    assert "Page Viewed" not in sealed
    assert "visitor" not in sealed
