"""Patterns worth having, one a file: to be used as they are, or copied and changed."""

from __future__ import annotations

from importlib.resources import files

from firstring.journey.patterns.definition import Pattern, patterns_in


def library() -> list[Pattern]:
    """All of them, by name."""
    found: list[Pattern] = []
    for file in sorted(files(__package__).iterdir(), key=lambda one: one.name):
        if file.name.endswith(".yaml"):
            found += patterns_in(file.read_text("utf-8"), f"library/{file.name}")
    return found
