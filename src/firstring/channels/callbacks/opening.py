"""When agents call back: opening hours and slots, out of callbacks.toml in the home directory. Pure but for the file.

Slots begin at whole multiples of `slot_minutes` of the opening hours' own time zone, so that a change of the clocks moves
none of them out of the hours.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from firstring.errors import BadInput
from firstring.nextbest.hours import DAYS, is_zone, minute_of, zone_of

FILE: Final = "callbacks.toml"
_OFFICE: Final = dict.fromkeys(DAYS[:5], ("09:00-17:00",))


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When calls are promised. hours: day ("mon") -> spans ("09:00-12:30") of `time_zone`; closed: dates without any.

    slot_minutes: how far the times offered lie apart; per_slot: calls promised for one of them; ahead_minutes: how soon the
    first is; days: how far ahead; countries: of numbers that are called (none named: the server's own).
    attempts, again_minutes: how often a call that nobody could make is tried, and after how long.
    """

    time_zone: str = "UTC"
    hours: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: dict(_OFFICE))
    closed: tuple[date, ...] = ()
    slot_minutes: Annotated[int, Meta(ge=5, le=240)] = 30
    per_slot: Annotated[int, Meta(ge=1, le=1_000)] = 2
    ahead_minutes: Annotated[int, Meta(ge=0, le=1_440)] = 15
    days: Annotated[int, Meta(ge=1, le=31)] = 5
    countries: tuple[str, ...] = ()
    attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    again_minutes: Annotated[int, Meta(ge=1, le=240)] = 10

    def is_open(self, at: datetime) -> bool:
        """Whether agents call at that moment."""
        local = at.astimezone(zone_of(self.time_zone))
        if local.date() in self.closed:
            return False
        minute = local.hour * 60 + local.minute
        return any(begins <= minute < ends for begins, ends in _spans(self.hours.get(DAYS[local.weekday()], ())))

    def slots(self, now: datetime) -> Iterator[datetime]:
        """The times that may be promised, aware UTC, the earliest first."""
        first = now + timedelta(minutes=self.ahead_minutes)
        zone = zone_of(self.time_zone)
        day = first.astimezone(zone).date()
        for _ in range(self.days + 1):
            for minute in range(0, 24 * 60, self.slot_minutes):
                at = datetime.combine(day, time(minute // 60, minute % 60), zone).astimezone(UTC)
                # A time that the clocks jump over comes back as another one.
                if at >= first and at.astimezone(zone).hour * 60 + at.astimezone(zone).minute == minute and self.is_open(at):
                    yield at
            day += timedelta(days=1)


def opening_from_file(path: Path) -> Opening:
    """The hours of a file; office hours (UTC) where there is none. Raises BadInput callbacks_file_invalid."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Opening()
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(path, f"it cannot be read ({type(error).__name__})") from error
    try:
        found = msgspec.convert(tomllib.loads(text), Opening)
        _check(found)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise _invalid(path, str(error)) from error
    return found


def _check(opening: Opening) -> None:
    if not is_zone(opening.time_zone):
        raise ValueError(f"there is no time zone {opening.time_zone[:64]}")
    for day, spans in opening.hours.items():
        if day not in DAYS:
            raise ValueError(f"there is no day {day[:20]}: one of {', '.join(DAYS)}")
        _spans(spans)


def _spans(texts: tuple[str, ...]) -> list[tuple[int, int]]:
    """(first minute of the day, the one after the last)."""
    found = []
    for text in texts:
        start, _, end = text.partition("-")
        begins, ends = minute_of(start.strip()), minute_of(end.strip())
        if begins is None or ends is None or begins >= ends:
            raise ValueError(f'"{text[:40]}" is no span of a day, such as "09:00-17:30"')
        found.append((begins, ends))
    return found


def _invalid(path: Path, why: str) -> BadInput:
    where: dict[str, Any] = {"file": str(path)}
    return BadInput("callbacks_file_invalid", f"The hours of call-backs are not valid: {why}.", where=where,
                    hint="See docs/delivery.md.")  # fmt: skip
