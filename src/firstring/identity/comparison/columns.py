"""Records as dictionary-encoded columns: what is compared, once for each distinct value.

A table holds n records in canonical order (by content), so that nothing computed from it depends on the order in which
the records came. Codes are int32, -1 where a record has no value; a column of several values has several slots.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstring.identity.canonical.addresses import address_key
from firstring.identity.canonical.codes import postcode_key
from firstring.identity.canonical.names import name_of
from firstring.identity.canonical.record import ATTRIBUTES, TRACES
from firstring.identity.canonical.text import CACHE_VALUES, fold
from firstring.identity.comparison.attributes import attribute_columns, attribute_names
from firstring.identity.comparison.onecharacter import Sums, character_sums
from firstring.identity.comparison.statistics import Statistics, frozen, octave

Codes: TypeAlias = NDArray[np.int32]
Hashes: TypeAlias = NDArray[np.uint64]

SLOTS: Final = 4
"""Values compared of a field with several; of a record with more, the rarest are kept."""
SINGLE: Final = (
    "given", "root", "middle", "family", "suffix", "gender", "born", "address", "postcode", "city", "national_id",
)  # fmt: skip
SEVERAL: Final = ("phone", "email", "account", "device", "cookie", "social")
COLUMNS: Final = (*SINGLE, *SEVERAL)

EITHER_ORDER: Final = {"names": ("root", "family"), "sounds": ("given_sound", "family_sound")}
EITHER_NAME: Final = {"name_initial": ("initial", "family_initial"), "name_sound": ("given_sound", "family_sound")}
"""Parts of keys that are said of the given name and of the family name: a record has both, whichever is written where."""
NAMED_LETTERS: Final = 4
"""Letters of a name that are looked for in e-mail addresses."""


def compared(fields: Mapping[str, Any], attributes: Mapping[str, str] | None = None) -> dict[str, tuple[str, ...]]:
    """The values that are compared, by column, out of canonical fields. A column without a value is left out.

    Where a date, address or number was refused, what it still shows is compared (`canonical.TRACES`). attributes: the
    columns of free attributes that a spec compares (`Spec.attributes`).
    """
    found: dict[str, tuple[str, ...]] = {}
    for values_of in _groups_among(tuple(fields)):
        found |= values_of(fields)
    for column, trace in (fields.get(TRACES) or {}).items():
        found.setdefault("born" if column == "birth_date" else column, (trace,))
    if attributes and (stated := fields.get(ATTRIBUTES)):
        found |= attribute_columns(stated, attributes)
    return found


Values: TypeAlias = dict[str, tuple[str, ...]]


def _name_values(fields: Mapping[str, Any]) -> Values:
    name = name_of(fields)
    found: Values = {}
    if name.given_key:
        found["given"] = (name.given_key,)
    if name.root:
        found["root"] = (name.root,)
    if name.middle:
        found["middle"] = (name.middle,)
    if family := name.family_key or name.whole:
        found["family"] = (family,)
    if name.suffix:
        found["suffix"] = (name.suffix,)
    return found


def _address_values(fields: Mapping[str, Any]) -> Values:
    get = fields.get
    address = address_key(get("street") or "", get("house_number") or "", get("address") or "", get("country") or "")
    return {"address": (address,)} if address else {}


def _one(column: str, field: str, form: Callable[[str], str] = str) -> tuple[tuple[str, ...], Callable[..., Values]]:
    def values_of(fields: Mapping[str, Any]) -> Values:
        value = form(fields.get(field) or "")
        return {column: (value,)} if value else {}

    return (field,), values_of


def _several(field: str) -> tuple[tuple[str, ...], Callable[..., Values]]:
    def values_of(fields: Mapping[str, Any]) -> Values:
        values = fields.get(field)
        if not values:
            return {}
        return {field: tuple(sorted(values)) if not isinstance(values, str) else (values,)}

    return (field,), values_of


GROUPS: Final[tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Values]], ...]] = (
    (("full_name", "given_name", "middle_name", "family_name", "suffix"), _name_values),
    _one("gender", "gender"),
    _one("born", "birth_date", lambda value: value.replace("-", "")),
    (("street", "house_number", "address"), _address_values),
    _one("postcode", "postcode", postcode_key),
    _one("city", "city", fold),
    _one("national_id", "national_id"),
    *(_several(name) for name in SEVERAL),
)
"""Fields whose values are brought to the compared form together, and what they become. No group depends on another."""


@lru_cache(maxsize=4096)
def _groups_among(names: tuple[str, ...]) -> tuple[Callable[[Mapping[str, Any]], Values], ...]:
    """What makes values of fields of these names: most records state the same few sets of fields."""
    has = frozenset(names)
    return tuple(values_of for of, values_of in GROUPS if not has.isdisjoint(of))


def value_hashes(values: Sequence[str]) -> Hashes:
    """64-bit hashes of values (BLAKE2b), never 0. Two of ten million values look alike in one of 400,000 data sets."""
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest() for value in values])
    return np.frombuffer(digests, np.uint64) | np.uint64(1)


def content_of_rows(columns: Mapping[str, tuple[Hashes, Codes, NDArray[np.int32]]], rows: int) -> Hashes:
    """What stands for all that is compared of each row: the same for rows that state the same, 0 for those of nothing.

    columns: name -> (hashes of its values, codes of each row in turn, how many each row has). Rows are put in order by
    it, in bulk and online alike.
    """
    found = np.zeros(rows, np.uint64)
    for name, (hashes, codes, held) in columns.items():
        mixed = _mixed(hashes ^ value_hashes([name])[0])
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed[codes], dtype=np.uint64)])
        ends = np.cumsum(held)
        found += sums[ends] - sums[ends - held]
    return found


def content_of(row: Mapping[str, Sequence[str]]) -> int:
    """content_of_rows for one record, as `compared` gives it."""
    columns = {
        name: (value_hashes(values), np.arange(len(values), dtype=np.int32), np.array([len(values)], np.int32))
        for name, values in row.items()
        if values
    }
    return int(content_of_rows(columns, 1)[0])


def _mixed(hashes: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), so that sums of hashes do not cancel out."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


class Column(NamedTuple):
    """codes: (n, slots); values: the texts of the codes; counts: how many records hold each value."""

    codes: Codes
    values: list[str]
    counts: NDArray[np.int64]

    @property
    def stated(self) -> int:
        """How many records state a value."""
        return int((self.codes >= 0).any(axis=1).sum())


class Table:
    """Columns of n records, and columns derived from them (made once, when first asked for).

    How rare a value is, is counted in the table itself, or read from `statistics` where they are given: then it is the
    same for a table of three records as for one of a million.
    """

    def __init__(
        self,
        rows: int,
        columns: Mapping[str, Column],
        statistics: Statistics | None = None,
        hashes: Mapping[str, Hashes] | None = None,
    ) -> None:
        """hashes: of the values of columns (value_hashes), where they are known already."""
        self.rows = rows
        self.columns = dict(columns)
        self.statistics = statistics
        self._given = dict(hashes or {})
        self._bands: dict[str, NDArray[np.uint8]] = {}
        self._derived: dict[str, Column] = {}
        self._hashes: dict[str, Hashes] = {}
        self._named: dict[str, NDArray[np.bool_]] = {}
        self._sums: dict[str, Sums] = {}

    def column(self, name: str) -> Column:
        """A column, or one derived from it by name (see DERIVED). Empty columns are not there: KeyError."""
        if name in self.columns:
            return self.columns[name]
        if name not in self._derived:
            if name == "home":
                self._derived[name] = self._home()
            elif name == "email_names":
                self._derived[name] = self._email_names()
            else:
                base, derive = DERIVED[name]
                self._derived[name] = derived(self.columns[base], derive)
        return self._derived[name]

    def has(self, name: str) -> bool:
        """Whether any record states the column or what it is derived from."""
        if name in EITHER_ORDER:
            return all(self.has(one) for one in EITHER_ORDER[name])
        if name in EITHER_NAME:
            return any(self.has(one) for one in EITHER_NAME[name])
        if name == "home":
            return self.has("address") and self.has("postcode")
        base = DERIVED[name][0] if name in DERIVED else name
        return base in self.columns

    def bands(self, name: str) -> NDArray[np.uint8]:
        """For each value of a column its octave of rarity among the records that state it; the last entry is for none."""
        if name not in self._bands:
            column = self.column(name)
            if self.statistics is not None:
                found = self.statistics.bands(name, column.values)
            else:
                found = octave(column.counts, column.stated)
            self._bands[name] = np.append(found, np.uint8(0))
        return self._bands[name]

    def bands_at(self, name: str, codes: NDArray[np.int32]) -> NDArray[np.uint8]:
        """`bands` at some codes of a column, none of them -1. Of frozen statistics only what is asked for is looked up."""
        if not len(codes):
            return np.zeros(0, np.uint8)
        values = self.column(name).values
        if self.statistics is None or name in self._bands or 2 * len(codes) > len(values):
            return self.bands(name)[codes]
        distinct, inverse = np.unique(codes, return_inverse=True)
        return self.statistics.bands(name, [values[code] for code in distinct.tolist()])[inverse]

    def sums(self, name: str) -> Sums:
        """For each value of a column the number by which texts of several edits are told apart (see `onecharacter`)."""
        if name not in self._sums:
            self._sums[name] = character_sums(self.column(name).values)
        return self._sums[name]

    def several_names(self) -> NDArray[np.bool_]:
        """For each e-mail address whether records of several given names state it; the last entry is for none."""
        if self.statistics is not None:
            found = self.statistics.several_names(self.columns["email"].values)
        else:
            found = self.column("email_names").counts > 1
        return np.append(found, False)

    def frozen(self, names: Sequence[str], key: bytes) -> Statistics:
        """What this table knows of the values of its columns, to be kept with a model."""
        counted = {
            name: (column.values, column.counts, column.stated)
            for name in names
            if self.has(name)
            for column in (self.column(name),)
        }
        several: list[str] = []
        if "email" in self.columns:
            emails = self.columns["email"].values
            several = [emails[place] for place in np.flatnonzero(self.several_names()[:-1]).tolist()]
        return frozen(self.rows, counted, several, key)

    def part(self, name: str) -> Hashes:
        """A part of a blocking key: (n, slots) hashes, 0 where there is none.

        `names` and `sounds` are both names of a record, in either order.
        """
        if name in EITHER_ORDER:
            given, family = (self.part(one) for one in EITHER_ORDER[name])
            return np.where((given != 0) & (family != 0), given + family, np.uint64(0))
        if name in EITHER_NAME:
            both = np.concatenate([self.part(one) for one in EITHER_NAME[name] if self.has(one)], axis=1)
            both[:, 1:][both[:, 1:] == both[:, :-1]] = 0
            return both
        column = self.column(name)
        if name not in self._hashes:
            known = self._given.get(name)
            # The last entry is what code -1 picks; no value hashes to it.
            self._hashes[name] = np.append(value_hashes(column.values) if known is None else known, np.uint64(0))
        return self._hashes[name][column.codes]

    def named_in_email(self, name: str) -> NDArray[np.bool_]:
        """For each record whether the first letters of its name (given or family) stand in its address before the @."""
        if name not in self._named:
            local, named = self.column("email_local"), self.columns[name]
            found = np.zeros(self.rows, bool)
            for slot in range(local.codes.shape[1]):
                there = np.flatnonzero((local.codes[:, slot] >= 0) & (named.codes[:, 0] >= 0))
                pairs = local.codes[there, slot].astype(np.int64) << 32 | named.codes[there, 0]
                distinct, inverse = np.unique(pairs, return_inverse=True)
                letters = [value[:NAMED_LETTERS] for value in named.values]
                inside = [letters[pair & 0xFFFFFFFF] in local.values[pair >> 32] for pair in distinct.tolist()]
                found[there] |= np.array(inside, bool)[inverse]
            self._named[name] = found
        return self._named[name]

    def forget_parts(self) -> None:
        """Gives back the memory of the hashes; they are made anew when asked for."""
        self._hashes.clear()
        self._given.clear()

    def _home(self) -> Column:
        address, postcode = self.columns["address"], self.columns["postcode"]
        left, right = address.codes[:, 0].astype(np.int64), postcode.codes[:, 0]
        joined = np.where((left >= 0) & (right >= 0), left * len(postcode.values) + right, -1)
        distinct, codes = np.unique(joined, return_inverse=True)
        shift = int(distinct[0] == -1) if len(distinct) else 0
        values = [
            f"{postcode.values[code % len(postcode.values)]} {address.values[code // len(postcode.values)]}"
            for code in distinct[shift:].tolist()
        ]
        return counted((codes - shift).astype(np.int32).reshape(-1, 1), values)

    def _email_names(self) -> Column:
        """For each e-mail address, in counts, how many different given names use it."""
        email = self.columns["email"]
        counts = np.zeros(len(email.values), np.int64)
        if "root" in self.columns:
            root = self.columns["root"].codes[:, 0]
            pairs = []
            for slot in range(email.codes.shape[1]):
                codes = email.codes[:, slot]
                there = (codes >= 0) & (root >= 0)
                pairs.append(codes[there].astype(np.int64) << 32 | root[there])
            distinct = np.unique(np.concatenate(pairs))
            counts += np.bincount(distinct >> 32, minlength=len(counts))
        return Column(email.codes, email.values, counts)


def table_of(rows: Sequence[Mapping[str, Sequence[str]]], statistics: Statistics | None = None) -> Table:
    """A table of records given as `compared` gives them, in their order; for small sets."""
    encoder = Encoder(attribute_names(rows))
    for row in rows:
        encoder.add(row)
    return encoder.table(np.arange(len(rows)), statistics)


class Encoder:
    """Turns rows into columns as they come; the memory it needs is that of the distinct values and the codes."""

    def __init__(self, attributes: Sequence[str] = ()) -> None:
        """attributes: columns of free attributes that rows may have."""
        self._names = (*COLUMNS, *attributes)
        self._code_of: dict[str, dict[str, int]] = {name: {} for name in self._names}
        self._single = {name: array("i") for name in (*SINGLE, *attributes)}
        self._several = {name: (array("i"), array("i")) for name in SEVERAL}
        """The codes of all rows in turn, and how many each row has."""
        self.rows = 0

    def add(self, row: Mapping[str, Sequence[str]]) -> None:
        get = row.get
        code_of = self._code_of
        for name, single in self._single.items():
            values = get(name)
            if values:
                codes = code_of[name]
                single.append(codes.setdefault(values[0], len(codes)))
            else:
                single.append(-1)
        for name, (several, held) in self._several.items():
            values = get(name)
            if values:
                codes = code_of[name]
                for value in values:
                    several.append(codes.setdefault(value, len(codes)))
                held.append(len(values))
            else:
                held.append(0)
        self.rows += 1

    def table(self, order: NDArray[np.int64], statistics: Statistics | None = None) -> Table:
        """The table of the given rows in that order. The encoder is empty afterwards."""
        columns: dict[str, Column] = {}
        for name in self._names:
            values = list(self._code_of.pop(name))
            if not values:
                continue
            if name in self._single:
                codes = np.array(self._single.pop(name), np.int32).reshape(-1, 1)
            else:
                flat, held = (np.array(one, np.int32) for one in self._several.pop(name))
                codes = slots_of(flat, held, values, name, statistics)
            columns[name] = counted(codes[order], values)
        return Table(len(order), columns, statistics)


def slots_of(
    codes: NDArray[np.int32], held: NDArray[np.int32], values: Sequence[str], name: str, statistics: Statistics | None = None
) -> Codes:
    """Codes in slots, out of the codes of all rows in turn and how many each row has.

    Of a record with more values than there are slots, the rarest by octave take part, ties by text.
    """
    width = int(min(SLOTS, held.max(initial=1)))
    begins = np.cumsum(held, dtype=np.int64) - held
    found = np.full((len(held), width), -1, np.int32)
    for slot in range(width):
        there = np.flatnonzero(held > slot)
        found[there, slot] = codes[begins[there] + slot]
    many = np.flatnonzero(held > width)
    if len(many):
        if statistics is None:
            bands = octave(np.bincount(codes, minlength=len(values)), int((held > 0).sum()))
        else:
            bands = statistics.bands(name, values)
        for row in many.tolist():
            its = codes[begins[row] : begins[row] + held[row]].tolist()
            found[row] = sorted(its, key=lambda code: (-int(bands[code]), values[code]))[:width]
    return found


def rarest(column: str, values: Sequence[str], statistics: Statistics) -> list[str]:
    """The SLOTS rarest values of a column by octave, ties by text: those that take part in a comparison."""
    bands = dict(zip(values, statistics.bands(column, values).tolist(), strict=True))
    return sorted(values, key=lambda value: (-bands[value], value))[:SLOTS]


def counted(codes: Codes, values: list[str]) -> Column:
    """A column whose values are counted."""
    held = codes[codes >= 0]
    return Column(codes, values, np.bincount(held, minlength=len(values)).astype(np.int64))


def derived(column: Column, derive: Callable[[str], str]) -> Column:
    """The column of what is derived of each value ("" for none); no record has a value twice."""
    code_of: dict[str, int] = {}
    mapped = np.full(len(column.values) + 1, -1, np.int32)
    for place, value in enumerate(column.values):
        if text := derive(value):
            mapped[place] = code_of.setdefault(text, len(code_of))
    codes = mapped[column.codes]
    if codes.shape[1] > 1:  # two values of a record may have become one
        codes = -np.sort(-codes, axis=1)
        codes[:, 1:][codes[:, 1:] == codes[:, :-1]] = -1
    return counted(codes, list(code_of))


# --- derived values ----------------------------------------------------------------------------------------------


def email_local(email: str) -> str:
    """What stands before the @, without what follows a plus sign."""
    return email.rpartition("@")[0].partition("+")[0] or email


def outward(postcode: str) -> str:
    """The first half of a postcode: the delivery office or town that neighbours share."""
    return postcode[: max(2, (len(postcode) + 1) // 2)] if len(postcode) > 3 else ""


_SOUNDS: Final = (("ph", "f"), ("ck", "k"), ("sch", "s"), ("sh", "s"), ("ch", "k"), ("th", "t"), ("gh", "g"), ("wr", "r"),
                  ("kn", "n"), ("dt", "t"), ("tz", "s"))  # fmt: skip
_LETTERS: Final = str.maketrans("cqzvwyj", "kksffii")


@lru_cache(maxsize=CACHE_VALUES)
def sound(name: str) -> str:
    """The skeleton of a name by ear: like letters made one, vowels after the first left out, doubles once."""
    for spelled, heard in _SOUNDS:
        name = name.replace(spelled, heard)
    kept = ""
    for place, letter in enumerate(name.replace(" ", "").translate(_LETTERS)):
        if letter in "aeiouh" and place:
            continue
        letter = "a" if letter in "aeiou" else letter
        if kept[-1:] != letter:
            kept += letter
    return kept[:6]


_BRITISH = re.compile(r"[A-Z]{1,2}[0-9][A-Z0-9]?[0-9][A-Z]{2}")
_LETTERS_UPPER: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _of_british(end: int, postcode: str) -> str:
    """A British postcode without its last letters: -2 leaves the sector, -3 the district."""
    return postcode[:end] if _BRITISH.fullmatch(postcode) else ""


DERIVED: Final[dict[str, tuple[str, Callable[[str], str]]]] = {
    "initial": ("given", lambda value: value[:1]),
    "family_initial": ("family", lambda value: value[:1]),
    "given_sound": ("given", sound),
    "family_sound": ("family", sound),
    "year": ("born", lambda value: value[:4]),
    "month": ("born", lambda value: value[4:6]),
    "month_day": ("born", lambda value: value[4:]),
    "email_local": ("email", email_local),
    "email_prefix": ("email", lambda value: email_local(value)[:7] if len(email_local(value)) > 6 else ""),
    "email_host": ("email", lambda value: value.rpartition("@")[2]),
    "outward": ("postcode", outward),
    "postcode_sector": ("postcode", partial(_of_british, -2)),
    "postcode_district": ("postcode", partial(_of_british, -3)),
    "postcode_area": ("postcode", lambda value: value[: len(value) - len(value.lstrip(_LETTERS_UPPER))][:2]),
}
"""Derived columns: the column they come from, and how a value is derived ("" for none)."""
