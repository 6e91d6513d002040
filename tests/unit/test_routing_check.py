"""`firstring routing check`: a policy is read as a server reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstring.errors import BadInput
from firstring.routing.declared.policy import RoutingPolicy
from firstring.steward.routing import routing_app

GOOD = """
[routing]
priority_max = 40
[routing.intents.refund]
billing = 2
[[routing.rules]]
name = "spanish"
when = "contact.language == 'es'"
steps = [{ agent = "agent.languages['es'] >= 4", for_s = 20 }, { agent = "agent.languages['es'] >= 2" }]
"""

BOT = '[[routing.self_service]]\nname = "bot"\naddress = "sip:bot@pbx.test"\n'
PLACES = f"""
[routing]
callback_over_s = 180
{BOT}channels = ["voice", "chat"]
intents = ["order"]
success = [3, 1]
cost = 0.05
[[routing.overflow]]
name = "night"
steps = [{{ wait_over_s = 60, for_s = 10, team = "reserve" }}, {{ to = "sip:voicemail@pbx.test" }}]
[routing.tiers.gold]
keep_free = 2
"""


def test_what_becomes_of_long_waits_is_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "routing.toml"
    path.write_text(PLACES)
    said = CliRunner().invoke(routing_app, ["check", str(path)]).output
    for line in (
        "self-service bot: voice, chat, order; 75% expected, costs 0.05; to sip:bot@pbx.test",
        "overflow night: past a wait of 60 s for 10 s the team reserve; "
        "then where nobody may serve it to sip:voicemail@pbx.test",
        "2 agents are kept free for gold; others wait 20 s for them at most",
        "a call-back is offered where a wait of more than 180 s is expected",
    ):
        assert line in said


def test_a_good_policy_is_named_and_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "routing.toml"
    path.write_text(GOOD)
    said = CliRunner().invoke(routing_app, ["check", str(path)])
    assert said.exit_code == 0, said.output
    assert "1 reasons, 0 numbers, 1 tiers, 1 rules" in said.output
    assert "more than 20 s later" in said.output
    told = json.loads(CliRunner().invoke(routing_app, ["check", str(path), "--json"]).output)
    assert told["policy"]["priority_max"] == 40
    assert told["version"].startswith("routing-")


def test_without_a_file_the_one_in_the_home_directory_or_the_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRSTRING_HOME", str(tmp_path))
    assert RoutingPolicy().version in CliRunner().invoke(routing_app, ["check"]).output
    (tmp_path / "routing.toml").write_text(GOOD)
    assert "routing.toml" in CliRunner().invoke(routing_app, ["check"]).output


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        (GOOD.replace("languages", "langages"), "expression_invalid", "routing.rules[0].steps[0].agent"),
        ('[routing]\npick = "worst"', "pick_unknown", "routing.pick"),
        ("[routing]\nguard_s = -1", "number_out_of_range", "routing.guard_s"),
        ("[routing.tiers.vip]\nvalue = 0", "number_out_of_range", "routing.tiers.vip.value"),
        ("[routing]\nexplore = 1.5", "number_out_of_range", "routing.explore"),
        ('[[routing.self_service]]\nname = "bot"', "place_invalid", "routing.self_service[0].address"),
        (BOT + 'when = "contact.langage == 1"', "expression_invalid", "routing.self_service[0].when"),
        (BOT + "success = [0, 1]", "number_out_of_range", "routing.self_service[0].success"),
        (BOT + "success = [1]", "place_invalid", "routing.self_service[0].success"),
        (BOT + 'channels = ["fax"]', "channel_unknown", "routing.self_service[0].channels"),
        (BOT + "agent_s = 3", "field_unknown", "routing.self_service[0].agent_s"),
        (BOT + BOT, "name_twice", "routing.self_service.bot"),
        (BOT.replace("sip:bot@", "bot@"), "place_invalid", "routing.self_service[0].address"),
        ('[[routing.overflow]]\nname = "x"\nsteps = []', "place_invalid", "routing.overflow[0].steps"),
        ('[[routing.overflow]]\nname = "x"\nsteps = [{ wait_over_s = 5 }]', "place_invalid", "routing.overflow[0].steps[0]"),
        (
            '[[routing.overflow]]\nname = "x"\nsteps = [{ wait_over_s = -5, team = "a" }]',
            "number_out_of_range",
            "routing.overflow[0].steps[0].wait_over_s",
        ),
        ('[[routing.overflow]]\nname = "a/b"\nsteps = [{ team = "a" }]', "name_invalid", "routing.overflow[0].name"),
        ("[routing.tiers.vip]\nkeep_free = -1", "number_out_of_range", "routing.tiers.vip.keep_free"),
        ("[routing]\nannounce_change = 0", "number_out_of_range", "routing.announce_change"),
        ("[routing]\ncallback_over_s = 1e9", "number_out_of_range", "routing.callback_over_s"),
        ("[Routing]\nguard_s = 5", "field_unknown", "Routing"),
        ("guard_s = 5", "field_unknown", "guard_s"),
        (
            '[[routing.self_service]]\nname = "ivr"\naddress = "sip:ivr@x.example"\n'
            '[[routing.overflow]]\nname = "ivr"\nsteps = [{wait_over_s = 60, team = "b"}]',
            "name_twice",
            "routing.overflow.ivr",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, code: str, field: str) -> None:
    path = tmp_path / "routing.toml"
    path.write_text(text)
    refused = CliRunner().invoke(routing_app, ["check", str(path)]).exception
    assert isinstance(refused, BadInput)
    assert (refused.code, refused.where["field"], refused.where["file"]) == (code, field, str(path))
    missing = CliRunner().invoke(routing_app, ["check", str(tmp_path / "none.toml")]).exception
    assert isinstance(missing, BadInput)
    assert missing.code == "file_missing"
