"""Which of several values survives: candidates of a field ranked by its rule, and the profile that people are shown.

Depends on the set of records alone: ties are broken by source, then by the source's own id. `golden` keeps the reasons
and the losers of the same ranking; `profile` keeps the winners, and is quick enough for the ring path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from firstring.contact import RecordRead
from firstring.identity.canonical.dates import instant
from firstring.identity.canonical.fields import FIELDS
from firstring.identity.canonical.text import fold
from firstring.identity.golden.freshness import age_days, is_expired, is_verified
from firstring.identity.golden.rules import ADDRESS, ALONG, DEFAULT, FieldRule, Rules

SOURCES: Final = "sources"
"""Where a profile says which source each of its fields comes from: {field: source}."""
ATTRIBUTES: Final = "attributes"
_ADDRESS_PARTS: Final = (*ADDRESS, *ALONG)
_SINGLE: Final = frozenset(
    name for name, field in FIELDS.items() if not field.several and name not in ("record_id", *_ADDRESS_PARTS)
)
_SEVERAL: Final = frozenset(name for name, field in FIELDS.items() if field.several)
_FOLDED: Final = frozenset(name for name, field in FIELDS.items() if field.kind in ("name", "text"))
"""Fields of which one value in several spellings ("ANN", "Ann") is one value."""
_UNSEEN: Final = 1e18


class Fact(NamedTuple):
    """What a record brings to every field; numbers are smaller for the better, `tie` puts equals in a fixed order."""

    record: RecordRead
    enriched: int
    unverified: int
    distrust: int
    unseen: float
    age_days: float | None
    tie: tuple[str, str, int]


class Option(NamedTuple):
    """A value of a field with the records that say so, the best of them first.

    key: one number for each criterion of `criteria(rule)`, smaller is better, then the tie-break.
    """

    value: Any
    facts: tuple[Fact, ...]
    key: tuple[Any, ...]
    is_expired: bool
    age_days: float | None


class _Entry(NamedTuple):
    """One record's value; place: where in the record's list it stands."""

    fact: Fact
    value: Any
    place: int = 0


def facts(records: Iterable[RecordRead], rules: Rules, now: datetime | None) -> list[Fact]:
    """The records as they compete, in a fixed order."""
    found = []
    for record in records:
        seen = record.last_seen
        own_id = record.fields.get("record_id", "")
        found.append(
            Fact(
                record,
                1 if record.enriched else 0,
                0 if is_verified(record, now, rules.numbers) else 1,
                -rules.trust.get(record.source, 0),
                _UNSEEN if seen is None else -seen.timestamp(),
                age_days(record, now),
                (record.source, str(own_id), record.record_id),
            )
        )
    return sorted(found, key=_tie)


def _tie(fact: Fact) -> tuple[str, str, int]:
    return fact.tie


# --- ranking -----------------------------------------------------------------------------------------------------

_OF_RECORD: Final = {"first_party": 1, "verified": 2, "trusted": 3, "newest": 4}
"""Criteria that are a record's own: where in its Fact."""
_OF_VALUE: Final[dict[str, Callable[[Any, Sequence[Fact]], Any]]] = {
    "frequent": lambda _value, said: (-len({fact.record.source for fact in said}), -len(said)),
    "earliest": lambda value, _said: instant(value).timestamp(),
    "latest": lambda value, _said: -instant(value).timestamp(),
}


def _length(value: Any) -> int:
    if type(value) is str:
        return len(value)
    return sum(map(len, value.values())) if isinstance(value, dict) else len(str(value))


@lru_cache(maxsize=256)
def criteria(order: tuple[str, ...]) -> tuple[str, ...]:
    """All criteria of a rule, in the order of comparing. An expired value loses, but never to a provider's by that."""
    if order[0] == "first_party":
        return ("steward", "first_party", "live", *order[1:])
    return ("steward", "live", *order)


def idle(known: Sequence[Fact]) -> frozenset[str]:
    """Criteria by which no two of these records differ: nothing is lost by passing over them."""
    same = {name for name, where in _OF_RECORD.items() if len({fact[where] for fact in known}) < 2}
    if not any(fact.record.chosen for fact in known):
        same.add("steward")
    return frozenset(same)


_NONE: Final[frozenset[str]] = frozenset()


def ranked(
    field: str,
    entries: Sequence[_Entry],
    rule: FieldRule,
    chosen_by: Sequence[str] = (),
    passed_over: frozenset[str] = _NONE,
) -> list[Option]:
    """The values of a field, the best first. chosen_by: fields whose choice counts for this one (parts of an address).

    Without `passed_over` (as `idle`) each option's key has a place for every criterion.
    """
    groups: dict[Any, list[_Entry]] = {}
    for entry in entries:
        groups.setdefault(_same(field, entry[1]), []).append(entry)
    order: Sequence[str] = criteria(rule.order)
    if passed_over:
        order = [name for name in order if name not in passed_over]
    names = chosen_by or (field,)
    options = [_option(group, order, rule, names) for group in groups.values()]
    if len(options) > 1:
        options.sort(key=_key)
    return options


def _key(option: Option) -> tuple[Any, ...]:
    return option.key


def _same(field: str, value: Any) -> Any:
    """By what two values are one: a name in several spellings is one, the number 1 and the truth value are not."""
    if type(value) is str:
        return fold(value) or value if field in _FOLDED else value
    if isinstance(value, dict):
        return tuple((name, fold(part)) for name, part in sorted(value.items()))
    return type(value).__name__, value


def _age(said: Sequence[Fact], rule: FieldRule) -> tuple[float | None, bool]:
    """(age in days, whether it has expired) of a value by those who say so: the youngest counts, unknown is not old."""
    ages = [fact.age_days for fact in said if fact.age_days is not None]
    age = min(ages) if ages else None
    return age, len(ages) == len(said) and is_expired(age, rule)


def _option(group: list[_Entry], order: Sequence[str], rule: FieldRule, names: Sequence[str]) -> Option:
    said = [entry[0] for entry in group]
    age, expired = _age(said, rule)
    # What counts of a value is the same for every record that says so, but for how long its spelling is.
    shared = {name: _OF_VALUE[name](group[0].value, said) for name in order if name in _OF_VALUE}
    best: list[tuple[Any, ...]] = []
    for entry in group:
        fact, value, place = entry
        key: list[Any] = []
        for name in order:
            where = _OF_RECORD.get(name)
            if where is not None:
                key.append(fact[where])
            elif name == "live":
                key.append(expired)
            elif name == "steward":
                chosen = fact[0].chosen
                key.append(not (chosen and any(one in chosen for one in names)))
            elif name == "placed":
                key.append(place)
            elif name in shared:
                key.append(shared[name])
            else:
                key.append(-_length(value))
        key += (fact[6], place, str(value))
        best.append((key, entry))
    if len(best) > 1:
        best.sort(key=_first)
    key_of_best, first = best[0]
    return Option(first[1], tuple(entry[0] for _, entry in best), tuple(key_of_best), expired, age)


def _first(pair: tuple[Any, ...]) -> Any:
    return pair[0]


def winner(field: str, entries: Sequence[_Entry], rule: FieldRule, passed_over: frozenset[str] = _NONE) -> _Entry:
    """The best value of a field alone: the first of `ranked`, found by going through the criteria until one is left."""
    if len(entries) == 1:
        return entries[0]
    left = list(entries)
    said_by: dict[Any, list[Fact]] | None = None
    for name in criteria(rule.order):
        if name in passed_over:
            continue
        where = _OF_RECORD.get(name)
        if where is not None:
            keys: list[Any] = [entry[0][where] for entry in left]
        elif name == "steward":
            keys = [field not in entry[0][0].chosen for entry in left]
        elif name == "placed":
            keys = [entry[2] for entry in left]
        elif name == "complete":
            keys = [-_length(entry[1]) for entry in left]
        elif name == "live" and rule.life_days is None:
            continue
        else:
            if said_by is None:
                said_by = {}
                for entry in entries:
                    said_by.setdefault(_same(field, entry[1]), []).append(entry[0])
            held = [said_by[_same(field, entry[1])] for entry in left]
            if name == "live":
                keys = [_age(said, rule)[1] for said in held]
            else:
                keys = [_OF_VALUE[name](entry[1], said) for entry, said in zip(left, held, strict=True)]
        best = min(keys)
        left = [entry for entry, key in zip(left, keys, strict=True) if key == best]
        if len(left) == 1:
            return left[0]
    return min(left, key=lambda entry: (entry.fact.tie, entry.place, str(entry.value)))


def listed(entries: Sequence[_Entry], rule: FieldRule, passed_over: frozenset[str] = _NONE) -> tuple[list[Any], Fact]:
    """The values of a list, the best first, and who says the first: those of `ranked`, by one sort of all entries."""
    if len(entries) == 1:
        return [entries[0].value], entries[0].fact
    said: dict[Any, list[Fact]] = {}
    for entry in entries:
        said.setdefault(entry[1], []).append(entry[0])
    columns: list[list[Any]] = []
    for name in criteria(rule.order):
        where = _OF_RECORD.get(name)
        if name in passed_over or (name == "live" and rule.life_days is None):
            continue
        if where is not None:
            columns.append([entry[0][where] for entry in entries])
        elif name == "placed":
            columns.append([entry[2] for entry in entries])
        elif name == "steward":
            columns.append([True] * len(entries))  # one value of many is not chosen
        elif len(said) > 1:
            of = {value: _judged(name, value, facts, rule) for value, facts in said.items()}
            columns.append([of[entry[1]] for entry in entries])
    columns.append([entry[0][6] for entry in entries])
    columns.append([entry[2] for entry in entries])
    columns.append([entry[1] for entry in entries])
    places = sorted(range(len(entries)), key=list(zip(*columns, strict=True)).__getitem__)
    return list(dict.fromkeys(entries[place][1] for place in places)), entries[places[0]][0]


def _judged(name: str, value: Any, said: Sequence[Fact], rule: FieldRule) -> Any:
    """What counts of a value by itself."""
    if name == "live":
        return _age(said, rule)[1]
    return -_length(value) if name == "complete" else _OF_VALUE[name](value, said)


def decided_by(winner: Option, loser: Option, order: Sequence[str]) -> str:
    """The criterion by which one option came before the other."""
    for name, left, right in zip(order, winner.key, loser.key, strict=False):
        if left != right:
            return name
    return "tie"


# --- fields of records -------------------------------------------------------------------------------------------


class Entries(NamedTuple):
    """What the records say: by field, by attribute, and addresses as wholes."""

    fields: dict[str, list[_Entry]]
    attributes: dict[str, list[_Entry]]
    addresses: list[_Entry]


def gathered(known: Sequence[Fact]) -> Entries:
    """The values of all records, by field. What is no field of the vocabulary and no attribute is nobody's profile."""
    fields: dict[str, list[_Entry]] = {}
    attributes: dict[str, list[_Entry]] = {}
    addresses: list[_Entry] = []
    for fact in known:
        address = {}
        for name, value in fact.record.fields.items():
            if value is None or value == "":
                continue
            if name in _SINGLE:
                fields.setdefault(name, []).append(_Entry(fact, value))
            elif name in _SEVERAL:
                fields.setdefault(name, []).extend(_Entry(fact, one, place) for place, one in enumerate(value))
            elif name in _ADDRESS_PARTS:
                address[name] = value
            elif name == ATTRIBUTES:
                for label, one in value.items():
                    attributes.setdefault(label, []).append(_Entry(fact, one))
        if address:
            addresses.append(_Entry(fact, address))
    return Entries(fields, attributes, addresses)


class Address(NamedTuple):
    """An address that was chosen: parts (field -> value, with the option that it comes from), and all options."""

    parts: dict[str, tuple[Any, Option]]
    options: list[Option]


def chosen_address(entries: Sequence[_Entry], rules: Rules, passed_over: frozenset[str] = _NONE) -> Address:
    """One record's address wins as a whole; parts it lacks come from others that agree with it in what both have."""
    options = ranked("address", entries, rules.of("address"), _ADDRESS_PARTS, passed_over)
    placed = [option for option in options if any(part in option.value for part in ADDRESS)]
    along = [option for option in options if option not in placed]
    parts: dict[str, tuple[Any, Option]] = {}
    for option in placed:
        shared = [name for name in ADDRESS if name in option.value and name in parts]
        if (not parts or shared) and _agrees(option.value, parts):
            for name, value in option.value.items():
                parts.setdefault(name, (value, option))
    for option in along:
        if _agrees(option.value, parts):
            for name, value in option.value.items():
                parts.setdefault(name, (value, option))
    return Address(parts, options)


def _agrees(address: Mapping[str, str], parts: Mapping[str, tuple[Any, Option]]) -> bool:
    return all(name not in parts or fold(parts[name][0]) == fold(value) for name, value in address.items())


# --- the profile -------------------------------------------------------------------------------------------------


def profile(records: Sequence[RecordRead], *, now: datetime | None = None, rules: Rules = DEFAULT) -> dict[str, Any]:
    """The person's fields: of each single field the winner, of a list all values, the best first; `attributes` alike.

    `sources` names for each field the source of its value (of a list: of its first). Without `now` nothing expires and
    a verification counts for ever. The winners are those of `golden.golden`.
    """
    known = facts(records, rules, now)
    entries = gathered(known)
    same = idle(known)
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, said in entries.fields.items():
        if name in _SEVERAL:
            found[name], first = listed(said, rules.of(name), same)
            sources[name] = first.record.source
        else:
            best = winner(name, said, rules.of(name), same)
            found[name] = best.value
            sources[name] = best.fact.record.source
    if entries.addresses:
        for name, (value, option) in chosen_address(entries.addresses, rules, same).parts.items():
            found[name] = value
            sources[name] = option.facts[0].record.source
    if entries.attributes:
        found[ATTRIBUTES] = {
            name: winner(name, said, rules.of(name), same).value for name, said in sorted(entries.attributes.items())
        }
    if found:
        found[SOURCES] = sources
    return found
