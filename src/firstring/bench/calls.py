"""Real calls through a real Kamailio: from the caller's INVITE to the INVITE that an agent's phone gets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from firstring.bench.callers import Call
from firstring.channels.voice.caller import Caller, place_calls
from firstring.channels.voice.phone import Phone

HOLD_MS = 800


class CallsReport(msgspec.Struct, frozen=True):
    """to_phone_ms: INVITE sent by the caller until an agent's phone saw one. lost: calls that nobody answered."""

    to_phone_ms: list[float]
    default_queue: int
    lost: int


async def through_kamailio(
    uri: str, agents: Phone, queue: Phone, calls: Sequence[Call], *, rate_per_s: float
) -> CallsReport:
    """Places one call from each number, `rate_per_s` a second, evenly spaced; returns when all are over."""
    caller = Caller()
    await caller.start()
    before = set(queue.calls)
    try:
        numbers = [call.number or "anonymous" for call in calls]
        times = await place_calls(caller, [agents, queue], uri, numbers, rate_per_s=rate_per_s, hold_ms=HOLD_MS)
        await asyncio.sleep(0.5)
    finally:
        await caller.stop()
    at_agents = [one.to_phone_ms for one in times if one.call_id in agents.calls and one.to_phone_ms is not None]
    return CallsReport(
        to_phone_ms=at_agents,
        default_queue=len(set(queue.calls) - before),
        lost=sum(one.status != 200 for one in times),
    )
