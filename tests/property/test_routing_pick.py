"""The pick against brute force: order, ties, guard, exploration, batches, what would flip it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.errors import BadInput
from firstring.routing.pick import choose as picking
from firstring.routing.pick.choose import PickSettings

SEEDS = st.integers(0, 2**32 - 1)


def some(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(count) < 0.3, -np.inf, rng.integers(0, 6, count) / 5)
    h = rng.integers(60, 400, count).astype(float)
    price = rng.integers(0, 3, count) / 1000
    return p, h, price, rng.integers(0, 4, count).astype(float), rng.random(count)


@given(SEEDS, st.integers(0, 60), st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_the_order_is_that_of_sorting_all_pairs(seed: int, count: int, keep: int) -> None:
    p, h, price, idle_s, occupancy = some(seed, count)
    made = picking.pick(p, h, price=price, occupancy=occupancy, idle_s=idle_s, keep=keep)
    rules = made.settings
    mean = float(np.mean(occupancy)) if count else 0.0

    def index(i: int) -> float:
        off = occupancy[i] - mean
        outside = max(0.0, abs(off) - rules.fairness_band) * (1 if off > 0 else -1)
        return float(p[i] - price[i] * h[i] - rules.fairness * outside)

    eligible = [i for i in range(count) if p[i] > -np.inf]
    for i in eligible:
        assert made.scores[i] == pytest.approx(index(i), abs=1e-12)
        assert sum(float(term[i]) for term in made.terms) == pytest.approx(float(made.scores[i]), abs=1e-12)
    expected = sorted(eligible, key=lambda i: (-np.round(made.scores[i] / rules.same), -idle_s[i], i))[:keep]
    assert made.order.tolist() == expected
    assert made.chosen == (expected[0] if expected else -1)
    assert made.why == ("best" if expected else "nobody")


@given(SEEDS, st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_a_model_that_knows_nothing_is_longest_idle_and_first_come(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    waited_s = rng.permutation(count).astype(float)
    p, h = np.full(count, 0.6), np.full(count, 200.0)
    made = picking.pick(p, h, price=np.full(count, 0.002), idle_s=waited_s)
    assert made.chosen == int(waited_s.argmax())
    after = picking.next_contact(p, h, price=0.002, contact_price=np.full(count, 0.2), waited_s=waited_s)
    assert after.chosen == int(waited_s.argmax())


@given(SEEDS, st.integers(1, 12), st.floats(0.05, 1.0), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_the_propensities_are_the_shares_of_the_draws(seed: int, count: int, explore: float, among: int) -> None:
    p, h, price, idle_s, _ = some(seed, count)
    rules = PickSettings(explore=explore, explore_among=among, explore_within=0.2)
    draws = (np.arange(1_000) + 0.5) / 1_000
    made = [picking.pick(p, h, price=price, idle_s=idle_s, draw=float(draw), settings=rules) for draw in draws]
    shares = picking.propensities(made[0])
    if made[0].chosen < 0:
        assert not shares.any()
        return
    assert shares.sum() == pytest.approx(1.0)
    for place, position in enumerate(made[0].order):
        chosen = [one for one in made if one.chosen == position]
        assert len(chosen) / 1_000 == pytest.approx(shares[place], abs=0.004)
        assert all(one.propensity == pytest.approx(shares[place]) for one in chosen)


@given(SEEDS, st.integers(1, 12), st.integers(0, 11))
@settings(max_examples=80, deadline=None)
def test_the_guard_is_obeyed_by_an_agent_who_can(seed: int, count: int, must: int) -> None:
    p, h, _, waited_s, _ = some(seed, count)
    must = min(must, count - 1)
    near = np.random.default_rng(seed).random(count) < 0.5
    made = picking.next_contact(p, h, price=0.001, contact_price=np.zeros(count), waited_s=waited_s, must=must, within=near)
    if p[must] > -np.inf:
        assert (made.chosen, made.why, made.propensity) == (must, "guard", 1.0)
        assert picking.propensities(made).sum() == 1.0
    else:
        assert made.chosen == -1 or near[made.chosen]
        assert made.why in ("best", "nobody")


@given(SEEDS, st.integers(2, 12))
@settings(max_examples=80, deadline=None)
def test_each_change_named_would_flip_the_pick(seed: int, count: int) -> None:
    p, h, price, idle_s, _ = some(seed, count)
    made = picking.pick(p, h, price=price, idle_s=idle_s)
    for rival in made.order[1:]:
        changes = picking.flip(made, int(rival))
        assert [c.size for c in changes] == sorted(c.size for c in changes)
        for change in changes:
            for past, wins in ((1e-9, True), (-1e-6, False)):
                changed = {"success": p.copy(), "handle_s": h.copy(), "price": price.copy()}
                changed[change.what][rival] = change.needed + past * (change.needed - change.now)
                again = picking.pick(changed["success"], changed["handle_s"], price=changed["price"], idle_s=idle_s)
                ahead = again.scores[rival] - again.scores[made.chosen]
                assert (ahead >= -1e-9) if wins else (ahead <= 1e-9)


@given(SEEDS, st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_a_batch_is_the_best_of_the_largest(seed: int, contacts: int, agents: int) -> None:
    rng = np.random.default_rng(seed)
    index = np.where(rng.random((contacts, agents)) < 0.4, -np.inf, rng.normal(size=(contacts, agents)))
    best = (0, 0.0)
    for size in range(1, min(contacts, agents) + 1):
        for rows in itertools.combinations(range(contacts), size):
            for columns in itertools.permutations(range(agents), size):
                total = float(sum(index[r, c] for r, c in zip(rows, columns, strict=True)))
                if total > -np.inf:
                    best = max(best, (size, total))
    pairs = picking.batch(index)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs) == best[0]
    assert sum(float(index[r, c]) for r, c in pairs) == pytest.approx(best[1])


@given(SEEDS, st.integers(0, 8))
@settings(max_examples=100, deadline=None)
def test_holding_is_worth_the_best_threshold(seed: int, busy: int) -> None:
    rng = np.random.default_rng(seed)
    value, rate = rng.normal(0.2, 0.2, busy), rng.random(busy) / 50
    rules = PickSettings(hold_s=10.0)
    found = picking.reservation(value, rate, best_now=0.1, lost=-0.3, patience_s=300.0, settings=rules)
    ends, leaves = 1 / 10, 1 / 300
    all_sets = (np.array(s, int) for n in range(busy + 1) for s in itertools.combinations(range(busy), n))
    worth = [(sum(value[s] * rate[s]) + 0.1 * ends - 0.3 * leaves) / (sum(rate[s]) + ends + leaves) for s in all_sets]
    assert found == pytest.approx(max(worth))


@pytest.mark.parametrize("field", ["fairness", "guard_s", "guard_caution", "hold_s", "explore", "explore_among"])
def test_settings_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(BadInput) as refused:
        PickSettings(**{field: -1})
    assert refused.value.where == {"field": f"pick.{field}"}
