"""YAML -> plain values that know their lines. Only what a declaration needs: mappings, lists, text and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from firstring import limits
from firstring.errors import BadInput

_SCALARS: Final = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:bool": bool,
    "tag:yaml.org,2002:null": str,
    "tag:yaml.org,2002:timestamp": str,
}


class Marked(NamedTuple):
    """A value and the line on which it begins (from 1). value: str, list[Marked] or dict[str, Marked].

    Numbers stay the text that they are: what reads them knows what they should be. indent: lines of a block of text begin
    one line after their mark.
    """

    value: Any
    line: int
    block: bool = False


def plain(marked: Marked) -> Any:
    """The values without their lines."""
    if isinstance(marked.value, dict):
        return {name: plain(value) for name, value in marked.value.items()}
    if isinstance(marked.value, list):
        return [plain(value) for value in marked.value]
    return marked.value


def invalid(message: str, *, file: str, line: int, hint: str = "", field: str = "") -> BadInput:
    """The error for a pattern that is not one."""
    where: dict[str, Any] = {"file": file, "line": line}
    if field:
        where["field"] = field
    return BadInput("pattern_invalid", message, where=where, hint=hint)


def documents(text: str, file: str) -> Iterator[Marked]:
    """The documents of a YAML text. Raises BadInput pattern_invalid with file and line."""
    if len(text) > limits.PATTERN_FILE_CHARS:
        hint = "Split it into several files."
        raise invalid(f"The file has more than {limits.PATTERN_FILE_CHARS} characters.", file=file, line=1, hint=hint)
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if node is not None:
                yield _marked(node, file, set(), 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        hint = "Text that holds a colon, a comma or a bracket stands in quotation marks."
        raise invalid(f"This is not YAML: {error.problem or error}.", file=file, line=line, hint=hint) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise invalid("This is not YAML.", file=file, line=1, hint="Save it as UTF-8 text.") from error


def _marked(node: yaml.Node, file: str, above: set[int], depth: int) -> Marked:
    line = node.start_mark.line + 1
    if id(node) in above or depth > 12:
        raise invalid("References (&, *) and deep nesting are not read.", file=file, line=line, hint="Write it out.")
    above.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if node.tag not in _SCALARS:
            raise invalid(f"The tag {node.tag} is not read.", file=file, line=line, hint="Remove it.")
        return Marked(str(node.value), line, node.style in ("|", ">"))
    if isinstance(node, yaml.SequenceNode):
        return Marked([_marked(one, file, above, depth + 1) for one in node.value], line)
    found: dict[str, Marked] = {}
    for key, value in node.value:
        name = _marked(key, file, above, depth + 1)
        if not isinstance(name.value, str):
            raise invalid("A name of a field is text.", file=file, line=name.line)
        if name.value in found:
            raise invalid(f"{name.value} stands twice.", file=file, line=name.line, hint="Remove one.")
        found[name.value] = _marked(value, file, above, depth + 1)
    return Marked(found, line)
