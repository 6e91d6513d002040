"""Worlds of every sort, drawn by a number: what a routing policy has to stand, beside the worlds that it was made on.

From 5 to 300 agents, load .7 to 1.2, shifts that overlap, skills and languages, one to six types, handle times from even to
heavy-tailed, patience from half a minute to for ever, telephones that ring and are not answered, agents who still learn, an
outage and the surge after it, models that are right, wrong or useless. The same number gives the same world.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from firstring.bench.measures import Measure
from firstring.routing.simulate.compare import FIRST_COME, OURS, Comparison, Figures, compare, interval
from firstring.routing.simulate.world import ModelError, World, world_of

CONTACTS: Final = 2_000
"""About so many contacts come in a world: small centres run for a day, large ones for an hour or two."""
LATE_GOAL: Final = 2.0
"""Per cent of all contacts that may be overtaken for more than the guard allows: agents become free later than expected."""
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
    hours = float(np.clip(np.round(contacts / per_hour, 1), 1.5 if contacts >= CONTACTS else 0.7, 14.0))
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


class Tried(NamedTuple):
    """One run of a world: ours, first come's, and the bound."""

    world: str
    agents: int
    ours: Figures
    first: Figures
    bound: float


def tried(
    numbers: Sequence[int], *, seed: int = 1, useless: bool = False, contacts: int = CONTACTS, processes: int = 1
) -> list[Tried]:
    """Ours and first come in the worlds of these numbers. useless: with a model that knows nothing in each of them."""
    jobs = [(number, seed, useless, contacts) for number in numbers]
    if processes > 1:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            return list(pool.map(_try, jobs, chunksize=2))
    return [_try(job) for job in jobs]


def _try(job: tuple[int, int, bool, int]) -> Tried:
    number, seed, useless, contacts = job
    world = varied(number, contacts=contacts)
    if useless:
        world = msgspec.structs.replace(world, model=ModelError(useless=True))
    found: Comparison = compare(world, seeds=[seed], names=[OURS])
    return Tried(world.name, world.agent_count, found.of(OURS).runs[0], found.of(FIRST_COME).runs[0], found.bounds[0])


def measures(runs: Sequence[Tried], useless: Sequence[Tried]) -> list[Measure]:
    """What holds over all worlds, with intervals over them: one run each, which differ by luck."""
    uplift = interval([100.0 * (one.ours.success / max(one.first.success, 1e-9) - 1.0) for one in runs])
    gone = interval([100.0 * (one.ours.abandoned - one.first.abandoned) for one in runs])
    nothing = interval([100.0 * (one.ours.success / max(one.first.success, 1e-9) - 1.0) for one in useless])
    gone_useless = interval([100.0 * (one.ours.abandoned - one.first.abandoned) for one in useless])
    longest = interval([one.ours.wait_max_s - one.first.wait_max_s for one in runs])
    late = weighted(runs, "late_share")
    worst = max(runs, key=lambda one: one.ours.late_share)
    beyond = weighted(runs, "beyond_share")
    before = 100.0 * sum(one.ours.before_share * one.ours.contacts for one in runs) / sum(one.ours.contacts for one in runs)
    farthest = max(runs, key=lambda one: one.ours.beyond_s)
    gap = 100.0 * sum(one.ours.success - one.first.success for one in runs)
    gap /= max(sum(one.bound - one.first.success for one in runs), 1e-9)
    of, of_useless = f"{len(runs)} worlds", f"useless model, {len(useless)} worlds"
    late_note = (
        f"of the contacts, by place; the worst {100 * worst.ours.late_share:.1f} %: {worst.world}, {worst.agents} agents"
    )
    beyond_note = f"{before:.1f} % waited 30 s less; at most {farthest.ours.beyond_s:.0f} s: {farthest.world}"
    upper, lower = nothing.mean + _half(nothing), gone_useless.mean - _half(gone_useless)
    return [
        Measure(f"uplift, {of}, lower end", "%", uplift.mean - _half(uplift), 0.0, "higher", _told(uplift)),
        Measure(f"gap closed, {of}", "%", gap, better="higher", note="all worlds together"),
        Measure(f"hang up more, {of}", "points", gone.mean - _half(gone), 0.0, note=_told(gone)),
        Measure(f"uplift, {of_useless}, upper end", "%", upper, 0.0, "higher", _told(nothing)),
        Measure(f"hang up more, {of_useless}", "points", lower, 0.0, note=_told(gone_useless)),
        Measure(f"longest wait less first come's, {of}", "s", longest.mean, 30.0, note=_told(longest)),
        Measure(f"overtaken for more than 30 s, {of}", "%", late, LATE_GOAL, note=late_note),
        Measure(f"waited 30 s beyond first come's own history, {of}", "%", beyond, note=beyond_note),
    ]


def weighted(runs: Sequence[Tried], name: str) -> float:
    """A share of all contacts of all worlds, in per cent."""
    return float(
        100.0 * sum(getattr(one.ours, name) * one.ours.contacts for one in runs) / sum(one.ours.contacts for one in runs)
    )


def _half(value: tuple[float, float]) -> float:
    return 0.0 if value[1] != value[1] else value[1]


def _told(value: tuple[float, float]) -> str:
    return f"{value[0]:+.2f} ±{_half(value):.2f}"


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
