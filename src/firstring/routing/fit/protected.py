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
from firstring.identity.canonical.synonyms import SYNONYMS, bare

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
        # in other languages, beside those that columns of imports are known by
        "alter", "altersgruppe", "leeftijd", "edad", "eta", "idade", "jahrgang", "anrede", "civilite", "aanhef",
        "tratamiento",
        "herkunft", "abstammung", "afkomst", "origen", "origine", "origem", "staatsangehorigkeit", "staatsburgerschaft",
        "nationalitat", "nationalite", "nationaliteit", "nacionalidad", "nacionalidade", "nazionalita", "konfession",
        "religie", "religione", "ethnie", "etnia", "hautfarbe", "behinderung",
    }
)  # fmt: skip
"""A field whose name has one of these among its words is refused."""
SPOKEN: Final = frozenset({"gender", "birth_date", "country"})
"""So is one that has a name of one of these among its words, in whatever language columns of imports are known by it."""
_DIGITS: Final = re.compile(r"\d+")


def is_protected(field: str) -> bool:
    """Whether a field of this name is, or speaks of, something protected; by whatever name it goes."""
    name = bare(field, "_")
    words = [word for word in _DIGITS.sub("_", name).split("_") if word]
    known = SYNONYMS.get("".join(words), name)
    is_of_vocabulary = (known in FIELDS and known not in ALLOWED) or known.startswith(SOCIAL_PREFIX)
    is_spoken_of = any(word in WORDS or SYNONYMS.get(word) in SPOKEN for word in (*words, "".join(words)))
    return is_of_vocabulary or is_spoken_of


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
