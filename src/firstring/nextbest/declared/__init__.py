"""Actions as YAML: read, checked, with the file, line, field and hint of every mistake."""

from firstring.nextbest.declared.reader import Declared, actions_in, together

__all__ = ["Declared", "actions_in", "together"]
