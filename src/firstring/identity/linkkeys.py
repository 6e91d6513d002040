"""The keys under which one record meets others, as text: the same meetings as those of a table (`columns.Table.part`).

A bulk run hashes columns of a million records; a store looks up the keys of one. Two records share a text here exactly
where their rows share a hash of the key there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final, NamedTuple

from firstring.identity.columns import DERIVED, EITHER_NAME, EITHER_ORDER, SEVERAL, SLOTS
from firstring.identity.spec import Spec
from firstring.identity.statistics import Statistics

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
        self._statistics = statistics

    def keys_of(self, values: Values) -> list[LinkKey]:
        """The linking keys of one record, none twice."""
        keys = self.keys
        return [
            LinkKey(keys[place].name, self.tags[place], text, keys[place].profile) for place, text in self.texts_of(values)
        ]

    def texts_of(self, values: Values) -> list[tuple[int, str]]:
        """The linking keys of one record, as the key's place among `keys`, and the text."""
        part_of: dict[str, Sequence[str]] = {}
        found: list[tuple[int, str]] = []
        for place, key in enumerate(self.keys):
            slots = []
            for part in key.parts:
                texts = part_of.get(part)
                if texts is None:
                    texts = part_of[part] = _part(part, values, self._statistics)
                if not texts:
                    break
                slots.append(texts)
            else:
                if all(len(texts) == 1 for texts in slots):
                    found.append((place, _SEPARATOR.join([texts[0] for texts in slots])))
                else:
                    joined = dict.fromkeys(_SEPARATOR.join(one) for one in product(*slots))
                    found += [(place, text) for text in joined]
        return found


def _part(name: str, values: Values, statistics: Statistics | None) -> Sequence[str]:
    """The texts of one part: several where the column has several values."""
    if name in EITHER_ORDER:
        given, family = (_part(one, values, statistics) for one in EITHER_ORDER[name])
        return (_SEPARATOR.join(sorted((given[0], family[0]))),) if given and family else ()
    if name in EITHER_NAME:
        return tuple(dict.fromkeys(text for one in EITHER_NAME[name] for text in _part(one, values, statistics)))
    if name == "home":
        address, postcode = values.get("address"), values.get("postcode")
        return (f"{postcode[0]} {address[0]}",) if address and postcode else ()
    base, derive = DERIVED.get(name, (name, None))
    stated = values.get(base, ())
    if len(stated) > 1:
        if base not in SEVERAL:
            stated = stated[:1]
        elif len(stated) > SLOTS and statistics is not None:
            stated = rarest(base, stated, statistics)
    return stated if derive is None else tuple(text for value in stated if (text := derive(value)))


def rarest(column: str, values: Sequence[str], statistics: Statistics) -> list[str]:
    """The SLOTS rarest values of a column by octave, ties by text: those that take part in a comparison."""
    bands = dict(zip(values, statistics.bands(column, values).tolist(), strict=True))
    return sorted(values, key=lambda value: (-bands[value], value))[:SLOTS]
