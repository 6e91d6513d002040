"""Errors, grouped by what the caller can do about them.

Every error has a stable `code` (snake_case, never renamed), says what was wrong, where (file, row, field, header)
and what to do. At every boundary it takes one JSON shape, `FirstringError.as_json`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar


class FirstringError(Exception):
    """Base of all errors that Firstring raises on purpose.

    Raise one of the three groups, never this class. `where` names the place in the caller's input
    ({"file": ..., "line": ..., "field": ...}); it must not hold personal data. `hint` says what to do.
    """

    group: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: dict[str, Any] | None = None,
        hint: str = "",
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = dict(where or {})
        self.hint = hint
        self.status = http_status if http_status is not None else self.http_status

    def as_json(self) -> dict[str, Any]:
        """The one JSON shape: {"error": {"group", "code", "message", "where", "hint"}}."""
        return {
            "error": {
                "group": self.group,
                "code": self.code,
                "message": self.message,
                "where": self.where,
                "hint": self.hint,
            }
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors of other processes arrive whole."""
        return partial(type(self), where=self.where, hint=self.hint, http_status=self.status), (self.code, self.message)

    def __str__(self) -> str:
        place = ", ".join(f"{key} {value}" for key, value in self.where.items())
        parts = [self.message, f"({place})" if place else "", self.hint]
        return " ".join(part for part in parts if part)


class BadInput(FirstringError):
    """The input was wrong: correct it and call again. HTTP 400 unless a nearer status is given (401, 403, 404, 409, 413)."""

    group = "bad_input"
    http_status = 400


class Retryable(FirstringError):
    """Nothing was wrong with the call: the same call may succeed later. HTTP 503."""

    group = "retryable"
    http_status = 503


class Unrecoverable(FirstringError):
    """An operator has to act (wrong key, newer schema, unsafe role) before this can work. HTTP 500."""

    group = "unrecoverable"
    http_status = 500
