"""An agent's profile, read and checked: what they can do, in which languages, for whom, on which channels, how much."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final, get_args

from firstring.contact import AgentProfile, Channel
from firstring.errors import BadInput
from firstring.routing import fields

CHANNELS: Final[tuple[str, ...]] = get_args(Channel)
CAPACITY_MAX: Final = 50
"""Contacts an agent may have at once on one channel."""
NAME_CHARS: Final = 200
ADDRESS_CHARS: Final = 255

_FIELDS: Final = ("name", "address", "skills", "languages", "tiers", "channels", "capacity")

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
    0-50 places; 1 for a served channel that is not listed).

    Raises BadInput: field_unknown, name_invalid, name_twice, level_invalid, language_invalid, channel_unknown,
    capacity_invalid, capacity_channel, address_missing, address_invalid, table_expected, list_expected,
    too_many_entries.
    """
    fields.known(raw, _FIELDS, "")
    channels = _channels(raw.get("channels", ("voice",)))
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
        capacity=_capacity(raw.get("capacity", {}), channels),
    )


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
