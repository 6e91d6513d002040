"""How much the evidence speaks for one person: the seam at which a trained model takes the place of the priors.

`ScorePerson` is the contract. `score_person` is the one of named priors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from firstring.contact import Evidence, Identifier, Reason, RecordRead
from firstring.identity.comparison import Claimed, Level, claimed, compare
from firstring.identity.weights import Weights

SECONDS_PER_DAY: Final = 86_400.0
_PRIOR_OF: Final[dict[tuple[str, Level], str]] = {
    ("given_name", "agree"): "given_agree",
    ("given_name", "nickname"): "given_nickname",
    ("given_name", "close"): "given_close",
    ("given_name", "disagree"): "given_disagree",
    ("family_name", "agree"): "family_agree",
    ("family_name", "close"): "family_close",
    ("family_name", "disagree"): "family_disagree",
    ("suffix", "disagree"): "suffix_disagree",
    ("birth_date", "agree"): "birth_date_agree",
    ("birth_date", "close"): "birth_date_close",
    ("birth_date", "disagree"): "birth_date_disagree",
    ("postcode", "agree"): "postcode_agree",
    ("postcode", "disagree"): "postcode_disagree",
}
_WORDS: Final[dict[Level, str]] = {
    "agree": "is as on record",
    "nickname": "is a form of the one on record",
    "close": "is nearly the one on record",
    "disagree": "is not the one on record",
}
_NAMES: Final = {
    "phone": "telephone number", "email": "e-mail address", "account": "account", "national_id": "national id",
    "device": "device", "cookie": "browser", "social": "social handle", "given_name": "given name",
    "family_name": "family name", "birth_date": "birth date",
}  # fmt: skip


class ScorePerson(Protocol):
    """Log-odds (nats) that the contact is the person of `records` rather than somebody new, and why.

    The weights of the reasons add up to the log-odds (1e-9). people_behind: for each usable identifier, how many
    people may be behind it (at least 1). Pure; the order of records and identifiers must not matter.
    """

    def __call__(
        self,
        evidence: Evidence,
        records: Sequence[RecordRead],
        people_behind: Mapping[Identifier, int],
        weights: Weights,
        now: datetime,
    ) -> tuple[float, tuple[Reason, ...]]: ...


def score_person(
    evidence: Evidence,
    records: Sequence[RecordRead],
    people_behind: Mapping[Identifier, int],
    weights: Weights,
    now: datetime,
) -> tuple[float, tuple[Reason, ...]]:
    """Named priors: each identifier's odds, shared by the people behind it and aged, plus the claims compared."""
    reasons: list[Reason] = []
    for identifier in sorted(people_behind):
        holders = [record for record in records if identifier in record.matched]
        if holders:
            people = people_behind[identifier]
            odds = identifier_odds(identifier, holders, weights, now)
            weight = math.log1p(odds / people)
            reasons.append(Reason(f"{identifier.kind}_matches", _matches(identifier, people), weight, identifier.kind))
    confirmed = evidence.confirmed_person is not None and records[0].person_id == evidence.confirmed_person
    if confirmed:
        reasons.append(Reason("confirmed", "an agent confirmed this person", weights["confirmed"]))
    elif not reasons:
        text = "no identifier points at this person"
        reasons.append(Reason("nobody_pointed_at", text, weights["nobody_pointed_at"]))
    reasons += claim_reasons(claimed(evidence.claims), records, weights)
    return math.fsum(reason.weight or 0.0 for reason in reasons), tuple(reasons)


def identifier_odds(identifier: Identifier, holders: Sequence[RecordRead], weights: Weights, now: datetime) -> float:
    """Odds (>= 0) that an identifier adds for a person alone behind it, aged by when it was last seen or verified.

    A likelihood ratio 1 + odds: with `people` behind it each gets 1 + odds / people, so that evidence never speaks
    against a person for being shared, and the household as a whole keeps its odds.
    """
    full = math.expm1(weights[identifier.kind])
    half_life = weights[f"{identifier.kind}_half_life"]
    return full * max(_freshness(record, half_life, weights, now) for record in holders)


def _freshness(record: RecordRead, half_life_days: float, weights: Weights, now: datetime) -> float:
    last, verified = record.last_seen, record.verified_at
    newest = max(last, verified) if last and verified else last or verified
    if newest is None:
        return weights["age_unknown"]
    # A time in the future (a clock that jumped) counts as now.
    days = max(0.0, (now - newest).total_seconds() / SECONDS_PER_DAY)
    return max(weights["age_floor"], math.pow(0.5, days / half_life_days))


def claim_reasons(claim: Claimed, records: Sequence[RecordRead], weights: Weights) -> list[Reason]:
    """What the contact said against what is on record, each with its weight."""
    if not claim.anything:
        return []
    return [
        Reason(
            f"{field}_{level}s",
            f"the {_NAMES.get(field, field)} {_WORDS[level]}",
            weights[_PRIOR_OF[field, level]],
            field,
        )
        for field, level in compare(claim, records)
    ]


def _matches(identifier: Identifier, people: int) -> str:
    name = _NAMES.get(identifier.kind, identifier.kind)
    return f"the {name} is theirs alone" if people == 1 else f"the {name} is theirs and {people - 1} other's"
