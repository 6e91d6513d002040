"""Patterns tried on a file of events before they are switched on: whom they would have caught, when, by which events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from firstring.bulk.files.formats import examine
from firstring.bulk.importing.events import events_in
from firstring.cel import EvaluationError
from firstring.errors import BadInput
from firstring.journey.events import Event
from firstring.journey.patterns import Fired, Happened, Pattern, PatternSet, patterns_in
from firstring.journey.patterns.definition import ANY, Absence, Atom
from firstring.journey.patterns.reading import moment_of, seen
from firstring.journey.patterns.witness import witnesses

BUCKETS: Final = 24
"""Parts of the time from the first event to the last, by which firings are counted."""
EVERYONE: Final = 0.5
"""A pattern that catches this share of the people, or more, tells nobody apart."""
_PEOPLE_TO_JUDGE: Final = 20
_NAMES_SHOWN: Final = 8


class EventShown(msgspec.Struct):
    """One event of a match."""

    at: datetime
    name: str


class Catch(msgspec.Struct):
    """One firing: of whom (the source's own id), when, since when, and for examples by which events."""

    subject: str
    at: datetime
    begun: datetime
    events: list[EventShown] = []


class PatternTrial(msgspec.Struct):
    """What came of one pattern. subjects: how many people, or households, it caught at least once; share: of all."""

    id: str
    title: str
    valence: str
    by: str
    fired: int
    subjects: int
    share: float
    per_bucket: list[int]
    examples: list[Catch]
    catches: list[Catch]
    warnings: list[str]


class Trial(msgspec.Struct):
    """What came of all of them, as of the last event of the file."""

    file: str
    events: int
    duplicates: int
    rejected: int
    people: int
    households: int
    first: datetime | None
    last: datetime | None
    notes: list[str]
    patterns: list[PatternTrial]


class History(NamedTuple):
    """The events of everybody, each person's in the order of time. of_household: household -> its people."""

    of_person: dict[str, list[Happened]]
    of_household: dict[str, list[str]]
    events: int
    duplicates: int
    rejected: list[str]


class _Subject(NamedTuple):
    is_user: bool
    name: str


class _Read(NamedTuple):
    """An event in its place: by its time, then by its message id."""

    occurred_at: datetime
    message: int
    happened: Happened


def history(path: Path, *, received_at: datetime) -> History:
    """Reads a file of events (CSV, JSONL, Parquet) as the import does, and puts each to its person.

    A person is the source's own id of the user; a visitor whose anonymous id came with one user alone is that user. A
    household is the property or trait `household_id`, else the person. Raises BadInput as bulk.files.examine.
    """
    of_subject: dict[_Subject, list[_Read]] = defaultdict(list)
    users: dict[str, set[str]] = defaultdict(set)
    household_of: dict[_Subject, str] = {}
    rejected: list[str] = []
    once: set[int] = set()
    events = duplicates = 0
    for found in events_in(examine(path), received_at=received_at):
        if not isinstance(found, Event):
            rejected.append(f"line {found.line}: {found.reason}")
            continue
        events += 1
        message = int.from_bytes(blake2b(found.message_id.encode(), digest_size=8).digest(), "big")
        if message in once:
            duplicates += 1
            continue
        once.add(message)
        if found.record_id is not None and found.anonymous_id is not None:
            users[found.anonymous_id].add(found.record_id)
        subject = _Subject(found.record_id is not None, found.record_id or found.anonymous_id or "")
        of_subject[subject].append(_Read(found.occurred_at, message, seen(found)))
        household = found.properties.get("household_id") or found.fields.get("household_id")
        if household is not None:
            household_of[subject] = str(household)
    of_person: dict[str, list[_Read]] = defaultdict(list)
    of_household: dict[str, list[str]] = defaultdict(list)
    homes: dict[str, str] = {}
    for subject, read in of_subject.items():
        person = _person(subject, users)
        of_person[person] += read
        if subject in household_of:
            homes.setdefault(person, household_of[subject])
    for person in of_person:
        of_household[homes.get(person, person)].append(person)
    ordered = {person: [one.happened for one in sorted(read, key=lambda one: one[:2])] for person, read in of_person.items()}
    return History(ordered, of_household, events - duplicates, duplicates, rejected)


def _person(subject: _Subject, users: Mapping[str, set[str]]) -> str:
    """The user; a visitor is the one user that came with the anonymous id."""
    if subject.is_user:
        return subject.name
    known = users.get(subject.name, set())
    return next(iter(known)) if len(known) == 1 else f"visitor {subject.name}"


def tried(patterns: Sequence[Pattern], past: History, file: str, *, examples: int = 3) -> Trial:
    """What the patterns would have caught, by the moment of the last event."""
    moments = [one.at_ms for events in past.of_person.values() for one in (events[0], events[-1])]
    first_ms, last_ms = min(moments, default=0), max(moments, default=0)
    of_person = PatternSet.of(patterns, "person", "visit")
    of_household = PatternSet.of(patterns, "household")
    found: dict[str, list[tuple[str, Fired]]] = {pattern.id: [] for pattern in patterns}
    for person, events in past.of_person.items() if of_person.patterns else ():
        for fired in of_person.replayed(events, now_ms=last_ms)[1]:
            found[fired.pattern].append((person, fired))
    together: dict[str, list[Happened]] = {}
    for household, people in past.of_household.items() if of_household.patterns else ():
        events = past.of_person[people[0]]
        if len(people) > 1:
            events = sorted((one for person in people for one in past.of_person[person]), key=lambda one: one.at_ms)
        together[household] = events
        for fired in of_household.replayed(events, now_ms=last_ms)[1]:
            found[fired.pattern].append((household, fired))
    names = Counter(one.name for events in past.of_person.values() for one in events)
    report = Trial(
        file, past.events, past.duplicates, len(past.rejected), len(past.of_person), len(past.of_household),
        moment_of(first_ms) if moments else None, moment_of(last_ms) if moments else None, past.rejected[:3], [],
    )  # fmt: skip
    for pattern in patterns:
        of_all: Mapping[str, list[Happened]] = together if pattern.by == "household" else past.of_person
        report.patterns.append(_one(pattern, found[pattern.id], of_all, (first_ms, last_ms), names, examples))
    return report


def _one(
    pattern: Pattern,
    found: list[tuple[str, Fired]],
    of_all: Mapping[str, list[Happened]],
    span: tuple[int, int],
    names: Counter[str],
    examples: int,
) -> PatternTrial:
    found.sort(key=lambda one: (one[1].at_ms, one[0]))
    first_ms, last_ms = span
    buckets = [0] * BUCKETS
    for _, fired in found:
        buckets[min(BUCKETS - 1, (fired.at_ms - first_ms) * BUCKETS // max(1, last_ms - first_ms))] += 1
    subjects = len({subject for subject, _ in found})
    share = subjects / len(of_all) if of_all else 0.0
    before: dict[tuple[str, int], int] = {}
    shown: list[Catch] = []
    for subject, fired in found:
        if len(shown) == examples:
            break
        events = of_all[subject]
        indexes = witnesses(pattern, events, fired, after_ms=before.get((subject, fired.key)))
        before[subject, fired.key] = fired.at_ms
        of_match = [EventShown(moment_of(events[index].at_ms), events[index].name) for index in indexes]
        shown.append(Catch(subject, moment_of(fired.at_ms), moment_of(fired.begun_ms), of_match))
    catches = [Catch(subject, moment_of(fired.at_ms), moment_of(fired.begun_ms)) for subject, fired in found]
    warnings = []
    if share >= EVERYONE and len(of_all) >= _PEOPLE_TO_JUDGE:
        warnings.append(
            f"It fires for {share:.0%} of all: it tells nobody apart. Ask more of the events, or for more of them."
        )
    warnings += _doubts(pattern, of_all.values(), names)
    return PatternTrial(
        pattern.id,
        pattern.title,
        pattern.valence,
        pattern.by,
        len(found),
        subjects,
        share,
        buckets,
        shown,
        catches,
        warnings,
    )


def _doubts(pattern: Pattern, histories: Iterable[list[Happened]], names: Counter[str]) -> list[str]:
    """Why a pattern may not see what it should: names that never occur, conditions that always come to an error."""
    atoms: dict[Atom, None] = {}
    for part in pattern.parts:
        parts = part.atoms if isinstance(part, Absence) else (*part.all, *part.unless, *((part.atom,) if part.atom else ()))
        atoms.update(dict.fromkeys(parts))
    doubts: list[str] = []
    for atom in atoms:
        if ANY not in atom.names and not any(names[name] for name in atom.names):
            common = ", ".join(name for name, _ in names.most_common(_NAMES_SHOWN))
            doubts.append(f"No event is named {' or '.join(sorted(atom.names))}. Frequent names: {common}.")
    asked = [atom for atom in atoms if atom.where]
    events = [one for ones in histories for one in ones if any(one.name in atom.names for atom in asked)] if asked else []
    for atom in asked:
        for program in atom.where:
            failed: Counter[str] = Counter()
            count = 0
            for one in events:
                if one.name in atom.names:
                    count += 1
                    failed.update(_error(program, one.event))
            if count and failed.total() == count:
                reason, _ = failed.most_common(1)[0]
                hint = " Cells of a CSV file are text: write double(...) or int(...)." if "string" in reason else ""
                doubts.append(f"`{program.source}` came to an error for all of {count} events: {reason}.{hint}")
    return doubts


def _error(program: Any, event: dict[str, Any]) -> list[str]:
    try:
        program.of(event)
    except EvaluationError as error:
        return [str(error)]
    return []


def patterns_of_files(files: Sequence[Path]) -> list[Pattern]:
    """The patterns of some files. Raises BadInput file_missing, file_unreadable, pattern_invalid, expression_invalid."""
    found: list[Pattern] = []
    for file in files:
        try:
            text = file.read_text("utf-8")
        except FileNotFoundError:
            raise BadInput("file_missing", "There is no such file.", where={"file": str(file)}, http_status=404) from None
        except (OSError, UnicodeDecodeError) as error:
            hint = "It is text in UTF-8 that this user may read."
            raise BadInput("file_unreadable", "The file cannot be read.", where={"file": str(file)}, hint=hint) from error
        found += patterns_in(text, str(file))
    PatternSet(found)  # ids are unique across files
    return found
