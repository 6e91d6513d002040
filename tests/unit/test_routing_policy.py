"""The routing policy: defaults, TOML, refusals, and a version that follows the content."""

from __future__ import annotations

import pytest

from firstring.errors import BadInput
from firstring.routing.declared.policy import (
    CalledRule,
    RoutingPolicy,
    TierRule,
    called_key,
    policy_from_toml,
    routing_policy,
)

EXAMPLE = """
[routing]
language_level = 5
language_relaxed_after_s = 10
intent_probability = 0.5

[routing.tiers.Gold]
priority = 20
team = "gold"

[routing.intents]
refund = { refunds = 3, billing = 2 }

[routing.called."+44 20 7183 8750"]
skills = { kyc = 2 }
language = "es-ES"
priority = 4
"""


def test_toml_is_read_and_the_rest_are_defaults() -> None:
    policy = policy_from_toml(EXAMPLE)
    assert (policy.language_level, policy.language_relaxed_after_s, policy.language_dropped_after_s) == (5, 10.0, 40.0)
    assert policy.tiers == {"gold": TierRule(priority=20, team="gold", team_for_s=15.0)}
    assert policy.intents == {"refund": {"refunds": 3, "billing": 2}}
    assert policy.called == {"+442071838750": CalledRule(skills={"kyc": 2}, language="es", priority=4)}
    assert policy.issues == RoutingPolicy().issues


def test_the_version_follows_the_content() -> None:
    assert policy_from_toml("").version == routing_policy({}).version == RoutingPolicy().version
    assert policy_from_toml(EXAMPLE).version == policy_from_toml("# a comment\n" + EXAMPLE).version
    one = routing_policy({"issues": {"complaint": 5, "outage": 6}})
    assert one.version == routing_policy({"issues": {"outage": 6, "complaint": 5}}).version
    versions = {policy_from_toml(EXAMPLE).version, RoutingPolicy().version, one.version}
    assert len(versions) == 3
    assert all(version.startswith("routing-") and len(version) == 20 for version in versions)


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("routing = 3", "table_expected", "routing"),
        ("[routing]\nlanguage_levle = 3", "field_unknown", "routing.language_levle"),
        ("[routing]\nlanguage_level = 6", "level_invalid", "routing.language_level"),
        ("[routing]\nteam_probability = 1.2", "number_out_of_range", "routing.team_probability"),
        ("[routing]\nteam_probability = nan", "number_out_of_range", "routing.team_probability"),
        ("[routing]\nskill_dropped_after_s = inf", "number_out_of_range", "routing.skill_dropped_after_s"),
        ("[routing]\nskill_dropped_after_s = -1", "number_out_of_range", "routing.skill_dropped_after_s"),
        ("[routing]\nskill_dropped_after_s = '1'", "number_out_of_range", "routing.skill_dropped_after_s"),
        ("[routing]\nageing_s_per_point = 0", "number_out_of_range", "routing.ageing_s_per_point"),
        ("[routing]\npriority_max = 1001", "number_out_of_range", "routing.priority_max"),
        ("[routing]\nlanguage_level_relaxed = 5", "policy_inconsistent", "routing.language_level_relaxed"),
        ("[routing]\nskill_relaxed_after_s = 61", "policy_inconsistent", "routing.skill_relaxed_after_s"),
        ("[routing.tiers.vip]\nteem = 'vip'", "field_unknown", "routing.tiers.vip.teem"),
        ("[routing.tiers.vip]\npriority = true", "number_out_of_range", "routing.tiers.vip.priority"),
        ("[routing.tiers]\nvip = {}\nVIP = {}", "name_twice", "routing.tiers.vip"),
        ("[routing.issues]\ncomplaint = 1.5", "number_out_of_range", "routing.issues.complaint"),
        ("[routing.intents]\nrefund = { billing = 0 }", "level_invalid", "routing.intents.refund.billing"),
        ("[routing.intents]\nrefund = {}\nRefund = {}", "name_twice", "routing.intents.refund"),
        ("[routing.called]\n' ' = {}", "name_invalid", "routing.called."),
        ("[routing.called]\n'+441' = {}\n'+44 1' = {}", "name_twice", "routing.called.+441"),
        ("[routing.called.x]\nlanguage = '?'", "language_invalid", "routing.called.x.language"),
    ],
)
def test_refusals_name_the_setting(text: str, code: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        policy_from_toml(text)
    assert (caught.value.code, caught.value.where) == (code, {"field": field})


def test_broken_toml() -> None:
    with pytest.raises(BadInput, match="Not valid TOML") as caught:
        policy_from_toml("[routing")
    assert caught.value.code == "toml_invalid"


@pytest.mark.parametrize(
    ("called", "key"),
    [
        ("+44 20 7183-8750", "+442071838750"),
        ("sip:+442071838750@pbx.example.org;user=phone", "+442071838750"),
        ("tel:+44-20-7183-8750;ext=1", "+442071838750"),
        ("sips:Sales@x", "sales"),
        ("sip:pbx.example.org", "pbx.example.org"),
        ("Help@Shop.example", "help@shop.example"),
        ("", ""),
    ],
)
def test_called_key(called: str, key: str) -> None:
    assert called_key(called) == key
