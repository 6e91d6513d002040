"""Beside the agents who are free: those who are busy, and whether a contact is held for one of them.

A hold is explicit, bounded and once: a contact that comes may wait `hold_s` for somebody who suits it better than whoever is
idle. It stands in the need (RoutingNeed.hold), which every server reads with the line, and ends by itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np

from firstring.contact import Cause, Hold, Reason, Requirement, RoutingNeed
from firstring.routing.may.memo import FIRST_OBSTACLE, EligibilityMemo, Profiles, Tag, codes, column_of
from firstring.routing.may.packed import VERSION_BITS, columns
from firstring.routing.pick.live import Around, Matched, Matching

HOLD_MOST_S: Final = 120.0
"""Whatever a policy or a clock says, no hold is longer."""
_GOES_ON: Final[frozenset[Cause]] = frozenset({"said", "confirmed", "verified", "provider"})
"""What becomes known while a contact is held is decided with, and the hold goes on to its end if it is still worth it."""


class Beside(NamedTuple):
    """busy: packed (may.packed), with the number of contacts each has in place of idle since. waiting: contacts in line.
    hold_until: until when the contact may be held; None: it may not."""

    busy: bytes = b""
    waiting: int = 0
    hold_until: datetime | None = None


NOTHING: Final = Beside()


def hold_until(cause: Cause, hold_s: float, now: datetime, before: Hold | None) -> datetime | None:
    """Until when a contact may be held by a decision of this cause. before: the hold that it stands in."""
    if cause == "offered":
        return now + timedelta(seconds=min(hold_s, HOLD_MOST_S)) if hold_s > 0.0 else None
    if cause in _GOES_ON and is_held(before, now):
        assert before is not None
        return before.until
    return None


def is_held(hold: Hold | None, now: datetime) -> bool:
    """Whether a hold goes on. By one clock, which may have jumped: none lasts longer than it was meant to."""
    return hold is not None and hold.since <= now < hold.until


def hold_of(matched: Matched | None, beside: Beside, now: datetime) -> Hold | None:
    """The hold that a pick asks for."""
    if matched is None or matched.made.why != "held" or beside.hold_until is None:
        return None
    return Hold(since=now, until=beside.hold_until, reserve=matched.made.reserve)


def seconds_to_hold(need: RoutingNeed, requirement: Requirement, beside: Beside, now: datetime) -> float:
    """For how long this contact may be held: not where it has priority, was given to somebody or is for certain agents."""
    if beside.hold_until is None or need.priority > 0 or need.preferred or requirement.agents:
        return 0.0
    return min(max(0.0, (beside.hold_until - now).total_seconds()), HOLD_MOST_S)


def reason_of(hold: Hold, matched: Matched) -> Reason:
    """The hold in words."""
    gain = hold.reserve - float(matched.made.scores[matched.made.order[0]])
    left_s = (hold.until - hold.since).total_seconds()
    text = f"Held for {left_s:.0f} s at most: somebody who suits better is likely to be free before that"
    return Reason("held", text, weight=gain)


def around_of(
    need: RoutingNeed,
    requirement: Requirement,
    beside: Beside,
    profiles: Profiles,
    memo: EligibilityMemo | None,
    matching: Matching,
    now: datetime,
) -> Around | None:
    """Those of the busy agents who may serve the contact."""
    if not beside.busy:
        return None
    keys, taken = columns(beside.busy)
    ids = keys >> VERSION_BITS
    classes, _, off = codes(need, requirement, keys, profiles, memo, now=now)
    fit = (classes >= 0) & (classes < FIRST_OBSTACLE)
    if off is not None:
        fit &= ~off
    left_out = (*need.barred, *need.excluded)
    if left_out:
        fit &= ~np.isin(ids, left_out)
    if not fit.any():
        return None
    wanted = tags(need, requirement, matching)
    level, wish = (None if tag is None else column_of(tag, keys[fit], profiles, memo) for tag in wanted)
    return Around(ids[fit], taken[fit], classes[fit].astype(np.int64), level, wish, beside.waiting)


def tags(need: RoutingNeed, requirement: Requirement, matching: Matching) -> tuple[Tag | None, Tag | None]:
    """What of the profiles enters the match: the level in the contact's language, and whether they want or learn what the
    contact needs."""
    language = matching.asked.language
    wanted = tuple(sorted({*requirement.skills, *(() if need.intent is None else (need.intent,))}))
    return ("level", language) if language else None, ("wish", *wanted) if wanted else None
