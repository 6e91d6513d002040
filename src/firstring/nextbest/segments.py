"""Segments: groups of persons who are in it while a condition over their profile is true, declared as YAML.

A condition is an expression of the language, and over the variables, of an action's `audience`, but for what only a contact
or a firing has (contact, fired, reason, assurance): it is about the person alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from firstring import limits
from firstring.cel import BOOL, EvaluationError, Program, Type, compiled
from firstring.errors import BadInput
from firstring.identity.canonical.fields import FIELDS
from firstring.identity.golden.survivorship import ATTRIBUTES, SOURCES
from firstring.journey.patterns.document import Marked, documents
from firstring.journey.traits import NAMES as TRAITS
from firstring.nextbest.declared.values import Values
from firstring.nextbest.situation import VARIABLES as OF_ACTIONS

CODE: Final = "segment_invalid"
NAMES: Final = ("person", "traits", "consents", "issues", "patterns", "experience", "now")
VARIABLES: Final[dict[str, Type]] = {name: OF_ACTIONS[name] for name in NAMES}
"""What a condition may ask, with the types that it has for actions."""
_OF: Final = {"person": (*FIELDS, ATTRIBUTES, SOURCES), "traits": TRAITS}
"""What there is behind a variable; a name beside it is a mistake, which would be false for everybody and say nothing."""
_FIELDS: Final = ("id", "title", "where")
_HINT: Final = "Write {id: loyal, title: Loyal customers, where: traits.orders >= 3}."


@dataclass(frozen=True, slots=True)
class Segment:
    """A declared segment. condition: its text; file and line: where it stands."""

    id: str
    title: str
    condition: str
    where: Program
    file: str = ""
    line: int = 0

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes of persons that it asks for: those of records, beside the vocabulary."""
        return frozenset(one.path[2] for one in self.where.asks if one.path[:2] == ("person", ATTRIBUTES) and one.path[2:])

    def holds(self, facts: Sequence[object]) -> bool | None:
        """Whether somebody is in it, by the values of VARIABLES in their order; None where the condition is an error."""
        try:
            return self.where.of(*facts) is True
        except EvaluationError:
            return None


def segment_of(id_: str, title: str, condition: str) -> Segment:
    """A segment that was declared before. Raises BadInput expression_invalid."""
    return Segment(id_, title, condition, compiled(condition, VARIABLES, wanted=BOOL))


def segments_in(text: str, file: str = "") -> list[Segment]:
    """The segments of a YAML text: one a document, or under `segments`.

    Raises BadInput segment_invalid (file, line, field) or expression_invalid (file, line, column), each with what to do.
    """
    reader = _Reader(file)
    found: list[Segment] = []
    for document in reader.documents(text):
        listed = [document]
        if isinstance(document.value, dict) and set(document.value) == {"segments"}:
            listed = reader.listed(document.value["segments"], "segments")
        found += [reader.segment(one) for one in listed]
    if not found:
        raise reader.wrong(Marked("", 1), "There is no segment here.", _HINT)
    return found


def together(texts: Sequence[tuple[str, str]]) -> list[Segment]:
    """The segments of (file, YAML)s. Raises BadInput as `segments_in`, and segment_invalid where an id stands twice."""
    by_id: dict[str, Segment] = {}
    for file, text in texts:
        for one in segments_in(text, file):
            if one.id in by_id:
                first = by_id[one.id]
                hint = f"The other one is in {first.file or 'the text'}, line {first.line}. Give it another id."
                raise Values(file, CODE).wrong(Marked("", one.line), f"{one.id} stands twice.", hint, "id")
            by_id[one.id] = one
    return list(by_id.values())


class _Reader(Values):
    """Reads the documents of one file."""

    def __init__(self, file: str) -> None:
        super().__init__(file, CODE)

    def documents(self, text: str) -> list[Marked]:
        try:
            return list(documents(text, self.file))
        except BadInput as error:
            raise BadInput("segment_invalid", error.message, where=error.where, hint=error.hint) from error

    def segment(self, marked: Marked) -> Segment:
        of = self.fields(marked, _FIELDS, "A segment")
        for name in ("id", "where"):
            if name not in of:
                raise self.wrong(marked, f"The segment has no {name}.", _HINT, name)
        id_ = self.name(of["id"], "id")
        title = self.text(of["title"], "title") if "title" in of else id_
        if len(title) > limits.SEGMENT_TITLE_CHARS:
            raise self.wrong(
                of["title"], f"title has at most {limits.SEGMENT_TITLE_CHARS} characters.", "Shorten it.", "title"
            )
        where = self.expression(of["where"], "where", VARIABLES, BOOL, known=_OF)
        return Segment(id_, title, where.source, where, self.file, marked.line)
