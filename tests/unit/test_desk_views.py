"""What a pop says: words, figures, who is shown, what is locked."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.making import contact, decision

from firstring.channels.treatments import Treatment
from firstring.contact import (
    ActionVerdict,
    Assurance,
    Candidate,
    Decision,
    Evidence,
    Household,
    Identifier,
    Journey,
    NextAction,
    OpenIssue,
    Question,
    Reason,
    Resolution,
    StepUp,
)
from firstring.desk.pages import picked
from firstring.desk.rendering import Rendering
from firstring.desk.views import ago, display_name, in_words, percent, pop_view, state_name
from firstring.errors import BadInput
from firstring.store.contacts import ContactLine

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PHONE = Identifier("phone", "+442079460018")


def made(*shares: float, **changes: Any) -> Decision:
    """A decision with as many candidates as shares; the rest is somebody new."""
    base = decision(contact(channel="voice"), [7])
    candidates = tuple(
        Candidate(number, share, (Reason("x", f"reason {number}", 1.0),), {"full_name": f"Person {number}"})
        for number, share in enumerate(shares, 1)
    )
    household = Household(PHONE, tuple(range(1, len(shares) + 1)), sum(shares)) if changes.pop("home", False) else None
    resolution = Resolution(candidates, 1.0 - sum(shares), 0.0, "prior", "m", household)
    assurances = tuple(Assurance(one.person_id, 0.001, "prior", "routine", StepUp("none", ""), "m") for one in candidates)
    values = {"resolution": resolution, "assurances": assurances or base.derived.assurances, **changes}
    return msgspec.structs.replace(base, derived=msgspec.structs.replace(base.derived, **values))


@pytest.mark.parametrize(
    ("shares", "home", "standing", "shown"),
    [
        ((0.97,), False, "identified", 1),
        ((0.97, 0.02), False, "identified", 1),
        ((0.5, 0.4), False, "ambiguous", 2),
        ((0.48, 0.48), True, "household", 2),
        ((0.3, 0.2, 0.1, 0.1, 0.1), False, "ambiguous", 3),
        ((0.2,), False, "unknown", 1),
        ((), False, "unknown", 0),
    ],
)
def test_two_possible_people_never_become_one(shares: tuple[float, ...], home: bool, standing: str, shown: int) -> None:
    view = pop_view(made(*shares, home=home), 0.9)
    assert (view.standing, len(view.people)) == (standing, shown)
    assert view.basis == "prior, not calibrated"
    assert bool(view.sure) == (standing == "identified" or len(shares) < 2)
    if standing == "identified":
        assert view.title == "Person 1"
        assert [person_id for person_id, _, _ in view.others] == list(range(2, len(shares) + 1))
    else:
        assert not view.others
        assert view.title not in [person.name for person in view.people]


def test_offers_are_locked_visibly_with_the_reason() -> None:
    lock = Reason("open_refund", "Open: refund of order 1")
    considered = (
        ActionVerdict("offer_upgrade", "offer", "Offer an upgrade", False, gated_by=(lock,)),
        ActionVerdict("offer_other", "offer", "Offer other", False, gated_by=(lock, Reason("not_applicable", "no"))),
        ActionVerdict("finish_order", "service", "Help to finish", False, gated_by=(lock,)),
        ActionVerdict("greet", "service", "Greet", True),
    )
    view = pop_view(made(0.97, action=NextAction("settle", "service", "Settle it", considered=considered)), 0.9)
    assert view.lock_reasons == ("Open: refund of order 1.",)
    assert view.locked == ("Offer an upgrade", "Help to finish")


def test_issues_are_announced() -> None:
    journeys = (Journey(1, open_issues=(OpenIssue("refund", "1", NOW, 3, 1, "Refund requested"),)),)
    view = pop_view(made(0.97, journeys=journeys), 0.9)
    assert view.announcement == "Call: very likely Person 1. Open refund."
    assert [issue.title for issue in view.people[0].issues] == ["Open refund"]


def test_the_question_is_not_said_twice() -> None:
    one = made(0.5, 0.4)
    question = Question("given_name", "Ann or Bob?")
    resolution = msgspec.structs.replace(one.derived.resolution, question=question)
    for text, expected in (("Ann or Bob?", ""), ("Greet", "Ann or Bob?")):
        derived = msgspec.structs.replace(one.derived, resolution=resolution, action=NextAction("a", "verification", text))
        assert pop_view(msgspec.structs.replace(one, derived=derived), 0.9).question == expected


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "0 %"), (0.001, "< 1 %"), (0.5, "50 %"), (0.994, "99 %"), (0.9999, "> 99 %"), (1.0, "100 %")],
)
def test_a_probability_is_never_rounded_to_certainty(probability: float, text: str) -> None:
    assert percent(probability).replace("\u00a0", " ") == text


def test_words_grow_with_the_probability() -> None:
    said = [in_words(number / 100) for number in range(101)]
    assert list(dict.fromkeys(said)) == ["Less likely", "Perhaps", "Likely", "Very likely", "Almost certainly"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "ahead"), (5, "just now"), (60, "1 min ago"), (7_199, "1 h ago"), (86_400, "1 day ago"),
        (86_400 * 12, "12 days ago"), (86_400 * 70, "2 months ago"), (86_400 * 800, "2 years ago"),
    ],
)  # fmt: skip
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("profile", "name"),
    [
        ({"full_name": "Ann Lee", "given_name": "A"}, "Ann Lee"),
        ({"given_name": "Ann", "family_name": "Lee"}, "Ann Lee"),
        ({"email": ["ann@lee.org"]}, "ann@lee.org"),
        ({"phone": ["+442079460018"]}, "+44 20 7946 0018"),
        ({}, "Person 5"),
        ({"full_name": "\u202egnp.exe"}, "gnp.exe"),
    ],
)
def test_how_a_person_is_called(profile: dict[str, Any], name: str) -> None:
    assert display_name(5, profile) == name


def test_a_chat_does_not_ring() -> None:
    assert state_name("voice", "offered", "assigned") == "about to ring"
    assert state_name("chat", "offered", "assigned") == "new"
    assert state_name("chat", None, "ended") == "over"


def test_a_pick_is_evidence() -> None:
    one = made(0.5, 0.4)
    evidence = Evidence(identifiers=(PHONE,), ruled_out=(2, 9))
    chosen = picked(evidence, one, "2")
    assert (chosen.confirmed_person, chosen.ruled_out, chosen.identifiers) == (2, (9,), (PHONE,))
    new = picked(chosen, one, "new")
    assert (new.confirmed_person, set(new.ruled_out)) == (None, {1, 2, 9})
    for wrong in ("3", "", "-1", "1.0", "²", "9" * 30, "1 "):
        with pytest.raises(BadInput) as refused:
            picked(evidence, one, wrong)
        assert refused.value.code == "unknown_person"


@pytest.mark.parametrize("shares", [(0.97,), (0.5, 0.4), ()])
def test_a_pop_escapes_everything(shares: tuple[float, ...]) -> None:
    nasty = '"><script>alert(1)</script><b x="'
    one = made(*shares)
    candidates = tuple(
        msgspec.structs.replace(each, profile=dict.fromkeys(("full_name", "tier", "language", "city", "note"), nasty))
        for each in one.derived.resolution.candidates
    )
    derived = msgspec.structs.replace(
        one.derived,
        resolution=msgspec.structs.replace(one.derived.resolution, candidates=candidates, reasons=(Reason("x", nasty),)),
        action=NextAction("a", "service", nasty, (Reason("x", nasty * 2),)),
    )
    of = msgspec.structs.replace(one.contact, called=nasty, language=nasty)
    one = msgspec.structs.replace(one, derived=derived, contact=of)
    line = ContactLine(of.contact_id, "voice", "assigned", 1, 0, NOW, assignment_state="offered")
    rendering = Rendering()
    for template in ("pop.html", "entry.html"):
        to_do = (Treatment(uuid.UUID(int=7), "a", nasty),)
        html = rendering.text(template, pop=pop_view(one, 0.9), line=line, key="k", now=NOW, treatments=to_do)
        assert "<script" not in html
        assert "<b x" not in html
