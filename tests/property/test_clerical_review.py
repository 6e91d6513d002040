"""Drawing pairs for review: every pair can come, the best come first, and what answers say holds for all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.identity.review.questions import EDGES, Answered, Pool, calibration, draw_probabilities, drawn, worth
from firstring.ports import SystemRandom

pools = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.integers(0, 3), st.integers(0, 50)), min_size=1, max_size=30
).map(lambda rows: Pool(np.array([p for p, _, _ in rows]), np.array([g for _, g, _ in rows], np.int64),
                        np.array([h for _, _, h in rows], np.int64)))  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(pool=pools, asked=st.dictionaries(st.integers(0, 3), st.integers(0, 9)), count=st.integers(0, 40))
def test_every_pair_may_come_and_none_comes_twice(pool: Pool, asked: dict[int, int], count: int) -> None:
    by_worth, every = draw_probabilities(pool, asked)
    assert by_worth.sum() + every.sum() == pytest.approx(1.0)
    assert (every > 0).all()
    found = drawn(pool, count, SystemRandom(1), asked)
    assert len({one.place for one in found}) == len(found) == min(count, len(pool.probability))
    assert [one.pool_pairs for one in found] == [len(pool.probability) - done for done in range(len(found))]
    assert all(0.0 < one.sampling_probability <= 1.0 + 1e-9 for one in found)
    if found:
        first = found[0].place
        assert found[0].sampling_probability == pytest.approx(float(by_worth[first] + every[first]))


def test_an_answer_is_worth_more_where_it_is_undecided_hangs_much_and_is_new() -> None:
    pool = Pool(np.array([0.5, 0.97, 0.5, 0.5]), np.array([0, 0, 0, 1]), np.array([1, 1, 40, 1]))
    value = worth(pool, {1: 5})
    assert value[0] > value[1], "undecided before decided"
    assert value[2] > value[0], "much hangs on it"
    assert value[0] > value[3], "its like were not asked about"
    first = [drawn(pool, 1, SystemRandom(seed))[0].place for seed in range(200)]
    assert np.bincount(first).argmax() == 2


def test_draws_follow_their_probabilities() -> None:
    pool = Pool(np.array([0.5, 0.9, 0.02, 0.999]), np.array([0, 1, 1, 2]), np.array([1, 9, 1, 1]))
    by_worth, every = draw_probabilities(pool, {})
    random = SystemRandom(5)
    counts = np.bincount([drawn(pool, 1, random)[0].place for _ in range(4_000)], minlength=4)
    assert counts / 4_000 == pytest.approx(by_worth + every, abs=0.03)


def test_calibration_is_measured_without_bias_though_the_undecided_are_asked_about() -> None:
    """The truth differs between groups that are asked about unevenly: the plain share of the answers would be wrong."""
    rng = np.random.default_rng(3)
    size = 4_000
    group = (rng.random(size) < 0.1).astype(np.int64)
    probability = rng.uniform(0.81, 0.89, size)
    same = rng.random(size) < np.where(group == 1, 0.2, 0.9)
    pool = Pool(probability, group, np.where(group == 1, 300, 1))
    found = drawn(pool, 700, SystemRandom(4))
    answers = [
        Answered("same" if same[one.place] else "different", float(probability[one.place]), one.sampling_probability,
                 one.pool_pairs)
        for one in found
    ]  # fmt: skip
    [one] = calibration(answers)
    plain = float(np.mean([each.answer == "same" for each in answers]))
    truth = float(same.mean())
    assert abs(plain - truth) > 0.15, "so the test tests something"
    assert one.found == pytest.approx(truth, abs=0.08)
    assert one.found_from <= truth <= one.found_to
    assert (one.low, one.high, one.answers) == (0.8, 0.9, 700)
    assert one.stated == pytest.approx(probability.mean(), abs=0.01)


def test_unknown_says_nothing_and_bins_have_edges() -> None:
    assert calibration([Answered("unknown", 0.5, 0.1, 10)]) == []
    found = calibration([Answered("same", edge, 0.1, 10) for edge in EDGES])
    assert [(one.low, one.answers) for one in found][-1] == (0.99, 2)
    assert sum(one.answers for one in found) == len(EDGES)


def test_the_reason_for_a_question_is_said() -> None:
    pool = Pool(np.array([0.5, 0.5]), np.array([0, 0]), np.array([12, 1]))
    texts = {one.why for seed in range(60) for one in drawn(pool, 2, SystemRandom(seed), {0: 3})}
    assert "stated 0.50; 12 pairs of records hang on it; 2 pairs like it, 3 of them asked about" in texts
    assert any(text.startswith("drawn from pairs of every probability") for text in texts)
