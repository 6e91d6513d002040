"""What the supervisor's board shows: the lines against what was promised, the agents, the day, what calls for attention."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from firstring.api.services import Services
from firstring.contact import Channel, RoutingNeed
from firstring.desk.views import channel_name, language_name
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.may.eligibility import requirement_at
from firstring.routing.pick.beside import is_held
from firstring.store.board import DAY, BoardRead, Day, InLine, Length, read_line
from firstring.store.contacts import AgentState
from firstring.store.database import Tenant
from firstring.store.interventions import Intervention, listed
from firstring.store.routing.meters import regret_between
from firstring.store.routing.trials import trial_in_force

SHOWN: Final = 50
"""Contacts of one channel, interventions, newest contacts."""
ABANDONED: Final = 0.05
"""The share of calls that may be given up by the caller."""
ENOUGH: Final = 20
"""Calls of a day before its shares are judged."""
BUSY: Final = 0.9
"""Agents who were busy for more than this share of the last half hour, on average, have no room for a surge."""
REFUSED: Final = "refused:"
WORDS: Final = {
    "move": "sent it on",
    "prioritise": "changed its priority",
    "note": "left a note",
    "transfer": "handed it on",
    "call_back": "promised to call back",
    "person": "left self-service for a person",
    "presence": "set the presence",
}


class Alarm(NamedTuple):
    """Something that calls for a supervisor. grave: callers are harmed already."""

    text: str
    grave: bool


class Row(NamedTuple):
    """A contact in line, as it is shown. late: it waits longer than what it was told."""

    contact_id: uuid.UUID
    channel: Channel
    place: int
    since: datetime
    priority: int
    told: str
    late: bool
    needs: tuple[str, ...]
    tier: str


class Board(NamedTuple):
    """Everything that the board shows, but the newest contacts."""

    rows: tuple[Row, ...]
    lengths: Mapping[Channel, Length]
    day: Day
    agents: tuple[AgentState, ...]
    occupancy: Mapping[int, float]
    occupancy_mean: float | None
    alarms: tuple[Alarm, ...]
    done: tuple[tuple[Intervention, str, str], ...]
    """(what was done, in words, why it could not be done or "")."""


class Worth(NamedTuple):
    """One figure of what the matching brings: what it is, its value, and what it is measured against."""

    label: str
    value: str
    note: str


async def read_worth(services: Services, tenant: Tenant) -> tuple[Worth, ...]:
    """What the matching brought in the last 24 hours by the model in force, and the trial that runs. Nothing of it where
    nothing was learned yet."""
    now = services.clock.now()
    found = await regret_between(services.database, tenant, services.decider.models_of(tenant).routing, now - DAY, now)
    worth = []
    if found.share is not None and found.first_come > 0.0:
        uplift = found.chosen / found.first_come - 1.0
        worth.append(Worth("Uplift, last 24 h", f"{100 * uplift:+.1f} %", "expected, over first come"))
        worth.append(Worth("Of what was possible", f"{100 * found.share:.0f} %", f"{found.lost:,.0f} successes left"))
    running = trial_in_force(tenant)
    if running is not None:
        worth.append(Worth("Trial", running.name, "runs; its uplift is shown when it is over"))
    return tuple(worth)


async def read_board(services: Services, tenant: Tenant, day: Day) -> Board:
    """Reads the board anew; `day` may be some seconds old."""
    now = services.clock.now()
    read = await read_line(services.database, tenant, now, at_most=SHOWN)
    agents = tuple(await services.contacts.agents(tenant))
    names = {agent.profile.agent_id: agent.profile.name for agent in agents}
    done = await listed(services.database, tenant, SHOWN)
    rows = tuple(row_of(one, now, names) for one in sorted(read.line, key=lambda one: (one.place, one.since)))
    there = [read.occupancy[one.profile.agent_id] for one in agents if one.presence != "offline" and _is_known(one, read)]
    mean = sum(there) / len(there) if there else None
    return Board(
        rows=rows,
        lengths=read.lengths,
        day=day,
        agents=agents,
        occupancy=read.occupancy,
        occupancy_mean=mean,
        alarms=tuple(alarms(rows, read.lengths, day, mean, len(there), services.decider.models_of(tenant).routing)),
        done=tuple((one, said(one, names), refused(one)) for one in done),
    )


def row_of(one: InLine, now: datetime, names: Mapping[int, str]) -> Row:
    """A contact in line; what it needs is what it needs after the time that it has waited."""
    waits_s = max(0.0, (now - one.since).total_seconds())
    told, late = "", False
    if one.told_s is not None and one.told_at is not None:
        _, low, high = one.told_s
        told, late = f"{_minutes(low)} to {_minutes(high)}", (now - one.told_at).total_seconds() > high
    needs, tier = needs_of(one.need, waits_s, names)
    hold = one.need.hold
    if hold is not None and is_held(hold, now):
        needs = (*needs, f"held for {math.ceil((hold.until - now).total_seconds())} s, for somebody who suits better")
    return Row(one.contact_id, one.channel, one.place, one.since, one.priority, told, late, needs, tier)


def needs_of(need: RoutingNeed, waited_s: float, names: Mapping[int, str]) -> tuple[tuple[str, ...], str]:
    """(what an agent must bring by now, in words; the team it is kept for, or ""). names: of agents."""
    asked = requirement_at(need, waited_s)
    found = [f"{name} {level}" for name, level in asked.skills.items()]
    found += [f"sent to {names.get(agent, agent)}" for agent in asked.agents]
    if asked.language is not None:
        found.insert(0, language_name(asked.language))
    found += [f"licence {name}" for name in asked.licences]
    return tuple(found), (asked.tier or "")


def alarms(
    rows: Iterable[Row],
    lengths: Mapping[Channel, Length],
    day: Day,
    occupancy_mean: float | None,
    agents: int,
    policy: RoutingPolicy,
) -> Iterable[Alarm]:
    """What calls for a supervisor, the gravest first. policy: what was promised (promise_share within promise_s)."""
    for channel, length in lengths.items():
        if length.contacts and not length.ready:
            people = "contact waits" if length.contacts == 1 else "contacts wait"
            yield Alarm(f"{length.contacts:,} {people} on {channel_name(channel)} and nobody is ready for it.", True)
    late = sum(row.late for row in rows)
    if late:
        yield Alarm(f"{late:,} wait{'s' if late == 1 else ''} longer than what they were told.", True)
    if day.offered >= ENOUGH and day.abandoned > ABANDONED * day.offered:
        yield Alarm(f"{day.abandoned / day.offered:.0%} of the callers of the last day gave up.", True)
    if day.offered >= ENOUGH and day.in_time < policy.promise_share * day.offered:
        share = day.in_time / day.offered
        yield Alarm(f"{share:.0%} of the calls of the last day were answered within {policy.promise_s:.0f} s.", False)
    if occupancy_mean is not None and agents > 1 and occupancy_mean > BUSY:
        yield Alarm(f"Agents were busy for {occupancy_mean:.0%} of the last half hour.", False)


def _is_known(agent: AgentState, read: BoardRead) -> bool:
    return agent.profile.agent_id in read.occupancy


def _minutes(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def said(one: Intervention, names: Mapping[int, str]) -> str:
    """One line of the log in words."""
    parts = [WORDS.get(one.what, one.what)]
    if one.agent_id is not None:
        parts.append(
            f"of {names.get(one.agent_id, one.agent_id)}"
            if one.what == "presence"
            else f"to {names.get(one.agent_id, one.agent_id)}"
        )
    if one.detail and not one.detail.startswith(REFUSED):
        parts.append(f"({one.detail.replace(',', ', ').replace('=', ' ')})")
    return " ".join(parts)


def refused(one: Intervention) -> str:
    """Why it could not be done, or ""."""
    return one.detail.removeprefix(REFUSED).replace("_", " ") if one.detail.startswith(REFUSED) else ""
