"""A world from a call log in the format of the Anonymous Bank (Technion, A. Mandelbaum; Brown et al., JASA 2005).

Tab-separated, one call a line, with a header: date (yymmdd), type, q_time, outcome (AGENT, HANG, PHANTOM), ser_start,
ser_exit, ser_time (h:mm:ss and seconds), server, among others. The world is the mean day of the log: arrivals of each
type by hour, handle times and patience by type, every server with their own speed, and by hour as many servers as were
there. The log knows no outcome: success and who suits whom are assumptions, those of a world's defaults.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from firstring.errors import BadInput
from firstring.routing.simulate.world import AgentGroup, Compatibility, ContactType, ModelError, Ringing, World

NEEDED: Final = ("date", "type", "q_time", "outcome", "ser_start", "ser_exit", "ser_time", "server", "vru_entry")
_TYPE_CALLS: Final = 50
"""Types with fewer calls are taken together."""
_AGENT_CALLS: Final = 20
_BREAK_S: Final = 1_200.0
"""A server without a call for so long was not there."""
_SPEED_PRIOR: Final = 20.0
"""Calls at the mean speed that every server's speed is shrunk with."""
_WRONG_SHARE: Final = 0.01


class Call(NamedTuple):
    """One call of the log; times in seconds of its day."""

    day: str
    kind: str
    came_s: float
    waited_s: float
    server: str
    """Empty: hung up."""
    began_s: float
    took_s: float


def world_of_calls(lines: Sequence[str], *, file: str = "", days: str | None = None) -> World:
    """The mean day of a log. Raises BadInput: calls_format, calls_days, calls_few."""
    calls = read_calls(lines, file=file)
    calls = _of_days(calls, days, file)
    dates = sorted({call.day for call in calls})
    served = [call for call in calls if call.server and call.took_s > 0.0]
    if len(served) < 100:
        raise BadInput(
            "calls_few",
            "Fewer than 100 calls that were served: too few for a world",
            where={"file": file} if file else {},
            hint="Take more days.",
        )
    there = _presence(served, len(dates))
    types = _types(calls, served, len(dates), there)
    groups = _agents(served, there)
    return World(
        name=f"{len(dates)} days of a call log, {dates[0]} to {dates[-1]}",
        hours=24.0,
        warm_up_hours=0.0,
        target_s=20.0,
        structure_seed=1,
        agents=tuple(groups),
        types=tuple(types),
        # The servers' own speed is in their groups.
        compatibility=Compatibility(speed_log_sd=0.0),
        model=ModelError(),
        ringing=Ringing(),
    )


def observed(lines: Sequence[str], *, days: str | None = None) -> dict[str, float]:
    """What happened according to the log, to be put beside a simulation: calls a day, share that hung up, mean wait."""
    calls = _of_days(read_calls(lines), days, "")
    gave_up = sum(not call.server for call in calls)
    return {
        "per_day": len(calls) / len({call.day for call in calls}),
        "abandoned": gave_up / len(calls),
        "wait_s": sum(call.waited_s for call in calls) / len(calls),
        "handle_s": float(np.mean([call.took_s for call in calls if call.server])),
    }


def read_calls(lines: Sequence[str], *, file: str = "") -> list[Call]:
    """The calls that reached the queue or a server. Raises BadInput: calls_format."""
    where = {"file": file} if file else {}
    header = lines[0].rstrip("\r\n").split("\t") if lines else []
    places = {name.strip(): place for place, name in enumerate(header)}
    missing = [name for name in NEEDED if name not in places]
    if missing:
        raise BadInput(
            "calls_format",
            "Not a call log in the Anonymous Bank's format",
            where=where,
            hint="Columns that are missing: " + ", ".join(missing) + ". The first line names them, separated by tabs.",
        )
    calls, wrong, first_wrong = [], 0, 0
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:
            call = _call(line.rstrip("\r\n").split("\t"), places)
        except (ValueError, IndexError):
            wrong, first_wrong = wrong + 1, first_wrong or number
            continue
        if call is not None:
            calls.append(call)
    if wrong > _WRONG_SHARE * len(lines) or not calls:
        raise BadInput(
            "calls_format",
            f"{wrong} lines cannot be read",
            where={**where, "line": first_wrong},
            hint="Times are h:mm:ss, waits and services whole seconds, dates yymmdd.",
        )
    return calls


def _call(row: list[str], places: dict[str, int]) -> Call | None:
    def of(name: str) -> str:
        return row[places[name]].strip()

    day, outcome, waited_s = of("date"), of("outcome"), float(of("q_time"))
    if len(day) != 6 or not day.isdecimal() or outcome not in ("AGENT", "HANG", "PHANTOM") or waited_s < 0.0:
        raise ValueError(day)
    came_s = _seconds(of("vru_entry"))
    if outcome == "AGENT":
        began_s, took_s = _seconds(of("ser_start")), float(of("ser_time"))
        if took_s < 0.0:
            raise ValueError(day)
        return Call(day, of("type"), came_s, waited_s, of("server"), began_s, took_s)
    # A phantom call, or one that hung up while the voice response unit spoke, asked for nobody.
    return Call(day, of("type"), came_s, waited_s, "", 0.0, 0.0) if outcome == "HANG" and waited_s > 0.0 else None


def _seconds(text: str) -> float:
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600.0 + int(minutes) * 60.0 + int(seconds)


def _of_days(calls: list[Call], days: str | None, file: str) -> list[Call]:
    if days is None:
        return calls
    first, _, last = days.partition("-")
    chosen = [call for call in calls if first <= call.day <= (last or first)]
    if not chosen:
        raise BadInput(
            "calls_days",
            "There are no calls on these days",
            where={"file": file} if file else {},
            hint=f"The log has {min(call.day for call in calls)} to {max(call.day for call in calls)}.",
        )
    return chosen


def _presence(served: Iterable[Call], days: int) -> dict[str, np.ndarray]:
    """By server and hour of the day (24,): mean seconds of being there."""
    of_day: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for call in served:
        of_day[call.server, call.day].append((call.began_s, call.began_s + call.took_s))
    there: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(24))
    for (server, _), spans in of_day.items():
        spans.sort()
        since, until = spans[0]
        for begins, ends in [*spans[1:], (np.inf, np.inf)]:
            if begins - until > _BREAK_S:
                for hour in range(int(since // 3600), min(int(until // 3600) + 1, 24)):
                    there[server][hour] += max(min(until, hour * 3600.0 + 3600.0) - max(since, hour * 3600.0), 0.0) / days
                since = begins
            until = max(until, ends) if begins < np.inf else until
    return there


def _types(calls: list[Call], served: list[Call], days: int, there: dict[str, np.ndarray]) -> list[ContactType]:
    counts: dict[str, int] = defaultdict(int)
    for call in served:
        counts[call.kind] += 1
    open_hours = sum(there.values()) > 0.0

    def name_of(kind: str) -> str:
        return kind.lower() if counts[kind] >= _TYPE_CALLS and kind.isalnum() else "other"

    # What is left over has hardly a figure of its own: patience and handle times of few calls are those of all.
    types = []
    waited_all, gave_up_all = sum(call.waited_s for call in calls), sum(not call.server for call in calls)
    for name in sorted({name_of(call.kind) for call in calls}):
        mine = [call for call in calls if name_of(call.kind) == name]
        took = np.array([call.took_s for call in mine if call.server and call.took_s > 0.0])
        if not len(took):
            continue
        hours = np.bincount([min(int(call.came_s // 3600), 23) for call in mine], minlength=24) / days
        gave_up = sum(not call.server for call in mine)
        patience_s = (sum(call.waited_s for call in mine) + 10.0 * waited_all / max(gave_up_all, 1)) / (gave_up + 10.0)
        types.append(
            ContactType(
                name=name,
                per_hour=tuple(float(round(rate, 3)) for rate in np.where(open_hours, hours, 0.0)),
                handle_s=float(round(max(took.mean(), 1.0), 1)),
                handle_log_sd=float(round(min(np.log(took).std(), 3.0), 3)),
                patience_s=float(round(max(patience_s, 1.0), 1)),
            )
        )
    return types


def _agents(served: list[Call], there: dict[str, np.ndarray]) -> list[AgentGroup]:
    """Every server with enough calls; by hour those who are there most often, as many as there were on average."""
    calls: dict[str, list[float]] = defaultdict(list)
    of_kind: dict[str, list[float]] = defaultdict(list)
    for call in served:
        of_kind[call.kind].append(np.log(call.took_s))
    usual = {kind: float(np.mean(logs)) for kind, logs in of_kind.items()}
    for call in served:
        calls[call.server].append(float(np.log(call.took_s)) - usual[call.kind])
    names = sorted(name for name in there if len(calls[name]) >= _AGENT_CALLS) or sorted(there)
    by_hour = np.array([there[name] for name in names])
    wanted = np.array([max(round(float(sum(t[hour] for t in there.values())) / 3600.0), 0) for hour in range(24)])
    wanted = np.where((wanted == 0) & (by_hour.sum(axis=0) > 0.0), 1, np.minimum(wanted, len(names)))
    on = np.zeros((len(names), 24), np.bool_)
    for hour in range(24):
        on[np.argsort(-by_hour[:, hour], kind="stable")[: wanted[hour]], hour] = True
    groups = []
    for place, name in enumerate(names):
        if not on[place].any():
            continue
        slower = sum(calls[name]) / (len(calls[name]) + _SPEED_PRIOR)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], on[place].astype(int), [0]])))
        shifts = tuple((float(since), float(to)) for since, to in zip(edges[::2], edges[1::2], strict=True))
        groups.append(AgentGroup(name=f"server-{place + 1}", count=1, speed=float(round(np.exp(slower), 3)), shifts=shifts))
    return groups
