"""What long waits come to: whose wait has passed a bound of the policy, and whose is to be announced anew.

The memory is that of one task: one that takes the line over begins anew, so a bound that holds `for_s` is reached that much
later at most, and everybody is announced once more.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from firstring.contact import AgentProfile, Beyond, RoutingNeed
from firstring.routing.line.queues import Waiting
from firstring.routing.line.waits import Estimate
from firstring.routing.may.eligibility import day_of, obstacle_check, requirement_at
from firstring.routing.may.hours import at_work

NOBODY_LOOKS: Final = 2
"""Looks at the line, one after the other, in which nobody may serve a contact before that is believed: presence flaps."""
LEAST_S: Final = 10.0
"""Changes are shares of no less than this: nobody is told of 3 s that became 2."""

_WORDS: Final = {
    "agent_other": "another than the one it was sent to",
    "channel_missing": "not serving {}",
    "capacity_none": "taking no contact on {}",
    "language_missing": "not speaking {}",
    "language_level": "speaking {} below the level asked for",
    "skill_missing": "lacking {}",
    "skill_level": "having {} below the level asked for",
    "tier_missing": "not in the team {}",
    "intent_refused": "not taking {}",
    "licence_missing": "without a valid licence {}",
    "rule_unmet": "not meeting {}",
}

Estimates = Mapping[uuid.UUID, Estimate | None]


class Said(NamedTuple):
    """What was announced of a wait: place (1 is next), estimate, and when (monotonic seconds)."""

    place: int
    wait_s: float
    at_s: float


class LongWaits:
    """Of one line: since when each bound is passed, and what was announced last."""

    def __init__(self) -> None:
        self._since: dict[tuple[uuid.UUID, str, int], tuple[float, int]] = {}
        self._said: dict[uuid.UUID, Said] = {}

    def passed(self, line: Sequence[Waiting], found: Estimates, now_s: float) -> list[tuple[Waiting, list[Beyond]]]:
        """Contacts whose wait has passed bounds for as long as the policy says, with these bounds.

        Where nobody may serve a contact (its estimate is None) every bound is passed, without waiting for `for_s`; and so is
        one that is shorter than the time until its requirements let anybody in.
        """
        before, self._since = self._since, {}
        passed: list[tuple[Waiting, list[Beyond]]] = []
        for contact in line:
            if not contact.need.beyond or contact.contact_id not in found:
                continue
            estimate = found[contact.contact_id]
            over: list[Beyond] = []
            for bound in contact.need.beyond:
                nobody = estimate is None or (bound.wait_s is not None and estimate.relaxes_s > bound.wait_s)
                if not nobody and (bound.wait_s is None or estimate is None or estimate.wait_s <= bound.wait_s):
                    continue
                key = (contact.contact_id, bound.name, bound.step)
                since_s, looks = before.get(key, (now_s, 0))
                looks = looks + 1 if nobody else 0
                self._since[key] = (since_s, looks)
                if looks >= NOBODY_LOOKS or (not nobody and now_s - since_s >= bound.for_s):
                    over.append(bound)
            if over:
                passed.append((contact, over))
        return passed

    def news(
        self, line: Sequence[Waiting], found: Estimates, now_s: float, *, every_s: float, change: float
    ) -> list[tuple[Waiting, int, Estimate]]:
        """(contact, place, estimate) of those to be announced: who has not been, and those whose place or estimate has
        changed by `change` (a share) since, at most every `every_s`. Time that went by is no change of an estimate."""
        before, self._said = self._said, {}
        news: list[tuple[Waiting, int, Estimate]] = []
        for place, contact in enumerate(line, 1):
            estimate = found.get(contact.contact_id)
            said = before.get(contact.contact_id)
            if estimate is not None and (said is None or _is_news(said, place, estimate.wait_s, now_s, every_s, change)):
                news.append((contact, place, estimate))
                said = Said(place, estimate.wait_s, now_s)
            if said is not None:
                self._said[contact.contact_id] = said
        return news


def _is_news(said: Said, place: int, wait_s: float, now_s: float, every_s: float, change: float) -> bool:
    if now_s - said.at_s < every_s:
        return False
    expected_s = max(0.0, said.wait_s - (now_s - said.at_s))
    moved = abs(place - said.place) >= max(1.0, change * said.place)
    return moved or abs(wait_s - expected_s) >= change * max(said.wait_s, LEAST_S)


def in_the_way(need: RoutingNeed, agents: Sequence[AgentProfile], now: datetime, waited_s: float) -> str:
    """Why nobody of those who are signed in may serve a contact that has waited so long, the most frequent first."""
    if not agents:
        return "nobody is signed in"
    requirement = requirement_at(need, waited_s)
    check = obstacle_check(requirement, need.channel, intent=need.intent, day=day_of(now))
    counts: Counter[str] = Counter()
    for agent in agents:
        if agent.agent_id in need.barred:
            counts["about whom the customer complained"] += 1
        elif not at_work(agent.hours, now):
            counts["outside their working hours"] += 1
        elif (obstacle := check(agent)) is not None:
            counts[_WORDS[obstacle[0]].format(obstacle[1])] += 1
    return ", ".join(f"{count} {text}" for text, count in counts.most_common(3))
