"""The guard's memory of one line: since when each contact is due, and who was served before their turn under first come.

It follows from the log of assignments, those that were made while it rang among them: whoever takes the line over reads the
log from the oldest contact that waits, and knows what the task before knew.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.contact import AgentFree, RoutingNeed
from firstring.routing.line.queues import Waiting, waited_s
from firstring.routing.may.eligibility import requirement_at
from firstring.routing.may.memo import EligibilityMemo, Profiles, verdicts
from firstring.routing.pick.step import PATIENCE_PRIOR_S, after_taken, ghost_until

Floats = NDArray[np.float64]

SEEN_S: Final = 30.0
"""An assignment that is written down later than it was made, by a clock behind, is found for so long."""


class Assigned(NamedTuple):
    """An assignment out of the log: who took which contact when, and what that contact was in the line. `version` is that of
    the agent's profile."""

    assignment_id: uuid.UUID
    contact: Waiting
    agent_id: int
    version: int
    at: datetime


class _Ghost(NamedTuple):
    contact: Waiting
    until_s: float


class Guard:
    """Of one line. Times as of `datetime.timestamp`."""

    def __init__(self) -> None:
        self.due_at: dict[uuid.UUID, float] = {}
        self._ghosts: dict[uuid.UUID, _Ghost] = {}
        self._seen: dict[uuid.UUID, datetime] = {}
        self.until: datetime | None = None
        """As far as the log was followed."""

    def since(self, waiting: Sequence[Waiting]) -> datetime:
        """From when on the log is read: a little before where it was read to, or from the oldest contact that waits."""
        oldest = min(contact.since for contact in waiting)
        return oldest if self.until is None else max(oldest, self.until - timedelta(seconds=SEEN_S / 2))

    def due(self, waiting: Sequence[Waiting]) -> Floats:
        """Since when each is due, nan: not yet. Whoever is held is so from that moment."""
        for contact in waiting:
            if contact.need.hold is not None:
                self.due_at.setdefault(contact.contact_id, contact.need.hold.since.timestamp())
        return np.array([self.due_at.get(contact.contact_id, np.nan) for contact in waiting])

    def ghosts(
        self, agent: AgentFree, profiles: Profiles, memo: EligibilityMemo | None, now: datetime
    ) -> tuple[list[uuid.UUID], Floats]:
        """Those whom an agent might have taken, with their turns."""
        now_s = now.timestamp()
        self._ghosts = {one: ghost for one, ghost in self._ghosts.items() if ghost.until_s >= now_s}
        found = [one for one, ghost in self._ghosts.items() if can_take(ghost.contact, agent, profiles, memo, now)]
        return found, np.array([turn_s(self._ghosts[one].contact) for one in found])

    def follow(
        self,
        log: Sequence[Assigned],
        waiting: Sequence[Waiting],
        profiles: Profiles,
        *,
        size: int,
        patience_s: float = PATIENCE_PRIOR_S,
        memo: EligibilityMemo | None = None,
        now: datetime,
    ) -> None:
        """Goes through what was assigned since the last time, in the order in which it was. waiting: the line as it stands,
        by turn; size: how far from its head it is looked at (`step.line_size`)."""
        back_to = None if self.until is None else self.until - timedelta(seconds=SEEN_S / 2)
        new = [one for one in log if one.assignment_id not in self._seen and (back_to is None or one.at > back_to)]
        new.sort(key=lambda one: (one.at, one.assignment_id))
        gone = {one.contact.contact_id: one for one in new}
        line = sorted(
            {**{one.contact.contact_id: one.contact for one in new}, **{one.contact_id: one for one in waiting}}.values(),
            key=turn_s,
        )
        still = {contact.contact_id for contact in waiting}
        self.due(line)
        for number, one in enumerate(new):
            later = {other.contact.contact_id for other in new[number + 1 :]}
            self._took(
                one, [c for c in line if c.contact_id in still or c.contact_id in later], profiles, size, patience_s, memo
            )
            self._seen[one.assignment_id] = one.at
        for contact_id in gone.keys() - still:
            self.due_at.pop(contact_id, None)
        self.due_at = {one: at for one, at in self.due_at.items() if one in still}
        self.until = max((one.at for one in new), default=self.until or now)
        self._seen = {one: at for one, at in self._seen.items() if (self.until - at).total_seconds() < SEEN_S}

    def _took(
        self,
        one: Assigned,
        line: Sequence[Waiting],
        profiles: Profiles,
        size: int,
        patience_s: float,
        memo: EligibilityMemo | None,
    ) -> None:
        agent, at, at_s = AgentFree(one.agent_id, one.version, one.at), one.at, one.at.timestamp()
        there = (
            contact
            for contact in line
            if contact.since <= at
            and contact.contact_id != one.contact.contact_id
            and can_take(contact, agent, profiles, memo, at)
        )
        items = list(islice(there, size))
        ghosts, ghost_turns = self.ghosts(agent, profiles, memo, at)
        after = after_taken(
            np.array([turn_s(contact) for contact in items]),
            np.array([self.due_at.get(contact.contact_id, np.nan) for contact in items]),
            ghost_turns,
            taken_since=turn_s(one.contact),
            was_due=one.contact.contact_id in self.due_at,
        )
        if after.due >= 0:
            self.due_at[items[after.due].contact_id] = at_s
        if after.ghost >= 0:
            del self._ghosts[ghosts[after.ghost]]
        if after.is_ghost:
            self._ghosts[one.contact.contact_id] = _Ghost(
                one.contact, ghost_until(at_s, patience_s, _own(one.contact.contact_id))
            )


def turn_s(contact: Waiting) -> float:
    """The place in the line, as seconds."""
    return (contact.turn_at or contact.since).timestamp()


def can_take(contact: Waiting, agent: AgentFree, profiles: Profiles, memo: EligibilityMemo | None, at: datetime) -> bool:
    """Whether an agent might have taken a contact at a moment."""
    need: RoutingNeed = contact.need
    if agent.agent_id in need.excluded or agent.agent_id in need.barred:
        return False
    requirement = requirement_at(need, waited_s(contact, at))
    return isinstance(verdicts(need, requirement, [agent], profiles, memo, now=at)[0], int)


def _own(contact_id: uuid.UUID) -> float:
    """A draw of the contact's own, uniform in [0, 1): every process has the same."""
    return int.from_bytes(contact_id.bytes[-6:]) / 2.0**48
