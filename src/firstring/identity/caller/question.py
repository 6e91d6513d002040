"""The cheapest question that would settle who it is: expected information about the person per second of their time.

The answers on file are never offered to the caller, who may be a stranger: but for the given names of one home.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from firstring.contact import Candidate, ContactPrior, Question, Settles
from firstring.identity.caller.claims import Claimed, claimed
from firstring.identity.caller.weights import Weights
from firstring.identity.canonical.names import name_of
from firstring.identity.canonical.nicknames import root

INFORMATION_MIN: Final = 0.1
"""Nats below which no question is worth its time: one of two people, the other at 2 %, is as much."""
CANDIDATES_ASKED: Final = 8
CHOICES: Final = 3
"""More names than these nobody reads out."""
ASKED: Final[Mapping[str, tuple[str, str, str]]] = {
    "given_name": ("given", "question_given_name_s", "May I have your first name?"),
    "family_name": ("family", "question_family_name_s", "May I have your family name?"),
    "birth_date": ("birth_date", "question_birth_date_s", "What is your date of birth?"),
    "postcode": ("place", "question_postcode_s", "What is your postcode?"),
    "last_order": ("", "question_last_order_s", "What is the number of your last order?"),
}
"""Field -> (comparison, prior that holds its cost in seconds, what to say)."""
_LEVELS: Final = {"given": "exact", "family": "exact", "birth_date": "exact", "place": "postcode"}
_NAMES: Final = {
    "given_name": "first name", "family_name": "family name", "birth_date": "date of birth", "postcode": "postcode",
    "last_order": "last order",
}  # fmt: skip


class Asked(NamedTuple):
    """Who it may be: the candidates asked about, the rest as somebody new. at_home: of the candidates, those who share
    a home with another one."""

    candidates: Sequence[Candidate]
    another: float
    new: float
    at_home: Collection[int]


def question(asked: Asked, claim: Claimed, priors: Mapping[int, ContactPrior], weights: Weights) -> Question | None:
    """The question with most expected information a second; None where none tells enough. Ties: the first of ASKED."""
    listed = asked.candidates[:CANDIDATES_ASKED]
    left = math.fsum(one.probability for one in asked.candidates[CANDIDATES_ASKED:])
    chances = [*(one.probability for one in listed), asked.another, asked.new + left]
    doubt = _entropy(chances)
    if doubt < INFORMATION_MIN or not listed:
        return None
    stated = [claimed(one.profile) for one in listed]
    best: tuple[float, str, float, list[str], list[str], list[list[float]]] | None = None
    for field in ASKED:
        seconds = weights[ASKED[field][1]]
        if _is_known(field, claim) or (best is not None and best[0] * seconds >= doubt):
            continue  # said already, or even the whole doubt would not be worth its time
        values = [_value(field, one, said, priors) for one, said in zip(listed, stated, strict=True)]
        answers = sorted(set(values) - {""})
        if not answers:
            continue
        table = _table(field, values, answers, asked, listed, weights)
        told = doubt - _remaining(chances, table)
        rate = told / seconds
        if told >= INFORMATION_MIN and (best is None or rate > best[0] + 1e-12):
            best = rate, field, told, values, answers, table
    if best is None:
        return None
    _, field, told, values, answers, table = best
    return _worded(field, told, values, answers, table, chances, asked, listed, weights)


def _is_known(field: str, claim: Claimed) -> bool:
    """Whether the contact has said it already."""
    said = {
        "given_name": claim.name.given, "family_name": claim.name.family, "birth_date": claim.born,
        "postcode": claim.place.postcode,
    }  # fmt: skip
    return bool(said.get(field))


def _value(field: str, candidate: Candidate, stated: Claimed, priors: Mapping[int, ContactPrior]) -> str:
    """What a candidate would answer, in compare form; "" where it is not on file."""
    if field == "given_name":
        return root(stated.name.given)
    if field == "family_name":
        return stated.name.family
    if field == "birth_date":
        return stated.born
    if field == "postcode":
        return stated.place.postcode
    prior = priors.get(candidate.person_id)
    return prior.facts.get(field, "") if prior is not None else ""


def _table(
    field: str,
    values: Sequence[str],
    answers: Sequence[str],
    asked: Asked,
    listed: Sequence[Candidate],
    weights: Weights,
) -> list[list[float]]:
    """P(answer | who it is): a row for each candidate, for another of the household and for somebody new; the last
    column is any other answer."""
    right = weights["answer_right"]
    chance = [_by_chance(field, answer, weights) for answer in answers]
    anybody = _row(chance)
    rows = [_row([right if answer == value else 0.0 for answer in answers]) if value else anybody for value in values]
    another = anybody
    if field in ("family_name", "postcode"):
        shared = next((v for v, one in zip(values, listed, strict=True) if v and one.person_id in asked.at_home), "")
        if shared:
            another = _row([right if answer == shared else 0.0 for answer in answers])
    return [*rows, another, anybody]


def _row(said: list[float]) -> list[float]:
    """A row with any other answer at its end."""
    whole = math.fsum(said)
    return [*said, 1.0 - whole] if whole <= 1.0 else [*(one / whole for one in said), 0.0]


def _by_chance(field: str, answer: str, weights: Weights) -> float:
    """How often somebody who has nothing to do with it gives this answer."""
    comparison = ASKED[field][0]
    if not comparison:
        return weights["order_by_chance"]
    return min(0.5, math.exp(-max(0.0, weights.of(comparison, _LEVELS[comparison], answer).same)))


def _remaining(chances: Sequence[float], table: Sequence[Sequence[float]]) -> float:
    """Expected entropy after the answer, in nats."""
    found = 0.0
    for column in range(len(table[0])):
        joint = [chance * row[column] for chance, row in zip(chances, table, strict=True)]
        whole = sum(joint)
        if whole > 0.0:
            found += whole * _entropy([one / whole for one in joint])
    return found


def _entropy(chances: Sequence[float]) -> float:
    return -sum([one * math.log(one) for one in chances if one > 0.0])


def _worded(
    field: str,
    told: float,
    values: Sequence[str],
    answers: Sequence[str],
    table: Sequence[Sequence[float]],
    chances: Sequence[float],
    asked: Asked,
    listed: Sequence[Candidate],
    weights: Weights,
) -> Question:
    settles: list[Settles] = []
    for column, answer in enumerate(answers):
        joint = [chance * row[column] for chance, row in zip(chances, table, strict=True)]
        place = max(range(len(joint)), key=joint.__getitem__)
        person = listed[place] if place < len(listed) else None
        said = _shown(field, answer, listed[values.index(answer)])
        settles.append(Settles(said, None if person is None else person.person_id, joint[place] / math.fsum(joint)))
    settles.sort(key=lambda one: (-one.probability, one.answer))
    seconds = weights[ASKED[field][1]]
    text = ASKED[field][2]
    choices: tuple[str, ...] = ()
    if field == "given_name":
        names = tuple(_spoken(one.profile) for one in listed if one.person_id in asked.at_home and _spoken(one.profile))
        everybody = all(one.person_id in asked.at_home for one in listed)
        if everybody and 1 < len(names) <= CHOICES and len({root(name.lower()) for name in names}) == len(names):
            choices = names
            text = f"Am I speaking with {', '.join(names[:-1])} or {names[-1]}?"
    gone = 100.0 * told / max(_entropy(chances), 1e-12)
    reason = f"the {_NAMES[field]} is expected to take away {gone:.0f} % of the doubt in about {seconds:.0f} s"
    return Question(field, text, choices, tuple(settles), reason, told, seconds)


def _shown(field: str, answer: str, candidate: Candidate) -> str:
    """An answer as it is written on file."""
    return _spoken(candidate.profile) if field == "given_name" else str(candidate.profile.get(field) or answer)


def _spoken(fields: Mapping[str, Any]) -> str:
    """The given name as it is written."""
    return fields.get("given_name") or name_of(fields).given.title()
