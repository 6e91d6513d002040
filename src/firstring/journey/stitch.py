"""Whose the events of a visitor are: a pure function of the visitor's log.

A visitor is a browser or an app (an anonymous id), not a person: two people may sit at one computer. Events that name their
user belong to that user. Of all others the marks in the log say whose they are:

- KNOWN: somebody signed in (an event with the user's id from one's own server, or signed). What follows is theirs until
  somebody signs out, another user is named, or KNOWN_FOR_US is over. What came before in the same visit is theirs as well,
  back to the mark before.
- SEEN: somebody opened a link in a mail of theirs, or was confirmed on the phone with the number typed here. The visit is
  theirs, unless somebody is signed in: a mail may have been passed on, so a sign-in outweighs it.
- CLAIMED: an event with a user's id that anybody may have sent. It gives nobody anything. It ends what was somebody
  else's: who knows who sits there now.
- OUT, KNOWN_OUT: signed out.

A visit ends when nothing has happened for longer than VISIT_GAP_US. Whole visits between two different users are nobody's.
At one moment marks come before other events; among marks the key decides. A mark reaches REACH events each way and the
state before a mark rests on the LOOK_BACK marks before it, so that a late event costs no more than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from firstring import limits

VISIT_GAP_US: Final = limits.VISIT_GAP_MS * 1_000
KNOWN_FOR_US: Final = limits.KNOWN_FOR_S * 1_000_000
REACH: Final = limits.STITCH_REACH
LOOK_BACK: Final = limits.STITCH_LOOK_BACK


class Mark(IntEnum):
    """What an event says of who is there; the number that the column has."""

    NONE = 0
    KNOWN = 1
    KNOWN_OUT = 2
    CLAIMED = 3
    OUT = 4
    SEEN = 5


class Entry(NamedTuple):
    """An event in the log of a visitor. at: microseconds of any one clock. key: unique in the log. record: of a mark, whom
    it names (0 for none). anonymous: it names no user itself, so that it is owned by whom the log says."""

    at: int
    key: bytes
    mark: Mark = Mark.NONE
    record: int = 0
    anonymous: bool = True


class State(NamedTuple):
    """Who is there after a mark. since: of the sign-in. firm: signed in, not only seen."""

    record: int
    since: int
    firm: bool


ANCHORS: Final = frozenset((Mark.KNOWN, Mark.KNOWN_OUT, Mark.OUT))
"""Marks after which it does not matter what was before."""
_SIGNED_IN: Final = (Mark.KNOWN, Mark.KNOWN_OUT)
_NAMES_SOMEBODY: Final = (Mark.KNOWN, Mark.KNOWN_OUT, Mark.CLAIMED)


def order(entry: Entry) -> tuple[int, bool, bytes]:
    """The place of an event in the log."""
    return entry.at, entry.mark is Mark.NONE, entry.key


def owners(log: Iterable[Entry]) -> dict[bytes, int | None]:
    """For each anonymous event of a whole log, in any order, the record that it is counted with; None: nobody's."""
    found: dict[bytes, int | None] = {}
    marks: list[Entry] = []
    between: list[Entry] = []
    for entry in sorted(log, key=order):
        if entry.mark is Mark.NONE:
            between.append(entry)
            continue
        found.update(segment_owners(marks, entry, between))
        marks.append(entry)
        between = []
    found.update(segment_owners(marks, None, between))
    return found


def state_after(marks: Sequence[Entry]) -> State | None:
    """Who is there after the last of these marks, which are in order; no more than LOOK_BACK of them are looked at."""
    low = max(0, len(marks) - LOOK_BACK)
    start = len(marks)
    while start > low and marks[start - 1].mark not in ANCHORS:
        start -= 1
    if start == low and start < len(marks) and marks[start].mark not in ANCHORS:
        state = None
    else:
        state = _next(None, marks[start - 1]) if start else None
    for mark in marks[start:]:
        state = _next(state, mark)
    return state


def _next(state: State | None, mark: Entry) -> State | None:
    if mark.mark is Mark.KNOWN:
        return State(mark.record, mark.at, True)
    if mark.mark is Mark.SEEN:
        return state if _holds(state, mark.at) else State(mark.record, mark.at, False)
    if mark.mark is Mark.CLAIMED and state is not None and state.firm and state.record == mark.record:
        return state
    return None


def _holds(state: State | None, at: int) -> bool:
    """Whether somebody is signed in."""
    return state is not None and state.firm and at - state.since <= KNOWN_FOR_US


def segment_owners(
    marks: Sequence[Entry], after: Entry | None, plain: Sequence[Entry], tail: Sequence[Entry] | None = None
) -> dict[bytes, int | None]:
    """The owners of the plain events between the last of `marks` and the mark `after`, and of `after` if it is anonymous.

    All sequences are in order. tail: where `plain` holds the first events only, at least REACH of them, the last ones.
    """
    before = marks[-1] if marks else None
    state = state_after(marks)
    last = plain if tail is None else tail
    forward = {one.key: given for one, given in zip(plain, _forward(before, state, plain), strict=True)}
    backward = {one.key: given for one, given in zip(last, _backward(state, after, last), strict=True)}
    found: dict[bytes, int | None] = {}
    for key in {**forward, **backward}:
        onward, in_visit = forward.get(key, (None, False))
        found[key] = _owner(state, after, onward, in_visit, backward.get(key))
    if after is not None and after.anonymous:
        found[after.key] = _owner_of_mark(state, before, after, plain if tail is None else None)
    return found


def _owner(state: State | None, after: Entry | None, onward: int | None, in_visit: bool, back: int | None) -> int | None:
    """onward: whose it is by the state before; in_visit: in the visit of the mark before; back: whose by the next mark."""
    if onward is None or state is None:
        return back
    is_sign_in = after is not None and after.mark in _SIGNED_IN
    if not state.firm:
        return back if back is not None and is_sign_in else onward
    if in_visit or after is None or after.mark not in _NAMES_SOMEBODY or after.record == onward:
        return onward
    return back if is_sign_in else None


def _owner_of_mark(state: State | None, before: Entry | None, mark: Entry, plain: Sequence[Entry] | None) -> int | None:
    if state is not None and _holds(state, mark.at):
        return state.record
    if mark.mark is Mark.SEEN:
        return mark.record
    if state is None or state.firm or plain is None:
        return None
    onward, _ = _forward(before, state, [*plain, mark])[-1]
    return onward


def _forward(before: Entry | None, state: State | None, plain: Sequence[Entry]) -> list[tuple[int | None, bool]]:
    """For each event, first to last: whom the state gives it to, and whether it is in the visit of the mark before."""
    found: list[tuple[int | None, bool]] = []
    in_visit, last = before is not None, before.at if before is not None else 0
    for rank, entry in enumerate(plain, 1):
        in_visit = in_visit and entry.at - last <= VISIT_GAP_US
        last = entry.at
        given = state is not None and rank <= REACH and (in_visit if not state.firm else _holds(state, entry.at))
        found.append((state.record if state is not None and given else None, in_visit))
    return found


def _backward(state: State | None, after: Entry | None, plain: Sequence[Entry]) -> list[int | None]:
    """For each event, first to last: whom the mark behind it gives it to."""
    if after is None or not (after.mark in _SIGNED_IN or (after.mark is Mark.SEEN and not _holds(state, after.at))):
        return [None] * len(plain)
    found: list[int | None] = []
    in_visit, last = True, after.at
    for rank, entry in enumerate(reversed(plain), 1):
        in_visit = in_visit and last - entry.at <= VISIT_GAP_US
        last = entry.at
        found.append(after.record if in_visit and rank <= REACH else None)
    return found[::-1]
