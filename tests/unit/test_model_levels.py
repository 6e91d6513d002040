"""Levels of pairs, model files, the plan: small cases by hand."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from firstring.bulk.linking.plan import key_pairs, make_plan
from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.identity.comparison.columns import Encoder, compared, email_local, sound, table_of
from firstring.identity.comparison.levels import active, compare, outcomes
from firstring.identity.comparison.spec import CLASSES, PERSON, BlockingKey, Spec
from firstring.identity.model.model import Model, as_json, from_json, outcome_names, score, weights


def _level(comparison: str, *sides: dict[str, tuple[str, ...]]) -> str:
    """The level of a pair among 64 records whose other 62 state nothing alike."""
    others = [
        {name: (f"other{place}",) if name != "born" else (f"{1900 + place}0915",) for name in sides[0]}
        for place in range(62)
    ]
    table = table_of([*sides, *others])
    chosen = next(one for one in PERSON.comparisons if one.name == comparison)
    outcome = int(compare(chosen, table, np.array([0]), np.array([1]))[0])
    back = int(compare(chosen, table, np.array([1]), np.array([0]))[0])
    assert outcome == back, "a comparison has no direction"
    return "missing" if outcome == 0 else outcomes(chosen).of[outcome - 1][0].name


@pytest.mark.parametrize(
    ("left", "right", "level"),
    [
        ("robert", "robert", "exact"), ("bob", "robert", "nickname"), ("chris", "christopher", "nickname"),
        ("robert", "roberta", "nickname"), ("r", "robert", "initial"), ("martha", "marhta", "close"),
        ("ann", "robert", "different"),
    ],
)  # fmt: skip
def test_given_names(left: str, right: str, level: str) -> None:
    assert _level("given", {"given": (left,)}, {"given": (right,)}) == level


@pytest.mark.parametrize(
    ("left", "right", "level"),
    [("garcia lopez", "garcia", "part"), ("johnson", "jonhson", "close"), ("smith", "miller", "different")],
)
def test_family_names(left: str, right: str, level: str) -> None:
    assert _level("family", {"family": (left,)}, {"family": (right,)}) == level


def test_swapped_names_with_one_mistyped_are_swapped_names() -> None:
    sides = {"given": ("isabella",), "family": ("kovacs",)}, {"given": ("kovacs",), "family": ("isabela",)}
    assert _level("family", *sides) == _level("family", *sides[::-1]) == "swapped"
    assert _level("given", *sides) == "missing"
    others = sides[0], {"given": ("kovacs",), "family": ("miriam",)}
    assert _level("family", *others) == "different"
    assert _level("given", *others) == "different"


def test_swapped_names_are_said_once() -> None:
    sides = {"given": ("owen",), "family": ("james",)}, {"given": ("james",), "family": ("owen",)}
    assert _level("family", *sides) == "swapped"
    assert _level("given", *sides) == "missing"
    assert _level("family", {"given": ("lee",), "family": ("lee",)}, {"given": ("lee",), "family": ("lee",)}) == "exact"


@pytest.mark.parametrize(
    ("left", "right", "level"),
    [
        ("19710624", "19710624", "exact"), ("19710605", "19710506", "swapped"), ("19710624", "19710101", "swapped"),
        ("19710624", "19710524", "edit1"), ("19710624", "19620624", "edit2"), ("19710624", "20080624", "month_day"),
        ("19710929", "19711011", "days"), ("19710224", "19711107", "year"), ("19710624", "19480317", "different"),
        ("19711341", "19480317", "different"),
    ],
)  # fmt: skip
def test_birth_dates(left: str, right: str, level: str) -> None:
    assert _level("birth_date", {"born": (left,)}, {"born": (right,)}) == level


def test_places_are_one_comparison() -> None:
    home = {"address": ("12 elm street",), "postcode": ("90210",), "city": ("boston",)}
    assert _level("place", home, home) == "home"
    assert _level("place", home, {**home, "address": ("12 elm streat",)}) == "home_close"
    assert _level("place", home, {**home, "address": ("14 elm street",)}) == "postcode"
    assert _level("place", home, {"city": ("boston",)}) == "city"
    assert _level("place", home, {"city": ("chicago",)}) == "different"
    assert _level("place", home, {"postcode": ("33333",)}) == "different"


def test_what_one_side_does_not_state_is_no_evidence() -> None:
    for comparison in PERSON.comparisons:
        table = table_of([dict.fromkeys(comparison.columns, ("20010203",)), {"note": ()}])
        assert compare(comparison, table, np.array([0]), np.array([1])).tolist() == [0], comparison.name


def test_the_rarest_shared_value_of_several_counts() -> None:
    rows = [{"phone": ("+1", "+2")}, {"phone": ("+2", "+1")}, *({"phone": ("+1",)} for _ in range(30))]
    table = table_of(rows)
    phone = next(one for one in PERSON.comparisons if one.name == "phone")
    outcome = int(compare(phone, table, np.array([0]), np.array([1]))[0])
    assert outcomes(phone).of[outcome - 1][1] == 4  # two of 32 records
    assert table.bands("phone").tolist() == [0, 4, 0]


def test_addresses_made_of_one_name_are_alike_because_the_name_is() -> None:
    one = {"given": ("robert",), "email": ("robert.miller7@a.example",)}
    other = {"given": ("robert",), "email": ("robert_miller88@b.example",)}
    assert _level("email", one, other) == "missing"
    assert _level("email", {**one, "given": ("ann",)}, {**other, "given": ("zoe",)}) == "similar"


def test_an_inbox_of_several_names_has_a_level_of_its_own() -> None:
    shared = ("home@mail.example.org",)
    ann, bob = {"given": ("ann",), "root": ("ann",), "email": shared}, {"given": ("bob",), "root": ("bob",), "email": shared}
    assert _level("email", ann, bob) == "exact_several"
    assert _level("email", ann, ann) == "exact"


def test_mistyped_values_leave_a_trace_and_placeholders_none() -> None:
    raw = {
        "record_id": "1", "account": "A-77", "birth_date": "1971-13-41", "email": "Robertsmith.net", "phone": "000-000-0000",
    }  # fmt: skip
    found = canonical_record(raw, country="US")
    assert found.fields["traces"] == {"birth_date": "19711341", "email": "robertsmith.net"}
    assert compared(found.fields) == {"account": ("A77",), "born": ("19711341",), "email": ("robertsmith.net",)}


def test_compared_takes_names_and_addresses_apart() -> None:
    found = compared({"full_name": "Bob van der Berg Jr", "street": "Elm St.", "house_number": "12", "postcode": "SW1A 1AA"})
    assert found["given"] == ("bob",)
    assert found["root"] == ("robert",)
    assert found["family"] == ("berg",)
    assert found["suffix"] == ("jr",)
    assert found["address"] == ("12 elm street",)
    assert found["postcode"] == ("SW1A1AA",)


def test_sounds_and_locals() -> None:
    assert sound("philip") == sound("filip")
    assert sound("meyer") == sound("maier") == sound("meier")
    assert sound("smith") != sound("jones")
    assert email_local("ann.lee+shop@mail.example.org") == "ann.lee"


# --- the plan ------------------------------------------------------------------------------------------------------


def test_hot_values_make_no_pairs_and_every_other_pair_is_made_once() -> None:
    rows = [{"born": ("19700101",)} for _ in range(60)] + [{"born": (f"19800{1 + place % 3}01",)} for place in range(12)]
    spec = Spec(PERSON.comparisons, (BlockingKey("born", ("born",), profile=True),))
    table = table_of(rows)
    plan = make_plan(spec, table)
    assert [(one.hot_values, one.hot_records, one.pairs) for one in plan.keys] == [(1, 60, 18)]
    made = [
        pair for left, right in key_pairs(plan.keys[0], table) for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    assert len(made) == len(set(made)) == 18
    born = [row["born"] for row in rows]
    assert all(left < right and born[left] == born[right] for left, right in made)


def test_a_key_of_several_values_meets_on_each() -> None:
    table = table_of([{"phone": ("+1", "+2")}, {"phone": ("+2",)}, {"phone": ("+1", "+2")}, {"phone": ("+3",)}])
    plan = make_plan(Spec(PERSON.comparisons, (BlockingKey("phone", ("phone",)),)), table)
    made = {pair for left, right in key_pairs(plan.keys[0], table)
            for pair in zip(left.tolist(), right.tolist(), strict=True)}  # fmt: skip
    assert made == {(0, 1), (0, 2), (1, 2)}


def test_a_record_with_many_values_keeps_the_rarest() -> None:
    encoder = Encoder()
    encoder.add({"phone": tuple(f"+{place}" for place in range(9))})
    for place in range(5):
        encoder.add({"phone": (f"+{place}",)})
    phones = encoder.table(np.arange(6)).column("phone")
    assert [phones.values[code] for code in phones.codes[0].tolist()] == ["+5", "+6", "+7", "+8"]


# --- the model file ------------------------------------------------------------------------------------------------


def _model() -> Model:
    table = table_of([{"given": ("ann",), "born": ("19710624",)}] * 4)
    shares = {}
    for comparison in active(PERSON, table):
        names = outcome_names(comparison)
        between = [0.1] * (len(CLASSES) - 2)
        shares[comparison.name] = {name: [0.5, *between, 0.01 * (1 + place)] for place, name in enumerate(names)}
    return Model(PERSON, 1_000, {"same": 0.5, "household": 1.0}, 1e-5, shares, {})


def test_a_model_survives_its_file_and_is_named_after_its_content() -> None:
    model = _model()
    content = as_json(model)
    assert from_json(content) == model
    assert as_json(from_json(content)) == content
    assert max(len(line) for line in content.decode().splitlines()) < 300, "one line an outcome: it can be compared"
    other = msgspec.structs.replace(model, namesake_rate=2e-5)
    assert other.version != model.version


def test_a_model_with_other_outcomes_is_refused() -> None:
    model = _model()
    shares = {**model.shares, "given": {"exact": [1.0] * len(CLASSES)}}
    with pytest.raises(BadInput, match="cannot be read"):
        from_json(as_json(msgspec.structs.replace(model, shares=shares)))


def test_weights_add_up_to_the_log_odds_against_one_rival() -> None:
    model = _model()
    patterns = np.arange(50, dtype=np.int64)
    scores = score(model, patterns, np.zeros(50, bool), 1_000)
    total = sum(weights(model, patterns, scores.rival).values())
    rival = scores.joint[0] - scores.joint[scores.rival, np.arange(50)]
    prior = np.log(model.class_pairs(1_000)[0] / model.class_pairs(1_000)[scores.rival])
    assert total + prior == pytest.approx(rival)
    assert scores.probability == pytest.approx(np.exp(scores.joint[0]) / np.exp(scores.joint).sum(axis=0))
    assert len(CLASSES) == scores.joint.shape[0]
