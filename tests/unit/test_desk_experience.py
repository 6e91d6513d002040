"""The experience of a person in a pop: the score, a line, what weighs most."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from tests.making import contact, decision

from firstring.contact import Candidate, Decision, Read, Resolution, TouchRead
from firstring.desk.experience import HEIGHT, STEPS, WIDTH, experience_view
from firstring.desk.rendering import Rendering
from firstring.desk.views import pop_view
from firstring.store.contacts import ContactLine


def made(*names: tuple[str, float], unnamed: dict[int, tuple[int, ...]] | None = None, person: int = 1) -> Decision:
    """A decision about person 1, with events of `person` so many days ago."""
    base = decision(contact(channel="voice"), [7])
    touches = tuple(
        TouchRead(number, 10, person, "web", name, base.decided_at - timedelta(days=days))
        for number, (name, days) in enumerate(names, 1)
    )
    resolution = Resolution(
        (Candidate(1, 1.0, profile={"full_name": "Ann Lee"}),), 0.0, 0.0, "prior", "m", unnamed=unnamed or {}
    )
    derived = msgspec.structs.replace(base.derived, resolution=resolution)
    return msgspec.structs.replace(base, read=Read(touches=touches), derived=derived)


def test_score_line_and_parts() -> None:
    view = experience_view(made(("Complaint Opened", 3.0), ("Delivery Failed", 2.0), ("Payment Failed", 1.0)), 1)
    assert view is not None
    assert 40 <= view.score < 60
    assert (view.words, view.level) == ("poor", "warn")
    assert view.change == view.score - 75
    points = [tuple(map(float, point.split(","))) for point in view.line.split()]
    assert len(points) == STEPS + 1
    assert all(0.0 <= x <= WIDTH and 0.0 <= y <= HEIGHT for x, y in points)
    assert points[0][1] < points[-1][1], "it went down, and the best is on top"
    assert view.parts[0] == ("−11", "a complaint")


def test_nothing_on_file_shows_nothing() -> None:
    assert experience_view(made(), 1) is None


def test_what_an_unnamed_person_went_through_counts_for_whom_they_may_be() -> None:
    ours = made(("Delivery Failed", 1.0), person=2, unnamed={2: (1,)})
    assert experience_view(ours, 1) is not None
    assert experience_view(made(("Delivery Failed", 1.0), person=2), 1) is None


def test_the_pop_shows_it_in_words_and_figures() -> None:
    ours = made(("Complaint Opened", 3.0))
    view = pop_view(ours, 0.9)
    line = ContactLine(
        ours.contact.contact_id, "voice", "assigned", 1, 0, ours.decided_at, agent_id=7, assignment_state="ringing"
    )
    html = Rendering().text("pop.html", pop=view, line=line, key="k", now=ours.decided_at, treatments=())
    assert "Experience <strong>64</strong> of 100, fair" in html
    assert "a complaint" in html
    assert html.index("Experience <strong>") < html.index("Last touches")
