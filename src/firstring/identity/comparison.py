"""Claims of a contact compared with what a person's records say, field by field.

The seat of the scoring core: each function gives (level, prior's name); `score.score_person` adds the weights up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple

from firstring.contact import RecordRead
from firstring.identity import nicknames
from firstring.identity.codes import postcode_key
from firstring.identity.names import PersonName, name_of
from firstring.identity.text import one_edit

Level = Literal["agree", "nickname", "close", "disagree"]
_RANK: dict[Level, int] = {"agree": 0, "nickname": 1, "close": 2, "disagree": 3}


_NO_NAME = PersonName()


class Claimed(NamedTuple):
    """What a contact claims, in compare form; empty where nothing is claimed."""

    name: PersonName
    birth_date: str
    postcode: str

    @property
    def anything(self) -> bool:
        return bool(self.name != _NO_NAME or self.birth_date or self.postcode)


def claimed(claims: Mapping[str, Any]) -> Claimed:
    return Claimed(name_of(claims), claims.get("birth_date", ""), postcode_key(claims.get("postcode", "")))


def compare(claim: Claimed, records: Sequence[RecordRead]) -> list[tuple[str, Level]]:
    """(field, level) for each field that is both claimed and on record; the best agreement over the records counts."""
    found: list[tuple[str, Level]] = []
    if claim.name != _NO_NAME:
        # Each distinct value once: the records of one person mostly agree.
        found += _names(claim.name, {name_of(record.fields) for record in records})
    if claim.birth_date:
        born = {record.fields["birth_date"] for record in records if record.fields.get("birth_date")}
        _keep(found, "birth_date", (birth_dates(claim.birth_date, one) for one in born))
    if claim.postcode:
        codes = {postcode_key(record.fields["postcode"]) for record in records if record.fields.get("postcode")}
        _keep(found, "postcode", ("agree" if claim.postcode == one else "disagree" for one in codes))
    return found


def _names(claim: PersonName, names: AbstractSet[PersonName]) -> list[tuple[str, Level]]:
    found: list[tuple[str, Level]] = []
    if claim.given:
        _keep(found, "given_name", (given_names(claim.given, one.given) for one in names if one.given))
    if claim.family:
        _keep(found, "family_name", (family_names(claim.family, one.family) for one in names if one.family))
    elif claim.whole:
        wholes = (one.whole or f"{one.family}{one.given}" for one in names if one != _NO_NAME)
        _keep(found, "family_name", ("agree" if claim.whole == one else "disagree" for one in wholes))
    if claim.suffix:
        stated = [one.suffix for one in names if one.suffix]
        if stated and claim.suffix not in stated:
            found.append(("suffix", "disagree"))
    return found


def given_names(left: str, right: str) -> Level:
    """Two folded given names."""
    if left == right:
        return "agree"
    if nicknames.related(left, right):
        return "nickname"
    initial = (len(left) == 1 or len(right) == 1) and left[0] == right[0]
    return "close" if initial or (min(len(left), len(right)) > 3 and one_edit(left, right)) else "disagree"


def family_names(left: str, right: str) -> Level:
    """Two folded family names; one of two family names (garcia lopez, garcia) is close."""
    if left == right:
        return "agree"
    left_words, right_words = left.split(), right.split()
    if set(left_words) <= set(right_words) or set(right_words) <= set(left_words):
        return "close"
    return "close" if min(len(left), len(right)) > 3 and one_edit(left, right) else "disagree"


def birth_dates(left: str, right: str) -> Level:
    """Two ISO dates; close: one digit differs, or day and month are swapped."""
    if left == right:
        return "agree"
    swapped = left[:4] == right[:4] and left[5:7] == right[8:] and left[8:] == right[5:7]
    digits = sum(one != other for one, other in zip(left, right, strict=False)) == 1
    return "close" if swapped or digits else "disagree"


def _keep(found: list[tuple[str, Level]], field: str, levels: Iterable[Level]) -> None:
    best = min(levels, key=_RANK.__getitem__, default=None)
    if best is not None:
        found.append((field, best))
