"""The keys under which one record meets others, as text: the same meetings as those of a table (`columns.Table.part`).

A bulk run hashes columns of a million records; a store looks up the keys of one. Two records share a text here exactly
where their rows share a hash of the key there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Final, NamedTuple, TypeAlias

from firstring.identity.comparison.columns import DERIVED, EITHER_NAME, EITHER_ORDER, SEVERAL, SLOTS, rarest
from firstring.identity.comparison.spec import BlockingKey, Spec
from firstring.identity.comparison.statistics import Statistics

Values = Mapping[str, Sequence[str]]
"""What is compared of a record, by column (see `columns.compared`)."""

PROFILE: Final = 0x80
"""The bit of a tag that says: a profile key."""
COPY_TAG: Final = 0x7F
"""No key of a spec has this tag: it is free for the store's own use."""
_SEPARATOR: Final = "\x1f"


class LinkKey(NamedTuple):
    """name: the key of the spec; tag: its byte (see `tags`); text: the parts, unique within the name; profile: its kind."""

    name: str
    tag: int
    text: str
    profile: bool


def tags(spec: Spec) -> dict[str, int]:
    """The byte by which each linking key of a spec is known: its place among them, and whether it is a profile key."""
    keys = spec.linking
    if len(keys) > COPY_TAG:
        raise ValueError("too many linking keys for one byte")
    return {key.name: place | (PROFILE if key.profile else 0) for place, key in enumerate(keys)}


def bounds(spec: Spec) -> list[int]:
    """By the 256 tags, how many records may carry a linking key; one that more carry is hot. None exceeds the spec's."""
    known = tags(spec)
    found = [spec.block_records] * 256
    for key in spec.linking:
        found[known[key.name]] = spec.most(key)
    return found


def link_keys_of(spec: Spec, values: Values, statistics: Statistics | None = None) -> list[LinkKey]:
    """The linking keys of one record, none twice.

    statistics: of the version. Of a column with more than SLOTS values, the rarest take part, as in a table; without
    statistics all do.
    """
    return KeyMaker(spec, statistics).keys_of(values)


class KeyMaker:
    """`link_keys_of` for many records of one version."""

    def __init__(self, spec: Spec, statistics: Statistics | None = None) -> None:
        known = tags(spec)
        self.keys = spec.linking
        self.tags = [known[key.name] for key in self.keys]
        self._parts = list(_parts(self.keys, statistics).items())
        self._keys = [
            (place, key.parts[0], key.parts[1] if len(key.parts) > 1 else "", key.parts if len(key.parts) > 2 else ())
            for place, key in enumerate(self.keys)
        ]

    def keys_of(self, values: Values) -> list[LinkKey]:
        """The linking keys of one record, none twice."""
        keys = self.keys
        return [
            LinkKey(keys[place].name, self.tags[place], text, keys[place].profile) for place, text in self.texts_of(values)
        ]

    def texts_of(self, values: Values) -> list[tuple[int, str]]:
        """The linking keys of one record, as the key's place among `keys`, and the text."""
        texts: dict[str, Sequence[str]] = {}
        for name, texts_of_part in self._parts:
            texts[name] = texts_of_part(values, texts)
        found: list[tuple[int, str]] = []
        for place, one, other, more in self._keys:
            ones = texts[one]
            if not ones:
                continue
            if not other:
                found += [(place, text) for text in dict.fromkeys(ones)]
                continue
            others = texts[other]
            if not others:
                continue
            if len(ones) == len(others) == 1 and not more:
                found.append((place, f"{ones[0]}{_SEPARATOR}{others[0]}"))
                continue
            slots = [texts[name] for name in more or (one, other)]
            found += [(place, text) for text in dict.fromkeys([_SEPARATOR.join(each) for each in product(*slots)])]
        return found


_Texts: TypeAlias = Callable[[Values, Mapping[str, Sequence[str]]], Sequence[str]]
"""The texts of a part of keys: several where the column has several values. Out of values, and the parts before it."""


def _parts(keys: Iterable[BlockingKey], statistics: Statistics | None) -> dict[str, _Texts]:
    """The parts of keys by name, each after those that it rests on."""
    found: dict[str, _Texts] = {}
    for key in keys:
        for name in key.parts:
            if name in EITHER_ORDER or name in EITHER_NAME:
                rests_on = EITHER_ORDER.get(name) or EITHER_NAME[name]
                for one in rests_on:
                    found.setdefault(one, _derived(one, statistics))
                found.setdefault(name, _both(*rests_on) if name in EITHER_ORDER else _either(*rests_on))
            elif name not in found:
                found[name] = _home if name == "home" else _derived(name, statistics)
    return found


def _both(one: str, other: str) -> _Texts:
    def texts(_values: Values, parts: Mapping[str, Sequence[str]]) -> Sequence[str]:
        left, right = parts[one], parts[other]
        if not left or not right:
            return ()
        first, second = left[0], right[0]
        return (f"{first}{_SEPARATOR}{second}" if first <= second else f"{second}{_SEPARATOR}{first}",)

    return texts


def _either(one: str, other: str) -> _Texts:
    def texts(_values: Values, parts: Mapping[str, Sequence[str]]) -> Sequence[str]:
        left, right = parts[one], parts[other]
        return (*left, *right) if left != right else left

    return texts


def _home(values: Values, _parts: Mapping[str, Sequence[str]]) -> Sequence[str]:
    address, postcode = values.get("address"), values.get("postcode")
    return (f"{postcode[0]} {address[0]}",) if address and postcode else ()


def _stated(base: str) -> _Texts:
    def texts(values: Values, _parts: Mapping[str, Sequence[str]]) -> Sequence[str]:
        stated = values.get(base, ())
        return stated if len(stated) < 2 else stated[:1]

    return texts


def _derived_from(base: str, derive: Callable[[str], str]) -> _Texts:
    def texts(values: Values, _parts: Mapping[str, Sequence[str]]) -> Sequence[str]:
        if base not in values:
            return ()
        text = derive(values[base][0])
        return (text,) if text else ()

    return texts


def _derived(name: str, statistics: Statistics | None) -> _Texts:
    base, derive = DERIVED.get(name, (name, None))
    if base not in SEVERAL:
        return _stated(base) if derive is None else _derived_from(base, derive)

    def texts(values: Values, _parts: Mapping[str, Sequence[str]]) -> Sequence[str]:
        stated = values.get(base, ())
        if len(stated) > SLOTS and statistics is not None:
            stated = rarest(base, stated, statistics)
        if derive is None or not stated:
            return stated
        return tuple([text for value in stated if (text := derive(value))])

    return texts
