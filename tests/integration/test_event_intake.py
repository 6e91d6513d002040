"""Events of many callers share transactions, and each caller gets the answer to its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.events_rig import read_events

from firstring import limits
from firstring.errors import BadInput, FirstringError, Retryable
from firstring.journey.events import Event, parse_event
from firstring.ports import SystemClock
from firstring.store.database import Database, Tenant
from firstring.store.journey.events import Incoming, IngestResult
from firstring.store.journey.intake import EventIntake
from firstring.store.journey.rejected import Letter, Refused, rejected_events

NOW = datetime.now(UTC)


def event(message: str, user: str = "u1", **raw: Any) -> Event:
    return parse_event({"event": "Sent", "userId": user, "messageId": message, **raw}, received_at=NOW)


@pytest.fixture
async def intake(database: Database) -> AsyncIterator[EventIntake]:
    made = EventIntake(database, SystemClock(), country="US")
    yield made
    await made.close()


async def test_callers_share_transactions_and_get_their_own_answers(
    database: Database, tenant: Tenant, intake: EventIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = 0
    transaction = Database.transaction

    def counted(self: Database, *arguments: Any, **options: Any) -> Any:
        nonlocal began
        began += arguments[:1] == (tenant.tenant_id,)  # not those of what other tests left running
        return transaction(self, *arguments, **options)

    monkeypatch.setattr(Database, "transaction", counted)
    calls = [intake.store(tenant, Incoming("shop", [event(f"m{number // 2}", f"u{number % 5}")])) for number in range(60)]
    results = await asyncio.gather(*calls)
    assert began <= 6, "sixty callers, a handful of transactions"
    stored = [result.stored for result in results]
    assert (sum(stored), len(stored)) == (30, 60)
    # Two callers with one message id name different users: the second is told so.
    refused = [result.rejected for result in results if result.rejected]
    assert {code for [(_, code, _)] in refused} == {"message_id_reused"}
    assert len(refused) == 30
    assert len(await read_events(database, tenant, "shop")) == 30


async def test_who_comes_in_the_moment_in_which_all_transactions_end_is_stored(
    tenant: Tenant, intake: EventIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may count on a task that has ended, though the loop has not noted it yet."""
    held: list[asyncio.Future[None]] = []

    async def stored(*_: Any, **__: Any) -> list[IngestResult]:
        if len(held) < 2:
            held.append(asyncio.get_running_loop().create_future())
            await held[-1]
        return [IngestResult(1, 0)]

    monkeypatch.setattr("firstring.store.journey.intake.ingest_ready", stored)
    first = []
    for number in range(2):
        first.append(asyncio.create_task(intake.store(tenant, Incoming("shop", [event(f"h{number}")]))))
        while len(held) <= number:
            await asyncio.sleep(0)
    for one in held:
        one.set_result(None)
    last = asyncio.create_task(intake.store(tenant, Incoming("shop", [event("last")])))
    async with asyncio.timeout(5):
        assert [(await one).stored for one in (*first, last)] == [1, 1, 1]


async def test_nobody_fails_for_what_another_one_sent(database: Database, tenant: Tenant, intake: EventIntake) -> None:
    good = [intake.store(tenant, Incoming("shop", [event(f"m{number}")])) for number in range(3)]
    bad = intake.store(tenant, Incoming("a\0b", [event("m-bad")]))
    *fine, failed = await asyncio.gather(*good, bad, return_exceptions=True)
    assert [one.stored for one in fine if not isinstance(one, BaseException)] == [1, 1, 1]
    assert isinstance(failed, FirstringError)


async def test_more_than_can_wait_is_told_to_come_again(
    tenant: Tenant, intake: EventIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENTS_WAITING", 3)
    calls = [intake.store(tenant, Incoming("shop", [event(f"m{number}")])) for number in range(6)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    told = [one for one in results if isinstance(one, Retryable)]
    assert {one.code for one in told} == {"events_waiting"}
    assert len(told) == 3
    await intake.close()
    with pytest.raises(Retryable) as caught:
        await intake.store(tenant, Incoming("shop", [event("late")]))
    assert caught.value.code == "stopping"


async def test_the_oldest_refused_events_are_forgotten(
    database: Database, tenant: Tenant, intake: EventIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REJECTED_KEPT", 2)
    monkeypatch.setattr(limits, "REJECTED_BYTES", 200)
    monkeypatch.setattr("firstring.store.journey.rejected._FORGOTTEN_EVERY_S", 0.0)
    cause = BadInput("missing_name", "The event has no name.", where={"field": "event"})
    for number in range(4):
        letter = Letter("segment", {"userId": f"u{number}", "note": "x" * (300 if number == 3 else 0)}, {}, "claimed", 7)
        await intake.store(tenant, Incoming("shop", [], [], [Refused(0, letter, cause)]))
    kept = await rejected_events(database, tenant)
    assert [one.event and one.event["userId"] for one in kept] == ["u2", None]
    assert {(one.code, one.field, one.standing, one.token_id) for one in kept} == {("missing_name", "event", "claimed", 7)}
