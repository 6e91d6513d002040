"""What a contact needs: language, skills, team, priority, each by probability, and the steps by which it relaxes."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from firstring.contact import Candidate, Contact, Journey, LikelyReason, OpenIssue, Requirement, Resolution
from firstring.routing.declared.policy import routing_policy
from firstring.routing.may.eligibility import requirement_at, team_of
from firstring.routing.may.needs import need, needed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = routing_policy(
    {
        "intents": {"refund": {"refunds": 3, "billing": 2}, "outage": {"tech": 4}},
        "called": {"+441": {"skills": {"billing": 4}, "language": "fr", "priority": 5}},
        "tiers": {"vip": {"priority": 30, "team": "vip"}, "gold": {"priority": 10}},
    }
)


def contact(**fields: Any) -> Contact:
    return Contact(uuid.UUID(int=1), "voice", NOW, "call-1", **fields)


def resolution(*candidates: tuple[int, float, dict[str, Any]]) -> Resolution:
    found = tuple(Candidate(person, probability, profile=profile) for person, probability, profile in candidates)
    return Resolution(found, 1.0 - sum(c.probability for c in found), 0.0, "prior", "test")


def issue(kind: str) -> OpenIssue:
    return OpenIssue(kind, "r1", NOW, 1, 1)


def test_someone_new_needs_anybody() -> None:
    got = need(contact(), resolution(), (), policy=POLICY)
    assert [step.requirement for step in got.steps] == [Requirement()]
    assert (got.priority, got.channel, got.steps[0].after_s) == (0, "voice", 0.0)


def test_spanish_relaxes_as_documented() -> None:
    got = need(contact(language="es-MX"), resolution(), (), policy=POLICY)
    assert [(s.after_s, s.requirement.language, s.requirement.language_level) for s in got.steps] == [
        (0.0, "es", 4),
        (20.0, "es", 2),
        (40.0, None, 1),
    ]


def test_vip_goes_to_the_team_first_then_to_anyone() -> None:
    got = need(contact(), resolution((1, 0.9, {"tier": " VIP "})), (), policy=POLICY)
    assert [(s.after_s, s.requirement.tier) for s in got.steps] == [(0.0, "vip"), (15.0, None)]
    assert team_of(got) == "vip"
    assert got.priority == 27


def test_an_uncertain_vip_counts_by_expectation_and_holds_no_team() -> None:
    got = need(contact(), resolution((1, 0.4, {"tier": "vip"}), (2, 0.5, {"tier": "gold"})), (), policy=POLICY)
    assert team_of(got) is None
    assert got.priority == round(0.4 * 30 + 0.5 * 10)


def test_two_possible_people_who_share_a_language_are_served_in_it() -> None:
    spanish = {"language": "es"}
    got = needed(contact(), resolution((1, 0.45, spanish), (2, 0.4, spanish)), (), policy=POLICY)
    assert requirement_at(got.need, 0).language == "es"
    assert "language_customer" in {reason.code for reason in got.reasons}
    unsure = need(contact(), resolution((1, 0.45, spanish), (2, 0.4, {"language": "de"})), (), policy=POLICY)
    assert requirement_at(unsure, 0).language is None


def test_the_contacts_language_beats_the_number_which_beats_the_profile() -> None:
    who = resolution((1, 0.95, {"language": "es"}))
    for fields, language in (
        ({"language": "de", "called": "+441"}, "de"),
        ({"called": "+441"}, "fr"),
        ({}, "es"),
        ({"language": "no such language"}, "es"),
    ):
        assert requirement_at(need(contact(**fields), who, (), policy=POLICY), 0).language == language


def test_skills_of_the_number_and_of_the_likely_reason() -> None:
    journeys = (Journey(1, likely_reasons=(LikelyReason("refund", 0.6, ""), LikelyReason("outage", 0.2, ""))),)
    got = need(contact(called="sip:+441@pbx"), resolution((1, 0.9, {})), journeys, policy=POLICY)
    assert requirement_at(got, 0).skills == {"billing": 4, "refunds": 3}
    assert requirement_at(got, 30).skills == {"billing": 1, "refunds": 1}
    assert got.steps[-1].requirement == Requirement()
    assert got.steps[-1].after_s == 60.0


def test_an_improbable_reason_asks_for_nothing_and_a_stated_one_counts() -> None:
    journeys = (Journey(1, likely_reasons=(LikelyReason("refund", 0.5, ""),)),)
    who = resolution((1, 0.5, {}))
    assert requirement_at(need(contact(), who, journeys, policy=POLICY), 0).skills == {}
    stated = need(contact(), who, journeys, policy=POLICY, intent=" Outage")
    assert requirement_at(stated, 0).skills == {"tech": 4}
    unmapped = need(contact(), who, journeys, policy=POLICY, intent="weather")
    assert requirement_at(unmapped, 0).skills == {}


def test_open_issues_raise_priority_and_it_is_bounded() -> None:
    journeys = (Journey(1, open_issues=(issue("complaint"), issue("refund"))), Journey(2))
    who = resolution((1, 0.75, {}), (2, 0.25, {}))
    assert need(contact(), who, journeys, policy=POLICY).priority == 9
    assert need(contact(called="+441"), who, journeys, policy=POLICY).priority == 14
    low = routing_policy({"priority_max": 3})
    assert need(contact(), who, journeys, policy=low).priority == 3


def test_preferred_and_excluded_agents_are_carried() -> None:
    got = need(contact(), resolution(), (), policy=POLICY, preferred=[3, 1], excluded=[9])
    assert (got.preferred, got.excluded) == ((3, 1), (9,))


def test_a_profile_of_odd_values_asks_for_nothing() -> None:
    got = need(contact(), resolution((1, 1.0, {"tier": ["vip"], "language": 7})), (), policy=POLICY)
    assert [step.requirement for step in got.steps] == [Requirement()]
