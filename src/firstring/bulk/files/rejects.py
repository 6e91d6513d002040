"""The file of rejected rows: one JSON object a line, {line, field, code, reason, value, kept}."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from firstring import limits
from firstring.errors import BadInput

_encode = msgspec.json.Encoder().encode


class Reject(msgspec.Struct, frozen=True):
    """Why a row, or one value of a row that was kept (kept = true), was not loaded. `line` counts from 1."""

    line: int
    field: str | None
    code: str
    reason: str
    value: str = ""
    kept: bool = False


class RejectsFile:
    """Appends to the file, which only its owner may read: it holds values of customers.

    `resume_line`: 0 for a new run; else what an interrupted run noted of that line and later ones is dropped, because
    those rows are read again. Raises BadInput rejects_unwritable.
    """

    def __init__(self, path: Path, resume_line: int = 0) -> None:
        self.path = path
        self.rejected_lines: set[int] = set()
        """Lines of rows that an interrupted run rejected."""
        kept = list(self._earlier(resume_line)) if resume_line else []
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise BadInput(
                "rejects_unwritable",
                f"The file of rejected rows cannot be written: {error.strerror}.",
                where={"file": str(path)},
                hint="Name another one with --rejects.",
            ) from error
        self._file = os.fdopen(descriptor, "wb")
        self._empty = True
        self.write(kept)

    def _earlier(self, resume_line: int) -> Iterable[Reject]:
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                reject = msgspec.json.decode(line, type=Reject)
            except msgspec.DecodeError:
                continue  # cut off in the middle: its row is read again
            if reject.line < resume_line:
                if not reject.kept:
                    self.rejected_lines.add(reject.line)
                yield reject

    def write(self, rejects: Iterable[Reject]) -> None:
        """Appends; what is written survives a kill of this process."""
        for reject in rejects:
            self._file.write(_encode(reject) + b"\n")
            self._empty = False
        self._file.flush()

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """An empty file is removed."""
        self._file.close()
        if self._empty:
            self.path.unlink(missing_ok=True)


def shown(value: Any) -> str:
    """A rejected value as far as it is shown."""
    text = value if isinstance(value, str) else "; ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    cut = limits.REJECT_VALUE_CHARS
    return text if len(text) <= cut else text[:cut] + f"... ({len(text)} characters)"
