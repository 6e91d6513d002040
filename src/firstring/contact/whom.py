"""Who should serve them? Agents, needs, verdicts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from firstring.contact.evidence import Reason
from firstring.contact.value import Channel, Value


class Requirement(Value, frozen=True):
    """What an agent must bring now. Levels are 1 (basic) to 5 (expert); tier names the team (vip) or None.

    licences: all of them, valid on the day. rules: conditions on the agent (docs/routing.md), all of which hold. agents:
    these alone (somebody sent the contact there).
    """

    skills: dict[str, int] = {}
    language: str | None = None
    language_level: int = 1
    tier: str | None = None
    licences: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    agents: tuple[int, ...] = ()
    teams: tuple[str, ...] = ()
    """Agents of these teams may serve too, whatever skills, language, team and conditions are asked for."""


class RelaxingStep(Value, frozen=True):
    """From `after_s` seconds of waiting on, `requirement` holds instead of what came before."""

    after_s: float
    requirement: Requirement


class Kept(Value, frozen=True):
    """So many agents of those who may serve a contact are left free for customers of a tier, until it has waited
    `until_s`."""

    tier: str
    agents: int
    until_s: float


class Beyond(Value, frozen=True):
    """A bound on the wait: past it the contact is decided anew, as the policy says (`name`, the step of it).

    wait_s: an estimate longer than that, for `for_s` seconds; None: only where nobody who is signed in may serve it, which
    passes every bound at once.
    """

    name: str
    step: int
    wait_s: float | None = None
    for_s: float = 0.0


class Hold(Value, frozen=True):
    """A contact is held for a better agent although somebody idle may serve it. reserve: what waiting was to bring; an agent
    who becomes free before `until` and brings so much takes it."""

    since: datetime
    until: datetime
    reserve: float


class RoutingNeed(Value, frozen=True):
    """What the contact needs: a priority (higher first) and requirements that relax as it waits (first step at 0 s).

    excluded: agents who did not take it just now. barred: agents whom it never reaches (the customer complained about them).
    last_agent: who had this customer last, and for how many seconds of idle time that counts. intent: why they are in
    contact, where that is probable enough; agents who refuse it are not asked.
    """

    channel: Channel
    priority: int
    steps: tuple[RelaxingStep, ...]
    preferred: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    barred: tuple[int, ...] = ()
    last_agent: int | None = None
    continuity_s: float = 0.0
    intent: str | None = None
    ahead_s: float = 0.0
    """By how many seconds the priority puts the contact ahead of one without, in the queue."""
    tier: str = ""
    """The customer's tier, where it is probable enough and in the policy."""
    kept: tuple[Kept, ...] = ()
    """Agents who are left free for others."""
    beyond: tuple[Beyond, ...] = ()
    """What happens when the wait gets long."""
    elsewhere: str = ""
    """The place in the policy to which the contact goes instead of to an agent."""
    hold: Hold | None = None
    """It waits for somebody better, who is expected soon."""


class WorkingHours(Value, frozen=True):
    """When an agent works: for each day of the week, Monday first, (from, until) in minutes since midnight in `zone`."""

    zone: str
    week: tuple[tuple[tuple[int, int], ...], ...]


class AgentProfile(Value, frozen=True):
    """One version of an agent's profile. skills and languages map to levels 1-5; capacity maps channel to places.

    mix: what may be had at once, as channel to contacts; any of these (none: everything that capacity allows). at_once:
    contacts of all channels together (0: no such limit). licences: name to the last day on which it is valid ("": no
    end). hours: None: always. refuses: reasons for a contact that the agent does not take. wants, learns: skills that the
    agent likes to use, or wants to learn: they count in the choice and never decide who may.
    """

    agent_id: int
    version: int
    name: str
    address: str
    skills: dict[str, int] = {}
    languages: dict[str, int] = {}
    tiers: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("voice",)
    capacity: dict[str, int] = msgspec.field(default_factory=lambda: {"voice": 1})
    mix: tuple[dict[str, int], ...] = ()
    at_once: int = 0
    licences: dict[str, str] = {}
    hours: WorkingHours | None = None
    refuses: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    learns: tuple[str, ...] = ()


class AgentVerdict(Value, frozen=True):
    """One agent considered: eligible with a score and a rank, or not, with the reasons."""

    agent_id: int
    version: int
    eligible: bool
    score: float = 0.0
    reasons: tuple[Reason, ...] = ()
    expected: tuple[float, float] | None = None
    """What the model says of the pair: success, and seconds of handle time; None: it was not asked."""


class PlaceVerdict(Value, frozen=True):
    """A place that is no agent's, considered beside the agents: self-service, or where overflow goes.

    score: on the scale of the agents' (success with self-service less its cost; what waiting is worth where none is free);
    success: how probable it is that it is done there, where anything is known of it.
    """

    name: str
    kind: Literal["self_service", "overflow"]
    address: str
    eligible: bool
    score: float = 0.0
    success: float | None = None
    reasons: tuple[Reason, ...] = ()


class Routing(Value, frozen=True):
    """Whom: agents in the order in which the claim tries them, who was chosen, or the queue.

    propensity is the probability with which the policy chose this agent (1.0 for a deterministic policy).
    """

    need: RoutingNeed
    ranked: tuple[AgentVerdict, ...]
    eligible: int
    considered: int
    policy: str
    propensity: float = 1.0
    reasons: tuple[Reason, ...] = ()
    places: tuple[PlaceVerdict, ...] = ()
    """Self-service and overflow that came into question; the contact goes to the one that `need.elsewhere` names."""

    means: tuple[float, float] | None = None
    """Success and seconds of handle time on average over the agents who were there and may serve the contact."""

    @property
    def elsewhere(self) -> PlaceVerdict | None:
        """The place to which the contact goes instead of to an agent."""
        return next((one for one in self.places if one.name == self.need.elsewhere), None) if self.need.elsewhere else None
