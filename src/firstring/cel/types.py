"""Types of expressions, and how a type that is wanted meets one that is there.

The rules are those of Google's checker (cel-spec, langdef.md, "Type Checking"): `dyn` meets everything, an empty list
has a type that is still open, null meets timestamps and durations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Type:
    """A type. of: what a list holds, or keys and values of a map. fields: the members of an object, which are all there.

    An open type (kind "open") stands for one that is not known yet, or for any type in the signature of a function.
    """

    kind: str
    of: tuple[Type, ...] = ()
    name: str = ""
    fields: Mapping[str, Type] = field(default_factory=dict, compare=False, hash=False)

    def __str__(self) -> str:
        if self.kind == "open":
            return "dyn"
        if self.kind == "object":
            return self.name
        return f"{self.kind}({', '.join(map(str, self.of))})" if self.of else self.kind


DYN: Final = Type("dyn")
NULL: Final = Type("null")
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
TIMESTAMP: Final = Type("timestamp")
DURATION: Final = Type("duration")

_NULLABLE: Final = frozenset(("timestamp", "duration", "object"))


def list_of(element: Type) -> Type:
    """A list whose elements are of this type."""
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """A map. Keys are text, whole numbers or true and false."""
    return Type("map", (key, value))


def object_of(name: str, fields: Mapping[str, Type]) -> Type:
    """An object with these fields and no others; each is always there."""
    return Type("object", (), name, dict(fields))


class Meeting:
    """What open types have turned out to be, while one expression is checked."""

    def __init__(self) -> None:
        self._found: dict[str, Type] = {}
        self._made = 0

    def open(self) -> Type:
        """A new open type."""
        self._made += 1
        return Type("open", (), f"#{self._made}")

    def known(self, type_: Type) -> Type:
        """`type_` with all that is known of its open parts."""
        while type_.kind == "open" and type_.name in self._found:
            type_ = self._found[type_.name]
        return Type(type_.kind, tuple(self.known(part) for part in type_.of)) if type_.of else type_

    def fresh(self, *types: Type) -> list[Type]:
        """A signature with open types of its own, one for each of its names."""
        own: dict[str, Type] = {}
        return [self._renamed(type_, own) for type_ in types]

    def _renamed(self, type_: Type, own: dict[str, Type]) -> Type:
        if type_.kind == "open":
            if type_.name not in own:
                own[type_.name] = self.open()
            return own[type_.name]
        return Type(type_.kind, tuple(self._renamed(part, own) for part in type_.of), type_.name, type_.fields)

    def meets(self, wanted: Type, given: Type) -> bool:
        """Whether `given` may stand where `wanted` is; open parts are settled by it. Left as it was where it may not."""
        return self.all_meet([wanted], [given])

    def all_meet(self, wanted: Sequence[Type], given: Sequence[Type]) -> bool:
        """The same for all of them together."""
        before = dict(self._found)
        if all(self._meets(want, give) for want, give in zip(wanted, given, strict=True)):
            return True
        self._found = before
        return False

    def joined(self, one: Type, other: Type) -> Type:
        """The type of elements that stand in one list: the more general of the two, `dyn` where neither is."""
        return _more_general(self.known(one), self.known(other)) if self.meets(one, other) else DYN

    def _meets(self, wanted: Type, given: Type) -> bool:
        if given.kind == "open":
            return self._settled(given, wanted)
        if wanted.kind == "open":
            return self._settled(wanted, given)
        if "dyn" in (wanted.kind, given.kind):
            return True
        if "null" in (wanted.kind, given.kind):
            other = given.kind if wanted.kind == "null" else wanted.kind
            return other == "null" or other in _NULLABLE
        if wanted.kind != given.kind or wanted.name != given.name:
            return False
        return all(self._meets(one, other) for one, other in zip(wanted.of, given.of, strict=True))

    def _settled(self, open_: Type, type_: Type) -> bool:
        if open_ == type_:
            return True
        found = self._found.get(open_.name)
        if found is None:
            if self._holds(type_, open_):
                return False
            self._found[open_.name] = type_
            return True
        if not self._meets(type_, found):
            return False
        general = _more_general(self.known(type_), self.known(found))
        if not self._holds(general, open_):
            self._found[open_.name] = general
        return True

    def _holds(self, type_: Type, open_: Type) -> bool:
        type_ = self.known(type_)
        return type_ == open_ or any(self._holds(part, open_) for part in type_.of)


def _more_general(one: Type, other: Type) -> Type:
    return one if _no_less_general(one, other) else other


def _no_less_general(one: Type, other: Type) -> bool:
    if one.kind in ("dyn", "open"):
        return True
    if other.kind in ("dyn", "open") or one.kind != other.kind:
        return False
    return all(_no_less_general(mine, its) for mine, its in zip(one.of, other.of, strict=True))
