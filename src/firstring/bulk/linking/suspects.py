"""Values that point at nobody, as `firstring link --plan` lists them."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Shown

from firstring.identity.comparison.columns import Table
from firstring.identity.persons.hotvalues import Suspect, suspects
from firstring.identity.review.explain import said

_LISTED: Final = 30
_VALUE_CHARS: Final = 60


def show_suspects(console: Console, table: Table, block_records: int) -> list[Suspect]:
    """Finds and lists the values that behave like placeholders or switchboards; nothing where there are none."""
    found = suspects(table, block_records=block_records)
    if not found:
        console.print("no value behaves like a placeholder or a switchboard", highlight=False)
        return found
    shown = Shown("field", "value", "records", "why", title="values that point at nobody", title_justify="left")
    for one in found[:_LISTED]:
        value = escape(one.value[:_VALUE_CHARS])
        shown.add_row(said(one.column), value, f"{one.records:,}", f"{one.kind.replace('_', ' ')}: {escape(one.reason)}")
    console.print(shown)
    if len(found) > _LISTED:
        console.print(f"and {len(found) - _LISTED:,} more", highlight=False)
    return found
