"""The hygiene job: bounded steps that go on after a restart; today's canonical form; what faded, expired and conflicts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firstring.contact import RecordRead
from firstring.identity.canonical import record as canonical
from firstring.identity.canonical.record import CanonicalRecord, canonical_record
from firstring.identity.canonical.text import Refused
from firstring.identity.golden.rules import DEFAULT, Rules, rules_of
from firstring.store.database import Database, Tenant
from firstring.store.identity.conflicts import open_conflicts
from firstring.store.identity.hygiene import SWEEP_EVERY, Hygiene, last_finished, renormalised, stale_persons, under_way
from firstring.store.identity.records import apply_records, delete_records


class Hours:
    """A clock that is set."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)
        self.s = 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic_s(self) -> float:
        return self.s


def row(record_id: str, **fields: Any) -> CanonicalRecord:
    return canonical_record({"record_id": record_id, **fields}, country="US")


class Rig:
    def __init__(self, database: Database, tenant: Tenant) -> None:
        self.database = database
        self.tenant = tenant
        self.clock = Hours()

    def hygiene(self, rules: Rules = DEFAULT, per_s: int = 2) -> Hygiene:
        """A new one, as after a restart."""
        return Hygiene(self.database, self.clock, rules, country="US", per_s=per_s)

    async def put(self, *records: CanonicalRecord) -> None:
        await apply_records(self.database, self.tenant, "crm", records, now=self.clock.now())

    async def conflicts(self) -> list[str]:
        return [one.field for one in await open_conflicts(self.database, self.tenant, DEFAULT, self.clock.now())]


@pytest.fixture
def rig(database: Database, tenant: Tenant) -> Rig:
    return Rig(database, tenant)


def people(count: int, **fields: Any) -> list[CanonicalRecord]:
    return [
        row(str(one), given_name=f"Ann{one}", family_name="Lee", email=f"a{one}@lee.org", **fields) for one in range(count)
    ]


async def test_a_sweep_goes_on_where_it_was_and_reports(rig: Rig) -> None:
    old = (rig.clock.now() - timedelta(days=9_000)).isoformat()
    fresh = rig.clock.now().isoformat()
    await rig.put(*people(5, phone=["+12025550101"], last_seen=fresh))
    await rig.put(row("old", given_name="Bob", family_name="Ray", phone=["+12025550109"], last_seen=old))
    for _ in range(2):  # each step another program
        assert await rig.hygiene().step(rig.tenant, 2)
    running = await under_way(rig.database, rig.tenant)
    assert running is not None
    assert (running.report.persons, running.finished_at) == (4, None)
    assert await rig.hygiene().step(rig.tenant, 2)
    assert not await rig.hygiene().step(rig.tenant, 2)
    assert await under_way(rig.database, rig.tenant) is None
    done = await last_finished(rig.database, rig.tenant)
    assert done is not None
    report = done.report
    assert (report.persons, report.records, report.normalised, report.ask_again) == (6, 6, 0, 1)
    phone = report.fields["phone"]
    assert (phone.persons, phone.values, phone.expired, phone.faded) == (6, 6, 1, 1)
    assert report.stale_share("phone") == pytest.approx(1 / 6)
    assert report.stale_share("no such field") == 0.0
    [stale] = await stale_persons(rig.database, rig.tenant)
    assert "phone" in stale.fields
    assert not await rig.hygiene().step(rig.tenant, 2), "the next sweep is not due"
    rig.clock.moment += SWEEP_EVERY
    assert await rig.hygiene().step(rig.tenant, 2)
    other = rules_of({"numbers": {"verified_days": 10}})
    assert (await rig.hygiene().once(rig.tenant)).sweep_id > done.sweep_id
    assert await rig.hygiene(other).step(rig.tenant, 2), "other rules: another sweep"


async def test_a_changed_normaliser_changes_the_records_and_links_them_anew(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts written with a prefix are the same as those without it, from today on: two persons become one."""
    await rig.put(
        row("1", given_name="Ann", family_name="Lee", account="DE-4711"),
        row("2", given_name="Ann", family_name="Lee", account="4711"),
        row("3", given_name="Cid", family_name="Ray", account="99", tier="DE1"),
    )
    hygiene = rig.hygiene()
    done = await hygiene.once(rig.tenant)
    assert (done.report.persons, done.report.normalised) == (3, 0)
    before = canonical._FORMS["number_id"]

    def today(text: str, country: str) -> str | Refused:
        value = before(text, country)
        return value.removeprefix("DE") if isinstance(value, str) else value

    monkeypatch.setitem(canonical._FORMS, "number_id", today)
    done = await hygiene.once(rig.tenant)
    assert done.report.normalised == 1
    done = await hygiene.once(rig.tenant)
    assert (done.report.persons, done.report.records, done.report.normalised) == (2, 3, 0)
    assert await hygiene.look_at_changes(rig.tenant) == 0


async def test_changes_are_looked_at_at_once(rig: Rig) -> None:
    email = "ann@lee.org"
    await rig.put(row("1", given_name="Ann", family_name="Lee", email=email, birth_date="1970-05-06"))
    hygiene = rig.hygiene()
    assert await hygiene.look_at_changes(rig.tenant) == 0
    await hygiene.once(rig.tenant)
    assert await hygiene.look_at_changes(rig.tenant) == 0
    await rig.put(row("2", given_name="Ann", family_name="Lee", email=email, birth_date="1970-06-05"))
    assert await rig.conflicts() == []
    assert await hygiene.look_at_changes(rig.tenant) == 1
    assert await rig.conflicts() == ["birth_date"]
    await delete_records(rig.database, rig.tenant, "crm", ["2"], now=rig.clock.now())
    assert await hygiene.look_at_changes(rig.tenant) == 1
    assert await rig.conflicts() == []
    async with rig.database.transaction(rig.tenant.tenant_id) as connection:
        assert await connection.fetchval("select state from field_conflict") == "gone"


async def test_the_background_job_is_slow_on_purpose(rig: Rig) -> None:
    await rig.put(*people(5))
    hygiene = rig.hygiene(per_s=2)
    for _ in range(10):
        await hygiene.chore(rig.tenant)
    running = await under_way(rig.database, rig.tenant)
    assert running is not None
    assert running.report.persons == 2
    for _ in range(3):
        rig.clock.s += 1.0
        await hygiene.chore(rig.tenant)
    done = await last_finished(rig.database, rig.tenant)
    assert done is not None
    assert done.report.persons == 5
    await rig.hygiene(per_s=0).chore(rig.tenant)


async def test_two_programs_do_not_count_twice(rig: Rig) -> None:
    await rig.put(*people(4))
    one, two = rig.hygiene(), rig.hygiene()
    await one.step(rig.tenant, 2)
    stale_view = two._newest

    async def as_it_was(tenant: Tenant) -> Any:
        return seen

    seen = await stale_view(rig.tenant)
    two._newest = as_it_was  # type: ignore[method-assign]
    await one.step(rig.tenant, 2)
    assert await two.step(rig.tenant, 2), "it looks again"
    while await one.step(rig.tenant, 2):
        pass
    done = await last_finished(rig.database, rig.tenant)
    assert done is not None
    assert done.report.persons == 4


def test_a_record_in_todays_form_stays_as_it_is() -> None:
    raw = {
        "record_id": "7", "full_name": "Ånn  Lee", "phone": "+1 202 555 0101; 202-555-0102", "email": "A@Lee.org",
        "birth_date": "06.05.1970", "country": "us", "plan": 3, "pet": "cat", "social_x": "@ann", "last_seen": "2026-01-01",
        "national_id": "12 34 56-7", "postcode": "sw1a 1aa", "note": "two\nlines", "ip": "8.8.8.8",
    }  # fmt: skip
    stored = {**canonical_record(raw, country="GB").fields, "record_id": "7"}
    assert renormalised(RecordRead(1, 1, 1, "crm", stored), "GB") is None
    assert renormalised(RecordRead(1, 1, 1, "events", {"record_id": "u", "last_seen": "2026-01-01T00:00:00Z"}), "GB") is None
    assert renormalised(RecordRead(1, 1, 1, "crm", {}), "GB") is None
    traced = canonical_record({**raw, "birth_date": "1970-13-45"}, country="GB")
    assert traced.dropped
    assert renormalised(RecordRead(1, 1, 1, "crm", {**traced.fields, "record_id": "7"}), "GB") is None
    older = {**stored, "given_name": "Ann", "family_name": "  Lee"}
    renewed = renormalised(RecordRead(1, 1, 1, "crm", older), "GB")
    assert renewed is not None
    assert renewed.fields["family_name"] == "Lee"
