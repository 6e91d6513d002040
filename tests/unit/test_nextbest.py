"""The gates and the choice of the next best action, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firstring.contact import (
    Assurance,
    Candidate,
    Channel,
    Household,
    Identifier,
    Journey,
    LikelyReason,
    NextAction,
    OpenIssue,
    Question,
    Reason,
    Resolution,
    StepUp,
    Touch,
)
from firstring.nextbest.actions import Action, Catalogue, Fit, catalogue
from firstring.nextbest.arbitrate import NONE, choose
from firstring.nextbest.library import BUILT_IN

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def who(*people: tuple[int, float], another: float = 0.0, **more: Any) -> Resolution:
    candidates = tuple(Candidate(person, p, profile={"given_name": "Ana"}) for person, p in people)
    rest = 1.0 - another - sum(p for _, p in people)
    return Resolution(candidates, rest, another, "prior", "test", **more)


def sure(person_id: int | None, method: str = "none") -> Assurance:
    return Assurance(person_id, 0.01, "prior", "routine", StepUp(method, "Send a code" if method != "none" else ""), "test")


def been(person_id: int = 1, *names: str, issues: tuple[str, ...] = (), reasons: tuple[LikelyReason, ...] = ()) -> Journey:
    touches = tuple(
        Touch(i, "web", name, NOW - timedelta(hours=i), f"{name}, order 7", person_id) for i, name in enumerate(names, 1)
    )
    opened = tuple(OpenIssue(kind, "7", NOW, 1, person_id, f"open {kind}, order 7") for kind in issues)
    return Journey(person_id, touches, opened, reasons)


def decide(
    *journeys: Journey,
    resolution: Resolution | None = None,
    assurances: tuple[Assurance, ...] | None = None,
    channel: Channel = "voice",
    actions: Catalogue = BUILT_IN,
) -> NextAction:
    return choose(
        journeys,
        resolution or who((1, 0.97)),
        (sure(1),) if assurances is None else assurances,
        channel=channel,
        now=NOW,
        actions=actions,
    )


def gates(action: NextAction, name: str) -> list[str]:
    return [reason.code for verdict in action.considered if verdict.action == name for reason in verdict.gated_by]


def offers(action: NextAction) -> list[str]:
    return [verdict.action for verdict in action.considered if verdict.kind == "offer" and verdict.allowed]


def test_an_offer_when_nothing_stands_against_it() -> None:
    got = decide(been(1, "Product Viewed", "Order Completed"))
    assert (got.kind, got.action) == ("offer", "offer_viewed_product")
    assert got.reasons[0].code == "recent_interest"
    assert offers(got) == ["offer_extended_warranty", "offer_upgrade", "offer_viewed_product"]
    assert got.version == BUILT_IN.version


@pytest.mark.parametrize(
    ("kind", "action", "code"),
    [
        ("refund", "settle_refund", "open_refund"),
        ("complaint", "settle_complaint", "open_complaint"),
        ("outage", "explain_outage", "open_outage"),
        ("issue", "review_issues", "open_issue"),
    ],
)
def test_an_open_issue_is_served_and_locks_every_offer(kind: str, action: str, code: str) -> None:
    got = decide(been(1, "Product Viewed", "Payment Failed", issues=(kind,)))
    assert got.action == action
    assert f"open {kind}, order 7" in got.reasons[0].text
    assert offers(got) == []
    for verdict in got.considered:
        if verdict.kind == "offer" or verdict.action == "finish_order":
            assert verdict.gated_by[0] == Reason(code, f"Open: open {kind}, order 7", field=kind)


def test_the_issue_of_an_improbable_candidate_locks_too_and_tells_nothing() -> None:
    got = decide(been(1, "Product Viewed"), been(2, issues=("refund",)), resolution=who((1, 0.99), (2, 1e-9)))
    assert offers(got) == []
    locked = next(v for v in got.considered if v.action == "offer_upgrade")
    assert locked.gated_by == (Reason("open_refund", "Someone this could be has an open refund."),)
    assert gates(got, "settle_refund") == ["not_applicable"]


def test_someone_ruled_out_locks_nothing() -> None:
    got = decide(been(1, "Product Viewed"), been(2, issues=("refund",)), resolution=who((1, 1.0), (2, 0.0)))
    assert got.kind == "offer"


def test_another_of_the_household_locks() -> None:
    household = Household(Identifier("phone", "+34600000000"), (1, 2), 1.0)
    journeys = (been(1, "Product Viewed"), been(2, issues=("outage",)))
    assert offers(decide(*journeys, resolution=who((1, 0.95), another=0.04, household=household))) == []
    assert decide(*journeys, resolution=who((1, 1.0), another=0.0, household=household)).kind == "offer"


def test_a_journey_that_is_missing_locks() -> None:
    assert gates(decide(), "offer_upgrade") == ["journey_missing"]
    got = decide(been(1), resolution=who((1, 0.95), (2, 0.05)))
    assert gates(got, "offer_upgrade") == ["journey_missing"]


def test_nobody_identified_nothing_personal() -> None:
    question = Question("birth_date", "Ask for the birth date")
    ambiguous = who((1, 0.5), (2, 0.5), question=question)
    got = decide(been(1, "Product Viewed", issues=("refund",)), been(2), resolution=ambiguous)
    assert (got.action, got.text) == ("confirm_identity", "Ask for the birth date")
    assert gates(got, "settle_refund") == ["unidentified", "not_applicable"]
    assert gates(got, "offer_upgrade") == ["open_refund", "unidentified", "not_applicable"]
    assert "Ana" not in " ".join(verdict.text for verdict in got.considered)


def test_an_unknown_caller_is_greeted() -> None:
    got = decide(resolution=who(), assurances=(sure(None),))
    assert (got.action, got.text) == ("greet", "Greet and ask what it is about")
    assert gates(got, "offer_upgrade") == ["unidentified", "not_applicable"]
    assert decide(been(1)).text.startswith("Offer")
    assert next(v.text for v in decide(been(1)).considered if v.action == "greet").startswith("Greet Ana ")


def test_a_step_up_comes_first_and_locks_what_gives_out_data() -> None:
    delivery = LikelyReason("delivery", 0.6, "Order shipped, order 7")
    journey = been(1, "Product Viewed", issues=(), reasons=(delivery,))
    got = decide(journey, assurances=(sure(1, "one_time_code"),), channel="chat")
    assert (got.action, got.text) == ("step_up", "Send a code")
    assert gates(got, "offer_upgrade") == ["step_up_pending"]
    assert gates(got, "order_status") == ["step_up_pending"]
    assert decide(journey, channel="chat").action == "order_status"
    on_the_phone = decide(journey, channel="voice")
    assert gates(on_the_phone, "order_status") == ["channel_unavailable"]
    assert on_the_phone.action == "explain_delivery", "what they are probably calling about comes before an offer"
    served = decide(been(1, issues=("refund",)), assurances=(sure(1, "one_time_code"),))
    assert next(v for v in served.considered if v.action == "settle_refund").allowed


def test_without_an_assurance_nothing_is_sold() -> None:
    assert gates(decide(been(1), assurances=()), "offer_upgrade") == ["assurance_missing"]
    assert gates(decide(been(1), assurances=(sure(2),)), "offer_upgrade") == ["assurance_missing"]


def test_an_unfinished_order_before_an_offer() -> None:
    assert decide(been(1, "Payment Failed", "Product Viewed")).action == "finish_order"
    assert gates(decide(been(1, "Order Completed", "Payment Failed")), "finish_order") == ["not_applicable"]


def test_an_offer_that_costs_more_than_it_brings() -> None:
    fit = Fit(0.01, Reason("always", "always"))
    poor = catalogue((Action("offer_poor", "offer", "Poor", lambda _: fit, value=100.0, cost=1.0),))
    got = decide(been(1), actions=poor)
    assert (got.action, got.text) == (NONE, "")
    assert gates(got, "offer_poor") == ["not_worth_it"]
    assert decide(actions=catalogue(())).action == NONE


def test_braces_in_what_customers_say_are_text() -> None:
    issue = OpenIssue("refund", "7", NOW, 1, 1, "Refund requested, order {ask.__class__}")
    got = decide(Journey(1, (), (issue,)))
    assert got.text == "Settle the open refund: Refund requested, order {ask.__class__}"


def test_a_catalogue_is_versioned_by_content() -> None:
    actions = BUILT_IN.actions
    assert catalogue(actions[::-1]) == BUILT_IN
    assert catalogue(actions[1:]).version != BUILT_IN.version
    with pytest.raises(ValueError, match="same name"):
        catalogue((actions[0], actions[0]))
