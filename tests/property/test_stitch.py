"""Whose the events of a visitor are: the rule against its definition, event by event."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.journey import stitch
from firstring.journey.stitch import Entry, Mark, owners

MINUTE = 60_000_000
GAP = stitch.VISIT_GAP_US
USERS = (1, 2, 3)


def entry(at: int, key: int, mark: Mark, record: int, anonymous: bool) -> Entry:
    if mark is Mark.NONE:
        return Entry(at, bytes([key]))
    if mark is Mark.OUT:
        return Entry(at, bytes([key]), mark, 0, anonymous)
    return Entry(at, bytes([key]), mark, record, mark is Mark.SEEN)


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """Logs dense in time around the gaps of visits and the end of a sign-in."""
    steps = st.sampled_from((0, 0, 1, 5 * MINUTE, 20 * MINUTE, GAP, GAP + 1, 31 * 86_400_000_000, 29 * 86_400_000_000))
    found, at = [], 0
    for key in range(draw(st.integers(0, 14))):
        at += draw(steps)
        mark = draw(st.sampled_from((Mark.NONE, Mark.NONE, Mark.NONE, *Mark)))
        found.append(entry(at, key * 37 % 251, mark, draw(st.sampled_from(USERS)), draw(st.booleans())))
    return found


def by_definition(log: list[Entry], one: Entry) -> int | None:
    """Whose `one` is, told from the whole log as the module's text has it; slow, and in no step like the program."""
    log = sorted(log, key=stitch.order)
    place = log.index(one)
    marks_before = [index for index in range(place) if log[index].mark is not Mark.NONE]
    marks_after = [index for index in range(place + 1, len(log)) if log[index].mark is not Mark.NONE]

    def there_after(index: int, looked: int = 1) -> tuple[int, int, bool] | None:
        """(record, since, signed in) after the mark at `index`."""
        mark = log[index]
        if mark.mark is Mark.KNOWN:
            return mark.record, mark.at, True
        if mark.mark in (Mark.KNOWN_OUT, Mark.OUT):
            return None
        earlier = [other for other in range(index) if log[other].mark is not Mark.NONE]
        was = there_after(earlier[-1], looked + 1) if earlier and looked < stitch.LOOK_BACK else None
        if mark.mark is Mark.CLAIMED:
            return was if was and was[2] and was[0] == mark.record else None
        return was if is_signed_in(was, mark.at) else (mark.record, mark.at, False)

    def is_signed_in(was: tuple[int, int, bool] | None, at: int) -> bool:
        return was is not None and was[2] and at - was[1] <= stitch.KNOWN_FOR_US

    def same_visit(low: int, high: int) -> bool:
        return all(log[index + 1].at - log[index].at <= GAP for index in range(low, high))

    was = there_after(marks_before[-1]) if marks_before else None
    visit_before = bool(marks_before) and same_visit(marks_before[-1], place)
    if one.mark is not Mark.NONE:
        if is_signed_in(was, one.at):
            return was[0]  # type: ignore[index]
        if one.mark is Mark.SEEN:
            return one.record
        near = place - marks_before[-1] <= stitch.REACH if marks_before else False
        return was[0] if was and not was[2] and visit_before and near else None
    following = log[marks_after[0]] if marks_after else None
    to = None
    if following is not None and same_visit(place, marks_after[0]) and marks_after[0] - place <= stitch.REACH:
        signs_in = following.mark in (Mark.KNOWN, Mark.KNOWN_OUT)
        if signs_in or (following.mark is Mark.SEEN and not is_signed_in(was, following.at)):
            to = following.record
    if was is None or place - marks_before[-1] > stitch.REACH:
        return to
    if not was[2]:
        if not visit_before:
            return to
        return to if to is not None and following.mark is not Mark.SEEN else was[0]  # type: ignore[union-attr]
    if not is_signed_in(was, one.at):
        return to
    if visit_before:
        return was[0]
    if following is not None and following.record != was[0]:
        if following.mark is Mark.CLAIMED:
            return None
        if following.mark in (Mark.KNOWN, Mark.KNOWN_OUT):
            return to
    return was[0]


@settings(max_examples=1_500, deadline=None)
@given(log=logs(), reach=st.sampled_from((1, 2, 3, 1_000)), look_back=st.sampled_from((1, 2, 3, 20)), seed=st.randoms())
def test_owners_are_as_defined_whatever_the_order(log: list[Entry], reach: int, look_back: int, seed: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stitch, "REACH", reach)
        patch.setattr(stitch, "LOOK_BACK", look_back)
        shuffled = list(log)
        seed.shuffle(shuffled)  # type: ignore[attr-defined]
        assert owners(shuffled) == {one.key: by_definition(log, one) for one in log if one.anonymous}


@settings(max_examples=300, deadline=None)
@given(log=logs())
def test_nobody_is_given_what_a_claim_alone_says(log: list[Entry]) -> None:
    named = {one.record for one in log if one.mark in (Mark.KNOWN, Mark.KNOWN_OUT, Mark.SEEN)}
    assert {owner for owner in owners(log).values() if owner is not None} <= named
