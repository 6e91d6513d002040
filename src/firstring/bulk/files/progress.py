"""How far an import is: a bar with rate and time left on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from firstring.ports import Clock

_LINE_EVERY_S: Final = 5.0


class Reporter(Protocol):
    """Told of every batch. `line` of `lines` is read, `rows` of this run are done (rejected ones among them)."""

    def start(self, lines: int) -> None: ...

    def advance(self, line: int, rows: int, rejected: int) -> None: ...

    def stop(self) -> None: ...


class Silent:
    """Reports nothing."""

    def start(self, lines: int) -> None:
        return None

    def advance(self, line: int, rows: int, rejected: int) -> None:
        return None

    def stop(self) -> None:
        return None


class ConsoleReporter:
    """Reports on a console."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._lines = 0
        self._started_s = self._said_s = clock.monotonic_s()

    def start(self, lines: int) -> None:
        self._lines = lines
        self._started_s = self._said_s = self._clock.monotonic_s()
        if self._console.is_terminal:
            self._bar = Progress(
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}% {task.description}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=lines)
            self._bar.start()

    def advance(self, line: int, rows: int, rejected: int) -> None:
        now_s = self._clock.monotonic_s()
        rate = rows / max(now_s - self._started_s, 1e-3)
        text = f"{rows:,} rows, {rate:,.0f} rows/s" + (f", {rejected:,} rejected" if rejected else "")
        if self._bar is not None:
            self._bar.update(self._task, completed=line, description=text)
        elif now_s - self._said_s >= _LINE_EVERY_S:
            self._said_s = now_s
            left_s = (now_s - self._started_s) * max(self._lines - line, 0) / max(line, 1)
            self._console.print(f"{100 * line / max(self._lines, 1):.0f} %: {text}, {left_s:,.0f} s left", highlight=False)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
