"""When an agent works: read out of a profile, and whether it is such an hour now."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from firstring.contact import WorkingHours
from firstring.errors import BadInput
from firstring.routing.declared import fields

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60
SPANS_MAX: Final = 8
"""Spans of one day."""

_DAYS = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)(?:-(mon|tue|wed|thu|fri|sat|sun))?")
_SPAN = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)


def working_hours(value: object, field: str) -> WorkingHours | None:
    """The hours in a table such as {zone = "Europe/Berlin", mon-fri = ["08:00-12:00", "12:30-17:00"]}; None for none.

    A span over midnight ("22:00-06:00") goes on into the next day. A day that is not named is free. Raises BadInput
    hours_invalid, table_expected, list_expected, too_many_entries.
    """
    if value is None:
        return None
    raw = fields.table(value, field, 10)
    zone = raw.pop("zone", None)
    if not isinstance(zone, str) or not _is_zone(zone):
        raise _invalid(f"{field}.zone", 'Name an IANA time zone, such as zone = "Europe/Berlin".')
    week: list[list[tuple[int, int]]] = [[] for _ in DAYS]
    for name, spans in raw.items():
        match = _DAYS.fullmatch(name.strip().lower())
        if match is None:
            raise _invalid(f"{field}.{name[:20]}", "Name a day (mon) or days (mon-fri).")
        first = DAYS.index(match[1])
        last = DAYS.index(match[2]) if match[2] else first
        for number in range(first, last + 1 if last >= first else last + 8):
            for span in fields.sequence(spans, f"{field}.{name}", SPANS_MAX):
                _add(week, number % 7, span, f"{field}.{name}")
    return WorkingHours(zone, tuple(tuple(sorted(set(day))) for day in week))


def at_work(hours: WorkingHours | None, now: datetime) -> bool:
    """Whether these are working hours. None: always. now: aware."""
    if hours is None:
        return True
    local = now.astimezone(ZoneInfo(hours.zone))
    minute = local.hour * 60 + local.minute
    return any(begins <= minute < ends for begins, ends in hours.week[local.weekday()])


def _add(week: list[list[tuple[int, int]]], day: int, span: Any, field: str) -> None:
    match = _SPAN.fullmatch(span) if isinstance(span, str) else None
    if match is None:
        raise _invalid(field, 'Write spans as "08:00-16:30".')
    begins, ends = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if begins >= DAY_MINUTES or ends > DAY_MINUTES or begins == ends:
        raise _invalid(field, "A span begins before 24:00, ends at 24:00 at the latest, and is not empty.")
    if begins < ends:
        week[day].append((begins, ends))
        return
    week[day].append((begins, DAY_MINUTES))
    if ends:
        week[(day + 1) % 7].append((0, ends))


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a directory's name an OSError
        return False
    return True


def _invalid(field: str, hint: str) -> BadInput:
    return BadInput("hours_invalid", "These are no working hours.", where={"field": field}, hint=hint)
