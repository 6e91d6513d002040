"""The text model: equal to scikit-learn's, calibrated, without code in it; and how it is joined with the journey."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tests.spoken import file_of, sentences

from firstring.bulk.words.training import C, Examples, examples_in, train
from firstring.contact import Candidate, Contact, Journey, LikelyReason, OpenIssue, Resolution, TouchRead
from firstring.errors import BadInput
from firstring.journey.attention import contact_priors
from firstring.journey.reasons import EXPLAINS_MOST, explains, likely_reasons
from firstring.journey.words.textmodel import UNKNOWN, TextModel, from_plain, prepared
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.may.needs import needed
from firstring.trust.priors import DEFAULT_PRIORS
from firstring.trust.stepup import likely_stake, stake_of

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
MADE = sentences(600)
EXAMPLES = Examples([text for text, _ in MADE], [label for _, label in MADE])
MODEL, REPORT = train(EXAMPLES)
ODD = ["", "   ", "!!!", "Ça coûte 12,50 € — où est mon COLIS?", "x" * 5_000, "naïve\tcafé\nrésumé", "a", "I", "🚚🚚 parcel"]


def sklearn_scores(texts: list[str]) -> Any:
    """What scikit-learn itself gives, from end to end."""
    words = TfidfVectorizer(preprocessor=prepared, ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True, min_df=2)
    chars = TfidfVectorizer(preprocessor=prepared, analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=2)
    rows = hstack([words.fit_transform(EXAMPLES.texts), chars.fit_transform(EXAMPLES.texts)]).tocsr()
    fitted = LogisticRegression(C=C, max_iter=200, tol=1e-3).fit(rows, EXAMPLES.labels)
    asked = hstack([words.transform(texts), chars.transform(texts)]).tocsr()
    assert tuple(fitted.classes_) == MODEL.labels
    return fitted.decision_function(asked)


def test_scores_are_those_of_scikit_learn() -> None:
    texts = [text for text, _ in sentences(100, seed=7)] + ODD
    for expected, text in zip(sklearn_scores(texts), texts, strict=True):
        found, _ = MODEL.scores(text)
        assert np.allclose(found, expected, atol=1e-4), text


def test_it_learns_and_says_how_well() -> None:
    fresh = sentences(300, seed=99)
    right = sum(max(MODEL.labels, key=MODEL.read(text).__getitem__) == label for text, label in fresh)
    assert right / len(fresh) > 0.97
    assert REPORT.accuracy > 0.95
    assert REPORT.held_out == 120
    assert REPORT.error < 0.1


def test_what_it_does_not_know_is_unknown() -> None:
    for text in ("quel temps fait-il aujourd'hui", "sing me a song about whales", "qwertz uiop", ""):
        found = MODEL.read(text)
        assert max(found, key=found.__getitem__) == UNKNOWN, (text, found)
    assert MODEL.read("i forgot my password")[UNKNOWN] < 0.1


@given(st.text(max_size=200))
def test_probabilities_are_probabilities(text: str) -> None:
    found = MODEL.read(text)
    assert math.isclose(math.fsum(found.values()), 1.0, abs_tol=1e-9)
    assert all(0.0 <= one <= 1.0 for one in found.values())


def test_it_is_kept_as_numbers_and_text_and_is_the_same_again() -> None:
    kept = msgspec.msgpack.encode(MODEL.as_plain())
    again = from_plain(msgspec.msgpack.decode(kept))
    assert again.version == MODEL.version
    assert again.read("where is my parcel") == MODEL.read("where is my parcel")
    damaged = {**MODEL.as_plain(), "idf": b"\0" * 8}
    with pytest.raises(ValueError, match="do not fit"):
        from_plain(damaged)


def test_the_same_examples_give_the_same_version() -> None:
    assert train(EXAMPLES)[0].version == MODEL.version
    other = Examples([*EXAMPLES.texts[:-1], "something else entirely"], EXAMPLES.labels)
    assert train(other)[0].version != MODEL.version


def test_no_number_of_a_customer_becomes_a_word() -> None:
    assert not any(any(c in "123456789" for c in gram) for gram in (*MODEL.words, *MODEL.chars))


def test_two_labels_are_enough() -> None:
    two = [(text, label) for text, label in MADE if label in ("refund", "billing")]
    model, report = train(Examples([text for text, _ in two], [label for _, label in two]))
    assert report.caught is None
    found = model.read("please refund the shoes")
    assert found["refund"] > found["billing"]


# --- the file ------------------------------------------------------------------------------------------------------


def test_the_file_is_checked(tmp_path: Path) -> None:
    rows = [*MADE[:60], ("", "refund"), ("text without a label", ""), ("only one of it", "seldom")]
    read = examples_in(file_of(tmp_path, rows), "text", "label")
    assert (len(read.texts), read.left_out, read.rare) == (60, 2, ("seldom",))


@pytest.mark.parametrize(
    ("rows", "columns", "code"),
    [
        (MADE[:60], ("said", "label"), "reasons_column_missing"),
        (MADE[:4], ("text", "label"), "reasons_too_few"),
        ([("a b", "unknown")], ("text", "label"), "reasons_label_invalid"),
        ([("a b", "x" * 65)], ("text", "label"), "reasons_label_invalid"),
        ([(f"text {n % 5}", f"l{n // 5}") for n in range(5 * 501)], ("text", "label"), "reasons_too_many"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, rows: Any, columns: tuple[str, str], code: str) -> None:
    with pytest.raises(BadInput) as refused:
        examples_in(file_of(tmp_path, rows, columns), "text", "label")
    assert refused.value.code == code


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "labelled.csv"
    binary.write_bytes(b"text,label\n\xff\xfe\x00,refund\n")
    for path in (binary, tmp_path / "none.csv", tmp_path):
        with pytest.raises(BadInput) as refused:
            examples_in(path, "text", "label")
        assert refused.value.code == "file_unreadable"


# --- with the journey ----------------------------------------------------------------------------------------------


def touch(event_id: int, name: str, hours_ago: float, person_id: int = 1, claimed: bool = False) -> TouchRead:
    at = NOW - timedelta(hours=hours_ago)
    return TouchRead(event_id, person_id, person_id, "web", name, at, claimed=claimed)


def by_intent(reasons: tuple[LikelyReason, ...]) -> dict[str, float]:
    return {reason.intent: reason.probability for reason in reasons}


FAILED = touch(1, "Delivery Failed", 2.0)


def test_words_and_journey_are_one_list() -> None:
    clear, vague = MODEL.heard("please refund the blue lamp"), MODEL.heard("hello, i am waiting")
    for heard in (clear, vague):
        found = likely_reasons((), [FAILED], now=NOW, heard=heard)
        assert math.isclose(math.fsum(one.probability for one in found), 1.0, abs_tol=1e-9)
    assert by_intent(likely_reasons((), [FAILED], now=NOW, heard=clear))["refund"] > 0.5
    assert by_intent(likely_reasons((), [FAILED], now=NOW, heard=vague)).get("refund", 0.0) < 0.2


def test_the_journey_decides_between_labels_that_words_leave_open() -> None:
    heard = MODEL.heard("my parcel")
    alone = by_intent(likely_reasons((), [], now=NOW, heard=heard))
    after = by_intent(likely_reasons((), [FAILED], now=NOW, heard=heard))
    assert after["delivery.lost"] > alone.get("delivery.lost", 0.0)
    assert "delivery" not in after  # its labels stand for it


def test_an_intent_that_the_model_does_not_have_keeps_its_place() -> None:
    outage = OpenIssue("outage", "", NOW, 9, 1)
    found = by_intent(likely_reasons((outage,), [], now=NOW, heard=MODEL.heard("hm hm hm")))
    assert found["outage"] > 0.3
    clear = by_intent(likely_reasons((outage,), [], now=NOW, heard=MODEL.heard("i forgot my password")))
    assert clear["account_access"] > clear.get("outage", 0.0)


@pytest.mark.parametrize("text", ["", "!!!", "quel temps fait-il aujourd'hui"])
def test_of_a_text_that_cannot_be_read_next_to_nothing_follows(text: str) -> None:
    without = by_intent(likely_reasons((), [FAILED], now=NOW))
    found = by_intent(likely_reasons((), [FAILED], now=NOW, heard=MODEL.heard(text)))
    assert abs(sum(p for i, p in found.items() if i.startswith("delivery")) - without["delivery"]) < 0.1


def test_of_a_household_the_one_whose_matter_it_is_becomes_likelier() -> None:
    refund = touch(1, "Refund Denied", 20.0, person_id=1)
    order = touch(2, "Sign In Failed", 0.2, person_id=2)
    heard = MODEL.heard("when do i get the refund for the printer")
    without = contact_priors([1, 2], [refund, order], now=NOW)
    found = contact_priors([1, 2], [refund, order], now=NOW, heard=heard)
    before = without[1].log_odds - without[2].log_odds
    after = found[1].log_odds - found[2].log_odds
    assert after > before + 0.7
    claimed = contact_priors([1, 2], [touch(1, "Refund Denied", 20.0, 1, claimed=True), order], now=NOW, heard=heard)
    assert claimed[1].log_odds <= without[1].log_odds  # what anybody may have sent explains nobody's words


@given(st.sampled_from([text for text, _ in MADE]), st.integers(0, 3))
def test_explaining_is_bounded(text: str, count: int) -> None:
    touches = [touch(number, "Refund Denied", number + 1.0) for number in range(count)]
    nats = explains((), touches, now=NOW, heard=MODEL.heard(text))
    assert -EXPLAINS_MOST <= nats <= EXPLAINS_MOST
    assert count or nats == 0.0


def test_what_is_at_stake_follows_the_likely_reason_and_never_falls_by_a_guess() -> None:
    unknown = DEFAULT_PRIORS.stakes["unknown"]
    wire = [LikelyReason("wire", 0.8, ""), LikelyReason("unknown", 0.2, "")]
    harmless = [LikelyReason("opening_hours", 1.0, "")]
    assert likely_stake(wire, DEFAULT_PRIORS).loss > 1_000.0
    assert likely_stake(harmless, DEFAULT_PRIORS) == likely_stake((), DEFAULT_PRIORS) == unknown
    assert stake_of("address_change.by_mail", DEFAULT_PRIORS) == DEFAULT_PRIORS.stakes["address_change"]


def test_it_is_quick_enough_to_be_read_while_it_rings() -> None:
    assert isinstance(MODEL, TextModel)
    assert len(MODEL.heard("where is my parcel").ratios) == len(MODEL.labels) + 1


def test_the_skills_of_the_likely_reason_are_asked_for() -> None:
    contact = Contact(uuid.UUID(int=1), "chat", NOW, "k")
    resolution = Resolution((Candidate(1, 1.0),), 0.0, 0.0, "prior", "m")
    reasons = likely_reasons((), [FAILED], now=NOW, heard=MODEL.heard("the courier lost my parcel"))
    assert max(by_intent(reasons), key=by_intent(reasons).__getitem__) == "delivery.lost"
    policy = RoutingPolicy(intents={"delivery": {"logistics": 3}, "refund": {"billing": 2}})
    found = needed(contact, resolution, [Journey(1, likely_reasons=reasons)], policy=policy)
    assert found.need.steps[0].requirement.skills == {"logistics": 3}
