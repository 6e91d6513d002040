"""What is compared, as a TOML file: changed by configuration, checked when it is read. Pure: text in, Spec out.

A file with `base = "person"` alters the default: its comparisons and keys take the place of those of the same name or are
added after them, `remove` and `remove_keys` leave some out. A file with `base = "none"` states everything. The order of
comparisons is that of the file; docs/comparisons.md explains each entry.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

import msgspec

from firstring.errors import BadInput
from firstring.identity.comparison.columns import COLUMNS, DERIVED, EITHER_NAME, EITHER_ORDER, SEVERAL
from firstring.identity.comparison.freelevels import read_test
from firstring.identity.comparison.levels import outcomes
from firstring.identity.comparison.spec import ATTRIBUTE, CLASSES, PERSON, BlockingKey, Comparison, Kind, Level, Spec

T = TypeVar("T", BlockingKey, Comparison)

LINK_KEYS_MOST: Final = 126
"""A linking key is known by seven bits, two of whose values are taken."""
_BASES: Final = {"person": PERSON, "none": Spec((), ())}
_ENTRIES: Final = ("base", "remove", "remove_keys", "link_keys", "block_records", "comparison", "key")
_NAMES: Final = frozenset(("exact", "close", "similar", "different"))
_LEVELS: Final[dict[str, frozenset[str]]] = {
    "names": _NAMES | {"part"},
    "middle": frozenset(("exact", "initial", "different")),
    "suffix": frozenset(("exact", "different")),
    "code": frozenset(("exact", "different")),
    "date": frozenset(("exact", "swapped", "edit1", "edit2", "month_day", "days", "year", "different")),
    "place": frozenset(("home", "home_close", "postcode", "address", "near", "city", "city_close", "different")),
    "email": frozenset(("exact", "exact_several", "close", "local", "similar", "different")),
    "identifier": frozenset(("exact", "different")),
}
_GIVEN_LEVELS: Final = _NAMES | {"nickname", "initial"}
_MAY: Final[dict[str, frozenset[str]]] = {"names": frozenset(("swapped",)), "identifier": frozenset(("close",))}
_BANDED: Final[dict[str, frozenset[str]]] = {
    "names": frozenset(("exact",)), "date": frozenset(("exact",)), "identifier": frozenset(("exact",)),
    "place": frozenset(("home", "postcode", "address", "city")), "email": frozenset(("exact", "exact_several", "local")),
}  # fmt: skip
"""Levels that a kind gives by octave of rarity: these and no others are banded."""
_SHARES: Final = tuple(field.name for field in msgspec.structs.fields(Level) if field.type is float)
_OWN_COLUMNS: Final = {"place": ("address", "postcode", "city"), "email": ("email",), "middle": ("middle",)}
_MARKS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


def spec_of(text: str, file: str = "spec") -> Spec:
    """Reads a TOML file. Raises BadInput spec_unreadable or spec_invalid, where = {"file": file, "key": entry}."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = {"file": file}
        hint = "It is TOML; firstring spec prints one to begin with."
        raise BadInput("spec_unreadable", f"The spec cannot be read: {error}.", where=where, hint=hint) from error
    reader = _Reader(file)
    spec = reader.spec(raw)
    reader.check(spec)
    return spec


class _Reader:
    """Reads the entries of one file; every complaint names the file and the entry."""

    def __init__(self, file: str) -> None:
        self._file = file

    def _wrong(self, entry: str, message: str, hint: str) -> BadInput:
        return BadInput("spec_invalid", message, where={"file": self._file, "key": entry}, hint=hint)

    def spec(self, raw: Mapping[str, Any]) -> Spec:
        for entry in raw:
            if entry not in _ENTRIES:
                raise self._wrong(entry, f"A spec has no entry {entry}.", f"One of: {', '.join(_ENTRIES)}.")
        base = _BASES.get(raw.get("base", "person"))
        if base is None:
            raise self._wrong("base", "There is no such base.", f"One of: {', '.join(_BASES)}.")
        comparisons = [self._comparison(number, one) for number, one in enumerate(self._tables(raw, "comparison"))]
        keys = [self._key(number, one) for number, one in enumerate(self._tables(raw, "key"))]
        kept = self._without(base.comparisons, self._texts(raw, "remove"), "remove")
        kept_keys = self._without(base.keys, self._texts(raw, "remove_keys"), "remove_keys")
        all_keys = self._merged(kept_keys, keys, "key")
        linking = raw.get("link_keys")
        named = self._texts(raw, "link_keys") if linking is not None else self._linking(base, all_keys)
        block = raw.get("block_records", base.block_records)
        if isinstance(block, bool) or not isinstance(block, int) or not 2 <= block <= 10_000:
            raise self._wrong("block_records", "block_records is a whole number from 2 to 10,000.", "50 is the default.")
        return Spec(self._merged(kept, comparisons, "comparison"), all_keys, block, named)

    def _linking(self, base: Spec, keys: Sequence[BlockingKey]) -> tuple[str, ...]:
        """Where the file does not say: those of the base that are left, and the keys that the file adds."""
        added = {key.name for key in keys} - {key.name for key in base.keys}
        chosen = {*base.link_keys, *added}
        return tuple(key.name for key in keys if key.name in chosen) if base.link_keys else ()

    def _tables(self, raw: Mapping[str, Any], entry: str) -> list[dict[str, Any]]:
        found = raw.get(entry, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._wrong(entry, f"Each {entry} is a table of its own.", f"Begin it with [[{entry}]].")
        return found

    def _texts(self, raw: Mapping[str, Any], entry: str) -> tuple[str, ...]:
        found = raw.get(entry, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self._wrong(entry, f"{entry} is a list of names.", 'For example ["phone", "email"].')
        return tuple(found)

    def _comparison(self, number: int, raw: Mapping[str, Any]) -> Comparison:
        return self._converted(f"comparison {raw.get('name', number + 1)}", raw, Comparison)

    def _key(self, number: int, raw: Mapping[str, Any]) -> BlockingKey:
        return self._converted(f"key {raw.get('name', number + 1)}", raw, BlockingKey)

    def _converted(self, entry: str, raw: Mapping[str, Any], type_: type[T]) -> T:
        known = type_.__struct_fields__
        for name in raw:
            if name not in known:
                raise self._wrong(entry, f"There is no {name} in it.", f"One of: {', '.join(known)}.")
        for place, level in enumerate(raw.get("levels", ()) if isinstance(raw.get("levels"), list) else ()):
            for name in level if isinstance(level, dict) else ():
                if name not in Level.__struct_fields__:
                    hint = f"One of: {', '.join(Level.__struct_fields__)}."
                    raise self._wrong(f"{entry}, level {level.get('name', place + 1)}", f"There is no {name} in it.", hint)
        try:
            return msgspec.convert(raw, type_)
        except msgspec.ValidationError as error:
            kinds = f"Kinds: {', '.join(get_args(Kind))}." if "kind" in str(error) else "See docs/comparisons.md."
            raise self._wrong(entry, f"{error}.", kinds) from error

    def _without(self, base: Sequence[T], names: Sequence[str], entry: str) -> list[T]:
        known = [one.name for one in base]
        for name in names:
            if name not in known:
                raise self._wrong(entry, f"The base has no {name}.", f"One of: {', '.join(known)}.")
        return [one for one in base if one.name not in names]

    def _merged(self, base: Sequence[T], own: Sequence[T], entry: str) -> tuple[T, ...]:
        by_name: dict[str, T] = {one.name: one for one in own}
        if len(by_name) != len(own):
            twice = next(one.name for one in own if [other.name for other in own].count(one.name) > 1)
            raise self._wrong(f"{entry} {twice}", "The name is there twice.", "Names are unique.")
        merged: list[T] = [by_name.pop(one.name, one) for one in base]
        return tuple(merged + list(by_name.values()))

    # --- what must hold of the whole -----------------------------------------------------------------------------

    def check(self, spec: Spec) -> None:
        if not spec.comparisons:
            raise self._wrong("comparison", "Nothing is compared.", 'State comparisons, or take base = "person".')
        for comparison in spec.comparisons:
            self._check_comparison(comparison)
        self._check_size(spec.comparisons)
        for key in spec.keys:
            self._check_key(key)
        names = [key.name for key in spec.keys]
        if not names:
            raise self._wrong("key", "Without a key no two records ever meet.", 'State keys, or take base = "person".')
        for name in spec.link_keys:
            if name not in names:
                raise self._wrong("link_keys", f"There is no key {name}.", f"One of: {', '.join(names)}.")
        if len(spec.link_keys) > LINK_KEYS_MOST:
            raise self._wrong("link_keys", f"More than {LINK_KEYS_MOST} linking keys.", "Leave some out.")

    def _check_comparison(self, one: Comparison) -> None:
        entry = f"comparison {one.name}"
        if not one.name or not set(one.name) <= _MARKS:
            raise self._wrong(entry, "A name has small letters, digits and _ alone.", "For example loyalty_number.")
        if not one.columns:
            raise self._wrong(entry, "It has no columns.", f"Columns: {_listed(COLUMNS)}.")
        for column in one.columns:
            self._check_column(entry, column, COLUMNS if one.kind != "text" else (*COLUMNS, *DERIVED))
        for name in getattr(one, "as_same", ()):
            if name not in CLASSES:
                raise self._wrong(entry, f"There is no class {name}.", f"Classes: {', '.join(CLASSES)}.")
        own = _OWN_COLUMNS.get(one.kind)
        if own is not None and one.columns != own:
            raise self._wrong(entry, f"Kind {one.kind} compares {', '.join(own)}.", "Another kind is text.")
        if one.kind not in ("identifier", "email", "text") and any(column in SEVERAL for column in one.columns):
            raise self._wrong(entry, "A column of several values needs kind identifier or text.", "Change the kind.")
        self._check_levels(entry, one)

    def _check_column(self, entry: str, column: str, known: Iterable[str]) -> None:
        if column.startswith(ATTRIBUTE):
            if len(column) > len(ATTRIBUTE):
                return
            raise self._wrong(entry, f"{column} names no attribute.", "Write attribute.NAME, with the map's name of it.")
        if column not in known:
            raise self._wrong(entry, f"There is no column {column}.", f"One of: {_listed(known)}, or attribute.NAME.")

    def _check_levels(self, entry: str, one: Comparison) -> None:
        names = [level.name for level in one.levels]
        if len(set(names)) != len(names):
            raise self._wrong(entry, "A level is there twice.", "Names of levels are unique.")
        if one.kind == "text":
            self._check_tests(entry, one)
        else:
            needed = _GIVEN_LEVELS if one.columns[0] == "given" and one.kind == "names" else _LEVELS[one.kind]
            for name in sorted(needed - set(names)):
                raise self._wrong(entry, f"Kind {one.kind} needs a level {name}.", f"Its levels: {_listed(needed)}.")
            for name in names:
                if name not in needed | _MAY.get(one.kind, frozenset()):
                    raise self._wrong(
                        entry, f"Kind {one.kind} never gives a level {name}.", f"Its levels: {_listed(needed)}."
                    )
            banded = _BANDED.get(one.kind, frozenset())
            for level in one.levels:
                if level.banded != (level.name in banded):
                    said = "must be" if level.name in banded else "cannot be"
                    raise self._wrong(
                        f"{entry}, level {level.name}", f"It {said} banded in kind {one.kind}.", "Change banded."
                    )
                if level.test:
                    raise self._wrong(f"{entry}, level {level.name}", "Only kind text has tests.", "Take test out.")
        for level in one.levels:
            shares = [getattr(level, name) for name in _SHARES]
            if not all(math.isfinite(share) and 0 <= share <= 1 for share in shares):
                raise self._wrong(f"{entry}, level {level.name}", "A share lies between 0 and 1.", "Change it.")
        for name in _SHARES:
            total = math.fsum(getattr(level, name) for level in one.levels)
            if total > 1.1 or (name == "same" and total <= 0):
                raise self._wrong(
                    entry, f"The shares of {name} add up to {total:.3g}.", "They add up to about 1, or are all 0."
                )

    def _check_tests(self, entry: str, one: Comparison) -> None:
        if len(one.levels) < 2 or one.levels[0].name != "exact":
            raise self._wrong(entry, "The first level is exact.", 'Begin with { name = "exact", test = "equal", ... }.')
        if one.levels[-1].test:
            raise self._wrong(entry, "The last level is for all other pairs and has no test.", "Add one: different.")
        for place, level in enumerate(one.levels[:-1]):
            here = f"{entry}, level {level.name}"
            try:
                test = read_test(level.test)
            except ValueError as error:
                raise self._wrong(here, f"{error}.", "For example: jaro_winkler >= 0.92, or equal.") from error
            if place == 0 and test.measure:
                raise self._wrong(here, "The level exact tests equality.", 'Write test = "equal".')
            column = test.column or one.columns[0]
            if column not in one.columns and DERIVED.get(column, ("",))[0] not in one.columns:
                raise self._wrong(
                    here, f"{column} is none of the comparison's columns.", f"They are {_listed(one.columns)}."
                )
            if level.banded and (test.measure or column != one.columns[0]):
                raise self._wrong(here, "Rarity is that of equal values of the first column.", "Take banded out.")
        if one.levels[-1].banded:
            raise self._wrong(entry, "The last level cannot be banded.", "Take banded out.")

    def _check_key(self, key: BlockingKey) -> None:
        entry = f"key {key.name}"
        if not key.name or not key.parts:
            raise self._wrong(entry, "A key has a name and parts.", 'For example parts = ["family", "born"].')
        if key.block_records and not 2 <= key.block_records <= 10_000:
            raise self._wrong(entry, "block_records is a whole number from 2 to 10,000.", "0, if left out, is the spec's.")
        if len(set(key.parts)) != len(key.parts):
            raise self._wrong(entry, "A part is there twice.", "Each part once.")
        for part in key.parts:
            self._check_column(entry, part, (*COLUMNS, *DERIVED, *EITHER_ORDER, *EITHER_NAME, "home"))
        for column in key.unless or ():
            self._check_column(entry, column, COLUMNS)

    def _check_size(self, comparisons: Sequence[Comparison]) -> None:
        """All outcomes of a pair are one 63-bit number."""
        bits = [math.log2(outcomes(one).radix) for one in comparisons]
        if math.fsum(bits) >= 63:
            raise self._wrong(
                "comparison",
                f"The comparisons have {math.fsum(bits):.1f} bits of outcomes, of 63 that one pair may have.",
                "Remove a comparison, or make a level not banded: " + _dearest(comparisons, bits) + " take most.",
            )


def _dearest(comparisons: Sequence[Comparison], bits: Sequence[float]) -> str:
    ordered = sorted(zip(bits, (one.name for one in comparisons), strict=True), reverse=True)
    return ", ".join(f"{name} ({size:.1f})" for size, name in ordered[:3])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


# --- to TOML ---------------------------------------------------------------------------------------------------------


def toml_of(spec: Spec) -> str:
    """A spec as a file that states everything; `spec_of` gives the same spec back."""
    lines = ['base = "none"', f"block_records = {spec.block_records}", f"link_keys = {_value(list(spec.link_keys))}"]
    for comparison in spec.comparisons:
        lines += ["", "[[comparison]]", *_entries(comparison, skip=("levels",)), "levels = ["]
        lines += [f"  {{ {', '.join(_entries(level))} }}," for level in comparison.levels]
        lines.append("]")
    for key in spec.keys:
        lines += ["", "[[key]]", *_entries(key)]
    return "\n".join(lines) + "\n"


def _entries(one: msgspec.Struct, skip: tuple[str, ...] = ()) -> list[str]:
    """name = value for each entry that differs from its default."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(one)}
    values = {name: getattr(one, name) for name in one.__struct_fields__ if name not in skip}
    return [f"{name} = {_value(value)}" for name, value in values.items() if value != defaults[name]]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return repr(float(value)) if isinstance(value, float) else str(value)
