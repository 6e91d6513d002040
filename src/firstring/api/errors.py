"""Every error leaves in one JSON shape (errors.FirstringError.as_json), whoever raised it."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException

from firstring import limits
from firstring.errors import BadInput, FirstringError, Retryable, Unrecoverable

_log = structlog.get_logger("firstring.http")

RETRY_AFTER_S: Final = 1
PROBLEMS_SHOWN: Final = 20


class ErrorDetail(msgspec.Struct, frozen=True):
    """group: what the caller can do (bad_input: correct it; retryable: call again; unrecoverable: an operator has to
    act). code: stable, for machines (docs/errors.md lists them). where: the place in the request. hint: what to do."""

    group: Literal["bad_input", "retryable", "unrecoverable"]
    code: str
    message: str
    where: dict[str, Any]
    hint: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The one shape of every error."""

    error: ErrorDetail


def respond(error: FirstringError) -> Response[dict[str, Any]]:
    """The error as a response; Retry-After where a retry may help."""
    headers = {}
    if isinstance(error, Retryable) or error.status == 429:
        headers["Retry-After"] = str(error.where.get("retry_after_s", RETRY_AFTER_S))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(error.as_json(), status_code=error.status, media_type=MediaType.JSON, headers=headers)


def ours(_request: Request[Any, Any, Any], error: FirstringError) -> Response[dict[str, Any]]:
    return respond(error)


def framework(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Litestar's own: unknown routes, wrong methods, bodies that do not validate."""
    if isinstance(error, ValidationException):
        problems = [
            {name: str(problem[name])[:200] for name in ("message", "key", "source") if name in problem}
            for problem in list(error.extra or [])[:PROBLEMS_SHOWN]
            if isinstance(problem, dict)
        ]
        return respond(
            BadInput(
                "invalid_body",
                "The request does not fit.",
                where={"problems": problems},
                hint="See /schema/openapi.json for its form.",
            )
        )
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
    code = codes.get(error.status_code, "bad_request" if error.status_code < 500 else "internal_error")
    if isinstance(error.__cause__, SerializationException):
        code = "bad_json"
    made = BadInput if error.status_code < 500 else Unrecoverable
    detail, hint = (error.detail or "The request was refused.")[:300], ""
    if code == "too_large":
        detail = "The body has more bytes than this request takes."
        hint = (
            f"Send less at a time: {limits.RECORDS_BODY_BYTES:,} bytes of records (POST /v1/records), {limits.BODY_BYTES:,} "
            "of anything else. firstring import takes files of any size."
        )
    response = respond(made(code, detail, hint=hint, http_status=error.status_code))
    for name, value in (error.headers or {}).items():
        response.headers.setdefault(name, value)  # a refused method says which are allowed (RFC 9110, 15.5.6)
    return response


def undecodable(_request: Request[Any, Any, Any], error: msgspec.DecodeError) -> Response[dict[str, Any]]:
    return respond(BadInput("invalid_body", str(error)[:300], hint="See /schema/openapi.json for the form of the body."))


def unreadable(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A body that is no UTF-8, or nested so deeply that nobody means it."""
    what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else "is nested too deeply"
    return respond(BadInput("bad_json", f"The body {what}.", hint="Send JSON in UTF-8."))


def unexpected(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A fault of ours: logged by type and place, told without details."""
    _log.error("request_failed", error=type(error).__name__, exc_info=error)
    return respond(Unrecoverable("internal_error", "Something failed here.", hint="Look into the server's log."))


HANDLERS: Any = {
    FirstringError: ours,
    HTTPException: framework,
    msgspec.DecodeError: undecodable,
    UnicodeDecodeError: unreadable,
    RecursionError: unreadable,
    Exception: unexpected,
}
