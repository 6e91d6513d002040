"""One browser's stream: bounded, whole at first, told when handed over; failed sign-ins within bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from firstring.desk.signin import FailedSignIns
from firstring.desk.streams import Stream, message
from firstring.errors import BadInput


async def nothing() -> bytes | None:
    return None


async def begun(stream: Stream) -> AsyncIterator[bytes]:
    """The stream after its first words: the pause before a reconnect, and the whole state."""
    messages = stream.messages(nothing, beat_s=60)
    assert (await anext(messages)).startswith(b"retry:")
    assert await anext(messages) == message("state", "whole")
    return messages


def new_stream(backlog: int = 3) -> Stream:
    return Stream(lambda: message("state", "whole"), backlog=backlog)


async def test_messages_come_in_order_and_are_told_when_handed_over() -> None:
    stream = new_stream()
    before = stream.put(b"part of the whole")
    messages = await begun(stream)
    first, second = stream.put(b"1"), stream.put(b"2")
    assert not before.done()
    assert await anext(messages) == b"1"
    assert before.done()
    assert not first.done()
    assert await anext(messages) == b"2"
    assert first.done()
    assert not second.done()
    await messages.aclose()  # type: ignore[attr-defined]
    assert second.cancelled()
    assert stream.put(b"3").cancelled()


async def test_a_reader_that_never_reads_costs_nothing() -> None:
    stream = new_stream(backlog=3)
    told = {id(stream.put(b"%d" % number)) for number in range(1_000)}
    assert len(told) <= 5
    assert len(stream._waiting_for_whole) <= 4


async def test_a_slow_reader_gets_the_whole_anew() -> None:
    stream = new_stream(backlog=3)
    messages = await begun(stream)
    waiting = [stream.put(b"%d" % number) for number in range(50)]
    assert await anext(messages) == message("state", "whole")
    after = stream.put(b"after")
    assert await anext(messages) == b"after"
    assert all(one.done() and not one.cancelled() for one in waiting)
    stream.close()
    with pytest.raises(StopAsyncIteration):
        await anext(messages)
    assert after.done()


async def test_a_beat_asks_whether_the_sign_in_holds() -> None:
    answers = [None, message("signed_out", None)]

    async def alive() -> bytes | None:
        return answers.pop(0)

    messages = new_stream().messages(alive, beat_s=0.01)
    said = [line async for line in messages]
    assert said[2:] == [message("beat", None), message("signed_out", None)]


async def test_closing_wakes_a_waiting_stream() -> None:
    stream = new_stream()
    messages = await begun(stream)
    waiting = asyncio.ensure_future(anext(messages, b"end"))
    await asyncio.sleep(0)
    stream.close()
    async with asyncio.timeout(5):
        assert await waiting == b"end"


def test_no_data_can_leave_its_line() -> None:
    made = message("card", {"pop": "a\nevent: gone\r\ndata: x\u2028"})
    assert made.count(b"\n") == 3
    assert json.loads(made.split(b"\n")[1].removeprefix(b"data: "))["pop"] == "a\nevent: gone\r\ndata: x\u2028"


class Standing:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_s = 1_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at_s, UTC)

    def monotonic_s(self) -> float:
        return self.at_s


def test_failed_sign_ins_are_counted_forgotten_and_bounded() -> None:
    clock = Standing()
    failures = FailedSignIns(clock)
    for _ in range(FailedSignIns.ATTEMPTS):
        failures.begin("main", " ANN ", "192.0.2.1")
    with pytest.raises(BadInput) as refused:
        failures.begin("main", "ann", "192.0.2.1")
    assert (refused.value.code, refused.value.status) == ("too_many_attempts", 429)
    failures.begin("main", "ann", "192.0.2.2")  # whoever guesses elsewhere does not lock Ann out
    failures.begin("other", "ann", "192.0.2.1")
    clock.at_s += FailedSignIns.FORGOTTEN_S
    failures.begin("main", "ann", "192.0.2.1")
    for number in range(3 * FailedSignIns.KEPT):
        failures.begin("main", f"login-{number}", f"address-{number}")
    assert len(failures._counts) <= FailedSignIns.KEPT


def test_one_address_with_many_logins_is_slowed_down() -> None:
    failures = FailedSignIns(Standing())
    for number in range(FailedSignIns.ATTEMPTS_OF_ADDRESS):
        failures.begin("main", f"login-{number}", "192.0.2.1")
    with pytest.raises(BadInput):
        failures.begin("main", "somebody", "192.0.2.1")


def test_a_success_forgets_the_failures_of_the_login() -> None:
    failures = FailedSignIns(Standing())
    for _ in range(FailedSignIns.ATTEMPTS - 1):
        failures.begin("main", "ann", "192.0.2.1")
    failures.succeeded("main", "ann", "192.0.2.1")
    for _ in range(3 * FailedSignIns.ATTEMPTS_OF_ADDRESS):  # nor do those who know their password use up their address
        failures.begin("main", "ann", "192.0.2.1")
        failures.succeeded("main", "ann", "192.0.2.1")
