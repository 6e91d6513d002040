"""`firstring bench who`: who is ringing, from the number alone, beside "whoever was seen last".

Calls are simulated (bench/ringing), their truth is known. Measured: how often the true person stands first among those
who share the number, and whether what is stated at p is right p of the time; without and with the journey as a prior.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from rich.console import Console

from firstring.bench import people
from firstring.bench.measures import Measure, quantile, table
from firstring.bench.ringing import Ring, Town
from firstring.contact import Read, Resolution
from firstring.identity.caller.outcomes import ENOUGH, FITTED, OFF, Outcome, calibration, fit, worst
from firstring.identity.caller.resolver import resolve
from firstring.identity.caller.weights import DEFAULT, TABLE, Weights
from firstring.journey.attention import contact_priors

OTHER_TOWN: Final = 1_000
"""What is fitted to has a seed so far from what is measured."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Answer(NamedTuple):
    """What was stated of one call: probability of each person, "another" and "new"; and the truth."""

    stated: Mapping[int | str, float]
    truth: int | str
    took_us: float

    @property
    def first(self) -> int | str | None:
        """The person listed first."""
        people = [(probability, -one, one) for one, probability in self.stated.items() if isinstance(one, int)]
        return max(people)[2] if people else None


def stated(resolution: Resolution) -> dict[int | str, float]:
    """Person (or "another", "new") -> probability."""
    found: dict[int | str, float] = {one.person_id: one.probability for one in resolution.candidates}
    return {**found, "another": resolution.another_in_household, "new": resolution.someone_new}


def answered(rings: Iterable[Ring], weights: Weights, *, journey: bool) -> list[Answer]:
    """Resolves each call."""
    found = []
    for ring in rings:
        began = time.perf_counter()
        persons = {record.person_id for record in ring.read.records}
        priors = contact_priors(persons, ring.read.touches, now=ring.at) if journey else {}
        resolution = resolve(ring.evidence, ring.read, weights=weights, now=ring.at, priors=priors)
        took_us = (time.perf_counter() - began) * 1e6
        found.append(Answer(stated(resolution), ring.truth, took_us))
    return found


def seen_last(read: Read, *, touches: bool) -> int:
    """The rival: whichever holder of the number was seen last, by records alone or by touches too. Ties: smallest id."""
    seen: dict[int, datetime] = {record.person_id: _NEVER for record in read.records}
    for record in read.records:
        if record.matched and record.last_seen is not None:
            seen[record.person_id] = max(seen[record.person_id], record.last_seen)
    if touches:
        for touch in read.touches:
            if touch.person_id in seen:
                seen[touch.person_id] = max(seen[touch.person_id], touch.occurred_at)
    return max(seen, key=lambda person: (seen[person], -person))


def log_loss(answers: Sequence[Answer]) -> float:
    """Mean of -ln of what was stated of the truth, in nats."""
    return -math.fsum(math.log(max(one.stated.get(one.truth, 0.0), 1e-12)) for one in answers) / len(answers)


def statements(answers: Iterable[Answer]) -> list[tuple[float, bool]]:
    """(probability, whether it was so) of every statement about a person."""
    return [(p, one == answer.truth) for answer in answers for one, p in answer.stated.items() if isinstance(one, int)]


def measures_of(rings: Sequence[Ring], weights: Weights, name: str, *, calibrated: bool) -> list[Measure]:
    """First place among those who share a number, calibration, log loss and time, without and with the journey.

    calibrated: whether the bins have a goal.
    """
    at_stake = [place for place, ring in enumerate(rings) if isinstance(ring.truth, int) and _shared(ring)]
    found = []
    for journey, label in ((False, "number alone"), (True, "with the journey")):
        rival = _share(seen_last(rings[p].read, touches=journey) == rings[p].truth for p in at_stake)
        answers = answered(rings, weights, journey=journey)
        first = _share(answers[place].first == answers[place].truth for place in at_stake)
        what = "records and touches" if journey else "records"
        note = f"seen last first, by {what}: {rival:.3f}; {len(at_stake):,} calls from shared numbers"
        found.append(Measure(f"{name}, {label}: true person first", "true", first, rival, "higher", note))
        rows = calibration(statements(answers))
        for row in rows:
            note = f"{row.statements:,}, stated {row.stated:.3f}"
            found.append(Measure(f"{name}, {label}: stated {row.low}-{row.high}", "true", row.true, note=note))
        for other in ("another", "new"):
            mean = math.fsum(answer.stated[other] for answer in answers) / len(answers)
            right = _share(answer.truth == other for answer in answers)
            found.append(Measure(f"{name}, {label}: {other}", "true", right, note=f"stated {mean:.3f} on average"))
        bins = f"of bins with {ENOUGH} statements"
        found.append(Measure(f"{name}, {label}: worst bin", "off", worst(rows), OFF if calibrated else None, note=bins))
        found.append(Measure(f"{name}, {label}: log loss", "nats", log_loss(answers)))
        found.append(Measure(f"{name}, {label}: time p50", "us", quantile([one.took_us for one in answers], 0.5)))
    return found


def _shared(ring: Ring) -> bool:
    return len({record.person_id for record in ring.read.records if record.matched}) > 1


def _share(facts: Iterable[bool]) -> float:
    known = list(facts)
    return sum(known) / max(1, len(known))


def outcomes_of(rings: Iterable[Ring]) -> list[Outcome]:
    """The calls as outcomes to fit to, each without and with the journey, so that what is stated of both is fitted."""
    found = []
    for ring in rings:
        persons = {record.person_id for record in ring.read.records}
        for priors in ({}, contact_priors(persons, ring.read.touches, now=ring.at)):
            found.append(Outcome(ring.evidence, ring.read, priors, ring.at, ring.truth))
    return found


def run_bench(*, households: int, calls: int, outcomes: int, seed: int, as_json: bool, console: Console) -> list[Measure]:
    """Measures and prints: named priors, and priors fitted to `outcomes` calls of another town. 0 fits none."""
    rings = list(Town(seed, households).rings(calls))
    found = measures_of(rings, DEFAULT, "named priors", calibrated=False)
    if outcomes:
        known = outcomes_of(Town(seed + OTHER_TOWN, households).rings(outcomes))
        fitted = fit(known, DEFAULT, told=lambda number, loss: console.print(f"fit {number}: {loss:.4f}", style="dim"))
        found += measures_of(rings, fitted, f"fitted to {outcomes:,} calls", calibrated=True)
        for name in FITTED:
            note = f"named {DEFAULT[name]:.3g}"
            found.append(Measure(f"fitted: {name}", TABLE[name].unit, fitted[name], note=note))
    if as_json:
        sys.stdout.write(json.dumps([one.as_json() for one in found]) + "\n")
    else:
        console.print(table(f"who is ringing, seed {seed}, {people.VERSION}", found), soft_wrap=True)
    return found
