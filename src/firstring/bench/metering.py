"""What something takes: its time, its processor time, its memory; many callers at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from firstring import limits
from firstring.bench import programs

T = TypeVar("T")
CALLERS: Final = 64


class Meter(NamedTuple):
    """Processor time of processes from a moment on, and what nobody used of the machine's."""

    pids: Sequence[int]
    began_s: float
    used_s: float
    idle_s: float

    @classmethod
    def of(cls, pids: Sequence[int]) -> Meter:
        return cls(pids, time.perf_counter(), programs.processor_s(pids), programs.machine_idle_s())

    def told(self, count: int) -> str:
        """Processor time for each of `count`, and how many cores others used meanwhile: they slow what is measured."""
        used_s = programs.processor_s(self.pids) - self.used_s
        took_s = time.perf_counter() - self.began_s
        others = (os.cpu_count() or 1) - (programs.machine_idle_s() - self.idle_s + used_s) / took_s
        return f"{used_s / count * 1_000:.2f} ms of processor time each, others used {max(0.0, others):.1f} cores"


async def by_callers(one: Callable[[int], Awaitable[None]], count: int) -> tuple[float, list[float]]:
    """(seconds, latencies in ms) of `one` for each place, CALLERS at a time, each the next as soon as it has its answer."""
    places, latency_ms = iter(range(count)), []

    async def caller() -> None:
        for place in places:
            spent, _ = await timed(one(place))
            latency_ms.append(spent)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return time.perf_counter() - began, latency_ms


async def timed(doing: Awaitable[T]) -> tuple[float, T]:
    """(milliseconds, what it came to)."""
    began = time.perf_counter()
    done = await doing
    return (time.perf_counter() - began) * 1_000, done


def batches(all_of: Sequence[T], size: int = limits.IMPORT_BATCH_RECORDS) -> Iterator[Sequence[T]]:
    return (all_of[start : start + size] for start in range(0, len(all_of), size))


def now() -> datetime:
    return datetime.now(UTC)


def costs(took_s: float, memory_mb: float) -> str:
    return f"{took_s:,.1f} s, largest process {memory_mb:,.0f} MB"


def largest_mb(pid: int) -> float:
    """Of a program and its children; 0 where it is over."""
    largest = 0.0
    with contextlib.suppress(OSError, ValueError):
        for one in (pid, *programs.children_of(pid)):
            largest = max(largest, programs.resident_mb(one))
    return largest
