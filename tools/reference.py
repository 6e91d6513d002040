"""Writes the parts of the documentation that follow from the code: settings, commands, metrics, error codes.

    python tools/reference.py          writes them
    python tools/reference.py --check  exit status 1 where they are not what they should be

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; docs/errors.md is one part.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer

from firstring.cli import app
from firstring.observe import Metrics
from firstring.settings import described

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "firstring"
PART = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
GROUPS = {"BadInput": "bad_input", "Retryable": "retryable", "Unrecoverable": "unrecoverable", "Refused": "bad_input"}
OF_THE_FRAMEWORK = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
STATUS = {"bad_input": 400, "retryable": 503, "unrecoverable": 500}


# --- settings, commands, metrics ---------------------------------------------------------------------------------


def settings() -> str:
    """Every setting as a row."""
    rows = ["| variable | in the file | default | what |", "|---|---|---|---|"]
    for setting in described():
        default = "" if setting.default in (None, "", ()) else f"`{setting.default}`"
        unit = f" ({setting.unit})" if setting.unit else ""
        note = " Secret." if setting.secret else ""
        name = "environment only" if setting.env_only else f"`{setting.name}`"
        default += unit if default else ""
        rows.append(f"| `{setting.environment}` | {name} | {default} | {cell(setting.text)}{note} |")
    return "\n".join(rows) + "\n"


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n".join(_commands(typer.main.get_command(app), "firstring"))


def _commands(command: Any, name: str) -> Iterator[str]:
    for sub, its in command.commands.items():
        if getattr(its, "commands", None):
            if its.invoke_without_command:
                yield from _command(its, f"{name} {sub}")
            yield from _commands(its, f"{name} {sub}")
            continue
        yield from _command(its, f"{name} {sub}")


def _command(its: Any, name: str) -> Iterator[str]:
    yield f"#### `{name}`\n\n{its.help.strip()}\n"
    rows = [_option(parameter) for parameter in its.params if parameter.name != "help"]
    if rows:
        yield "| option | default | what |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _option(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    label = parameter.name.upper() if is_argument else ", ".join((*parameter.opts, *parameter.secondary_opts))
    default = "" if parameter.default in (None, "", False, ()) or parameter.required else f"`{parameter.default}`"
    return f"| `{label}` | {'required' if parameter.required else default} | {cell(getattr(parameter, 'help', '') or '')} |"


def metrics() -> str:
    """Every metric with its labels."""
    rows = ["| metric | type | labels | what |", "|---|---|---|---|"]
    for collector in Metrics().registry._collector_to_names:
        labels = ", ".join(collector._labelnames)
        [family] = collector.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.append(f"| `{name}` | {family.type} | {labels} | {cell(family.documentation)} |")
    return "\n".join(rows) + "\n"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- error codes -------------------------------------------------------------------------------------------------


class Raised(NamedTuple):
    """One place that raises an error."""

    code: str
    group: str
    status: int
    message: str
    room: str


def errors() -> str:
    """Every error code that the code raises."""
    found: dict[str, list[Raised]] = {}
    for raised in sorted(raised_errors()):
        found.setdefault(raised.code, []).append(raised)
    rows = ["| code | group | HTTP | what | where |", "|---|---|---|---|---|"]
    for code, places in sorted(found.items()):
        groups = ", ".join(dict.fromkeys(place.group for place in places))
        statuses = ", ".join(str(status) for status in sorted({place.status for place in places}))
        rooms = ", ".join(sorted({place.room for place in places}))
        message = next((place.message for place in places if place.message), "")
        rows.append(f"| `{code}` | {groups} | {statuses} | {cell(message)} | {rooms} |")
    return "\n".join(rows) + "\n"


def raised_errors() -> Iterator[Raised]:
    """Every construction of an error with a constant code: directly, or through a function that takes the code."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
    for path, tree in trees.items():
        through = dict(_taking_codes(tree))
        room = path.relative_to(SOURCE).with_suffix("").as_posix()
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if called in GROUPS and node.args:
                for code in _constants(node.args[0]):
                    yield _raised(code, called, node, room)
            elif called in through:
                place, kind = through[called]
                for code in _constants(node.args[place]) if place < len(node.args) else ():
                    yield Raised(code, GROUPS[kind], STATUS[GROUPS[kind]], _message(node, place + 1), room)
    for status, code in OF_THE_FRAMEWORK.items():
        yield Raised(code, "bad_input", status, "HTTP: the request was refused before it was read.", "api/errors")


def _taking_codes(tree: ast.Module) -> Iterator[tuple[str, tuple[int, str]]]:
    """Functions that make an error of a code they are given: name -> (place of the code, class), defaults included."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        names = [argument.arg for argument in function.args.args]
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in GROUPS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Name) and first.id in names:
                    yield function.name, (names.index(first.id), node.func.id)  # type: ignore[attr-defined]


def _constants(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _constants(node.body) + _constants(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _raised(code: str, called: str, node: ast.Call, room: str) -> Raised:
    group = GROUPS[called]
    status = STATUS[group]
    for keyword in node.keywords:
        if keyword.arg == "http_status" and isinstance(keyword.value, ast.Constant):
            status = int(keyword.value.value)  # type: ignore[arg-type]
    return Raised(code, group, status, _message(node, 1), room)


def _message(node: ast.Call, place: int) -> str:
    """The message as it is written; what is filled in shows as `…`."""
    if place >= len(node.args):
        return ""
    message = node.args[place]
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        return message.value
    if isinstance(message, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in message.values)
    return ""


# --- files -------------------------------------------------------------------------------------------------------

PARTS = {"settings": settings, "commands": commands, "metrics": metrics, "errors": errors}


def documents() -> dict[Path, str]:
    """Every document that has generated parts, as it should be."""
    wanted = {}
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text("utf-8")
        made = PART.sub(lambda match: f"{match[1]}{PARTS[match['name']]()}{match[3]}", text)
        if "<!-- generated: " in text:
            wanted[path] = made
    return wanted


def main() -> int:
    """Exit status 1 where --check found a difference."""
    differing = [path for path, text in documents().items() if path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        for path in differing:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not in step: run python tools/reference.py\n")
        return 1 if differing else 0
    for path, text in documents().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
