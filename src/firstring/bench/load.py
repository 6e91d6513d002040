"""Callers over HTTP at a rate of their own: a slow answer does not make the next caller wait with ringing.

Latency counts from the moment at which the call was due, so that what a stall delays is seen (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from firstring.bench.callers import Call
from firstring.bench.http import Client
from firstring.errors import FirstringError

LASTS_S: Final = 0.8
"""How long an agent has a call, 80 of 300 agents are busy at 100 calls a second."""
GIVES_UP_S: Final = 0.5
"""When a caller for whom nobody is free hangs up."""


class LoadReport(msgspec.Struct):
    """Latencies in ms by kind of caller, answers by kind, and what failed."""

    latency_ms: dict[str, list[float]] = {}
    answers: Counter[str] = msgspec.field(default_factory=Counter)
    failed: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def all_ms(self) -> list[float]:
        return [value for values in self.latency_ms.values() for value in values]


async def ring(client: Client, calls: Sequence[Call], *, rate_per_s: float, seed: int, name: str) -> LoadReport:
    """POST /v1/decide for each call at random moments (Poisson), `rate_per_s` on average; each call ends, so that
    its agent is free again. Returns when all are over."""
    rng = random.Random(seed)  # noqa: S311 - reproducible arrivals
    report = LoadReport()
    loop = asyncio.get_running_loop()
    due_s = loop.time() + 0.1
    tasks = []
    for number, call in enumerate(calls):
        due_s += rng.expovariate(rate_per_s)
        pause_s = due_s - loop.time()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        tasks.append(asyncio.create_task(_call(client, call, f"{name}-{number}", due_s, report)))
    await asyncio.gather(*tasks)
    return report


async def _call(client: Client, call: Call, call_id: str, due_s: float, report: LoadReport) -> None:
    loop = asyncio.get_running_loop()
    offer = {"call_id": call_id, "from": call.number or "anonymous", "to": "+18005550100", "deadline_ms": 800}
    try:
        answer = await client.post("/v1/decide", offer)
        report.latency_ms.setdefault(call.kind, []).append((loop.time() - due_s) * 1000.0)
        if answer.status != 200:
            report.failed[f"status_{answer.status}"] += 1
            return
        body = answer.json()
        outcome = "route" if body.get("routes") else "wait" if body.get("wait") else "default"
        report.answers[outcome] += 1
        if outcome == "default":
            report.failed[(body.get("reasons") or ["unknown"])[0]] += 1
            return
        if outcome == "wait":
            await asyncio.sleep(GIVES_UP_S)
            await client.post("/v1/calls/events", {"type": "call.cancelled", "call_id": call_id})
            return
        await asyncio.sleep(LASTS_S)
        told = await client.post("/v1/calls/events", {"type": "call.ended", "call_id": call_id})
        if told.status != 200:
            report.failed[f"event_{told.status}"] += 1
    except (FirstringError, OSError) as error:
        report.failed[getattr(error, "code", type(error).__name__)] += 1
