"""Priors of who rings, fitted to what agents said of the store's own contacts, and used by the programs that run."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from rich.console import Console

from firstring.bulk.versions.fitting import fit_rings, known_outcomes, say_fit, use_named
from firstring.contact import Contact, Decision, Evidence, Identifier
from firstring.decide import Decider, Models, differences, rederive
from firstring.errors import BadInput
from firstring.identity.caller.weights import DEFAULT
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import SystemClock, SystemIds
from firstring.routing.declared.policy import RoutingPolicy
from firstring.store.database import Database, Tenant
from firstring.store.identity.records import SourceRecord, apply_records
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.store.weighing import weights_named, weights_of, weights_watcher
from firstring.trust.score import DEFAULT_PRIORS

pytestmark = pytest.mark.asyncio(loop_scope="session")
ANN, COUPLE = "+12025550141", "+12025550142"
MODELS = Models(DEFAULT, DEFAULT_PRIORS, BUILT_IN, RoutingPolicy())


async def people(database: Database, tenant: Tenant) -> None:
    rows = [("1", "Ann", "Young", [ANN]), ("2", "Joe", "Smith", [COUPLE]), ("3", "Zoe", "Smith", [COUPLE])]
    records = [
        SourceRecord(key, {"given_name": given, "family_name": family, "phone": phones})
        for key, given, family, phones in rows
    ]
    await apply_records(database, tenant, "crm", records, now=datetime.now(UTC))


async def rings(decider: Decider, tenant: Tenant, number: str, says: str | None) -> Decision:
    """A call, after which the agent says who it is: a given name on file, "" for nobody of them, None for nothing."""
    contact_id = SystemIds().new()
    evidence = Evidence((Identifier("phone", number),), {}, caller_number="shown")
    contact = Contact(contact_id, "voice", datetime.now(UTC), contact_id.hex)
    decision = await decider.offered(tenant, contact, evidence)
    if says is None:
        return decision
    candidates = decision.derived.resolution.candidates
    changes: dict[str, Any] = {"ruled_out": tuple(one.person_id for one in candidates)}
    if says:
        changes = {"confirmed_person": next(one.person_id for one in candidates if one.profile["given_name"] == says)}
    again = await decider.again(
        tenant, contact_id, "confirmed", change=lambda known: msgspec.structs.replace(known, **changes)
    )
    assert again is not None
    return decision


async def test_priors_are_fitted_to_what_agents_said_and_used_by_whoever_runs(
    database: Database, tenant: Tenant, notices: Notices
) -> None:
    ring = RingStore(database, notices)
    decider = Decider(ring, MODELS, SystemClock(), SystemIds(), Metrics(), weights_of)
    await people(database, tenant)
    for number in range(30):
        await rings(decider, tenant, ANN, "Ann")
        # In this town a third one, who is on no file, uses the couple's telephone half of the time.
        await rings(decider, tenant, COUPLE, ("Joe", "", "Zoe", "")[number % 4])
        await rings(decider, tenant, COUPLE, None)
    async with database.transaction(tenant.tenant_id) as connection:
        outcomes = await known_outcomes(connection, tenant, 1_000)
        assert len(await known_outcomes(connection, tenant, 10)) == 10
    assert len(outcomes) == 60
    assert [one.truth for one in outcomes].count("nobody") == 15
    assert [one.at for one in outcomes] == sorted(one.at for one in outcomes)

    before = await rings(decider, tenant, COUPLE, None)
    now = datetime.now(UTC)
    shown = await fit_rings(database, tenant, yes=False, at_most=1_000, now=now)
    assert shown.better
    assert shown.priors["unlisted_relative"] > 2 * DEFAULT["unlisted_relative"]
    assert (shown.outcomes, shown.nobody, shown.fitted_to, shown.checked_on) == (60, 15, 42, 18)
    assert weights_of(tenant) is DEFAULT, "a report changes nothing"

    watcher = weights_watcher(database)
    notices.subscribe(watcher.heard)
    await notices.start()
    await watcher.start()
    try:
        taken = await fit_rings(database, tenant, yes=True, at_most=1_000, now=now)
        assert taken.version == shown.version
        for _ in range(500):
            if weights_of(tenant).version == taken.version:
                break
            await asyncio.sleep(0.02)
        after = await rings(decider, tenant, COUPLE, None)
    finally:
        await watcher.stop()
        await notices.stop()
    assert after.derived.versions.identity == taken.version
    found = after.derived.resolution
    assert found.basis == "fitted", "18 contacts show nothing to be calibrated"
    assert "newer ones did not show it" in found.reasons[0].text
    assert found.another_in_household > before.derived.resolution.another_in_household + 0.1

    for decision in (before, after):
        async with database.transaction(tenant.tenant_id) as connection:
            weights = await weights_named(connection, tenant, decision.derived.versions.identity)
        assert weights is not None
        profiles = await ring.profiles(tenant, decision.read.agents)
        models = msgspec.structs.replace(MODELS, weights=weights)
        assert differences(decision.derived, rederive(decision, profiles, models)) == []

    out = io.StringIO()
    say_fit(Console(file=out, width=160), taken)
    assert "60 contacts" in out.getvalue()
    assert "not shown to be calibrated" in out.getvalue()
    await use_named(database, tenant, now=now)
    await fit_rings(database, tenant, yes=False, at_most=1_000, now=now)
    assert weights_of(tenant).version == DEFAULT.version


async def test_a_handful_of_contacts_teaches_nothing(database: Database, tenant: Tenant, notices: Notices) -> None:
    decider = Decider(RingStore(database, notices), MODELS, SystemClock(), SystemIds(), Metrics(), weights_of)
    await people(database, tenant)
    await rings(decider, tenant, ANN, "Ann")
    with pytest.raises(BadInput) as refused:
        await fit_rings(database, tenant, yes=True, at_most=100, now=datetime.now(UTC))
    assert refused.value.code == "too_few_outcomes"
