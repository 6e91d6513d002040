"""Actions that come along, one a file: `contact` are in force for everyone, `journey` are there to be copied and changed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, Literal

from firstring.nextbest.actions import Catalogue
from firstring.nextbest.declared import together

Part = Literal["contact", "journey"]


@cache
def sources(part: Part) -> tuple[tuple[str, str], ...]:
    """(id, YAML) of the actions of a part, by name."""
    found = sorted((files(__package__) / part).iterdir(), key=lambda one: one.name)
    return tuple((file.name.removesuffix(".yaml"), file.read_text("utf-8")) for file in found if file.name.endswith(".yaml"))


def library(part: Part) -> Catalogue:
    """The actions of a part."""
    return together([(f"library/{part}/{name}.yaml", text) for name, text in sources(part)])


BUILT_IN: Final = library("contact")
"""What is in force where nothing was loaded."""
