"""What never enters the matching of customer and agent: gender, age, origin, and what stands for them.

Checked where a policy is read, where a model is trained and where one is loaded: fields of the vocabulary and any name that
speaks of such a thing. The audit (routing/trial/audit.py) is the one place that looks at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from firstring.errors import BadInput
from firstring.identity.canonical.fields import FIELDS, SOCIAL_PREFIX

ALLOWED: Final = frozenset({"tier", "language", "line_type", "carrier"})
"""Fields of the vocabulary that may enter. All others are protected, stand for what is (a name tells gender and origin, an
address origin), name one customer, or are free text."""
WORDS: Final = frozenset(
    {
        "age", "aged", "ageband", "agegroup", "ancestry", "birth", "birthday", "birthdate", "birthplace", "birthyear",
        "born", "caste", "citizen", "citizenship", "colour", "country", "creed", "descent", "disability", "disabled", "dob",
        "ethnic", "ethnicity", "faith", "female", "gender", "generation", "immigrant", "immigration", "male", "migrant",
        "migration", "nation", "nationality", "native", "origin", "passport", "postcode", "pregnancy", "pregnant", "pronoun",
        "pronouns", "race", "racial", "religion", "religious", "salutation", "senior", "sex", "sexual", "sexuality",
        "skin", "surname", "zip", "zipcode", "firstname", "lastname", "forename",
    }
)  # fmt: skip
"""A field whose name has one of these among its words is refused."""
_WORD: Final = re.compile(r"[a-z]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_protected(field: str) -> bool:
    """Whether a field of this name is, or speaks of, something protected."""
    words = _WORD.findall(_HUMP.sub("_", field).lower())
    name = "_".join(words)
    is_of_vocabulary = (name in FIELDS and name not in ALLOWED) or name.startswith(SOCIAL_PREFIX)
    return is_of_vocabulary or not WORDS.isdisjoint(words) or "".join(words) in WORDS


def refuse_protected(fields: Iterable[str], where: str) -> None:
    """Raises BadInput feature_protected for the first protected one."""
    for field in fields:
        if is_protected(field):
            raise BadInput(
                "feature_protected",
                "Customers and agents are not matched by gender, age or origin, nor by what stands for them.",
                where={"field": where, "name": field[:64]},
                hint="Take the field out. `firstring routing audit` shows outcomes by such groups.",
            )
