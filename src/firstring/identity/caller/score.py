"""How much the evidence speaks for one person: identifiers by who has them in hand, claims by levels and rarity.

`ScorePerson` is the contract of the seat; `score_person` weighs by `Weights`: a trained model, and named priors for what
no model knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from firstring.contact import ContactPrior, Evidence, Identifier, Reason, RecordRead
from firstring.identity.caller.claims import Claimed, Found, compare
from firstring.identity.caller.holding import NAMES, Held
from firstring.identity.caller.logs import Logs
from firstring.identity.caller.weights import Weights

_FIELDS: Final = {
    "given": "given_name", "family": "family_name", "middle": "middle_name", "suffix": "suffix", "birth_date": "birth_date",
    "place": "postcode",
}  # fmt: skip
_CODES: Final = {"exact": "agrees", "nickname": "nicknames", "different": "disagrees"}
_WORDS: Final = {
    "exact": "is as on record",
    "nickname": "is a form of the one on record",
    "initial": "has the initial of the one on record",
    "part": "is one of several on record",
    "swapped": "stands the other way round on record",
    "different": "is not the one on record",
    "home": "is as on record",
    "postcode": "has the postcode on record",
    "address": "is as on record, the postcode is not",
    "near": "has the next postcode to the one on record",
    "city": "is of the place on record",
    "city_close": "is of nearly the place on record",
    "month_day": "has the day and month on record",
    "year": "has nearly the year on record",
}
NEGLIGIBLE: Final = -7.0
"""Nats below which a rival is left out: less than a thousandth."""
_NEARLY: Final = "is nearly the one on record"


class ScorePerson(Protocol):
    """Log-odds (nats) that the contact is the person of `records` rather than somebody new, and why.

    The weights of the reasons add up to the log-odds (1e-9). held: what each usable identifier that they carry says for
    them. Pure; the order of records and identifiers must not matter.
    """

    def __call__(
        self,
        evidence: Evidence,
        records: Sequence[RecordRead],
        held: Mapping[Identifier, Held],
        claim: Claimed,
        prior: ContactPrior | None,
        weights: Weights,
    ) -> tuple[float, tuple[Reason, ...]]: ...


def score_person(
    evidence: Evidence,
    records: Sequence[RecordRead],
    held: Mapping[Identifier, Held],
    claim: Claimed,
    prior: ContactPrior | None,
    weights: Weights,
) -> tuple[float, tuple[Reason, ...]]:
    """Identifiers, an agent's confirmation, what was said, and why just this person may be calling now."""
    reasons = _identifier_reasons(held)
    confirmed = evidence.confirmed_person is not None and records[0].person_id == evidence.confirmed_person
    if confirmed:
        reasons.append(Reason("confirmed", "an agent confirmed this person", weights["confirmed"]))
    elif not reasons:
        text = "no identifier points at this person"
        reasons.append(Reason("nobody_pointed_at", text, weights.nobody_pointed_at))
    reasons += claim_reasons(claim, records, weights)
    if prior is not None:
        reasons.append(Reason("journey", prior.text, weights["journey_offset"] + weights["journey_weight"] * prior.log_odds))
    return math.fsum(reason.weight or 0.0 for reason in reasons), tuple(reasons)


def _identifier_reasons(held: Mapping[Identifier, Held]) -> list[Reason]:
    """The strongest identifier counts with its odds, which hold how common it is that its holder calls.

    A further one is a likelihood ratio of 1 + odds: it never speaks against a person, and counts for less than its full
    weight, because the identifiers of one contact come together.
    """
    ranked = sorted(held, key=lambda identifier: (-held[identifier].odds, identifier))
    weight_of = {
        identifier: math.log1p(held[identifier].odds) if place else math.log(held[identifier].odds)
        for place, identifier in enumerate(ranked)
    }
    return [
        Reason(f"{identifier.kind}_matches", held[identifier].text, weight_of[identifier], identifier.kind)
        for identifier in sorted(held)
    ]


def claim_reasons(claim: Claimed, records: Sequence[RecordRead], weights: Weights) -> list[Reason]:
    """What the contact said against what is on record, each with its weight against somebody new.

    The best agreement over the records counts. Where a model knows how common namesakes are, somebody new is one of them
    with that probability, and what a name says for the person falls by it.
    """
    best = best_outcomes(claim, records, weights)
    reasons = [_reason(found, logs) for found, logs in best]
    alike = weights.alike
    if alike is not None and best:
        namesakes = alike[0] + math.fsum(logs.namesake for _, logs in best)
        neighbours = alike[1] + math.fsum(logs.local for _, logs in best)
        if max(namesakes, neighbours) > NEGLIGIBLE:
            weight = -math.log1p(math.exp(namesakes) + math.exp(neighbours))
            text = "others have that name" if namesakes >= neighbours else "others there have that family name"
            reasons.append(Reason("namesakes", text, weight, "full_name"))
    return reasons


def best_outcomes(
    claim: Claimed, records: Sequence[RecordRead], weights: Weights, *, of: int = 0
) -> list[tuple[Found, Logs]]:
    """For each comparison the outcome with the highest weight (of: which of Logs), in the order of the comparisons."""
    best: dict[str, tuple[Found, Logs]] = {}
    swapped: tuple[Found, Logs] | None = None
    for outcomes in compare(claim, records):
        for found in outcomes:
            logs = weights.of(*found)
            if found.level == "swapped":
                swapped = found, logs
            elif found.comparison not in best or (logs[of], found) > (
                best[found.comparison][1][of],
                best[found.comparison][0],
            ):
                best[found.comparison] = found, logs
    if swapped is not None and swapped[1][of] > sum(best[name][1][of] for name in ("given", "family") if name in best):
        best.pop("given", None)
        best["family"] = swapped
    return [best[name] for name in _FIELDS if name in best]


def _reason(found: Found, logs: Logs) -> Reason:
    field = _FIELDS[found.comparison]
    code = f"{field}_{_CODES.get(found.level, found.level)}"
    text = f"the {NAMES.get(found.comparison, found.comparison)} {_WORDS.get(found.level, _NEARLY)}"
    return Reason(code, text, logs.same, field)
