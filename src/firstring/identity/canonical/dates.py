"""Dates of birth and timestamps in their canonical forms."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

from firstring.identity.canonical import placeholders
from firstring.identity.canonical.text import Refused

OLDEST_BIRTH_YEAR: Final = 1875
LATEST_BIRTH_YEAR: Final = 2100
"""Not today: the domain has no clock here, and a date in the near future is for data quality to show."""

_ISO = re.compile(r"(\d{4})([-/.]?)(\d{2})\2(\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]00:?00)?)?")
_NUMBERS = re.compile(r"(\d{1,2})([-/. ])(\d{1,2})\2(\d{4})")
_DAY_NAME = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?[-/. ,]*([A-Za-z]{3,9})[-/. ,]*(\d{4})")
_NAME_DAY = re.compile(r"([A-Za-z]{3,9})[-/. ]*(\d{1,2})(?:st|nd|rd|th)?[-/. ,]+(\d{4})")
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip


def birth_date(text: str) -> str | Refused:
    """ISO 8601 date. Day and month as numbers are taken only when one order is possible; with dots the day is first."""
    parts = _parts(text)
    if isinstance(parts, Refused):
        return parts
    year, month, day = parts
    try:
        value = date(year, month, day).isoformat()
    except ValueError:
        return Refused("invalid_date", "is no day of the calendar")
    if value in placeholders.BIRTH_DATES:
        return Refused("placeholder", "is a date that stands for 'not known'")
    if not OLDEST_BIRTH_YEAR <= year <= LATEST_BIRTH_YEAR:
        return Refused("birth_date_out_of_range", f"is not between {OLDEST_BIRTH_YEAR} and {LATEST_BIRTH_YEAR}")
    return value


def _parts(text: str) -> tuple[int, int, int] | Refused:
    """(year, month, day) as written; not yet checked against the calendar."""
    if match := _ISO.fullmatch(text):
        return int(match[1]), int(match[3]), int(match[4])
    if match := _NUMBERS.fullmatch(text):
        first, separator, second, year = int(match[1]), match[2], int(match[3]), int(match[4])
        if separator == "." or first > 12 or first == second:
            return year, second, first
        if second > 12:
            return year, first, second
        return Refused("ambiguous_date", "may be day first or month first; write YYYY-MM-DD")
    if match := _DAY_NAME.fullmatch(text):
        day, month_name, year = int(match[1]), match[2], int(match[3])
    elif match := _NAME_DAY.fullmatch(text):
        month_name, day, year = match[1], int(match[2]), int(match[3])
    else:
        return Refused("invalid_date", "is no date in a known form; write YYYY-MM-DD")
    name = month_name.lower()
    months = [number for number, full in enumerate(_MONTHS, 1) if full.startswith(name) or name == "sept" == full[:4]]
    return (year, months[0], day) if len(months) == 1 else Refused("invalid_date", "names an unknown month")


def timestamp(text: str) -> str | Refused:
    """RFC 3339 in UTC, seconds, ending in Z: comparable as text. Without an offset it is UTC; a date is its midnight."""
    try:
        value = datetime.fromisoformat(text.replace(" UTC", "Z").replace(" +", "+"))
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return Refused("invalid_timestamp", "is no RFC 3339 time")
    if not 1900 < value.year < 2200:
        return Refused("placeholder", "is a time that stands for 'not known'")
    return value.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def instant(canonical: str) -> datetime:
    """The aware UTC datetime of a canonical timestamp."""
    return datetime.fromisoformat(canonical)
