"""What is compared, and under which keys records meet: data, not code. `PERSON` is the default over the vocabulary.

A comparison looks at one or several columns and says one level. Columns that tell the same thing twice (address,
postcode and city) are one comparison, because the model adds the weights of comparisons as if they were independent.
A banded level is split by how rare the value is, one band an octave: sharing a name that one in 2^16 has is evidence of
another weight than sharing one that one in 2^6 has (Winkler's frequency-based matching).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

CLASSES: Final = ("same", "household", "namesake", "local", "neighbour", "compatriot", "junior", "twin", "unrelated")
"""What two records can be to one another: one person; two who live together; two of one name; two of one family name and
region; two of one name and region; two of one given name and region; two of a household with one given name, as father
and son; two of a household with one birth date; nothing."""
OF_HOUSEHOLD: Final = ("junior", "twin")
"""Classes of people who live together, beside household itself."""
_TIED: Final = {"neighbour": "namesake", "compatriot": "namesake", "junior": "household", "twin": "household"}
"""Classes without shares of their own: in each comparison they have those of this class, or of the one that
`Comparison.tied` names. So each costs one number to learn, how many pairs it has."""

ATTRIBUTE: Final = "attribute."
"""How the columns of free attributes begin."""

Kind = Literal["names", "middle", "suffix", "code", "date", "place", "email", "identifier", "text"]
Coarse = Literal["exact", "near", "different"]


class Level(msgspec.Struct, frozen=True, cache_hash=True):
    """One outcome of a comparison.

    same, household, namesake, local: where training starts, as a share of the pairs of that class where the fields are
    stated (0: the class does not learn this comparison and has the share of unrelated pairs). coarse: its group, by
    which the model looks at comparisons together.
    """

    name: str
    says: str
    same: float
    household: float = 0.0
    namesake: float = 0.0
    local: float = 0.0
    banded: bool = False
    coarse: Coarse = "different"
    test: str = ""
    """What passes, in a comparison of kind text (see `freelevels`); the last level has none."""


class Comparison(msgspec.Struct, frozen=True, cache_hash=True):
    """One comparison: `columns` of the table, by `kind` of comparing, to one of `levels`.

    profile: who somebody is and where they live, in contrast to how they are reached. tied: (class, the class whose
    shares it has in this comparison), where that is another than elsewhere.
    """

    name: str
    kind: Kind
    columns: tuple[str, ...]
    levels: tuple[Level, ...]
    profile: bool = False
    tied: tuple[tuple[str, str], ...] = ()

    @property
    def like(self) -> tuple[int, ...]:
        """For each class the class whose shares it has in this comparison: itself, or the one that it is tied to."""
        tied = {**_TIED, **dict(self.tied)}
        return tuple(CLASSES.index(tied.get(name, name)) for name in CLASSES)

    @property
    def learned_by(self) -> tuple[bool, ...]:
        """For each class but unrelated, whether it learns this comparison; else it has the shares of unrelated pairs."""
        starts = [self.starting(level) for level in self.levels]
        return tuple(any(of_class) for of_class in zip(*starts, strict=True))

    def starting(self, level: Level) -> tuple[float, ...]:
        """For each class but unrelated the share of a level where training starts; 0 for all where it learns none."""
        own = (level.same, level.household, level.namesake, level.local)
        return tuple(own[of] if of < len(own) else 0.0 for of in self.like[:-1])


class BlockingKey(msgspec.Struct, frozen=True):
    """Records that agree in all parts (see `columns.part`) become candidate pairs.

    profile: no contact point is in it, and its pairs show how the classes mix (see `model`).
    block_records: a bound of its own, where it is lower than that of the spec; 0: the spec's.
    unless: columns; two records that both state one of them, and share no other linking key, do not meet under this one
    (`Spec.unless`).
    """

    name: str
    parts: tuple[str, ...]
    profile: bool = False
    block_records: int = 0
    unless: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # not in the name of a model where there is none


class Spec(msgspec.Struct, frozen=True):
    """Comparisons and keys. A comparison whose columns are empty in the data is left out, a key as well.

    Training learns from the pairs of all `keys`; linking, in bulk and online, compares those of `link_keys` (their names).
    """

    comparisons: tuple[Comparison, ...]
    keys: tuple[BlockingKey, ...]
    block_records: int = 50
    """A value shared by more records than this is hot for its key and makes no pairs under it (see `most`)."""
    link_keys: tuple[str, ...] = ()

    @property
    def attributes(self) -> dict[str, str]:
        """The columns of free attributes that comparisons or keys use, and the kind by which each is brought to its form."""
        found = {column: one.kind for one in self.comparisons for column in one.columns if column.startswith(ATTRIBUTE)}
        for key in self.keys:
            for part in key.parts:
                if part.startswith(ATTRIBUTE):
                    found.setdefault(part, "identifier")
        return {column: str(kind) for column, kind in found.items()}

    @property
    def linking(self) -> tuple[BlockingKey, ...]:
        """The keys under which records to be linked meet, in the order of `link_keys`; all keys where none is named."""
        by_name = {key.name: key for key in self.keys}
        return tuple(by_name[name] for name in self.link_keys) or self.keys

    def unless(self, key: BlockingKey) -> tuple[str, ...]:
        """The columns of `BlockingKey.unless` that are linking keys by themselves: others do not count."""
        if not key.unless:
            return ()
        by_itself = {one.parts[0] for one in self.linking if len(one.parts) == 1}
        return tuple(column for column in key.unless if column in by_itself)

    def most(self, key: BlockingKey) -> int:
        """Records that may carry a value under a key; one that more carry is hot and makes no pairs under it."""
        return min(key.block_records or self.block_records, self.block_records)


def _identifier(name: str, column: str, same: float, *, fuzzy: bool, household: float = 0.0) -> Comparison:
    rest = 1.0 - household
    close = (Level("close", "one character is different", same * 0.06, 0.01 * household, coarse="near"),) if fuzzy else ()
    return Comparison(
        name,
        "identifier",
        (column,),
        (
            Level("exact", "is shared", same, household, banded=True, coarse="exact"),
            *close,
            Level("different", "is different", 1 - same, rest if household else 0.0),
        ),
    )


_NAMES: Final = (
    Comparison(
        "given",
        "names",
        ("given", "root"),
        (
            Level("exact", "is the same", 0.78, 0.0, 0.7, banded=True, coarse="exact"),
            Level("nickname", "is a form of the other", 0.05, 0.0, 0.1, coarse="near"),
            Level("close", "is nearly the same", 0.08, 0.0, 0.1, coarse="near"),
            Level("initial", "is the other's initial", 0.02, 0.0, 0.02, coarse="near"),
            Level("similar", "is similar", 0.02, 0.0, 0.02, coarse="near"),
            Level("different", "is different", 0.05, 0.0, 0.06),
        ),
        profile=True,
        tied=(("junior", "same"),),
    ),
    Comparison(
        "family",
        "names",
        ("family",),
        (
            Level("exact", "is the same", 0.8, 0.7, 0.8, 0.8, banded=True, coarse="exact"),
            Level("close", "is nearly the same", 0.08, 0.05, 0.1, 0.1, coarse="near"),
            Level("part", "is one of several", 0.01, 0.01, 0.01, 0.01, coarse="near"),
            Level("similar", "is similar", 0.01, 0.01, 0.01, 0.01, coarse="near"),
            Level("swapped", "stands where the given name is", 0.03, 0.001, 0.001, 0.001, coarse="near"),
            Level("different", "is different", 0.07, 0.229, 0.079, 0.079),
        ),
        profile=True,
        tied=(("compatriot", "unrelated"),),
    ),
)

_COMPARISONS: Final = (
    *_NAMES,
    Comparison(
        "middle",
        "middle",
        ("middle",),
        (
            Level("exact", "is the same", 0.7),
            Level("initial", "is the other's initial", 0.2),
            Level("different", "is different", 0.1),
        ),
    ),
    Comparison(
        "suffix",
        "suffix",
        ("suffix",),
        (Level("exact", "is the same", 0.98), Level("different", "is different", 0.02)),
    ),
    Comparison(
        "gender",
        "code",
        ("gender",),
        (Level("exact", "is the same", 0.98), Level("different", "is different", 0.02)),
    ),
    Comparison(
        "birth_date",
        "date",
        ("born",),
        (
            Level("exact", "is the same", 0.8, banded=True, coarse="exact"),
            Level("swapped", "has day and month the other way, or is 1 January", 0.03, coarse="near"),
            Level("edit1", "has one other digit", 0.07, coarse="near"),
            Level("edit2", "has two other digits", 0.03, coarse="near"),
            Level("month_day", "is the same day of another year", 0.01, coarse="near"),
            Level("days", "is less than 40 days away", 0.01, coarse="near"),
            Level("year", "is of the same year, or less than 400 days away", 0.01),
            Level("different", "is different", 0.04),
        ),
        profile=True,
        tied=(("twin", "same"),),
    ),
    Comparison(
        "place",
        "place",
        ("address", "postcode", "city"),
        (
            Level("home", "address and postcode are the same", 0.5, 0.7, 0.0, 0.005, banded=True, coarse="exact"),
            Level("home_close", "is nearly the same home", 0.1, 0.1, 0.0, 0.005, coarse="exact"),
            Level("postcode", "postcode is the same", 0.05, 0.04, 0.0, 0.03, banded=True, coarse="near"),
            Level("address", "address is the same", 0.05, 0.02, 0.0, 0.02, banded=True, coarse="near"),
            Level("near", "postcodes are neighbours", 0.02, 0.01, 0.0, 0.2, coarse="near"),
            Level("city", "place is the same", 0.1, 0.05, 0.0, 0.3, banded=True, coarse="near"),
            Level("city_close", "place is nearly the same", 0.03, 0.01, 0.0, 0.02, coarse="near"),
            Level("different", "is different", 0.15, 0.07, 0.0, 0.42),
        ),
        profile=True,
        tied=(("neighbour", "local"), ("compatriot", "local")),
    ),
    _identifier("phone", "phone", 0.7, fuzzy=True, household=0.5),
    Comparison(
        "email",
        "email",
        ("email",),
        (
            Level("exact", "is shared", 0.7, 0.15, 0.002, banded=True, coarse="exact"),
            Level("exact_several", "is shared, and several names use it", 0.05, 0.15, 0.002, banded=True, coarse="exact"),
            Level("close", "one character is different", 0.08, 0.01, 0.004, coarse="near"),
            Level("local", "is the same before the @", 0.05, 0.01, 0.01, banded=True, coarse="near"),
            Level("similar", "is similar before the @", 0.03, 0.02, 0.05, coarse="near"),
            Level("different", "is different", 0.09, 0.66, 0.932),
        ),
    ),
    _identifier("national_id", "national_id", 0.99, fuzzy=True),
    _identifier("account", "account", 0.8, fuzzy=False),
    _identifier("device", "device", 0.5, fuzzy=False, household=0.2),
    _identifier("cookie", "cookie", 0.4, fuzzy=False, household=0.2),
    _identifier("social", "social", 0.7, fuzzy=False),
)  # fmt: skip

_CONTACT_KEYS: Final = (
    "phone", "email", "email_local", "email_prefix", "email_host", "email_prefix+year", "email_host+name_initial",
    "national_id", "account", "device", "cookie", "social",
)  # fmt: skip
_PROFILE_KEYS: Final = (
    "family+born", "root+born", "born", "initial+born", "born+home", "family+year", "root+month_day", "family+month_day",
    "root+family", "sounds", "names+year", "names+city", "postcode+family", "postcode+root",
    "outward+family", "outward+root", "postcode+born", "address+initial", "address+family", "city+born", "root+city+year",
    "family+initial+month", "root+year+month", "city+family+initial", "family_sound+year", "given_sound+month_day",
    "family_sound+month_day", "given_sound+year", "family_sound+city", "given_sound+city",
    "name_initial+born", "born+outward", "sounds+initial", "sounds+year", "sounds+city", "name_sound+year",
    "name_sound+city", "address+name_sound",
)  # fmt: skip
_FEW: Final = {"name_sound+city": 8}
"""Keys of large blocks with few pairs of one person in each: only their smallest blocks are worth comparing. What is in
so small a block was chosen by that, and shows nothing of how the classes mix."""

_ALONE_TOO_LITTLE: Final = (
    "name_sound+year", "sounds+initial", "name_sound+city", "sounds+city", "name_initial+born", "email_host+name_initial",
)  # fmt: skip
"""Keys that make most of all pairs, and under which alone two records with different telephone numbers are next to never one
person (docs/decisions/linking-keys.md)."""

_LINK_KEYS: Final = (
    "phone", "email", "email_local", "email_prefix+year", "email_host+name_initial",
    "national_id", "account", "device", "cookie", "social",
    "city+born", "name_initial+born", "born+outward", "sounds+initial", "sounds+year", "sounds+city", "name_sound+year",
    "name_sound+city", "address+name_sound",
)  # fmt: skip
"""In the order of the keys. Chosen by the recall of pairs that a model finds likely: docs/decisions/linking-keys.md."""

PERSON: Final = Spec(
    _COMPARISONS,
    (
        *(
            BlockingKey(name, tuple(name.split("+")), unless=("phone",) if name in _ALONE_TOO_LITTLE else msgspec.UNSET)
            for name in _CONTACT_KEYS
        ),
        *(
            BlockingKey(
                name,
                tuple(name.split("+")),
                profile=name not in _FEW,
                block_records=_FEW.get(name, 0),
                unless=("phone",) if name in _ALONE_TOO_LITTLE else msgspec.UNSET,
            )
            for name in _PROFILE_KEYS
        ),
    ),
    link_keys=_LINK_KEYS,
)
"""Persons: what the field vocabulary knows of them."""
