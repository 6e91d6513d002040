"""An agent's profile, read and checked: what they can do, in which languages, for whom, on which channels, how much."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final, get_args

from firstring.contact import AgentProfile, Channel
from firstring.errors import BadInput
from firstring.routing.declared import fields
from firstring.routing.may.hours import working_hours

CHANNELS: Final[tuple[str, ...]] = get_args(Channel)
CAPACITY_MAX: Final = 50
"""Contacts an agent may have at once on one channel."""
NAME_CHARS: Final = 200
ADDRESS_CHARS: Final = 255

AT_ONCE_MAX: Final = 200
MIXES_MAX: Final = 20

_FIELDS: Final = (
    "name", "address", "skills", "languages", "tiers", "channels", "capacity", "mix", "at_once", "licences", "hours",
    "refuses", "wants", "learns",
)  # fmt: skip

# A subset of SIP-URI (RFC 3261, 25.1): no password, no header part ("?...": a URI could then carry headers into the
# call), and none of the characters that a switch's configuration language gives a meaning to ($, quotes, brackets).
_SIP = re.compile(
    r"(?P<scheme>sips?):"
    r"(?:(?P<user>(?:[A-Za-z0-9\-_.!~*+]|%[0-9A-Fa-f]{2})+)@)?"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9\-.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<parameters>(?:;[A-Za-z0-9\-_.!~*+]+(?:=[A-Za-z0-9\-_.!~*+:]+)?)*)",
    re.IGNORECASE | re.ASCII,
)
_ESCAPED_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")


def agent_profile(raw: Mapping[str, Any], *, agent_id: int, version: int = 1) -> AgentProfile:
    """The profile in `raw` (parsed TOML or JSON), canonical.

    Fields: name (1-200 characters), address (SIP URI; may be absent where voice is not served), skills and languages
    (name to level 1-5), tiers (teams reserved for valued customers), channels (default voice), capacity (channel to
    0-50 places; 1 for a served channel that is not listed), mix (what may be had at once: a list of tables such as
    {voice = 1} and {chat = 3}), at_once (contacts of all channels together), licences (a list, or name to the last day),
    hours (see hours.working_hours), refuses (reasons for a contact), wants and learns (skills).

    Raises BadInput: field_unknown, name_invalid, name_twice, level_invalid, language_invalid, channel_unknown,
    capacity_invalid, capacity_channel, mix_invalid, address_missing, address_invalid, licence_invalid, hours_invalid,
    number_out_of_range, table_expected, list_expected, too_many_entries.
    """
    fields.known(raw, _FIELDS, "")
    channels = _channels(raw.get("channels", ("voice",)))
    capacity = _capacity(raw.get("capacity", {}), channels)
    return AgentProfile(
        agent_id=agent_id,
        version=version,
        name=_name(raw.get("name")),
        address=_address(raw.get("address", ""), required="voice" in channels),
        skills=fields.skills(raw.get("skills", {}), "skills"),
        languages=_languages(raw.get("languages", {})),
        tiers=tuple(
            dict.fromkeys(fields.slug(tier, "tiers") for tier in fields.sequence(raw.get("tiers", ()), "tiers", 20))
        ),
        channels=channels,
        capacity=capacity,
        mix=_mix(raw.get("mix", ()), capacity),
        at_once=fields.whole(raw.get("at_once", 0), "at_once", 0, AT_ONCE_MAX),
        licences=_licences(raw.get("licences", ())),
        hours=working_hours(raw.get("hours"), "hours"),
        refuses=_names(raw.get("refuses", ()), "refuses"),
        wants=_names(raw.get("wants", ()), "wants"),
        learns=_names(raw.get("learns", ()), "learns"),
    )


def may_take(profile: AgentProfile, has: Mapping[str, int], channel: str) -> bool:
    """Whether one more contact on `channel` fits beside what the agent has (channel to contacts), by the mix and `at_once`.

    The store decides by the same rule (places_open in the schema) when it claims; this one is for people and for worlds
    without a store.
    """
    then = {**has, channel: has.get(channel, 0) + 1}
    if then[channel] > profile.capacity.get(channel, 0) or (profile.at_once and sum(then.values()) > profile.at_once):
        return False
    if not profile.mix:
        return True
    return any(all(count <= allowed.get(name, 0) for name, count in then.items() if count) for allowed in profile.mix)


def sip_address(value: object, field: str = "address") -> str:
    """A SIP or SIPS URI (RFC 3261) that is safe to put into a SIP message: no control characters, no headers."""
    if isinstance(value, str) and len(value) <= ADDRESS_CHARS:
        match = _SIP.fullmatch(value)
        if match and not _ESCAPED_CONTROL.search(value) and _host_ok(match["host"]) and _port_ok(match["port"]):
            return value
    raise BadInput(
        "address_invalid",
        "Not a usable SIP address",
        where={"field": field},
        hint="Use sip:user@host or sips:user@host:port, without headers, spaces or control characters.",
    )


def _host_ok(host: str) -> bool:
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
        return True
    return ".." not in host


def _port_ok(port: str | None) -> bool:
    return port is None or 1 <= int(port) <= 65_535


def _address(value: object, *, required: bool) -> str:
    if value in ("", None):
        if required:
            raise BadInput(
                "address_missing",
                "An agent who serves voice needs a SIP address",
                where={"field": "address"},
                hint='Give address = "sip:user@host", or take voice out of channels.',
            )
        return ""
    return sip_address(value)


def _name(value: object) -> str:
    if isinstance(value, str):
        name = value.strip()
        if 1 <= len(name) <= NAME_CHARS and name.isprintable():
            return name
    raise BadInput(
        "name_invalid",
        f"An agent needs a name of 1 to {NAME_CHARS} printable characters",
        where={"field": "name"},
    )


def _languages(value: object) -> dict[str, int]:
    levels: dict[str, int] = {}
    for name, at_level in fields.table(value, "languages", 50).items():
        tag = fields.language(name, "languages")
        fields.put_once(levels, tag, fields.level(at_level, f"languages.{tag}"), "languages")
    return levels


def _channels(value: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_channel(name, "channels") for name in fields.sequence(value, "channels", 20)))


def _channel(name: object, field: str) -> str:
    if isinstance(name, str) and name in CHANNELS:
        return name
    raise BadInput(
        "channel_unknown", "Unknown channel", where={"field": field}, hint="Known are: " + ", ".join(CHANNELS) + "."
    )


def _names(value: object, field: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fields.slug(name, field) for name in fields.sequence(value, field, 100)))


def _licences(value: object) -> dict[str, str]:
    """A list of names, or a table of names to their last day (ISO date; "" or true for no end)."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(_names(value, "licences"), "")
    licences: dict[str, str] = {}
    for raw, until in fields.table(value, "licences", 100).items():
        name = fields.slug(raw, "licences")
        if name in licences:
            raise BadInput("name_twice", "The same name stands there twice", where={"field": f"licences.{name}"})
        licences[name] = _day(until, f"licences.{name}")
    return licences


def _day(value: object, field: str) -> str:
    if value in ("", True):
        return ""
    if isinstance(value, date):
        return value.isoformat()[:10]
    try:
        return date.fromisoformat(value if isinstance(value, str) else "").isoformat()
    except ValueError:
        raise BadInput(
            "licence_invalid",
            "Not the last day of a licence",
            where={"field": field},
            hint='Write a date as "2027-06-30", or "" for a licence without an end.',
        ) from None


def _mix(value: object, capacity: Mapping[str, int]) -> tuple[dict[str, int], ...]:
    """What may be had at once. A channel that stands in no part of it could never be served: that is refused."""
    parts: list[dict[str, int]] = []
    for number, part in enumerate(fields.sequence(value, "mix", MIXES_MAX)):
        at = f"mix[{number}]"
        allowed: dict[str, int] = {}
        for name, places in fields.table(part, at, 20).items():
            channel = _channel(name, at)
            count = fields.whole(places, f"{at}.{channel}", 0, CAPACITY_MAX, "capacity_invalid")
            if count > capacity.get(channel, 0):
                raise BadInput(
                    "mix_invalid",
                    "More than the agent's capacity on this channel",
                    where={"field": f"{at}.{channel}"},
                    hint="Raise the capacity of the channel, or lower the number.",
                )
            allowed[channel] = count
        parts.append(allowed)
    for channel, places in capacity.items():
        if parts and places and not any(part.get(channel) for part in parts):
            raise BadInput(
                "mix_invalid",
                "A channel that the agent serves stands in no part of the mix",
                where={"field": f"mix.{channel}"},
                hint="Add a part such as {chat = 3}, or take the channel out of capacity.",
            )
    return tuple(parts)


def _capacity(value: object, channels: tuple[str, ...]) -> dict[str, int]:
    capacity = dict.fromkeys(channels, 1)
    for name, places in fields.table(value, "capacity", 20).items():
        channel = _channel(name, "capacity")
        if channel not in channels:
            raise BadInput(
                "capacity_channel",
                "Capacity on a channel that the agent does not serve",
                where={"field": f"capacity.{channel}"},
                hint="Add the channel to channels, or take it out of capacity.",
            )
        capacity[channel] = fields.whole(places, f"capacity.{channel}", 0, CAPACITY_MAX, "capacity_invalid")
    return capacity
