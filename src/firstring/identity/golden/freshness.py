"""How old a value is, what is left of its confidence, whether it has expired."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from firstring.contact import RecordRead
from firstring.identity.golden.rules import FieldRule, Numbers

_DAY_S: Final = 86_400.0


def seen_at(record: RecordRead) -> datetime | None:
    """When a record's values were last known to hold: seen, or verified."""
    if record.last_seen is None or record.verified_at is None:
        return record.last_seen or record.verified_at
    return max(record.last_seen, record.verified_at)


def age_days(record: RecordRead, now: datetime | None) -> float | None:
    """Days since then, never below 0; None where no time is known (or asked for)."""
    seen = seen_at(record)
    return None if seen is None or now is None else max(0.0, (now - seen).total_seconds() / _DAY_S)


def is_verified(record: RecordRead, now: datetime | None, numbers: Numbers) -> bool:
    """Whether the identity was verified, not longer ago than a verification counts."""
    if record.verified_at is None:
        return False
    return now is None or (now - record.verified_at).total_seconds() <= numbers.verified_days * _DAY_S


def is_expired(age: float | None, rule: FieldRule) -> bool:
    """Whether a value of that age has outlived its field's life. One of unknown age has not."""
    return rule.life_days is not None and age is not None and age > rule.life_days


def confidence(records: Iterable[RecordRead], rule: FieldRule, now: datetime | None, numbers: Numbers) -> float:
    """The probability that a value still holds, by the records that say so.

    Each source counts once, by its best record: 1 - product of (1 - base * 2^(-age / half-life)). Sources count as
    independent, which they are not quite: a prior, not calibrated.
    """
    best: dict[str, float] = {}
    for record in records:
        if record.enriched:
            base = numbers.enrichment_confidence
        elif is_verified(record, now, numbers):
            base = numbers.verified_confidence
        else:
            base = numbers.first_party_confidence
        if rule.half_life_days is not None:
            age = age_days(record, now)
            base *= 0.5 ** ((numbers.unknown_age_days if age is None else age) / rule.half_life_days)
        best[record.source] = max(base, best.get(record.source, 0.0))
    doubt = 1.0
    for source in sorted(best):  # a fixed order: sums of floats depend on it
        doubt *= 1.0 - best[source]
    return 1.0 - doubt
