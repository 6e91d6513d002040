"""The golden record of a person: for every field the winning values with source, age, rule and confidence, and the losers.

A function of the set of records, the moment and the rules; the order of the records does not matter. The ranking is that
of `survivorship`, which also makes the profile: the winners are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from firstring.contact import RecordRead, Value
from firstring.identity.canonical.fields import FIELDS
from firstring.identity.golden.freshness import confidence
from firstring.identity.golden.rules import ADDRESS, ALONG, ASKED_AGAIN, ATTRIBUTE, DEFAULT, FieldRule, Rules
from firstring.identity.golden.survivorship import (
    ATTRIBUTES,
    SOURCES,
    Fact,
    Option,
    chosen_address,
    criteria,
    decided_by,
    facts,
    gathered,
    ranked,
)

_DECIDED: Final = ("steward", "first_party", "live", "verified", "trusted")
"""A value that wins by one of these is no conflict: there is a reason to believe it that the other lacks."""


class Provenance(Value, frozen=True):
    """A record that says so. own_id: the source's own id of the record. age_days: None where no time is known."""

    source: str
    record_id: int
    own_id: str = ""
    enriched: bool = False
    last_seen: datetime | None = None
    verified_at: datetime | None = None
    age_days: float | None = None


class GoldenValue(Value, frozen=True):
    """A value of a field. rule: why it wins (a loser: why it lost), a key of `rules.CRITERIA`; confidence in [0, 1], after
    decay (basis: prior). said_by: the records that say so, the best first."""

    value: Any
    rule: str
    confidence: float
    said_by: tuple[Provenance, ...]
    age_days: float | None = None
    expired: bool = False


class GoldenField(Value, frozen=True):
    """A field: one winner (of a list: all values, the best first), and the losers, the best first.

    conflict: values that contradict each other with comparable support, for a steward. ask_again: the confidence in it
    has faded.
    """

    values: tuple[GoldenValue, ...]
    losers: tuple[GoldenValue, ...] = ()
    conflict: bool = False
    ask_again: bool = False


class Golden(Value, frozen=True):
    """A golden record: fields of the vocabulary and free attributes by name, and the version of the rules."""

    rules: str
    fields: dict[str, GoldenField]
    attributes: dict[str, GoldenField]

    @property
    def conflicts(self) -> tuple[str, ...]:
        """Fields in conflict."""
        return tuple(name for name, field in self.fields.items() if field.conflict)

    @property
    def ask_again(self) -> tuple[str, ...]:
        """Fields that somebody should ask for again."""
        return tuple(name for name, field in self.fields.items() if field.ask_again)

    def profile(self) -> dict[str, Any]:
        """The winners alone, in the form of `survivorship.profile`."""
        found: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, field in self.fields.items():
            found[name] = [one.value for one in field.values] if FIELDS[name].several else field.values[0].value
            sources[name] = field.values[0].said_by[0].source
        if self.attributes:
            found[ATTRIBUTES] = {name: field.values[0].value for name, field in self.attributes.items()}
        if found:
            found[SOURCES] = sources
        return found


def golden(records: Sequence[RecordRead], *, now: datetime, rules: Rules = DEFAULT) -> Golden:
    """The golden record of one person's records."""
    entries = gathered(facts(records, rules, now))
    fields: dict[str, GoldenField] = {}
    for name, said in entries.fields.items():
        rule = rules.of(name)
        options = ranked(name, said, rule)
        fields[name] = _several(options, rule, now, rules) if FIELDS[name].several else _single(options, rule, now, rules)
    if entries.addresses:
        address = chosen_address(entries.addresses, rules)
        fields |= _address_fields(address.parts, address.options, now, rules)
    for name in ASKED_AGAIN:
        if name in fields and fields[name].values[0].confidence < rules.numbers.reverify_below:
            fields[name] = _asked_again(fields[name])
    attribute = rules.fields[ATTRIBUTE]
    return Golden(
        rules.version,
        {name: fields[name] for name in FIELDS if name in fields},
        {
            name: _single(ranked(name, said, attribute), attribute, now, rules)
            for name, said in sorted(entries.attributes.items())
        },
    )


def _asked_again(field: GoldenField) -> GoldenField:
    return GoldenField(field.values, field.losers, field.conflict, ask_again=True)


def _single(options: Sequence[Option], rule: FieldRule, now: datetime, rules: Rules) -> GoldenField:
    order = criteria(rule.order)
    why = [decided_by(options[0], option, order) for option in options[1:]]
    values = (_value(options[0], why[0] if why else "only", rule, now, rules),)
    losers = tuple(_value(option, reason, rule, now, rules) for option, reason in zip(options[1:], why, strict=True))
    return GoldenField(values, losers, rule.conflict and _contradicts(values[0], losers, rules))


def _contradicts(winner: GoldenValue, losers: Sequence[GoldenValue], rules: Rules) -> bool:
    floor = rules.numbers.conflict_ratio * winner.confidence
    return not winner.expired and any(
        loser.rule not in _DECIDED and not loser.expired and loser.confidence >= floor for loser in losers
    )


def _several(options: Sequence[Option], rule: FieldRule, now: datetime, rules: Rules) -> GoldenField:
    order = criteria(rule.order)
    why = [decided_by(left, right, order) for left, right in pairwise(options)]
    why.append("only" if len(options) == 1 else decided_by(options[-2], options[-1], order))
    return GoldenField(tuple(_value(option, reason, rule, now, rules) for option, reason in zip(options, why, strict=True)))


def _address_fields(
    parts: dict[str, tuple[Any, Option]], options: Sequence[Option], now: datetime, rules: Rules
) -> dict[str, GoldenField]:
    """Each part of the address on its own: it wins with the address, and other addresses' parts lose with theirs.

    An address whose every part was passed over contradicts nothing by itself: it is an older home.
    """
    rule = rules.of("address")
    order = criteria(rule.order)
    _, first = next(iter(parts.values()))
    second = next((option for option in options if option is not first), None)
    fields: dict[str, GoldenField] = {}
    for name in (*ADDRESS, *ALONG):
        if name not in parts:
            continue
        value, by = parts[name]
        others = [option for option in options if name in option.value and option is not by]
        reason = "only" if second is None else decided_by(first, second, order) if first.key < second.key else "tie"
        won = _value(by._replace(value=value), reason if by is first else "with_address", rules.of(name), now, rules)
        lost: list[GoldenValue] = []
        for option in others:
            if option.value[name] != value and all(option.value[name] != one.value for one in lost):
                why = decided_by(by, option, order) if by.key < option.key else "with_address"
                lost.append(_value(option._replace(value=option.value[name]), why, rules.of(name), now, rules))
        conflict = rules.of(name).conflict and _contradicts(won, lost, rules)
        fields[name] = GoldenField((won,), tuple(lost), conflict)
    return fields


def _value(option: Option, why: str, rule: FieldRule, now: datetime, rules: Rules) -> GoldenValue:
    return GoldenValue(
        option.value,
        why,
        round(confidence((fact.record for fact in option.facts), rule, now, rules.numbers), 6),
        tuple(map(_provenance, option.facts)),
        None if option.age_days is None else round(option.age_days, 3),
        option.is_expired,
    )


def _provenance(fact: Fact) -> Provenance:
    record = fact.record
    age = None if fact.age_days is None else round(fact.age_days, 3)
    return Provenance(
        record.source, record.record_id, fact.tie[1], record.enriched, record.last_seen, record.verified_at, age
    )
