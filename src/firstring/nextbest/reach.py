"""Over which routes somebody can be reached now, and in which time zones they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import phonenumbers
from phonenumbers import timezone

from firstring.contact import TouchRead
from firstring.nextbest.hours import is_zone

ON_PAGE_FOR: Final = timedelta(minutes=30)
"""A visit ends when nothing has happened for longer than this."""
_PAGES: Final = frozenset(("web", "mobile", "chat"))
_ZONE_FIELDS: Final = ("timezone", "time_zone", "zone")
_NO_ZONE: Final = "Etc/Unknown"


def routes_of(profile: Mapping[str, Any], touches: Sequence[TouchRead], now: datetime) -> tuple[str, ...]:
    """The routes: an agent's desk and webhooks always; a page while they are on it; the others where there is an address."""
    found = ["desk", "webhook"]
    if any(touch.channel in _PAGES and now - touch.occurred_at <= ON_PAGE_FOR for touch in touches):
        found.append("web")
    if profile.get("email"):
        found.append("email")
    if profile.get("phone"):
        found += ["sms", "callback"]
    if profile.get("device") or profile.get("push_token"):
        found.append("push")
    return tuple(sorted(found))


def zones_of(profile: Mapping[str, Any]) -> tuple[str, ...]:
    """The time zones in which a person may be: their own, else those of their phone numbers' regions; () where unknown."""
    for name in _ZONE_FIELDS:
        if is_zone(profile.get(name)):
            return (str(profile[name]),)
    found = {zone for number in _numbers(profile) for zone in _zones_of_number(number)}
    return tuple(sorted(zone for zone in found if is_zone(zone)))


def country_of(profile: Mapping[str, Any]) -> str:
    """The country of two letters: the profile's, else that of their phone number; "" where unknown."""
    country = profile.get("country")
    if isinstance(country, str) and len(country) == 2:
        return country.upper()
    for number in _numbers(profile):
        region = _region(number)
        if region:
            return region
    return ""


def _numbers(profile: Mapping[str, Any]) -> list[str]:
    phone = profile.get("phone")
    listed = phone if isinstance(phone, list | tuple) else [phone]
    return [number for number in listed if isinstance(number, str) and number.startswith("+")]


@lru_cache(maxsize=4096)
def _zones_of_number(number: str) -> tuple[str, ...]:
    try:
        found = timezone.time_zones_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return ()
    return tuple(zone for zone in found if zone != _NO_ZONE)


@lru_cache(maxsize=4096)
def _region(number: str) -> str:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number)) or ""
    except phonenumbers.NumberParseException:
        return ""
