"""What the domain may ask of the world: the time, new ids, chance. Nothing in the domain calls time or random itself."""

from __future__ import annotations

import os
import random
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: `now` for what is stored (UTC, may jump), `monotonic_s` for measuring durations (never jumps)."""

    def now(self) -> datetime: ...

    def monotonic_s(self) -> float: ...


class Ids(Protocol):
    """New unique ids. Time-ordered UUIDs (RFC 9562, version 7), so that indexes stay compact."""

    def new(self) -> uuid.UUID: ...


class Random(Protocol):
    """Chance, so that a seed replays any choice."""

    def random(self) -> float: ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


class SystemIds:
    """UUID version 7 from the machine's clock and its random source."""

    def new(self) -> uuid.UUID:
        milliseconds = time.time_ns() // 1_000_000
        value = (milliseconds & ((1 << 48) - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
        value = (value & ~(0xF << 76)) | (0x7 << 76)
        value = (value & ~(0x3 << 62)) | (0x2 << 62)
        return uuid.UUID(int=value)


class SystemRandom:
    """Chance from the machine; `seed` makes it repeatable."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - exploration in decisions, not a secret

    def random(self) -> float:
        return self._random.random()
