"""Profiles and timelines out of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.identity.golden.rules import DEFAULT as DEFAULT_RULES
from firstring.journey.events import Event, parse_event
from firstring.journey.events.canonical import Standing
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import apply_records, delete_records
from firstring.store.journey.events import ingest
from firstring.store.journey.profiles import Profile, Timeline, read_profile, read_timeline

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SHOP = "shop"


def event(name: str, days_ago: float, *, standing: Standing = "reported", **raw: Any) -> Event:
    at = (NOW - timedelta(days=days_ago)).isoformat()
    given = {"event": name, "messageId": f"{name} {days_ago} {raw}", "timestamp": at, **raw}
    return parse_event(given, received_at=NOW, standing=standing, correct_skew=False)


async def person_of(database: Database, tenant: Tenant, source: str, record_id: str) -> int:
    async with database.transaction(tenant.tenant_id) as connection:
        return await connection.fetchval(  # type: ignore[no-any-return]
            "select person_id from record where tenant_id = $1 and external_key = $2",
            tenant.tenant_id, tenant.keys.blind(f"record:{source}", record_id),
        )  # fmt: skip


async def profile(database: Database, tenant: Tenant, person_id: int, **more: Any) -> Profile:
    return await read_profile(database, tenant, person_id, now=NOW, rules=DEFAULT_RULES, **more)


async def put(database: Database, tenant: Tenant, source: str, record_id: str, **fields: Any) -> None:
    record = canonical_record({"record_id": record_id, **fields}, country="GB")
    await apply_records(database, tenant, source, [record], now=NOW - timedelta(days=300))


async def names(database: Database, tenant: Tenant, person_id: int, **more: Any) -> list[str]:
    found: list[str] = []
    before = None
    while True:
        page: Timeline = await read_timeline(database, tenant, person_id, before=before, **more)
        found += [one.name for one in page.happened]
        before = page.before
        if before is None:
            return found


async def test_a_profile_across_channels(database: Database, tenant: Tenant) -> None:
    await put(
        database, tenant, "crm", "7", full_name="Ann Lee", email="ann@lee.org", phone="+447911123401",
        consent_marketing_email="yes", last_seen="2026-01-01",
    )  # fmt: skip
    await put(database, tenant, SHOP, "u7", full_name="Ann Lee", phone="+447911123401", last_seen="2026-02-01")
    await put(database, tenant, SHOP, "u8", full_name="Ben Lee", phone="+447911123401", last_seen="2026-02-01")
    seen = [
        event("Order Completed", 40, userId="u7", properties={"order_id": "1", "total": 80, "currency": "GBP"}),
        event("Refund Requested", 3, userId="u7", properties={"order_id": "1"}),
        event("Order Completed", 9, userId="u7", properties={"total": 999}, standing="claimed"),
        event("Consent Withdrawn", 2, userId="u7", properties={"channel": "email", "purpose": "marketing"}),
        event("Page Viewed", 1, userId="u7", context={"timezone": "Europe/London", "page": {"path": "/"}, "gpc": True}),
        event("Call Ended", 5, userId="u7"),
    ]
    await ingest(database, tenant, SHOP, seen, now=NOW, country="GB")
    ann = await person_of(database, tenant, "crm", "7")
    assert ann == await person_of(database, tenant, SHOP, "u7")
    found = await profile(database, tenant, ann)
    assert found.attributes.fields["email"].values[0].said_by[0].source == "crm"
    assert found.traits.value("value") == {"GBP": 80.0}
    assert found.traits.value("visits_30d") == 3
    assert [(issue.kind, issue.ref) for issue in found.issues] == [("refund", "1")]
    assert found.consents.given("marketing", "email") is False
    assert found.consents.given("sharing", "web") is False
    assert found.consents.given("marketing", "voice") is None
    assert (found.counts.claimed, found.counts.more) == (1, False)
    assert found.zone == "Europe/London"
    assert found.experience is not None
    ben = await person_of(database, tenant, SHOP, "u8")
    assert [(one.person_id, one.shared) for one in found.household] == [(ben, ("phone",))]
    assert (await profile(database, tenant, ben)).traits.traits == ()


async def test_as_of_a_past_moment(database: Database, tenant: Tenant) -> None:
    await put(database, tenant, SHOP, "u1", full_name="Ann Lee", email="ann@lee.org")
    await ingest(
        database, tenant, SHOP,
        [event("Order Completed", 100, userId="u1", properties={"total": 5, "currency": "EUR"}),
         event("Order Completed", 10, userId="u1", properties={"total": 7, "currency": "EUR"})],
        now=NOW,
    )  # fmt: skip
    person = await person_of(database, tenant, SHOP, "u1")
    then = NOW - timedelta(days=50)
    assert (await profile(database, tenant, person)).traits.value("value") == {"EUR": 12.0}
    past = await profile(database, tenant, person, at=then)
    assert (past.at, past.traits.value("value")) == (then, {"EUR": 5.0})
    assert await names(database, tenant, person, at=then) == ["Order Completed"]
    with pytest.raises(BadInput) as early:
        await profile(database, tenant, person, at=NOW - timedelta(days=400))
    assert early.value.code == "person_not_yet"


async def test_a_timeline_is_paged_and_filtered(database: Database, tenant: Tenant) -> None:
    await put(database, tenant, SHOP, "u1", full_name="Ann Lee", phone="+447911123401")
    await put(database, tenant, "till", "t1", full_name="Ann Lee", phone="+447911123401")
    seen = [event(f"E{number}", number // 3, userId="u1") for number in range(20)]
    await ingest(database, tenant, SHOP, seen, now=NOW)
    await ingest(database, tenant, "till", [event(f"T{number}", number // 3, userId="t1") for number in range(20)], now=NOW)
    await ingest(database, tenant, SHOP, [event("Call Ended", 2.5, userId="u1")], now=NOW)
    person = await person_of(database, tenant, SHOP, "u1")
    whole = await names(database, tenant, person, limit=200)
    assert len(whole) == 41
    assert set(whole) == {f"{sort}{number}" for sort in "ET" for number in range(20)} | {"Call Ended"}
    for limit in (1, 3, 7):
        assert await names(database, tenant, person, limit=limit) == whole
    assert await names(database, tenant, person, channel="voice") == ["Call Ended"]
    with pytest.raises(BadInput):
        await read_timeline(database, tenant, person, before="nonsense")
    with pytest.raises(BadInput) as nobody:
        await read_timeline(database, tenant, 10**12)
    assert nobody.value.code == "unknown_person"


async def test_an_unmerge_leaves_no_trace_in_the_profile(database: Database, tenant: Tenant) -> None:
    """What un-merging gives equals what never merging would have given: profile, timeline, visitors' events and all."""
    await put(database, tenant, SHOP, "u1", full_name="Ann Lee", phone="+447911123401", last_seen="2026-01-01")
    await put(database, tenant, SHOP, "u2", full_name="Ann Lee", email="ann@lee.org", last_seen="2026-01-02")
    for user, visitor in (("u1", "v-one"), ("u2", "v-two")):
        await ingest(
            database, tenant, SHOP,
            [event("Page Viewed", 3.01, anonymousId=visitor), event("Signed In", 3, userId=user, anonymousId=visitor),
             event("Order Completed", 2.99, anonymousId=visitor, properties={"total": 9, "currency": "EUR"})],
            now=NOW,
        )  # fmt: skip
    one, two = [await person_of(database, tenant, SHOP, user) for user in ("u1", "u2")]
    before = [await profile(database, tenant, person) for person in (one, two)]
    assert before[0].traits.value("value") == {"EUR": 9.0}
    await put(database, tenant, "crm", "both", full_name="Ann Lee", phone="+447911123401", email="ann@lee.org")
    joined = await person_of(database, tenant, SHOP, "u1")
    assert joined == await person_of(database, tenant, SHOP, "u2")
    assert (await profile(database, tenant, joined)).traits.value("value") == {"EUR": 18.0}
    gone = two if joined == one else one
    assert (await profile(database, tenant, gone)).person_id == joined, "a merged id leads to the living person"
    await ingest(database, tenant, SHOP, [event("Late", 2.995, anonymousId="v-two")], now=NOW)
    await delete_records(database, tenant, "crm", ["both"], now=NOW)
    after = [await person_of(database, tenant, SHOP, user) for user in ("u1", "u2")]
    assert after[0] != after[1]
    assert await names(database, tenant, after[1]) == ["Order Completed", "Late", "Signed In", "Page Viewed"]
    assert (await profile(database, tenant, after[0])).traits == before[0].traits


async def test_somebody_elses_address_joins_nobody_and_is_shown(database: Database, tenant: Tenant) -> None:
    await put(database, tenant, "crm", "7", full_name="Ann Lee", email="ann@lee.org", verified_at="2025-12-01")
    ann = await person_of(database, tenant, "crm", "7")
    for standing in ("claimed", "signed"):
        identify = event(
            "x", 1, type="identify", userId="mallory", anonymousId="visitor-6", traits={"email": "Ann@Lee.org"},
            standing=standing, message=standing,
        )  # fmt: skip
        await ingest(database, tenant, SHOP, [identify], now=NOW)
    await ingest(
        database, tenant, SHOP,
        [event("Form Submitted", 0.9, anonymousId="visitor-6", properties={"email": "ann@lee.org"}, standing="claimed")],
        now=NOW,
    )  # fmt: skip
    mallory = await person_of(database, tenant, SHOP, "mallory")
    assert mallory != ann
    found = await profile(database, tenant, mallory)
    assert "email" not in found.attributes.fields
    (doubt,) = found.doubts
    assert (doubt.code, doubt.kind, doubt.person_id) == ("typed_of_another", "email", ann)
    assert doubt.text == (
        f"A visitor who is counted here typed an e-mail address of person {ann}, verified on 2025-12-01. It joined nobody."
    )
    assert await names(database, tenant, ann) == []
