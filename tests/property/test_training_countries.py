"""Training where names, places and postcodes follow the country, and are few: agreement is little evidence there."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from firstring.bulk.linking.sampling import observe, seen_pairs
from firstring.identity.comparison.columns import Table, table_of
from firstring.identity.comparison.levels import active, outcomes, patterns, unpacked
from firstring.identity.comparison.spec import CLASSES, PERSON
from firstring.identity.model.anchors import Bound, bounded, bounds, telling, unlike_places
from firstring.identity.model.model import Model, score
from firstring.identity.model.training import trained

Values = dict[str, tuple[str, ...]]
_COUNTRIES = 8
_LETTERS = "abcdefghijklmnoprstuvwz"


def _words(rng: random.Random, count: int) -> list[str]:
    return ["".join(rng.choice(_LETTERS) for _ in range(rng.randint(5, 8))) for _ in range(count)]


def _registers(seed: int, people: int, stated: dict[str, float]) -> tuple[list[Values], np.ndarray]:
    """People of countries that have ten given names, ten family names and three towns each; one to four records of one."""
    rng = random.Random(seed)
    country = [tuple(_words(rng, count) for count in (10, 10, 3)) for _ in range(_COUNTRIES)]
    rows: list[tuple[int, Values]] = []
    for person in range(people):
        givens, families, towns = country[person % _COUNTRIES]
        given, family = (names[int(rng.random() * rng.random() * 10)] for names in (givens, families))
        whole = {
            "born": f"{rng.randint(1950, 2000)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}",
            "phone": f"+44{rng.randint(10**9, 10**10 - 1)}",
            "email": f"{given}{rng.randint(1, 9_999)}@mail.example",
            "postcode": f"{rng.randint(10_000, 10_999)}",
        }
        always = {"given": given, "root": given, "family": family, "city": rng.choice(towns)}
        for _ in range(rng.choice((1, 2, 2, 3, 4))):
            some = {name: value for name, value in whole.items() if rng.random() < stated[name]}
            rows.append((person, {name: (value,) for name, value in (always | some).items()}))
    rng.shuffle(rows)
    return [values for _, values in rows], np.array([person for person, _ in rows])


def _trained(table: Table) -> Model:
    comparisons = active(PERSON, table)
    return trained(PERSON, comparisons, table, observe(comparisons, table, seen_pairs(PERSON, table)))


def _right(model: Model, table: Table, person: np.ndarray, least: float) -> tuple[float, float]:
    """Of the pairs stated at `least` and more: (share that is one person, share of all true pairs seen)."""
    seen = seen_pairs(PERSON, table)
    found = patterns(model.comparisons(), table, seen.left, seen.right)
    likely = score(model, found, seen.by_profile, table.rows).probability >= least
    same = person[seen.left] == person[seen.right]
    return float(same[likely].mean()), float(likely[same].mean())


@pytest.mark.parametrize(
    ("stated", "recall"),
    [
        ({"born": 0.6, "phone": 0.4, "email": 0.4, "postcode": 0.6}, 0.6),
        ({"born": 0.4, "phone": 0.2, "email": 0.3, "postcode": 0.3}, 0.3),
        ({"born": 0.7, "phone": 0.0, "email": 0.0, "postcode": 0.3}, 0.4),
    ],
)
def test_few_names_of_each_country_are_no_evidence(stated: dict[str, float], recall: float) -> None:
    rows, person = _registers(7, 1_600, stated)
    table = table_of(rows)
    model = _trained(table)
    true_pairs = float((np.bincount(person) * (np.bincount(person) - 1) // 2).sum()) / len(rows)
    assert model.pairs_per_record["same"] == pytest.approx(true_pairs, rel=0.35)
    precision, found = _right(model, table, person, 0.95)
    assert precision > 0.98
    assert found > recall
    assert _right(model, table, person, 0.5)[0] > 0.85


def test_few_names_are_no_evidence_where_nobody_states_a_birth_date() -> None:
    rows, person = _registers(7, 1_600, {"born": 0.0, "phone": 0.5, "email": 0.5, "postcode": 0.6})
    table = table_of(rows)
    precision, found = _right(_trained(table), table, person, 0.95)
    assert precision > 0.95
    assert found > 0.4


def test_unlike_birth_dates_are_bounded_by_sure_pairs() -> None:
    comparisons = tuple(one for one in PERSON.comparisons if one.name in ("given", "birth_date", "phone"))
    of = [outcomes(one) for one in comparisons]
    # given name, birth date, phone: agreed, agreed, agreed; agreed, different, agreed; different, different, different.
    exact = [each.first["exact"] for each in of]
    rows = np.array([exact, [exact[0], of[1].first["different"], exact[2]], [each.first["different"] for each in of]]).T
    found = bounds(comparisons, rows.astype(np.uint8), np.array([900.0, 80.0, 1e6]))
    assert found == {1: Bound(unlike_places(comparisons[1]), pytest.approx(1.25 * (80 + 4) / 1_000 + 0.02))}
    assert bounds(comparisons[:1], rows[:1].astype(np.uint8), np.ones(3)) == {}


def test_unlike_contact_points_are_bounded_by_pairs_that_share_another() -> None:
    comparisons = tuple(one for one in PERSON.comparisons if one.name in ("given", "phone", "email"))
    of = [outcomes(one) for one in comparisons]
    exact, different = ([each.first[name] for each in of] for name in ("exact", "different"))
    # agreed in all; another phone; another e-mail address; strangers of one name; a phone and no e-mail address.
    rows = np.array([
        exact, [exact[0], different[1], exact[2]], [*exact[:2], different[2]], [exact[0], *different[1:]], [*exact[:2], 0],
    ])  # fmt: skip
    found = bounds(comparisons, rows.T.astype(np.uint8), np.array([800.0, 100.0, 50.0, 1e6, 1e5]))
    assert found[1].most == pytest.approx(1.25 * (100 + 4) / (900 + 20) + 0.02)
    assert found[2].most == pytest.approx(1.25 * (50 + 4) / (850 + 20) + 0.02)


def test_without_birth_dates_classes_are_learned_from_pairs_that_state_a_contact_point() -> None:
    rows = [{"given": ("ann",), "family": ("lee",), "phone": ("1",)}] * 3
    rows += [{"given": ("ann",), "family": ("lee",), "email": ("a@lee.org",)}] * 2 + [{"given": ("ann",)}] * 5
    table = table_of(rows)
    comparisons = active(PERSON, table)
    left, right = np.triu_indices(10, 1)
    seen = unpacked(comparisons, patterns(comparisons, table, left, right))
    stated, share = telling(comparisons, seen, np.ones(45), table)
    assert share == pytest.approx((3 + 1) / 45), "three pairs of phones, one of addresses"
    assert stated.sum() == 4


@pytest.mark.parametrize("most", [0.05, 0.2, 0.9])
def test_bounded_shares_add_up(most: float) -> None:
    rng = np.random.default_rng(3)
    places = unlike_places(next(one for one in PERSON.comparisons if one.name == "birth_date"))
    for _ in range(50):
        shares: np.ndarray = rng.dirichlet(np.ones(40))
        found = bounded(shares, places, most)
        assert found.sum() == pytest.approx(1.0)
        assert found[places].sum() <= max(most, 0.0) + 1e-12
        rest: Sequence[int] = [place for place in range(40) if place not in places]
        assert np.allclose(found[rest] / found[rest].sum(), shares[rest] / shares[rest].sum())


def test_compatriots_share_given_name_and_region_alone() -> None:
    one = CLASSES.index("compatriot")
    like = {comparison.name: CLASSES[comparison.like[one]] for comparison in PERSON.comparisons}
    assert (like["given"], like["family"], like["place"]) == ("namesake", "unrelated", "local")
    learned = {comparison.name for comparison in PERSON.comparisons if comparison.learned_by[one]}
    assert learned == {"given", "place", "email"}
