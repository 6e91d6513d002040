"""What a demonstration prints: steps as they happen, the table of contacts, where to sign in; or one JSON object."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from firstring.demo.account import Account, quantile, timing

_WIDE_CHARS: Final = 140
"""A table with all its columns wants so much room."""


class Step:
    """One step. Its `detail` is filled in while it runs; `problem` makes it a failed one."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.detail = ""
        self.problem = ""

    @property
    def ok(self) -> bool:
        return not self.problem

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "detail": self.problem or self.detail}


class Show:
    """Prints for people, plainly where nobody watches; with `as_json` to standard error, so that JSON stands alone."""

    def __init__(self, *, as_json: bool) -> None:
        self.steps: list[Step] = []
        self._as_json = as_json
        self._console = Console(stderr=as_json, highlight=False)

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps)

    @asynccontextmanager
    async def step(self, name: str, title: str) -> AsyncIterator[Step]:
        """Shows a step that runs, then how it went. An exception passes, and the step has failed."""
        step = Step(name, title)
        started_s = time.perf_counter()
        try:
            if self._console.is_terminal:
                with self._console.status(title):
                    yield step
            else:
                yield step
        except asyncio.CancelledError:
            step.problem = "interrupted"
            raise
        except BaseException as error:
            step.problem = step.problem or str(error) or type(error).__name__
            raise
        finally:
            self.steps.append(step)
            self._tell(step, time.perf_counter() - started_s)

    def _tell(self, step: Step, duration_s: float) -> None:
        said = step.problem or step.detail
        if self._console.is_terminal:
            mark = Text("✓ ", style="green") if step.ok else Text("✗ ", style="bold red")
            text = Text.assemble(mark, (step.title, "bold"), (f"  {duration_s:.1f} s", "dim"))
            self._console.print(text)
            if said:
                self._console.print(Text(f"  {said}", style="" if step.ok else "red"))
        else:
            self.say(f"{'ok' if step.ok else 'FAILED'}: {step.title} ({duration_s:.1f} s){': ' if said else ''}{said}")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def table(self, accounts: Sequence[Account]) -> None:
        """What happened to each contact. Where nobody watches, the steps have said it all."""
        if not self._console.is_terminal:
            return
        is_wide = self._console.width >= _WIDE_CHARS
        table = Table("contact", "who", *(("sure", "why") if is_wide else ()), "next", "agent", "popped", "decide")
        for one in accounts:
            middle = (one.sure, one.why) if is_wide else ()
            popped = "✓" if one.popped else "✗"
            cells = (one.contact, one.who, *middle, one.action, one.agent, popped, timing(one.decide_ms))
            table.add_row(*map(Text, cells), style="" if one.popped else "red")
        self._console.print(table)

    def result(self, *, contacts: int, decided: int, popped: int, decide_ms: Sequence[float], voice: str) -> None:
        """The figures: as JSON on standard output, or in words."""
        p50, p99 = quantile(decide_ms, 0.5), quantile(decide_ms, 0.99)
        if not self._as_json:
            self.say(
                f"{contacts} contacts, {decided} decided, {popped} popped; decide p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
                f"voice: {voice}"
            )
            return
        found = {
            "steps": [step.as_json() for step in self.steps],
            "contacts": contacts,
            "decided": decided,
            "popped": popped,
            "decide_ms": {"p50": round(p50, 2), "p99": round(p99, 2)},
            "voice": voice,
        }
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
        sys.stdout.flush()
