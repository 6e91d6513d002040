"""Who is it: from evidence and what was read to the probability of each person. Pure and deterministic.

The hypotheses are: each candidate, another member of the household behind a shared identifier, and somebody new. Each
has log-odds against somebody new (0); the probabilities are their softmax.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from firstring import limits
from firstring.contact import (
    Candidate,
    ContactPrior,
    Evidence,
    Household,
    Identifier,
    Read,
    Reason,
    RecordRead,
    Resolution,
)
from firstring.identity.caller.claims import Claimed, claimed
from firstring.identity.caller.holding import Holding, Traits, holding, traits
from firstring.identity.caller.question import Asked, question
from firstring.identity.caller.score import ScorePerson, best_outcomes, score_person
from firstring.identity.caller.weights import SHARED_AT_HOME, Weights
from firstring.identity.golden.rules import DEFAULT as DEFAULT_RULES
from firstring.identity.golden.rules import Rules
from firstring.identity.golden.survivorship import profile

Standing = Literal["identified", "ambiguous", "household", "unknown"]

LENT: Final = frozenset(("phone", "device", "cookie", "email"))
"""What relatives use of one another, even where one person alone is on file with it."""
_RELATIVES: Final = {"landline": "landline_relative", "mobile": "mobile_relative", "": "unlisted_relative"}
"""The prior of a relative on no file, where several of one home are on file with an identifier: by the sort of telephone."""
MAX_LOG_ODDS: Final = 700.0
"""exp() of more overflows; the sums of the priors stay far below."""


class _Shared(NamedTuple):
    """The people behind one shared identifier; another_odds: of an unlisted one of them against somebody new.
    at_home: those who share a family name or an address with another one."""

    identifier: Identifier
    members: tuple[int, ...]
    another_odds: float
    at_home: frozenset[int]


_NO_PRIORS: Final[Mapping[int, ContactPrior]] = MappingProxyType({})


def resolve(
    evidence: Evidence,
    read: Read,
    *,
    weights: Weights,
    now: datetime,
    priors: Mapping[int, ContactPrior] = _NO_PRIORS,
    score: ScorePerson = score_person,
    rules: Rules = DEFAULT_RULES,
) -> Resolution:
    """The probability of each person read, of another in the household, and of someone new; they sum to 1 (1e-9).

    Records are already found by the evidence's identifiers and composite key (RecordRead.matched, .composite).
    Persons ruled out never appear, and take no share of an identifier. Hot identifiers speak for nobody.
    priors: why persons may be in contact just now (journey.attention); they never make anybody a candidate.
    rules: which values a profile has (survivorship); what providers appended is in it, and is no evidence.
    """
    known = _weigh(evidence, read, weights, now, priors, score)
    hot, persons, scored, shared = known.hot, known.persons, known.scored, known.shared
    appended: dict[int, list[RecordRead]] = {}
    for one in read.enrichments:
        appended.setdefault(one.person_id, []).append(one)
    candidates = sorted(
        (
            Candidate(
                person_id=person,
                probability=known.mass[person] / known.total,
                reasons=scored[person][1],
                profile=profile([*records, *appended.get(person, ())], now=now, rules=rules),
                records=tuple(sorted(record.record_id for record in records)),
            )
            for person, records in persons.items()
        ),
        key=lambda candidate: (-candidate.probability, candidate.person_id),
    )
    someone_new, another = known.new / known.total, known.another / known.total
    whole = math.fsum((*(candidate.probability for candidate in candidates), someone_new, another))
    assert abs(whole - 1.0) < 1e-9, f"the probabilities sum to {whole}"
    return Resolution(
        candidates=tuple(candidates),
        someone_new=someone_new,
        another_in_household=another,
        basis=weights.basis,
        model_version=weights.version,
        household=_household(shared, candidates),
        reasons=_reasons(evidence, read, hot, persons, weights),
        hot=hot,
        question=question(
            Asked(candidates, another, someone_new, shared.at_home if shared else frozenset()),
            known.claim,
            priors,
            weights,
        ),
        unnamed=known.unnamed,
    )


def stated(
    evidence: Evidence,
    read: Read,
    *,
    weights: Weights,
    now: datetime,
    priors: Mapping[int, ContactPrior] = _NO_PRIORS,
) -> dict[int | str, float]:
    """The probabilities of `resolve` alone: of each person by id, of "another" of the household, of "new"."""
    known = _weigh(evidence, read, weights, now, priors, score_person)
    found: dict[int | str, float] = {person: mass / known.total for person, mass in known.mass.items()}
    return {**found, "another": known.another / known.total, "new": known.new / known.total}


class _Weighed(NamedTuple):
    """Everybody whom something points at, and how likely each is: mass, another and new in shares of total."""

    hot: tuple[Identifier, ...]
    persons: Mapping[int, Sequence[RecordRead]]
    unnamed: dict[int, tuple[int, ...]]
    claim: Claimed
    scored: Mapping[int, tuple[float, tuple[Reason, ...]]]
    shared: _Shared | None
    mass: Mapping[int, float]
    another: float
    new: float

    @property
    def total(self) -> float:
        return math.fsum((*self.mass.values(), self.new, self.another))


def _weigh(
    evidence: Evidence,
    read: Read,
    weights: Weights,
    now: datetime,
    priors: Mapping[int, ContactPrior],
    score: ScorePerson,
) -> _Weighed:
    hot = _hot(evidence, read)
    pointed_at = _persons(evidence, read, hot)
    unnamed = _unnamed(evidence, pointed_at)
    persons = {person: records for person, records in pointed_at.items() if person not in unnamed}
    people_behind = _people_behind(evidence, read, hot, persons, unnamed)
    homes = {person: traits(records) for person, records in persons.items()} if len(persons) > 1 else {}
    held = {
        identifier: holding(
            identifier,
            {person: records for person, records in persons.items() if _carries(records, identifier)},
            people,
            homes,
            weights,
            now,
        )
        for identifier, people in people_behind.items()
    }
    claim = claimed(evidence.claims)
    scored = {
        person: score(
            evidence,
            records,
            {identifier: one.of[person] for identifier, one in held.items() if person in one.of},
            claim,
            priors.get(person),
            weights,
        )
        for person, records in persons.items()
    }
    shared = _shared(persons, people_behind, homes, held, claim, weights)
    log_odds = {person: min(MAX_LOG_ODDS, odds) for person, (odds, _) in scored.items()}
    top = max(0.0, *log_odds.values()) if log_odds else 0.0
    mass = {person: math.exp(odds - top) for person, odds in log_odds.items()}
    new_mass = math.exp(-top)
    another_mass = shared.another_odds * new_mass if shared else 0.0
    return _Weighed(hot, persons, unnamed, claim, scored, shared, mass, another_mass, new_mass)


def standing(resolution: Resolution, threshold: float) -> Standing:
    """What an agent is told: one person (at least `threshold` sure), a household, several possible, or nobody known."""
    best = resolution.best
    if best is None or resolution.someone_new >= 0.5:
        return "unknown"
    if best.probability >= threshold:
        return "identified"
    household = resolution.household
    if household is not None and household.probability + resolution.another_in_household >= threshold:
        return "household"
    return "ambiguous"


# --- what was read -----------------------------------------------------------------------------------------------


def _hot(evidence: Evidence, read: Read) -> tuple[Identifier, ...]:
    """The evidence's identifiers that too many records carry, in a fixed order."""
    over = {fan.identifier for fan in read.fan_out if fan.hot or fan.records > limits.HOT_KEY_RECORDS}
    return tuple(sorted(set(evidence.identifiers) & over))


def _persons(evidence: Evidence, read: Read, hot: Sequence[Identifier]) -> dict[int, list[RecordRead]]:
    """Records by person, for persons that something points at: a usable identifier, the composite, or an agent."""
    usable = set(evidence.identifiers) - set(hot)
    ruled_out = set(evidence.ruled_out)
    persons: dict[int, list[RecordRead]] = {}
    pointed_at: set[int] = set()
    for record in sorted(read.records, key=lambda one: one.record_id):
        if record.person_id in ruled_out:
            continue
        persons.setdefault(record.person_id, []).append(record)
        if record.composite or record.person_id == evidence.confirmed_person or not usable.isdisjoint(record.matched):
            pointed_at.add(record.person_id)
    return {person: records for person, records in sorted(persons.items()) if person in pointed_at}


def _unnamed(evidence: Evidence, persons: Mapping[int, Sequence[RecordRead]]) -> dict[int, tuple[int, ...]]:
    """Persons of whom nothing but an identifier is known, with the named persons who carry all that matched of them.

    An earlier call or a visit leaves a record with a number and no name. Where somebody with a name has that number,
    it is not one more person behind the number but a trace of one of them.
    """
    matched = {
        person: {identifier for record in records for identifier in record.matched} for person, records in persons.items()
    }
    traces = {
        person
        for person, records in persons.items()
        if person != evidence.confirmed_person and matched[person] and not any(_says_who(record) for record in records)
    }
    found = {}
    for trace in sorted(traces):
        hosts = tuple(person for person in persons if person not in traces and matched[trace] <= matched[person])
        if hosts:
            found[trace] = hosts
    return found


def _says_who(record: RecordRead) -> bool:
    """Whether a record says anything of a person beside identifiers: a name, a birth date."""
    fields = record.fields
    if fields.get("given_name") or fields.get("family_name") or fields.get("birth_date") or record.composite:
        return True
    said = claimed(fields)
    return bool(said.name.given or said.name.family or said.born)


def _people_behind(
    evidence: Evidence,
    read: Read,
    hot: Sequence[Identifier],
    persons: Mapping[int, Sequence[RecordRead]],
    unnamed: Collection[int],
) -> dict[Identifier, int]:
    """For each usable identifier that anybody carries, how many people may be behind it.

    Those ruled out are not, and unnamed ones are among the others.
    """
    counted = {fan.identifier: fan.persons for fan in read.fan_out}
    not_counted = {*evidence.ruled_out, *unnamed}
    behind: dict[Identifier, int] = {}
    for identifier in sorted(set(evidence.identifiers) - set(hot)):
        listed = {person for person, records in persons.items() if _carries(records, identifier)}
        if listed:
            gone = {one.person_id for one in read.records if one.person_id in not_counted and identifier in one.matched}
            behind[identifier] = max(len(listed), counted.get(identifier, 0) - len(gone))
    return behind


def _carries(records: Sequence[RecordRead], identifier: Identifier) -> bool:
    return any(identifier in record.matched for record in records)


# --- the household -----------------------------------------------------------------------------------------------


def _shared(
    persons: Mapping[int, Sequence[RecordRead]],
    people_behind: Mapping[Identifier, int],
    homes: Mapping[int, Traits],
    held: Mapping[Identifier, Holding],
    claim: Claimed,
    weights: Weights,
) -> _Shared | None:
    """The identifier that says most about the people behind it as a whole, or None where none is known."""
    found: list[tuple[bool, float, Identifier, tuple[int, ...], float, frozenset[int]]] = []
    for identifier, people in people_behind.items():
        one = held[identifier]
        # People behind the identifier who were not read (the read is bounded) are as likely as those who were.
        another = one.unread
        at_home = _at_home(one.of, homes)
        if at_home:
            another += weights[_RELATIVES[one.line]] * _relative(at_home, persons, one, claim, weights)
        if identifier.kind in LENT:
            share = weights["landline_relative" if one.line == "landline" else "relative_borrows"]
            alone = (person for person in one.of if person not in at_home)
            another += share * math.fsum(_relative((person,), persons, one, claim, weights) for person in alone)
        found.append((people < 2, -one.total, identifier, tuple(one.of), another, at_home))
    if not found:
        return None
    # One that several people have says most about them as a whole; else that which says most.
    _, _, identifier, members, another, at_home = min(found, key=lambda one: one[:3])
    return _Shared(identifier, members, another, at_home)


def _relative(
    home: Collection[int],
    persons: Mapping[int, Sequence[RecordRead]],
    held: Holding,
    claim: Claimed,
    weights: Weights,
) -> float:
    """The odds of a relative of theirs, who uses the identifier however little it is used by those who are on file."""
    records = [record for person in sorted(home) for record in persons[person]]
    return max(held.of[person].relative for person in home) * math.exp(_home_claims(claim, records, weights))


def _at_home(people: Collection[int], homes: Mapping[int, Traits]) -> frozenset[int]:
    """Those of the people who share a family name or an address with another one of them."""
    if len(people) < 2:
        return frozenset()
    first: dict[tuple[str, str], int] = {}
    found: set[int] = set()
    for person in people:
        for trait in homes[person]:
            other = first.setdefault(trait, person)
            if other != person:
                found |= {person, other}
    return frozenset(found)


def _home_claims(claim: Claimed, records: Sequence[RecordRead], weights: Weights) -> float:
    """What claims say about an unlisted relative: only what relatives share, the family name and the place."""
    return math.fsum(
        logs.household for found, logs in best_outcomes(claim, records, weights, of=1) if found.comparison in SHARED_AT_HOME
    )


def _household(shared: _Shared | None, candidates: Sequence[Candidate]) -> Household | None:
    """Set when one identifier has several people behind it."""
    if shared is None or len(shared.members) < 2:
        return None
    probability = math.fsum(one.probability for one in candidates if one.person_id in shared.members)
    return Household(shared.identifier, shared.members, min(1.0, probability))


# --- in words ----------------------------------------------------------------------------------------------------


def _reasons(
    evidence: Evidence,
    read: Read,
    hot: Sequence[Identifier],
    persons: Mapping[int, Sequence[RecordRead]],
    weights: Weights,
) -> tuple[Reason, ...]:
    reasons = [Reason("not_calibrated", weights.caveat)]
    for identifier in hot:
        text = f"more than {limits.HOT_KEY_RECORDS} records carry this {identifier.kind}: it points at nobody"
        reasons.append(Reason("hot_identifier", text, field=identifier.kind))
    if not persons:
        text = (
            "nothing that was shown or said is on record"
            if evidence.identifiers or evidence.claims
            else ("nothing was shown or said that could identify anybody")
        )
        reasons.append(Reason("nobody_found", text))
    if evidence.ruled_out:
        reasons.append(Reason("ruled_out", f"{len(evidence.ruled_out)} ruled out"))
    if evidence.confirmed_person is not None and evidence.confirmed_person not in persons:
        reasons.append(Reason("confirmed_not_read", "the person that was confirmed is not among the records read"))
    if read.candidates_cut:
        reasons.append(Reason("candidates_cut", f"{read.candidates_cut} more people were not looked at"))
    return tuple(reasons)
