"""Charts of a model: one well-formed page without script or address, whose tables say what the bars show."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from firstring.bulk.linking.charting import charted
from firstring.errors import BadInput
from firstring.identity.comparison.levels import outcomes
from firstring.identity.comparison.spec import CLASSES, PERSON, Spec
from firstring.identity.model.charts import Bin, PairShown, charts, weights_of, wilson
from firstring.identity.model.model import Model, as_json, outcome_names

NAMES = ("given", "family", "birth_date", "phone")


def made(same: float, records: int = 1_000) -> Model:
    """A model whose shares are those at which training starts, with more or less agreement."""
    chosen = tuple(one for one in PERSON.comparisons if one.name in NAMES)
    shares: dict[str, dict[str, list[float]]] = {}
    for comparison in chosen:
        of = outcomes(comparison).of
        shares[comparison.name] = {}
        for name, (level, band) in zip(outcome_names(comparison), of, strict=True):
            agreed = max(level.same, 0.001) * same / (1 if band is None else 24)
            chance = 0.5 if level.name == "different" else 0.01 if band is None else 2.0 ** -(band + 3)
            shares[comparison.name][name] = [agreed, *[chance] * (len(CLASSES) - 1)]
    spec = Spec(chosen, PERSON.keys, PERSON.block_records, PERSON.link_keys)
    return Model(spec, records, {"same": 0.5, "household": 0.4}, 1e-6, shares)


def parsed(text: str) -> ElementTree.Element:
    assert text.startswith("<!doctype html>\n")
    body = text.removeprefix("<!doctype html>\n")
    return ElementTree.fromstring(
        body.replace('<meta charset="utf-8">', "").replace('initial-scale=1">', 'initial-scale=1"/>')
    )


def test_a_page_is_whole_and_needs_nothing_else() -> None:
    pair = PairShown("a<1>", "b&2", 0.7, "household", -2.0, {"given": 3.0, "phone": -0.5, "family": 0.0})
    bins = [Bin(0.5, 0.6, 0.55, 20, 11), Bin(0.95, 1.0, 0.99, 300, 298)]
    text = charts(made(1.0), pair=pair, bins=bins, other=made(0.5, 500))
    tree = parsed(text)
    for word in ("<script", "http:", "https:", "url(", "@import", "src="):
        assert word not in text
    sections = [one.get("id") for one in tree.iter("h2")]
    assert sections == ["summary", "weights", "rarity", "classes", "pair", "pairs", "changes"]
    assert "a&lt;1&gt;" in text
    assert all(one.find("caption") is not None for one in tree.iter("table"))
    assert all(one.get("aria-label") or one.get("aria-hidden") for one in tree.iter("svg"))


def test_tables_say_the_weights() -> None:
    model = made(1.0)
    phone = next(one for one in model.comparisons() if one.name == "phone")
    different = weights_of(model, phone)[-1]
    shares = model.shares["phone"]["different"]
    assert different.bits == pytest.approx(math.log2(shares[0] / shares[-1]))
    table = next(one for one in parsed(charts(model)).iter("table") if one.findtext("caption") == "phone")
    rows = {row[0].text: [cell.text for cell in row[2:]] for row in table.iter("tr") if row[0].get("scope") == "row"}
    assert rows["different"][0] == f"{different.bits:+.1f}"


def test_sections_that_need_more_are_left_out() -> None:
    assert [one.get("id") for one in parsed(charts(made(1.0))).iter("h2")] == ["summary", "weights", "rarity", "classes"]


def test_the_steps_of_a_pair_end_at_its_log_odds() -> None:
    pair = PairShown("a", "b", 0.7, "household", -2.0, {"given": 3.0, "phone": -0.15})
    table = next(
        one for one in parsed(charts(made(1.0), pair=pair)).iter("table") if one.findtext("caption") == "The pair's weights"
    )
    last = list(table.iter("tr"))[-1]
    assert float(last[-1].text or "") == pytest.approx(0.85 / math.log(2), abs=0.01)


def test_intervals_hold_the_share() -> None:
    for right, pairs in ((0, 10), (10, 10), (7, 9), (298, 300)):
        low, high = wilson(right, pairs)
        assert 0.0 <= low <= right / pairs <= high <= 1.0


def test_files_are_read(tmp_path: Path) -> None:
    model, pairs, truth = tmp_path / "model.json", tmp_path / "it's pairs.csv", tmp_path / "truth.csv"
    model.write_bytes(as_json(made(1.0)))
    pairs.write_text(
        "left_source,left_id,right_source,right_id,probability,against,prior,weight_given,weight_phone\n"
        "s,001,s,2,0.97,household,-1.5,3.0,2.0\ns,001,s,3,0.52,namesake,-1.0,1.0,0.1\n"
    )
    truth.write_text("record_id,person\n001,1\n2,1\n3,2\n")
    text = charted(model, pairs=pairs, truth=truth, other=model)
    assert "001 and 3" in text
    assert "100.0 %" in text
    assert "001 and 2" in charted(model, pairs=pairs, pair="2,001")
    with pytest.raises(BadInput, match="no pair of the file"):
        charted(model, pairs=pairs, pair="7,8")
    with pytest.raises(BadInput, match="Which pairs"):
        charted(model, truth=truth)
    with pytest.raises(BadInput, match="no such file"):
        charted(model, pairs=tmp_path / "none.csv")
    with pytest.raises(BadInput, match="cannot be read"):
        charted(model, pairs=truth)
    empty = tmp_path / "empty.csv"
    empty.write_text("left_source,left_id,right_source,right_id,probability,against,prior,weight_given\n")
    assert "What this is" in charted(model, pairs=empty)
