"""What a trained model says while it rings: rarity, namesakes, relatives, common identifiers; its version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from firstring.contact import Evidence, FanOut, Identifier, Read, RecordRead, Resolution
from firstring.identity.caller.fitted import Fitted
from firstring.identity.caller.resolver import resolve
from firstring.identity.caller.weights import DEFAULT, JOINED, Weights
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.comparison.levels import active
from firstring.identity.comparison.spec import CLASSES, PERSON
from firstring.identity.comparison.statistics import BANDS
from firstring.identity.model.model import Model, outcome_names

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PHONE = Identifier("phone", "+12025550123")
KEY = bytes(16)


def model() -> Model:
    """Exact agreement of an octave b is 2^b times likelier of one person; of relatives, by family name and place."""
    rows = [compared({"given_name": "Ann", "family_name": "Smith", "birth_date": "1971-06-24", "postcode": "02134",
                      "phone": ["+1"]})] * 2  # fmt: skip
    shares: dict[str, dict[str, list[float]]] = {}
    for one in active(PERSON, table_of(rows)):
        shares[one.name] = {}
        for place, name in enumerate(outcome_names(one)):
            agrees = name.split(" ")[0] in ("exact", "postcode", "home", "city")
            band = int(name.rpartition("-")[2]) if "2^-" in name else min(place, BANDS)
            unrelated = 2.0**-band / 100 if agrees else 0.5
            related = 0.05 if agrees else 0.01
            shares[one.name][name] = [
                related if of in ("same", "junior", "twin") or (of == "household" and one.name in ("family", "place"))
                or (of == "namesake" and one.name in ("given", "family")) else unrelated
                for of in CLASSES
            ]  # fmt: skip
    return Model(PERSON, 10_000, {"same": 0.5, "household": 1.0}, 1e-4, shares)


def weights() -> Weights:
    people = [{"given_name": "Ann", "family_name": "Smith", "birth_date": "1971-06-24", "postcode": "02134"}] * 512
    people += [{"given_name": f"Ann{place}", "family_name": f"Smith{place}", "postcode": "02135"} for place in range(512)]
    rows = [compared({**fields, "phone": [f"+{place % 700}"]}) for place, fields in enumerate(people)]
    rows += [compared({"given_name": "Zoe", "family_name": "Rare", "phone": ["+9"]})] * 40
    table = table_of(rows)
    statistics = table.frozen(("given", "family", "born", "home", "postcode", "address", "city", "phone", "email"), KEY)
    return Weights(fitted=Fitted(model(), statistics))


WEIGHTS = weights()


def record(record_id: int, person_id: int, given: str = "Ann", family: str = "Smith", **more: object) -> RecordRead:
    matched = more.pop("matched", (PHONE,))
    assert isinstance(matched, tuple)
    fields = {"given_name": given, "family_name": family, "phone": [PHONE.value], **more}
    return RecordRead(record_id, 1, person_id, "crm", fields, matched, False, NOW - timedelta(days=9))


def who(
    *records: RecordRead, weights: Weights = WEIGHTS, identifiers: tuple[Identifier, ...] = (PHONE,), **claims: str
) -> Resolution:
    return resolve(Evidence(identifiers, claims), Read(records=records), weights=weights, now=NOW)


def weight(resolution: Resolution, code: str) -> float:
    best = resolution.best
    assert best is not None
    return next(one.weight for one in best.reasons if one.code == code and one.weight is not None)


def test_a_rare_name_says_more_than_a_common_one() -> None:
    common = weight(who(record(1, 1), given_name="Ann"), "given_name_agrees")
    rare = weight(who(record(1, 1, "Xanthippe"), given_name="Xanthippe"), "given_name_agrees")
    assert rare > common + 5


def test_the_weights_are_the_model_s_own_and_its_version_is_named() -> None:
    result = who(record(1, 1), given_name="Ann")
    table = model().shares["given"]["exact 2^-1"]
    assert weight(result, "given_name_agrees") == pytest.approx(float(np.log(table[0] / table[-1])))
    assert result.basis == "fitted"
    assert result.model_version == f"{model().version}{JOINED}{DEFAULT.version}" == WEIGHTS.version
    assert who(record(1, 1), weights=DEFAULT).model_version == DEFAULT.version


def test_somebody_new_may_be_a_namesake() -> None:
    both = who(record(1, 1, "Zoe", "Rare"), given_name="Zoe", family_name="Rare")
    assert weight(both, "namesakes") < 0
    assert all(one.code != "namesakes" for one in who(record(1, 1)).candidates[0].reasons)


def test_reasons_still_add_up() -> None:
    result = who(record(1, 1, "Zoe", "Rare"), record(2, 2), given_name="Zoe", family_name="Rare")
    for one in result.candidates:
        total = sum(reason.weight or 0.0 for reason in one.reasons)
        assert total == pytest.approx(float(np.log(one.probability / result.someone_new)), abs=1e-9)


def test_a_number_that_many_have_says_less_about_all_of_them_together() -> None:
    crowd = [record(place, place, f"Ann{place}", f"Smith{place}") for place in range(1, 4)]
    evidence = Evidence((Identifier("phone", "+9"),))
    carried = [
        RecordRead(one.record_id, 1, one.person_id, "crm", one.fields, evidence.identifiers, False, one.last_seen)
        for one in crowd
    ]
    fan = FanOut(evidence.identifiers[0], 3, 3)
    common = resolve(evidence, Read(records=tuple(carried), fan_out=(fan,)), weights=WEIGHTS, now=NOW)
    rare = resolve(Evidence((PHONE,)), Read(records=tuple(crowd), fan_out=(FanOut(PHONE, 3, 3),)), weights=WEIGHTS, now=NOW)
    assert common.someone_new > 2 * rare.someone_new


def test_a_relative_s_claims_are_weighed_as_a_household_s() -> None:
    couple = (record(1, 1), record(2, 2, "Bob"))
    unlisted = who(*couple, given_name="Xanthippe", family_name="Smith")
    assert unlisted.another_in_household > who(*couple, given_name="Xanthippe", family_name="Other").another_in_household


def test_what_the_model_does_not_know_stays_a_prior() -> None:
    result = who(record(1, 1, suffix="Sr"), suffix="Jr")
    assert weight(result, "suffix_disagrees") == DEFAULT["suffix_different"]
    composite = RecordRead(1, 1, 1, "crm", {"given_name": "Ann"}, (), True, NOW)
    alone = who(composite, identifiers=(), given_name="Ann")
    assert weight(alone, "nobody_pointed_at") == pytest.approx(WEIGHTS.nobody_pointed_at)
