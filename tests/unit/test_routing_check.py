"""`firstring routing check`: a policy is read as a server reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstring.errors import BadInput
from firstring.routing.policy import RoutingPolicy
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
        ("[Routing]\nguard_s = 5", "field_unknown", "Routing"),
        ("guard_s = 5", "field_unknown", "guard_s"),
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
