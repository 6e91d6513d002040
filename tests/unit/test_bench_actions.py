"""The benchmark of actions at its smallest: it runs, and its trial, bandit and shop come to what is known of them."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from firstring.bench.actions import catalogue_of, run_bench


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Files of the form of the real ones: a trial of three arms with known rates, and a log by two policies."""
    random = Random(1)
    columns = ["recency", "history", "mens", "womens", "zip_code", "newbie", "channel", "segment", "visit"]
    rates = {"Mens E-Mail": 0.3, "Womens E-Mail": 0.2, "No E-Mail": 0.1}
    with gzip.open(tmp_path / "hillstrom.csv.gz", "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for _ in range(3_000):
            segment = random.choice(list(rates))
            mens = random.randint(0, 1)
            row = [
                random.randint(1, 12),
                random.random() * 500,
                mens,
                1 - mens,
                "Urban",
                random.randint(0, 1),
                "Web",
                segment,
            ]
            writer.writerow([*row, int(random.random() < rates[segment])])
    clicks = {"0": 0.3, "1": 0.1}
    for policy, share in (("random", 0.5), ("bts", 0.8)):
        for campaign in ("all", "men", "women"):
            folder = tmp_path / "obd" / policy / campaign
            folder.mkdir(parents=True)
            with (folder / f"{campaign}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["item_id", "position", "click", "propensity_score"])
                for _ in range(1_500):
                    item = "0" if random.random() < share else "1"
                    click = int(random.random() < clicks[item])
                    writer.writerow([item, "1", click, share if item == "0" else 1.0 - share])
    return tmp_path


def test_it_runs_and_says_what_is_known(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_bench(journeys=30, choices=100, data=data, seed=1, as_json=True, console=Console())
    found = json.loads(capsys.readouterr().out)
    assert found["journeys"]["violations"] == 0
    assert found["arbitration"]["actions"] == 50
    assert 0 < found["arbitration"]["allowed"] <= 50
    mens = found["hillstrom"]["mens to all"]
    assert mens["truth"] == pytest.approx(0.3, abs=0.04)
    assert min(mens["held_of_20"].values()) >= 15
    assert found["hillstrom"]["none to all"]["truth"] == pytest.approx(0.1, abs=0.03)
    for campaign in ("all", "men", "women"):
        bandit = found["open_bandit"][campaign]
        assert bandit["own_log"][0] == pytest.approx(0.26, abs=0.05)
        assert bandit["ips"][1] < 0.26 < bandit["ips"][2]
    shop = found["offers"]["hit_at_10"]
    assert shop["affinity"] > shop["popularity"]


def test_its_catalogue_is_of_so_many_actions() -> None:
    assert len(catalogue_of(50).actions) == 50
