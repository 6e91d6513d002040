"""What must hold for every input: canonical forms, clusters against brute force, the resolver's probabilities."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from firstring.contact import Evidence, FanOut, Identifier, Read, RecordRead, Resolution
from firstring.errors import BadInput
from firstring.identity.caller.evidence import gather
from firstring.identity.caller.resolver import LENT, resolve, standing
from firstring.identity.caller.weights import DEFAULT
from firstring.identity.canonical import contactpoints
from firstring.identity.canonical.fields import FIELDS
from firstring.identity.canonical.record import canonical, canonical_record
from firstring.identity.canonical.text import fold, one_edit
from firstring.identity.persons.blocking import composite_key, link_guards, link_keys
from firstring.identity.persons.clusters import assign, components

NOW = datetime(2026, 11, 1, tzinfo=UTC)

# --- canonical forms ---------------------------------------------------------------------------------------------

anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=60), st.binary(max_size=5),
    st.text(alphabet="0123456789+-()/. @abcxyz:;,|\x00\n", max_size=30), st.datetimes(), st.dates(),
    st.lists(st.text(max_size=10), max_size=3),
)  # fmt: skip


@given(st.sampled_from(sorted(FIELDS)), anything, st.sampled_from(["GB", "US", ""]))
def test_a_value_has_a_canonical_form_that_is_its_own_or_is_refused(field: str, raw: Any, country: str) -> None:
    try:
        value = canonical(field, raw, country=country)
    except BadInput:
        return
    assert value
    assert "\x00" not in value
    assert canonical(field, value, country=country) == value


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(FIELDS)), st.text(max_size=8)), anything, max_size=8))
def test_garbage_records_are_rejected_and_garbage_evidence_never_raises(raw: dict[str, Any]) -> None:
    evidence = gather({"from": raw.get("phone"), **raw}, country="GB")
    composite_key(evidence.claims)
    try:
        record = canonical_record(raw, country="GB")
    except BadInput:
        return
    assert set(link_guards(record.fields)) <= set(link_keys(record.fields))


@given(
    st.from_regex(
        r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,8}@[A-Za-z0-9.-]{1,9}\.(com|de|test|local|invalid|c|x1|museum)", fullmatch=True
    )
)
def test_the_quick_way_to_an_e_mail_address_is_the_library_s(address: str) -> None:
    value = contactpoints.email(address)
    try:
        expected = validate_email(address.lower(), check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        assert not isinstance(value, str)
        return
    assert value == expected or not isinstance(value, str)  # a placeholder is refused though it is valid


@given(st.text(max_size=40))
def test_fold_is_idempotent_and_ignores_case(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(text.upper().lower()) == fold(text.upper())


def edits(left: str, right: str) -> int:
    """Optimal string alignment distance by the textbook's table."""
    rows = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(right) + 1)] for i in range(len(left) + 1)]
    for i, j in itertools.product(range(1, len(left) + 1), range(1, len(right) + 1)):
        cost = left[i - 1] != right[j - 1]
        rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + cost)
        if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
            rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_one_edit_against_the_textbook(left: str, right: str) -> None:
    assert one_edit(left, right) == (edits(left, right) <= 1)


# --- clusters ----------------------------------------------------------------------------------------------------

keys = st.binary(min_size=1, max_size=1).filter(lambda key: key < b"\x14")
linked = st.dictionaries(st.integers(1, 40), st.lists(keys, max_size=4), max_size=14)


def reachable(records: dict[int, list[bytes]], hot: set[bytes]) -> set[frozenset[int]]:
    """Components by breadth-first search over all pairs."""
    found: set[frozenset[int]] = set()
    for start in records:
        seen, queue = {start}, deque([start])
        while queue:
            here = set(records[queue.popleft()]) - hot
            for other, carried in records.items():
                if other not in seen and here & set(carried):
                    seen.add(other)
                    queue.append(other)
        found.add(frozenset(seen))
    return found


@given(linked, st.sets(keys, max_size=3), st.randoms(use_true_random=False))
def test_components_against_brute_force_in_every_order(
    records: dict[int, list[bytes]], hot: set[bytes], chance: random.Random
) -> None:
    expected = reachable(records, hot)
    parts = components(records, hot)
    assert set(parts) == expected
    assert parts == sorted(parts, key=min)
    shuffled = list(records.items())
    chance.shuffle(shuffled)
    assert components(dict(shuffled), hot) == parts


@given(linked, linked)
def test_undoing_an_arrival_gives_the_people_that_would_have_been(
    before: dict[int, list[bytes]], arriving: dict[int, list[bytes]]
) -> None:
    after = {**{record + 100: carried for record, carried in arriving.items()}, **before}
    components(after, frozenset())
    left = {record: carried for record, carried in after.items() if record < 100}
    assert components(left, frozenset()) == components(before, frozenset())


@given(linked, st.dictionaries(st.integers(1, 40), st.integers(1, 6), max_size=14))
def test_ids_are_stable(records: dict[int, list[bytes]], current: dict[int, int]) -> None:
    parts = components(records, frozenset())
    fresh = itertools.count(1000)
    result = assign(parts, current, lambda: next(fresh))
    assert set(result.person_of) == set(records)
    by_person: dict[int, set[int]] = {}
    for record, person in result.person_of.items():
        by_person.setdefault(person, set()).add(record)
    assert {frozenset(one) for one in by_person.values()} == set(parts)
    for gone, heir in result.redirects.items():
        assert gone not in by_person
        assert heir in by_person
        assert gone in current.values()
    for split in result.splits:
        assert split.kept in by_person
        assert all(current[record] == split.kept and result.person_of[record] == split.person for record in split.records)
    again = assign(parts, result.person_of, lambda: pytest.fail("no new person is needed"))
    assert (again.person_of, again.redirects, again.splits) == (result.person_of, {}, ())
    for part in parts:
        votes = Counter(current[record] for record in part if record in current)
        if len(votes) == 1 and all(
            record in part for record, person in current.items() if person in votes and record in records
        ):
            assert {result.person_of[record] for record in part} == set(votes)


# --- the resolver ------------------------------------------------------------------------------------------------

IDENTIFIERS = tuple(
    Identifier(kind, value) for kind, value in (("phone", "+1"), ("email", "a@b.nl"), ("cookie", "c"), ("account", "K"))
)
names = st.sampled_from(["Ann", "Bob", "Robert", "Zoe", "王小明"])
families = st.sampled_from(["Smith", "Smyth", "Young"])
details = st.fixed_dictionaries(
    {},
    optional={
        "given_name": names, "family_name": families, "birth_date": st.sampled_from(["1971-06-24", "1980-02-03"]),
        "postcode": st.sampled_from(["02134", "SW1A 1AA"]), "suffix": st.sampled_from(["Jr", "Sr"]),
        "street": st.just("High Street"), "house_number": st.just("3"),
    },
)  # fmt: skip
seen = st.one_of(st.none(), st.integers(-10, 9000).map(lambda days: NOW - timedelta(days=days)))


@st.composite
def reads(draw: st.DrawFn) -> Read:
    records = tuple(
        RecordRead(
            record_id=number,
            version=1,
            person_id=draw(st.integers(1, 5)),
            source="crm",
            fields=draw(details),
            matched=tuple(draw(st.sets(st.sampled_from(IDENTIFIERS), max_size=3))),
            composite=draw(st.booleans()),
            last_seen=draw(seen),
        )
        for number in range(draw(st.integers(0, 7)))
    )
    fan_out = tuple(
        FanOut(one, draw(st.integers(1, 130)), draw(st.integers(1, 60)), draw(st.booleans()))
        for one in draw(st.sets(st.sampled_from(IDENTIFIERS), max_size=3))
    )
    return Read(records=records, fan_out=fan_out)


evidences = st.builds(
    Evidence,
    identifiers=st.sets(st.sampled_from(IDENTIFIERS)).map(lambda found: tuple(sorted(found))),
    claims=details,
    confirmed_person=st.one_of(st.none(), st.integers(1, 6)),
    ruled_out=st.sets(st.integers(1, 5), max_size=2).map(lambda found: tuple(sorted(found))),
)


def run(evidence: Evidence, read: Read) -> Resolution:
    return resolve(evidence, read, weights=DEFAULT, now=NOW)


@given(evidences, reads(), st.floats(0.5, 0.99))
def test_probabilities_sum_to_one_and_nobody_ruled_out_or_hot_appears(
    evidence: Evidence, read: Read, threshold: float
) -> None:
    result = run(evidence, read)
    everything = [one.probability for one in result.candidates] + [result.someone_new, result.another_in_household]
    assert abs(sum(everything) - 1) < 1e-9
    assert all(0 <= one <= 1 for one in everything)
    assert not {one.person_id for one in result.candidates} & set(evidence.ruled_out)
    assert [one.probability for one in result.candidates] == sorted(
        (one.probability for one in result.candidates), reverse=True
    )
    hot = {fan.identifier for fan in read.fan_out if fan.hot or fan.records > 100} & set(evidence.identifiers)
    assert set(result.hot) == hot
    for one in result.candidates:
        assert not {reason.code for reason in one.reasons} & {f"{identifier.kind}_matches" for identifier in hot}
    if standing(result, threshold) == "identified":
        assert result.best is not None
        assert result.best.probability >= threshold


@given(evidences, reads(), st.randoms(use_true_random=False))
def test_the_order_of_what_was_read_does_not_matter(evidence: Evidence, read: Read, chance: random.Random) -> None:
    records, fan_out, identifiers = list(read.records), list(read.fan_out), list(evidence.identifiers)
    for one in (records, fan_out, identifiers):
        chance.shuffle(one)
    shuffled = Evidence(
        tuple(identifiers), evidence.claims, confirmed_person=evidence.confirmed_person, ruled_out=evidence.ruled_out
    )
    assert run(shuffled, Read(records=tuple(records), fan_out=tuple(fan_out))) == run(evidence, read)


def against(result: Resolution, person: int, rivals: Collection[int | str]) -> dict[int | str, float]:
    """The log-odds of a person against rivals: other persons, "another" of the household, "new"; infinite against none."""
    stated: dict[int | str, float] = {one.person_id: one.probability for one in result.candidates}
    stated |= {"another": result.another_in_household, "new": result.someone_new}
    return {
        rival: math.log(stated[person]) - math.log(stated[rival]) if stated[rival] else math.inf
        for rival in rivals
        if rival != person
    }


@given(evidences, reads(), st.integers(0, 6), st.sampled_from(["device", "social", "national_id"]))
def test_one_more_identifier_of_a_candidate_never_lowers_it(evidence: Evidence, read: Read, place: int, kind: str) -> None:
    """Against whom else something points at. What relatives lend points at a relative too: a person known by an agent's
    word or by a name alone has no household behind them (or another's has come into question, whose telephone it is), and
    has one as soon as a device of theirs is shown."""
    before = run(evidence, read)
    if not before.candidates:
        return
    person = before.candidates[place % len(before.candidates)]
    more = Identifier(kind, "of this person alone")
    records = tuple(
        RecordRead(
            one.record_id, 1, one.person_id, one.source, one.fields, (*one.matched, more), one.composite, one.last_seen
        )
        if one.record_id == person.records[0]
        else one
        for one in read.records
    )
    after = run(
        Evidence(
            (*evidence.identifiers, more),
            evidence.claims,
            confirmed_person=evidence.confirmed_person,
            ruled_out=evidence.ruled_out,
        ),
        Read(records=records, fan_out=read.fan_out),
    )
    rivals: list[int | str] = [*(one.person_id for one in before.candidates), "new"]
    if kind not in LENT:
        rivals.append("another")
    was, now = (against(result, person.person_id, rivals) for result in (before, after))
    assert all(now[rival] >= was[rival] - 1e-9 for rival in was)


@given(evidences, reads(), st.integers(0, 6), st.sampled_from(["given_name", "birth_date", "postcode"]))
def test_one_more_claim_that_agrees_never_lowers_a_candidate(evidence: Evidence, read: Read, place: int, field: str) -> None:
    """Against those with whom it does not agree as well. Whoever else has that value may gain more by it: of two people
    of one postcode, the one whose street was named too."""
    bare = {name: value for name, value in evidence.claims.items() if name != field}
    before = run(Evidence(evidence.identifiers, bare, ruled_out=evidence.ruled_out), read)
    if not before.candidates:
        return
    person = before.candidates[place % len(before.candidates)]
    stated = [one.fields[field] for one in read.records if one.record_id in person.records and field in one.fields]
    if not stated or stated[0] == "王小明":
        return
    after = run(Evidence(evidence.identifiers, {**bare, field: stated[0]}, ruled_out=evidence.ruled_out), read)
    agreeing = {one.person_id for one in read.records if one.fields.get(field) == stated[0]}
    rivals: list[int | str] = [one.person_id for one in before.candidates if one.person_id not in agreeing]
    rivals += ["new"] if agreeing - {person.person_id} else ["new", "another"]
    was, now = (against(result, person.person_id, rivals) for result in (before, after))
    assert all(now[rival] >= was[rival] - 1e-9 for rival in was)
