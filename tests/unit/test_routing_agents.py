"""An agent's profile: what is accepted, what is refused and where."""

from __future__ import annotations

from typing import Any

import pytest

from firstring.errors import BadInput
from firstring.routing.may.agents import agent_profile, sip_address

GOOD: dict[str, Any] = {
    "name": " Ana López ",
    "address": "sip:ana@10.0.0.1:5070;transport=tcp",
    "skills": {"Billing": 4, "kyc": 1},
    "languages": {"es-MX": 5, "EN": 3},
    "tiers": ["VIP", "vip"],
    "channels": ["voice", "chat"],
    "capacity": {"chat": 3},
}


def test_profile_is_canonical() -> None:
    profile = agent_profile(GOOD, agent_id=7, version=2)
    assert (profile.agent_id, profile.version, profile.name) == (7, 2, "Ana López")
    assert profile.skills == {"billing": 4, "kyc": 1}
    assert profile.languages == {"es": 5, "en": 3}
    assert profile.tiers == ("vip",)
    assert profile.channels == ("voice", "chat")
    assert profile.capacity == {"voice": 1, "chat": 3}


def test_defaults_and_an_agent_without_voice() -> None:
    profile = agent_profile({"name": "Bo", "channels": ["chat"]}, agent_id=1)
    assert (profile.address, profile.capacity, profile.skills) == ("", {"chat": 1}, {})
    assert agent_profile({"name": "Bo", "address": "sip:bo@x"}, agent_id=1).capacity == {"voice": 1}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"skils": {}}, "field_unknown", "skils"),
        ({"name": ""}, "name_invalid", "name"),
        ({"name": "a\nb"}, "name_invalid", "name"),
        ({"name": "x" * 201}, "name_invalid", "name"),
        ({"name": None}, "name_invalid", "name"),
        ({"address": ""}, "address_missing", "address"),
        ({"address": "tel:+44"}, "address_invalid", "address"),
        ({"address": 5}, "address_invalid", "address"),
        ({"skills": {"billing": 0}}, "level_invalid", "skills.billing"),
        ({"skills": {"billing": 6}}, "level_invalid", "skills.billing"),
        ({"skills": {"billing": True}}, "level_invalid", "skills.billing"),
        ({"skills": {"billing": 2.5}}, "level_invalid", "skills.billing"),
        ({"skills": {"Billing": 1, "billing": 2}}, "name_twice", "skills.billing"),
        ({"skills": {"b\r\n": 1, "c\r\nd": 1}}, "name_invalid", "skills"),
        ({"skills": ["billing"]}, "table_expected", "skills"),
        ({"skills": {f"s{i}": 1 for i in range(101)}}, "too_many_entries", "skills"),
        ({"languages": {"not a language": 2}}, "language_invalid", "languages"),
        ({"languages": {"es-MX": 2, "es": 4}}, "name_twice", "languages.es"),
        ({"languages": {"es": 9}}, "level_invalid", "languages.es"),
        ({"tiers": "vip"}, "list_expected", "tiers"),
        ({"tiers": [3]}, "name_invalid", "tiers"),
        ({"channels": ["fax"]}, "channel_unknown", "channels"),
        ({"channels": [["voice"]]}, "channel_unknown", "channels"),
        ({"capacity": {"chat": 51}}, "capacity_invalid", "capacity.chat"),
        ({"capacity": {"chat": -1}}, "capacity_invalid", "capacity.chat"),
        ({"capacity": {"email": 1}}, "capacity_channel", "capacity.email"),
        ({"capacity": {"fax": 1}}, "channel_unknown", "capacity"),
    ],
)
def test_refusals_name_the_field(change: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        agent_profile(GOOD | change, agent_id=1)
    assert (caught.value.code, caught.value.where) == (code, {"field": field})


@pytest.mark.parametrize(
    "address",
    [
        "sip:ana@example.org",
        "sips:ana.lopez+1@example.org:5061",
        "SIP:1001@127.0.0.1:5060",
        "sip:pbx.example.org",
        "sip:ana@[2001:db8::1]:5060;transport=tls;lr",
        "sip:a%20b@host",
    ],
)
def test_sip_addresses_accepted(address: str) -> None:
    assert sip_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "ana@example.org",
        "http://example.org",
        "sip:",
        "sip:@host",
        "sip:ana@",
        "sip:ana@host\r\nX-Evil: 1",
        "sip:ana@host\n",
        " sip:ana@host",
        "sip:a na@host",
        "sip:ana@host?X-Evil=1",
        "sip:a%0d%0ab@host",
        "sip:a%7Fb@host",
        "sip:ana:secret@host",
        "sip:$var(x)@host",
        "sip:ana@host:0",
        "sip:ana@host:65536",
        "sip:ana@ho..st",
        "sip:ana@[::zz]",
        "<sip:ana@host>",
        'sip:"ana"@host',
        "sip:ana@host;x=\x00",
        "sip:ан@host",
        "\u017fip:ana@host",
        "sip:\u212aim@host",
        "sip:" + "a" * 260 + "@host",
    ],
)
def test_sip_addresses_refused(address: str) -> None:
    with pytest.raises(BadInput) as caught:
        sip_address(address)
    assert caught.value.code == "address_invalid"
    assert caught.value.where == {"field": "address"}
