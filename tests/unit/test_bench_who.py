"""The benchmark of who is ringing: the same seed gives the same calls, and the fit moves what is stated to the truth."""

from __future__ import annotations

import io

from rich.console import Console

from firstring.bench.ringing import Town
from firstring.bench.who import answered, log_loss, outcomes_of, run_bench, seen_last, statements
from firstring.identity.caller.outcomes import calibration, fit, loss
from firstring.identity.caller.weights import DEFAULT


def test_a_seed_gives_the_same_calls_and_their_truth_is_among_what_is_stated() -> None:
    rings = list(Town(3, 150).rings(80))
    assert rings == list(Town(3, 150).rings(80))
    assert rings != list(Town(4, 150).rings(80))
    for answer in answered(rings, DEFAULT, journey=True):
        assert answer.truth in answer.stated
        assert abs(sum(answer.stated.values()) - 1) < 1e-9
    assert {type(ring.truth) for ring in rings} == {int, str}
    assert all(seen_last(ring.read, touches=True) in {one.person_id for one in ring.read.records} for ring in rings)


def test_fitting_lowers_the_loss_on_calls_of_another_town() -> None:
    fitted = fit(outcomes_of(Town(5, 200).rings(150)), DEFAULT, ("phone", "relative_borrows"))
    held_out = outcomes_of(Town(6, 200).rings(150))
    assert loss(held_out, fitted) < loss(held_out, DEFAULT)
    assert fitted.version != DEFAULT.version
    assert {name for name, value in fitted.values.items() if value != DEFAULT[name]} <= {"phone", "relative_borrows"}


def test_few_outcomes_hardly_move_a_prior() -> None:
    some = outcomes_of(Town(5, 200).rings(40))
    few, many = (abs(fit(part, DEFAULT, ("relative_borrows",))["relative_borrows"] - DEFAULT["relative_borrows"])
                 for part in (some[:2], some * 4))  # fmt: skip
    assert few <= many


def test_bins_hold_every_statement_once() -> None:
    answers = answered(Town(3, 150).rings(60), DEFAULT, journey=False)
    rows = calibration(statements(answers))
    assert sum(row.statements for row in rows) == sum(isinstance(one, int) for answer in answers for one in answer.stated)
    assert log_loss(answers) > 0


def test_the_run_prints_goals_and_figures() -> None:
    out = io.StringIO()
    found = run_bench(households=150, calls=120, outcomes=0, seed=2, as_json=False, console=Console(file=out, width=200))
    assert "true person first" in out.getvalue()
    assert any(one.goal is not None for one in found)
