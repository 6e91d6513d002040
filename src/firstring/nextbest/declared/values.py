"""The values of a declaration: texts, numbers, times, lists, expressions, each refused with its line and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, cast

from firstring import limits
from firstring.cel import Program, Type, compiled
from firstring.cel.syntax import near, wrong
from firstring.errors import BadInput
from firstring.journey.names import spec_name
from firstring.journey.patterns.document import Marked, documents
from firstring.nextbest.hours import DAYS, Span, minute_of

UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
CODE: Final = "action_invalid"


def documents_in(text: str, file: str) -> Iterator[Marked]:
    """The documents of a YAML text. Raises BadInput action_invalid with file and line."""
    try:
        yield from documents(text, file)
    except BadInput as error:
        raise BadInput(CODE, error.message, where=error.where, hint=error.hint) from error


class Values:
    """Reads values of one file."""

    def __init__(self, file: str, code: str = CODE) -> None:
        self.file = file
        self._code = code

    def wrong(self, at: Marked, message: str, hint: str = "", name: str = "") -> BadInput:
        """The mistake at this place."""
        where: dict[str, object] = {"file": self.file, "line": at.line}
        if name:
            where["field"] = name
        return BadInput(self._code, message, where=where, hint=hint)

    def fields(self, marked: Marked, known: Sequence[str], what: str) -> dict[str, Marked]:
        """A mapping whose names are all known."""
        if not isinstance(marked.value, dict):
            raise self.wrong(marked, f"{what} has fields: {', '.join(known)}.", f"Write {known[0]}: ...")
        for name, value in marked.value.items():
            if name not in known:
                hint = f"{near(name, known)}There are: {', '.join(known)}."
                raise self.wrong(value, f"{what} has no field {name[:64]}.", hint, name[:64])
        return cast(dict[str, Marked], marked.value)

    def text(self, marked: Marked, name: str) -> str:
        """Text that is not empty."""
        if not isinstance(marked.value, str) or not marked.value.strip() or len(marked.value) > limits.FIELD_CHARS:
            raise self.wrong(
                marked, f"{name} is text of {limits.FIELD_CHARS} characters at most.", f"Write {name}: ...", name
            )
        return marked.value.strip()

    def name(self, marked: Marked, name: str) -> str:
        """A name of letters, digits and underscores."""
        text = self.text(marked, name)
        if not (text.isascii() and text.replace("_", "").isalnum() and len(text) <= 64):
            hint = "Write it like cart_reminder."
            raise self.wrong(marked, f"{name} is of letters, digits and underscores, 64 at most.", hint, name)
        return text

    def choice(self, marked: Marked, name: str, allowed: Sequence[str]) -> str:
        """One of these words."""
        text = self.text(marked, name)
        if text not in allowed:
            hint = f"{near(text, allowed)}Write one of: {', '.join(allowed)}."
            raise self.wrong(marked, f"{name} cannot be {text[:64]}.", hint, name)
        return text

    def yes(self, marked: Marked, name: str) -> bool:
        """true or false."""
        return self.choice(marked, name, ("true", "false")) == "true"

    def listed(self, marked: Marked, name: str) -> list[Marked]:
        """A list; one value alone is a list of it."""
        if isinstance(marked.value, list):
            return marked.value
        if isinstance(marked.value, dict):
            raise self.wrong(marked, f"{name} is a list.", f"Write {name}: [one, another].", name)
        return [marked]

    def choices(self, marked: Marked, name: str, allowed: Sequence[str]) -> frozenset[str]:
        """Some of these words."""
        return frozenset(self.choice(one, name, allowed) for one in self.listed(marked, name))

    def events(self, marked: Marked, name: str) -> frozenset[str]:
        """Names of events, in the spelling of the spec."""
        return frozenset(spec_name(self.text(one, name)) for one in self.listed(marked, name))

    def number(self, marked: Marked, name: str, low: float, high: float) -> float:
        """A number from low to high."""
        try:
            number = float(marked.value) if isinstance(marked.value, str) else math.nan
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise self.wrong(marked, f"{name} is a number from {low:g} to {high:g}.", f"Write {name}: {high:g}.", name)
        return number

    def whole(self, marked: Marked, name: str, low: int, high: int) -> int:
        """A whole number from low to high."""
        text = marked.value if isinstance(marked.value, str) else ""
        if not (text.isascii() and text.isdecimal() and low <= int(text[:12]) <= high):
            raise self.wrong(marked, f"{name} is a whole number from {low} to {high}.", f"Write {name}: {low}.", name)
        return int(text)

    def duration(self, marked: Marked, name: str) -> int:
        """A time in milliseconds: 30s, 10m, 24h, 14d, 4w."""
        text = marked.value if isinstance(marked.value, str) else ""
        number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = UNITS_MS.get(text[len(number) :])
        valid = unit is not None and number.isascii() and number.isdecimal()
        if not valid or not 0 < int(number[:12]) * (unit or 0) <= limits.PATTERN_WINDOW_MS:
            days = limits.PATTERN_WINDOW_MS // UNITS_MS["d"]
            raise self.wrong(marked, f"{name} is a time of {days} days at most.", "Write 30s, 10m, 24h, 14d or 4w.", name)
        return int(number) * (unit or 0)

    def spans(self, marked: Marked, name: str) -> tuple[Span, ...]:
        """Spans of the day: "21:00-08:00", "mon-fri 10:00-13:00", or a list of them."""
        return tuple(self._span(one, name) for one in self.listed(marked, name))

    def _span(self, marked: Marked, name: str) -> Span:
        text = self.text(marked, name)
        days, _, hours = text.rpartition(" ")
        begin, dash, end = hours.partition("-")
        start_minute, end_minute = minute_of(begin), minute_of(end)
        of_days = _days(days.strip())
        good = dash and start_minute is not None and end_minute is not None and start_minute != end_minute
        if not good or of_days is None or start_minute is None or end_minute is None:
            hint = "Write 21:00-08:00, mon-fri 09:00-20:00 or sat,sun 10:00-18:00."
            raise self.wrong(marked, f"{name} is a span of hours, with days if wanted.", hint, name)
        return Span(start_minute, end_minute, of_days)

    def expression(
        self,
        marked: Marked,
        name: str,
        variables: Mapping[str, Type],
        wanted: Type | Sequence[Type] = (),
        *,
        known: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Program:
        """A CEL expression. Its mistakes carry the line of the file. known: variable -> all that there is behind it."""
        source = self.text(marked, name) if not marked.block else marked.value
        try:
            made = compiled(source, variables, wanted=wanted)
            for path, at in made.asks:
                if path[0] in known and len(path) > 1 and path[1] not in known[path[0]]:
                    names = known[path[0]]
                    hint = f"{near(path[1], names)}There are: {', '.join(names)}."
                    if "attributes" in names:
                        hint += f" An attribute of records is {path[0]}.attributes.{path[1][:64]}."
                    raise wrong(source, at, f"{path[0]} has no {path[1][:64]}.", hint)
            return made
        except BadInput as error:
            line = marked.line + int(error.where["line"]) - 1 + marked.block
            error.where = {"file": self.file, "line": line, "column": error.where["column"], "field": name}
            raise


def _days(text: str) -> frozenset[int] | None:
    if not text:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.strip().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            return None
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        found.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(found)


def plain_value(marked: Marked) -> object:
    """The content without lines: what a digest is made of."""
    if isinstance(marked.value, dict):
        return sorted((name, str(plain_value(value))) for name, value in marked.value.items())
    if isinstance(marked.value, list):
        return [plain_value(one) for one in marked.value]
    return marked.value
