"""Patterns worth having, one a file: to be used as they are, or copied and changed."""

from __future__ import annotations

from importlib.resources import files

from firstring.journey.patterns.definition import Pattern, patterns_in


def sources() -> list[tuple[str, str]]:
    """(id, YAML) of all of them, by name."""
    found = sorted(files(__package__).iterdir(), key=lambda one: one.name)
    return [(file.name.removesuffix(".yaml"), file.read_text("utf-8")) for file in found if file.name.endswith(".yaml")]


def library() -> list[Pattern]:
    """All of them, by name."""
    return [pattern for name, text in sources() for pattern in patterns_in(text, f"library/{name}.yaml")]
