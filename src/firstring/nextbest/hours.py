"""When somebody may be reached: quiet hours and legal hours, in the customer's own time zone.

Where several zones come into question (a country with six of them), a moment has to be right in every one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_MINUTES: Final = 24 * 60
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ELSEWHERE: Final = "*"
_STEP: Final = timedelta(minutes=15)
_AHEAD: Final = timedelta(days=8)


class Local(NamedTuple):
    """A local time: the day of the week (0 is Monday), the minute of the day."""

    weekday: int
    minute: int


def local_times(now: datetime, zones: Iterable[str]) -> tuple[Local, ...]:
    """What time it is in these zones, each different time once."""
    found = (now.astimezone(zone_of(zone)) for zone in zones)
    return tuple({Local(at.weekday(), at.hour * 60 + at.minute): None for at in found})


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, minutes of the day (the end is not in it; before the start: over midnight), on these days
    (0 is Monday; a span over midnight belongs to the day on which it begins)."""

    start: int
    end: int
    days: frozenset[int] = frozenset(range(7))

    def covers(self, local: Local) -> bool:
        """Whether a local time is in it."""
        minute = local.minute
        if self.start < self.end:
            return self.start <= minute < self.end and local.weekday in self.days
        if minute >= self.start:
            return local.weekday in self.days
        return minute < self.end and (local.weekday - 1) % 7 in self.days


@dataclass(frozen=True, slots=True)
class Hours:
    """quiet: when nobody is to be reached. open: when somebody may be reached, by country ("*": any other); a country that
    is not named, where there is no "*", has no rule."""

    quiet: tuple[Span, ...] = ()
    open: tuple[tuple[str, tuple[Span, ...]], ...] = ()

    def closed(self, now: datetime, zones: Iterable[str], country: str) -> str:
        """ "quiet_hours" or "legal_hours" where `now` is not a time to reach somebody, else ""."""
        return self.closed_at(local_times(now, zones), country)

    def closed_at(self, local: Sequence[Local], country: str) -> str:
        """The same for local times."""
        if any(span.covers(at) for span in self.quiet for at in local):
            return "quiet_hours"
        by_country = dict(self.open)
        allowed = by_country.get(country, by_country.get(ELSEWHERE))
        if allowed is not None and not all(any(span.covers(at) for span in allowed) for at in local):
            return "legal_hours"
        return ""


ALWAYS: Final = Hours()


def opens(rules: Sequence[Hours], now: datetime, zones: Sequence[str], country: str) -> datetime | None:
    """The next quarter of an hour that all rules allow, within eight days; None where there is none."""
    at = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0) + _STEP
    while at <= now + _AHEAD:
        if not any(hours.closed(at, zones, country) for hours in rules):
            return at
        at += _STEP
    return None


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises ValueError where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name[:64]}") from error


def is_zone(name: object) -> bool:
    """Whether this is the name of a time zone."""
    if not isinstance(name, str) or not name or len(name) > 64:
        return False
    try:
        zone_of(name)
    except ValueError:
        return False
    return True


def minute_of(text: str) -> int | None:
    """ "21:00" -> 1260; "24:00" is the end of the day. None for anything else."""
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(hour) <= 2 and len(minute) == 2):
        return None
    total = int(hour) * 60 + int(minute)
    return total if int(minute) < 60 and total <= DAY_MINUTES else None
