"""Good and bad patterns in what a customer does, declared in YAML, seen as they form.

definition (the declaration, checked) -> machine (places and moves) -> engine (state of a subject, what fired, what is due).
"""

from firstring.journey.patterns.definition import Pattern, patterns_in
from firstring.journey.patterns.engine import PatternSet
from firstring.journey.patterns.runs import Fired, Happened, State

__all__ = ["Fired", "Happened", "Pattern", "PatternSet", "State", "patterns_in"]
