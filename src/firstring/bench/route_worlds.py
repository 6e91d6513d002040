"""Worlds of every sort, drawn by a number: what a routing policy has to stand, beside the worlds that it was made on.

From 5 to 300 agents, load .7 to 1.2, shifts that overlap, skills and languages, one to six types, handle times from even to
heavy-tailed, patience from half a minute to for ever, telephones that ring and are not answered, agents who still learn, an
outage and the surge after it, models that are right, wrong or useless. The same number gives the same world.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np

from firstring.routing.simulate.world import World, world_of

CONTACTS: Final = 2_000
"""About so many contacts come in a world: small centres run for a day, large ones for an hour or two."""
SORTS: Final = ("plain", "shifts", "skills", "ringing", "surge", "learning", "everything")


def varied(number: int, *, contacts: int = CONTACTS) -> World:
    """The world of this number; its sort is `SORTS[number % 7]`."""
    rng = np.random.default_rng([number, 2_011])
    sort = SORTS[number % len(SORTS)]

    def has(name: str) -> bool:
        return sort in (name, "everything")

    agents = round(float(np.exp(rng.uniform(np.log(5), np.log(300)))))
    load = float(rng.uniform(0.7, 1.2))
    kinds = int(rng.integers(1, 7))
    handles = np.exp(rng.uniform(np.log(80), np.log(500), kinds))
    shares = rng.dirichlet(np.full(kinds, 3.0))
    per_hour = agents * load * 3600.0 / float(shares @ handles)
    hours = float(np.clip(np.round(contacts / per_hour, 1), 1.5, 14.0))
    patience_s = float(np.exp(rng.uniform(np.log(30), np.log(1_500))))
    if load < 0.93 and rng.random() < 0.2:
        patience_s = 0.0
    groups = _groups(rng, agents, hours, has_shifts=has("shifts"), has_skills=has("skills"), has_places=sort == "everything")
    if has("learning"):
        for group in groups[: max(1, len(groups) // 2)]:
            group["learning"] = float(rng.uniform(0.1, 0.6))
            group["learning_hours"] = hours / 3.0
    present = sum(g["count"] * g.get("places", 1) * sum(b - a for a, b in g.get("shifts", [[0.0, hours]])) for g in groups)
    rate = per_hour * present / (agents * hours)
    shape = np.ones(int(np.ceil(hours)))
    if has("shifts"):
        shape *= 1.0 + 0.35 * np.sin(np.arange(len(shape)) / len(shape) * 2 * np.pi + rng.uniform(0, 6))
    if has("surge") and len(shape) >= 2:
        # Nobody reaches the centre for an hour; half of them come in the next, with those of that hour.
        out = int(rng.integers(0, len(shape) - 1))
        shape[out], shape[out + 1] = 0.05, 1.6
    skilled = {skill for group in groups for skill in group["skills"]}
    types: list[dict[str, Any]] = []
    for place in range(kinds):
        one: dict[str, Any] = {
            "name": f"type-{place}",
            "per_hour": [round(float(rate * shares[place] * s), 3) for s in shape],
            "handle_s": round(float(handles[place]), 1),
            "handle_log_sd": round(float(rng.uniform(0.5, 1.5)), 2),
            "handle": "exponential" if rng.random() < 0.15 else "lognormal",
            "patience_s": round(patience_s, 1),
            "success": round(float(rng.uniform(0.4, 0.9)), 2),
            "skills": [str(rng.choice(sorted(skilled)))] if skilled and rng.random() < 0.7 else [],
        }
        if sort == "everything":
            one["value"] = round(float(rng.choice([1.0, 1.0, 2.0])), 1)
        types.append(one)
    document: dict[str, Any] = {
        "world": {
            "name": f"{number} {sort}",
            "hours": hours,
            "warm_up_hours": round(min(0.5, hours / 6), 2),
            "structure_seed": number,
        },
        "agents": groups,
        "types": types,
        "compatibility": {
            "agent_sd": round(float(rng.uniform(0.0, 0.4)), 2),
            "type_agent_sd": round(float(rng.uniform(0.1, 0.8)), 2),
            "customer_sd": round(float(rng.uniform(0.1, 1.0)), 2),
            "speed_log_sd": round(float(rng.uniform(0.0, 0.4)), 2),
            "type_speed_log_sd": round(float(rng.uniform(0.0, 0.3)), 2),
            "fit_speed": round(float(rng.uniform(0.0, 0.12)), 3),
        },
    }
    luck = rng.random()
    if luck < 0.15:
        document["model"] = {"useless": True}
    elif luck < 0.5:
        document["model"] = {"error": round(float(rng.uniform(0.3, 2.0)), 2)}
    if has("ringing"):
        document["ringing"] = {
            "seconds": round(float(rng.uniform(2, 9)), 1),
            "no_answer": round(float(rng.uniform(0, 0.15)), 3),
        }
    world = world_of(document)
    _within_reach(document, world, load)
    return world_of(document)


def _within_reach(document: dict[str, Any], world: World, load: float) -> None:
    """Types that need a skill ask for no more of those who have it than everything asks of everybody."""
    seats: dict[frozenset[str], float] = {}
    for group in world.agents:
        hours = sum(to - since for since, to in group.shifts) if group.shifts else world.hours
        seats[frozenset(group.skills)] = seats.get(frozenset(group.skills), 0.0) + group.count * group.places * hours
    needed = sorted({skill for kind in world.types for skill in kind.skills})
    for size in range(1, len(needed) + 1):
        for wanted in itertools.combinations(needed, size):
            mine = [place for place, kind in enumerate(world.types) if kind.skills and kind.skills[0] in wanted]
            asked = sum(sum(document["types"][place]["per_hour"]) * world.types[place].handle_s / 3600.0 for place in mine)
            there = sum(count for skills, count in seats.items() if skills & set(wanted))
            over = asked / (there * load)
            if over > 1.0:
                for place in mine:
                    one = document["types"][place]
                    one["per_hour"] = [round(rate / over, 3) for rate in one["per_hour"]]


def _groups(
    rng: np.random.Generator, agents: int, hours: float, *, has_shifts: bool, has_skills: bool, has_places: bool
) -> list[dict[str, Any]]:
    count = min(int(rng.integers(2, 5)), agents) if has_shifts or has_skills else 1
    sizes = 1 + rng.multinomial(agents - count, rng.dirichlet(np.full(count, 4.0)))
    skills = ["english", "spanish", "billing"][: int(rng.integers(1, 4))] if has_skills else []
    groups: list[dict[str, Any]] = []
    for place in range(count):
        # The first group can do everything and is always there, so that no type is left without anybody.
        mine = skills if place == 0 else [skill for skill in skills if rng.random() < 0.5]
        group: dict[str, Any] = {"name": f"group-{place}", "count": int(sizes[place]), "skills": mine}
        if has_shifts and place:
            since = float(rng.uniform(0.0, 0.5)) * hours
            to = min(hours, since + float(rng.uniform(0.3, 0.7)) * hours)
            group["shifts"] = [[round(since, 3), round(to, 3)]]
        if has_places and place and rng.random() < 0.4:
            group["places"] = int(rng.integers(2, 4))
        groups.append(group)
    return groups
