"""What a pattern is, and how its declaration is read and checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

import yaml

from firstring import limits
from firstring.cel import BOOL, DYN, STRING, TIMESTAMP, Program, Type, compiled, map_of, object_of
from firstring.cel.syntax import near
from firstring.errors import BadInput
from firstring.journey.names import spec_name
from firstring.journey.patterns.document import Marked, documents, invalid, plain

By = Literal["person", "household", "visit"]
Valence = Literal["positive", "negative", "neutral"]

EVENT: Final[Type] = object_of(
    "event", {"name": STRING, "channel": STRING, "time": TIMESTAMP, "properties": map_of(STRING, DYN)}
)
"""What an expression may ask of an event."""
ANY: Final = "*"
_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_FIELDS: Final = ("id", "title", "by", "valence", "within", "same", "where", "match")
_STEP: Final = ("event", "any", "where", "count", "distinct")


@dataclass(frozen=True)
class Atom:
    """One event of one of these names (or of any, "*") of which the conditions hold."""

    names: frozenset[str]
    where: tuple[Program, ...] = field(default=(), compare=False)
    sources: tuple[str, ...] = ()

    def holds(self, name: str, event: dict[str, object]) -> bool:
        """Whether an event is one."""
        return (name in self.names or ANY in self.names) and all(program.holds(event) for program in self.where)


@dataclass(frozen=True)
class Step:
    """`count` events of `atom` (with unlike values of `distinct`), or one of each member of `all`, in any order.

    unless: what must not happen after the step before and up to the last event of this one.
    """

    atom: Atom | None = None
    count: int = 1
    distinct: Program | None = None
    all: tuple[Atom, ...] = ()
    unless: tuple[Atom, ...] = ()
    line: int = 0


@dataclass(frozen=True)
class Absence:
    """For so long after the step before, none of `atoms` happens."""

    atoms: tuple[Atom, ...]
    for_ms: int
    line: int = 0


@dataclass(frozen=True)
class Pattern:
    """A pattern of events. A match lasts `within_ms` at most, from its first event to the moment when it fires."""

    id: str
    parts: tuple[Step | Absence, ...]
    within_ms: int
    by: By = "person"
    valence: Valence = "neutral"
    title: str = ""
    same: Program | None = None
    file: str = ""
    line: int = 0
    digest: str = ""


def patterns_in(text: str, file: str = "") -> list[Pattern]:
    """The patterns of a YAML text: one a document, or a list of them under `patterns`.

    Raises BadInput pattern_invalid (file, line) or expression_invalid (file, line, column), each with what to do.
    """
    return [_Reader(file).pattern(one) for one in _declarations(text, file)]


def declared_in(text: str, file: str = "") -> list[tuple[Pattern, str]]:
    """As patterns_in, each with a YAML text of its own; a text of one pattern is kept as it is, comments and all."""
    declarations = _declarations(text, file)
    found = [_Reader(file).pattern(one) for one in declarations]
    texts = [text] if len(found) == 1 else [yaml.safe_dump(plain(one), sort_keys=False, width=120) for one in declarations]
    return list(zip(found, texts, strict=True))


def _declarations(text: str, file: str) -> list[Marked]:
    found: list[Marked] = []
    for document in documents(text, file):
        if isinstance(document.value, dict) and set(document.value) == {"patterns"}:
            listed = document.value["patterns"]
            if not isinstance(listed.value, list):
                raise invalid("patterns is a list.", file=file, line=listed.line, hint="Begin each with a dash.")
            found += listed.value
        else:
            found.append(document)
    if not found:
        raise invalid("There is no pattern here.", file=file, line=1, hint="Give id, match and within.")
    return found


class _Reader:
    """Reads one pattern."""

    def __init__(self, file: str) -> None:
        self._file = file

    def _wrong(self, at: Marked, message: str, hint: str = "", name: str = "") -> BadInput:
        return invalid(message, file=self._file, line=at.line, hint=hint, field=name)

    def pattern(self, marked: Marked) -> Pattern:
        fields = self._fields(marked, _FIELDS, "A pattern")
        for name in ("id", "match"):
            if name not in fields:
                raise self._wrong(marked, f"The pattern has no {name}.", f"Add {name}.", name)
        pattern_id = self._text(fields["id"], "id")
        if not (pattern_id.isascii() and pattern_id.replace("_", "").isalnum() and len(pattern_id) <= 64):
            hint = "Write it like refund_chaser."
            raise self._wrong(fields["id"], "An id is of letters, digits and underscores, 64 at most.", hint, "id")
        parts = self._parts(fields["match"], fields.get("where"))
        within_ms = self._within(marked, fields, parts)
        content = f"{_plain(marked)}"
        return Pattern(
            id=pattern_id,
            parts=tuple(parts),
            within_ms=within_ms,
            by=cast(By, self._choice(fields, "by", get_args(By), "person")),
            valence=cast(Valence, self._choice(fields, "valence", get_args(Valence), "neutral")),
            title=self._text(fields["title"], "title") if "title" in fields else "",
            same=self._expression(fields["same"], "same") if "same" in fields else None,
            file=self._file,
            line=marked.line,
            digest=hashlib.sha256(content.encode()).hexdigest()[:16],
        )

    def _within(self, marked: Marked, fields: dict[str, Marked], parts: list[Step | Absence]) -> int:
        """The window; a pattern of one event needs none. It has to be longer than the absence in it."""
        absent_ms = sum(part.for_ms for part in parts if isinstance(part, Absence))
        if "within" not in fields:
            if len(parts) == 1 and isinstance(parts[0], Step) and parts[0].count == 1 and not parts[0].all:
                return 0
            hint = "Add within, such as within: 14d."
            raise self._wrong(marked, "The window is not bounded: of many events it must be said within which time.", hint)
        within_ms = self._duration(fields["within"], "within")
        if within_ms < absent_ms:
            hint = "Make within as long as `for` at least."
            raise self._wrong(fields["within"], "The window ends before the absence does: it can never fire.", hint)
        return within_ms

    # --- match ---------------------------------------------------------------------------------------------------

    def _parts(self, match: Marked, where: Marked | None) -> list[Step | Absence]:
        listed = [match]
        if isinstance(match.value, dict) and set(match.value) == {"seq"}:
            listed = self._list(match.value["seq"], "seq")
        parts: list[Step | Absence] = []
        unless: list[Atom] = []
        for marked in listed:
            keys = set(marked.value) if isinstance(marked.value, dict) else set()
            if "not" in keys:
                unless += self._refused(marked, parts)
            elif "absent" in keys:
                parts.append(self._absence(marked, parts, tuple(unless)))
                unless = []
            else:
                parts.append(self._step(marked, where if not parts else None, tuple(unless), first=not parts))
                unless = []
        if unless:
            hint = "Write {absent: ..., for: 1h}: it fires when the time has passed."
            raise self._wrong(match, "A `not` at the end never comes true.", hint)
        return self._bounded(match, parts)

    def _bounded(self, match: Marked, parts: list[Step | Absence]) -> list[Step | Absence]:
        if sum(isinstance(part, Absence) for part in parts) > 1:
            raise self._wrong(match, "A pattern has one absence at most.", "Make two patterns, or one absence of any.")
        size = sum(2 ** len(part.all) - 1 if part.all else part.count for part in parts if isinstance(part, Step))
        if size > limits.PATTERN_PLACES:
            message = f"The pattern has {size} places; the limit is {limits.PATTERN_PLACES}."
            raise self._wrong(match, message, "Lower a count, or take members out of `all`.")
        return parts

    def _refused(self, marked: Marked, parts: list[Step | Absence]) -> list[Atom]:
        fields = self._fields(marked, ("not", "where"), "A `not`")
        if not parts:
            raise self._wrong(marked, "Before a `not` an event is missing.", "Begin with the event that starts it.")
        return [Atom(self._names(fields["not"], "not"), *self._where(fields.get("where")))]

    def _absence(self, marked: Marked, parts: list[Step | Absence], unless: tuple[Atom, ...]) -> Absence:
        fields = self._fields(marked, ("absent", "for", "where"), "An absence")
        if not parts:
            hint = "Begin with the event after which it is awaited."
            raise self._wrong(marked, "Before an absence an event is missing.", hint)
        if "for" not in fields:
            raise self._wrong(marked, "How long is it to be absent?", "Add for, such as for: 3d.", "for")
        atom = Atom(self._names(fields["absent"], "absent"), *self._where(fields.get("where")))
        return Absence((atom, *unless), self._duration(fields["for"], "for"), marked.line)

    def _step(self, marked: Marked, where: Marked | None, unless: tuple[Atom, ...], *, first: bool) -> Step:
        if isinstance(marked.value, dict) and "all" in marked.value:
            return self._all(marked, where, unless)
        if not isinstance(marked.value, dict):
            atom = Atom(self._names(marked, "match"), *self._where(where))
            return Step(atom, unless=unless, line=marked.line)
        fields = self._fields(marked, _STEP, "A step")
        if ("event" in fields) == ("any" in fields):
            raise self._wrong(
                marked, "A step names one event, or any of several.", "Give event: Name, or any: [Name, Name]."
            )
        names = self._names(fields["event"] if "event" in fields else fields["any"], "event")
        distinct = None
        if "distinct" in fields:
            if not first:
                raise self._wrong(fields["distinct"], "distinct is for the first step only.", "Put the step first.")
            distinct = self._expression(fields["distinct"], "distinct")
        count = self._count(fields["count"]) if "count" in fields else 1
        atom = Atom(names, *self._where(where, fields.get("where")))
        return Step(atom, count, distinct if count > 1 else None, unless=unless, line=marked.line)

    def _all(self, marked: Marked, where: Marked | None, unless: tuple[Atom, ...]) -> Step:
        fields = self._fields(marked, ("all", "where"), "A step with `all`")
        members = self._list(fields["all"], "all")
        if not 2 <= len(members) <= limits.PATTERN_ALL:
            raise self._wrong(marked, f"`all` has 2 to {limits.PATTERN_ALL} members.", "Split it.")
        atoms: list[Atom] = []
        for member in members:
            inner = self._fields(member, ("event", "any", "where"), "A member") if isinstance(member.value, dict) else {}
            named = (inner.get("event") or inner.get("any") or member) if inner else member
            conditions = self._where(where, fields.get("where"), inner.get("where"))
            atoms.append(Atom(self._names(named, "all"), *conditions))
        return Step(all=tuple(atoms), unless=unless, line=marked.line)

    # --- values --------------------------------------------------------------------------------------------------

    def _fields(self, marked: Marked, known: tuple[str, ...], what: str) -> dict[str, Marked]:
        if not isinstance(marked.value, dict):
            raise self._wrong(marked, f"{what} has fields: {', '.join(known)}.", f"Write {known[0]}: ...")
        for name, value in marked.value.items():
            if name not in known:
                hint = f"{near(name, known)}There are: {', '.join(known)}."
                raise self._wrong(value, f"{what} has no field {name}.", hint, name)
        return cast(dict[str, Marked], marked.value)

    def _list(self, marked: Marked, name: str) -> list[Marked]:
        if not isinstance(marked.value, list) or not marked.value:
            raise self._wrong(marked, f"{name} is a list.", f"Write {name}: [One, Another].", name)
        return marked.value

    def _names(self, marked: Marked, name: str) -> frozenset[str]:
        value = marked.value
        if isinstance(value, dict) and set(value) == {"any"}:
            value = value["any"].value
        listed = value if isinstance(value, list) else [Marked(value, marked.line)]
        return frozenset(self._name(one, name) for one in listed)

    def _name(self, marked: Marked, name: str) -> str:
        text = self._text(marked, name)
        return ANY if text == ANY else spec_name(text)

    def _text(self, marked: Marked, name: str) -> str:
        if not isinstance(marked.value, str) or not marked.value.strip() or len(marked.value) > limits.FIELD_CHARS:
            raise self._wrong(marked, f"{name} is text.", f"Write {name}: text.", name)
        return marked.value.strip()

    def _choice(self, fields: dict[str, Marked], name: str, allowed: tuple[str, ...], default: str) -> str:
        if name not in fields:
            return default
        text = self._text(fields[name], name)
        if text not in allowed:
            hint = f"{near(text, allowed)}Write one of: {', '.join(allowed)}."
            raise self._wrong(fields[name], f"{name} cannot be {text}.", hint, name)
        return text

    def _count(self, marked: Marked) -> int:
        if not isinstance(marked.value, str) or not marked.value.isdecimal() or not 1 <= int(marked.value[:6]) <= 100:
            raise self._wrong(marked, "count is a whole number from 1 to 100.", "Write count: 3.", "count")
        return int(marked.value)

    def _duration(self, marked: Marked, name: str) -> int:
        text = marked.value if isinstance(marked.value, str) else ""
        number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = _UNITS_MS.get(text[len(number) :])
        if unit is None or not number.isdecimal() or not 0 < int(number[:12]) * unit <= limits.PATTERN_WINDOW_MS:
            days = limits.PATTERN_WINDOW_MS // _UNITS_MS["d"]
            hint = "Write 500ms, 30s, 10m, 24h, 14d or 4w."
            raise self._wrong(marked, f"{name} is a time of {days} days at most.", hint, name)
        return int(number) * unit

    def _where(self, *conditions: Marked | None) -> tuple[tuple[Program, ...], tuple[str, ...]]:
        programs = tuple(self._expression(one, "where") for one in conditions if one is not None)
        return programs, tuple(program.source for program in programs)

    def _expression(self, marked: Marked, name: str) -> Program:
        source = self._text(marked, name) if not marked.block else marked.value
        try:
            return compiled(source, {"event": EVENT}, wanted=BOOL if name == "where" else ())
        except BadInput as error:
            line = marked.line + int(error.where["line"]) - 1 + marked.block
            error.where = {"file": self._file, "line": line, "column": error.where["column"], "field": name}
            raise


def _plain(marked: Marked) -> object:
    """The content without lines and notes: what the digest of a pattern is made of."""
    if isinstance(marked.value, dict):
        return sorted((name, str(_plain(value))) for name, value in marked.value.items() if name != "title")
    if isinstance(marked.value, list):
        return [_plain(one) for one in marked.value]
    return marked.value
