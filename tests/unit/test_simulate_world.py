"""Worlds: what is read, what is refused and where; staffing, intervals, the report, the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from firstring.cli import app
from firstring.errors import BadInput
from firstring.routing.pick.reliance import Reliance, learnt, relied
from firstring.routing.simulate import staffing
from firstring.routing.simulate.compare import compare, interval
from firstring.routing.simulate.drawn import Drawn, Pairs
from firstring.routing.simulate.report import page
from firstring.routing.simulate.world import SCHEMA, World, world_from_toml, world_of

SMALL = """
[world]
name = "small <b>"
hours = 1.5
warm_up_hours = 0.25
[[agents]]
name = "all"
count = 6
[[types]]
name = "question"
per_hour = 100.0
"""


def small() -> World:
    return world_from_toml(SMALL)


def test_the_schema_is_a_world_of_defaults() -> None:
    world = world_from_toml(SCHEMA)
    assert world.load == pytest.approx(0.95)
    bare = world_from_toml(
        '[world]\nname="my centre"\n[[agents]]\nname="all"\ncount=40\n[[types]]\nname="question"\nper_hour=720.0\n'
    )
    assert bare == world


@pytest.mark.parametrize(
    ("old", "new", "field", "code"),
    [
        ("count = 40 ", "count = 0", "agents[0].count", "number_out_of_range"),
        ("per_hour = 720.0 ", "per_hour = -1.0", "types[0].per_hour", "number_out_of_range"),
        ("per_hour = 720.0 ", "per_hour = [1.0, -2.0]", "types[0].per_hour", "number_out_of_range"),
        ("per_hour = 720.0 ", "per_hour = nan", "types[0].per_hour", "number_out_of_range"),
        ("success = 0.66 ", "success = 1.2", "types[0].success", "number_out_of_range"),
        ("no_answer = 0.0 ", "no_answer = 1.5", "ringing.no_answer", "number_out_of_range"),
        ("handle_s = 190.0 ", "handle_s = 0", "types[0].handle_s", "number_out_of_range"),
        ("patience_s = 396.0", "patience_s = -3", "types[0].patience_s", "number_out_of_range"),
        ("dimensions = 3 ", "dimensions = 2.5", "compatibility.dimensions", "number_out_of_range"),
        ("shifts = [] ", "shifts = [[3.0, 2.0]]", "agents[0].shifts[0]", "world_inconsistent"),
        ("shifts = [] ", "shifts = [[0.0, 2.0], [1.0, 3.0]]", "agents[0].shifts[1]", "world_inconsistent"),
        ("shifts = [] ", "shifts = [[0.0]]", "agents[0].shifts[0]", "list_expected"),
        ("warm_up_hours = 1.0", "warm_up_hours = 9.0", "world.warm_up_hours", "world_inconsistent"),
        ('handle = "lognormal"', 'handle = "normal"', "types[0].handle", "world_inconsistent"),
        ("error = 0.0 ", "errors = 0.0", "model.errors", "field_unknown"),
        ("useless = false", "useless = 1", "model.useless", "world_inconsistent"),
        ('name = "all" ', 'nam = "all"', "agents[0].nam", "field_unknown"),
        ("per_hour = 720.0 ", "", "types[0].per_hour", "world_incomplete"),
        ("per_hour = 720.0 ", "per_hour = 0", "types", "world_inconsistent"),
        ("per_hour = 720.0 ", "per_hour = 1000000.0", "types", "too_many_entries"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(old: str, new: str, field: str, code: str) -> None:
    assert old in SCHEMA
    with pytest.raises(BadInput) as refused:
        world_from_toml(SCHEMA.replace(old, new, 1), file="my.toml")
    assert (refused.value.code, refused.value.where) == (code, {"file": "my.toml", "field": field})


def test_worlds_that_cannot_be() -> None:
    for text, code in (
        ("[world", "toml_invalid"),
        ("", "world_incomplete"),
        (SMALL.replace("[[types]]", '[[types]]\nskills = ["spanish"]'), "world_inconsistent"),
        (SMALL + '[[types]]\nname = "question"\nper_hour = 1\n', "name_twice"),
        (SMALL + '[[agents]]\nname = "more"\ncount = 9999\n', "too_many_entries"),
    ):
        with pytest.raises(BadInput) as refused:
            world_from_toml(text)
        assert refused.value.code == code


def test_agents_spread_does_not_change_the_load_and_certainties_are_certain() -> None:
    world = world_of(
        {
            "world": {"hours": 2.0},
            "agents": [{"name": "all", "count": 50}],
            "types": [
                {"name": "sure", "per_hour": 200.0, "success": 1.0},
                {"name": "never", "per_hour": 200.0, "success": 0},
            ],
        }
    )
    pairs = Pairs(world)
    assert (1.0 / pairs.handle_s).mean(axis=1) == pytest.approx(1.0 / 190.0)
    drawn = Drawn(world, pairs, 1)
    rows = drawn.block(np.arange(drawn.count))
    assert (rows.p == (drawn.kind == 0)[:, None]).all()
    assert rows.h.mean() == pytest.approx(190.0, rel=0.15)


def test_a_perfect_model_sees_the_truth_and_a_useless_one_does_not() -> None:
    for model, related in (({}, 1.0), ({"error": 1.0}, 0.7), ({"useless": True}, 0.0)):
        world = world_of(
            {
                "agents": [{"name": "all", "count": 60}],
                "types": [{"name": "any", "per_hour": 200.0}],
                "model": model,
                "world": {"hours": 3.0},
            }
        )
        rows = (drawn := Drawn(world, Pairs(world), 1)).block(np.arange(drawn.count))
        assert np.corrcoef(rows.p.ravel(), rows.seen_p.ravel())[0, 1] == pytest.approx(related, abs=0.15)


def test_reliance_learns_what_a_model_is_worth() -> None:
    rng = np.random.default_rng(1)
    for worth in (1.0, 0.5, 0.0):
        known = Reliance()
        assert known.slope == 1.0
        for difference in rng.normal(0.1, 0.1, 8_000).tolist():
            known = learnt(known, difference, float(rng.random() < 0.6 + worth * difference) - 0.6)
        assert known.slope == pytest.approx(worth, abs=0.13)
    assert relied(np.array([0.8, -np.inf, 0.4]), 0.6, 0.5).tolist() == pytest.approx([0.7, -np.inf, 0.5])


def test_intervals_are_students() -> None:
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2.4841), abs=1e-3)
    assert interval([4.0])[1] != interval([4.0])[1]


def test_unknown_policies_and_no_seeds_are_refused() -> None:
    for seeds, names, code in (([1], ["best"], "policy_unknown"), ([], ["price"], "seeds_missing")):
        with pytest.raises(BadInput) as refused:
            compare(small(), seeds=seeds, names=names)
        assert refused.value.code == code


def test_staffing_finds_the_least_that_keeps_the_promise() -> None:
    found = staffing.staff(small(), share=0.8, within_s=20.0, seeds=[1, 2], names=["first-come"])
    assert found.erlang_a is not None
    (one,) = found.found
    assert one.in_time.mean >= 0.8
    assert one.fewer_in_time is not None
    assert one.fewer_in_time.mean < 0.8
    assert abs(one.agents - found.erlang_a) <= 2


def test_groups_keep_their_proportions() -> None:
    world = world_of(
        {
            "agents": [{"name": name, "count": count} for name, count in (("a", 30), ("b", 10), ("c", 1))],
            "types": [{"name": "any", "per_hour": 10.0}],
        }
    )
    for agents in (3, 10, 41, 82):
        sizes = [group.count for group in staffing.scaled(world, agents).agents]
        assert sum(sizes) == agents
        assert min(sizes) >= 1
    assert [group.count for group in staffing.scaled(world, 41).agents] == [30, 10, 1]


@pytest.mark.parametrize("text", ["80", "80/", "0/20", "100/20", "x/20", "80/-1", "80/nan"])
def test_what_is_no_promise(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        staffing.promise(text)
    assert refused.value.code == "promise_invalid"


def test_the_report_is_whole_and_loads_nothing() -> None:
    html = page(compare(small(), seeds=[1, 2], names=["greedy", "price"]))
    assert "small &lt;b&gt;" in html
    assert "small <b>" not in html
    assert not re.search(r"https?://|<script|src=|@import|url\(", html)
    assert html.count("<svg") == html.count("</svg>") == 7
    assert "prefers-color-scheme:dark" in html
    for name in ("first-come", "greedy", "price"):
        assert name in html
    one_seed = page(compare(small(), seeds=[1], names=["price"]))
    assert "nan" not in one_seed


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    schema = run(app, ["simulate", "--schema"])
    assert schema.stdout == SCHEMA
    file, html = tmp_path / "world.toml", tmp_path / "report.html"
    file.write_text(SMALL)
    shown = run(app, ["simulate", str(file), "--seeds", "2", "--policy", "price", "--html", str(html), "--processes", "1"])
    assert shown.exit_code == 0, shown.output
    assert "price" in shown.stdout
    assert html.read_text().startswith("<!doctype html>")
    told = run(app, ["simulate", str(file), "--seeds", "1", "--policy", "greedy", "--json"])
    assert [one["policy"] for one in json.loads(told.stdout)["policies"]] == ["first-come", "greedy"]
    staffed = run(app, ["simulate", str(file), "--seeds", "1", "--staff", "70/30", "--policy", "first-come", "--json"])
    assert json.loads(staffed.stdout)["found"][0]["agents"] > 0
    for arguments, code in (
        ([], "world_missing"),
        ([str(tmp_path / "none.toml")], "file_unreadable"),
        ([str(file), "--policy", "best"], "policy_unknown"),
        ([str(file), "--staff", "fast"], "promise_invalid"),
    ):
        refused = run(app, ["simulate", *arguments])
        assert isinstance(refused.exception, BadInput)
        assert refused.exception.code == code
