"""The addresses of the web snippet: the script itself, and what a page asks and tells.

Bodies are JSON sent as text/plain, so that browsers ask for no leave first; no cookie is read or set, and no answer holds
anything of somebody who did not prove who they are (channels.web.visitors).
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec
import structlog
from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Send

from firstring import limits
from firstring.api.access import Caller, Tokens
from firstring.api.errors import RETRY_AFTER_S
from firstring.api.ingest.bodies import read_body
from firstring.api.ingest.taking import SOURCE
from firstring.api.services import Services
from firstring.channels.deadline import by_deadline
from firstring.channels.web.visitors import new_visitor, prove
from firstring.errors import BadInput, FirstringError, Retryable
from firstring.store.access import signing_secret
from firstring.store.delivery import Visitor

_log = structlog.get_logger("firstring.web")

ANSWER_MAX_S: Final = 15.0
POLL_S: Final = 15
"""How often a page asks that cannot listen."""
SCRIPT: Final = "firstring.js"
_YEAR_S: Final = 31_536_000
_NEWEST_S: Final = 300
"""How long a browser keeps the script of the address without a version."""
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,4}")
_encode = msgspec.json.Encoder().encode
Headers = list[tuple[bytes, bytes]]


class Told(msgspec.Struct, frozen=True):
    """What every page says: its write key, its visitor's id and secret; a user id and its signature where signed in."""

    key: str
    id: str = ""
    secret: str = ""
    user: str | None = None
    user_hash: str | None = msgspec.field(default=None, name="userHash")


class AboutOne(Told, frozen=True):
    """About one delivery."""

    delivery: uuid.UUID = uuid.UUID(int=0)
    what: Literal["accepted", "dismissed", "ignored"] | None = None


class CallAsked(Told, frozen=True):
    """The customer wants to be called: now, or at one of the times offered."""

    delivery: uuid.UUID = uuid.UUID(int=0)
    phone: str = ""
    at: str | None = None
    time_zone: str | None = msgspec.field(default=None, name="timeZone")
    language: str | None = None


class Script(NamedTuple):
    """The snippet, as it is served. version: out of its content."""

    body: bytes
    zipped: bytes
    version: str
    integrity: str

    @property
    def path(self) -> str:
        """Its versioned address: what is there never changes."""
        return f"/web/{self.version}/{SCRIPT}"


def script() -> Script:
    """The snippet out of channels/web. integrity: for the attribute of that name (W3C SRI)."""
    body = files("firstring.channels.web").joinpath(SCRIPT).read_bytes()
    digest = base64.b64encode(hashlib.sha384(body).digest()).decode()
    return Script(body, gzip.compress(body, 9, mtime=0), hashlib.sha256(body).hexdigest()[:12], f"sha384-{digest}")


class WebDoor:
    """Answers pages, for one application."""

    def __init__(self, services: Services, tokens: Tokens) -> None:
        self._services = services
        self._tokens = tokens
        self._script = script()
        self._answers: dict[str, Callable[[bytes, HTTPScope], Awaitable[Any]]] = {
            "/web/visitor": self._visitor,
            "/web/poll": self._poll,
            "/web/show": self._show,
            "/web/answer": self._answer,
            "/web/slots": self._slots,
            "/web/callback": self._call_back,
        }

    def handlers(self) -> list[ASGIRouteHandler]:
        """The routes."""
        return [
            asgi([f"/web/{SCRIPT}", self._script.path], name="web_script", copy_scope=False)(self._serve_script),
            asgi(list(self._answers), name="web", copy_scope=False)(self._serve_answer),
            asgi("/web/stream", name="web_stream", copy_scope=False)(self._serve_stream),
        ]

    # --- the script ---

    async def _serve_script(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        asked = dict(scope["headers"])
        is_versioned = scope["path"] == self._script.path
        etag = f'"{self._script.version}"'.encode()
        age = f"public, max-age={_YEAR_S}, immutable" if is_versioned else f"public, max-age={_NEWEST_S}"
        headers: Headers = [
            (b"content-type", b"text/javascript; charset=utf-8"),
            (b"cache-control", age.encode()),
            (b"etag", etag),
            (b"vary", b"Accept-Encoding"),
            (b"access-control-allow-origin", b"*"),
            (b"cross-origin-resource-policy", b"cross-origin"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, headers[4:], b"")
            return
        if asked.get(b"if-none-match") == etag:
            await _send(send, 304, headers[1:], b"")
            return
        body = self._script.body
        if b"gzip" in asked.get(b"accept-encoding", b""):
            body = self._script.zipped
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", str(len(body)).encode()))
        await _send(send, 200, headers, b"" if scope["method"] == "HEAD" else body)

    # --- answers ---

    async def _serve_answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        headers = _cors(scope)
        if scope["method"] == "OPTIONS":
            await _send(send, 204, headers, b"")
            return
        try:
            body = await self._body(scope, receive)
            found = await by_deadline(self._answers[scope["path"].rstrip("/")](body, scope), ANSWER_MAX_S)
        except TimeoutError:
            found = Retryable("database_slow", "PostgreSQL did not answer in time.", hint="Retry; look at its load.")
        except FirstringError as error:
            found = error
        await _send_json(send, headers, found)

    async def _serve_stream(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        headers = _cors(scope)
        if scope["method"] == "OPTIONS":
            await _send(send, 204, headers, b"")
            return
        try:
            told = _decoded(await self._body(scope, receive), Told)
            caller, visitor = await self._proved(told, scope)
            messages = await self._services.web.listen(caller.tenant, visitor)
        except FirstringError as error:
            await _send_json(send, headers, error)
            return
        headers += [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await _stream(send, receive, headers, messages)

    async def _body(self, scope: HTTPScope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise BadInput("method_not_allowed", "Pages send by POST.", http_status=405)
        declared = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-length"), "")
        body = await read_body(receive, declared)
        if len(body) > limits.RECORD_BYTES:
            raise BadInput("too_large", f"The body has more than {limits.RECORD_BYTES} bytes.", http_status=413)
        return body

    async def _visitor(self, body: bytes, scope: HTTPScope) -> dict[str, Any]:
        """Somebody who was never here."""
        caller = await self._caller(_decoded(body, Told), scope)
        source = caller.source or SOURCE
        visitor_id, secret = new_visitor(caller.tenant.keys, source, uuid.uuid4())
        return {"id": visitor_id, "secret": secret, "poll_s": POLL_S}

    async def _poll(self, body: bytes, scope: HTTPScope) -> dict[str, Any]:
        caller, visitor = await self._proved(_decoded(body, Told), scope)
        return {"actions": await self._services.web.waiting(caller.tenant, visitor), "poll_s": POLL_S}

    async def _show(self, body: bytes, scope: HTTPScope) -> dict[str, Any]:
        told = _decoded(body, AboutOne)
        caller, visitor = await self._proved(told, scope)
        return await self._services.web.show(caller.tenant, visitor, told.delivery)

    async def _answer(self, body: bytes, scope: HTTPScope) -> dict[str, Any]:
        told = _decoded(body, AboutOne)
        if told.what is None:
            raise BadInput(
                "malformed_body", "what is missing.", where={"field": "what"}, hint="accepted, dismissed, ignored."
            )
        caller, visitor = await self._proved(told, scope)
        await self._services.web.answer(caller.tenant, visitor, told.delivery, told.what)
        return {}

    async def _slots(self, body: bytes, scope: HTTPScope) -> dict[str, Any]:
        caller, _visitor = await self._proved(_decoded(body, Told), scope)
        return await self._services.web.slots(caller.tenant)

    async def _call_back(self, body: bytes, scope: HTTPScope) -> dict[str, Any]:
        told = _decoded(body, CallAsked)
        caller, visitor = await self._proved(told, scope)
        language = told.language if told.language and _LANGUAGE.fullmatch(told.language) else None
        return await self._services.web.call_back(
            caller.tenant, visitor, told.delivery,
            number=told.phone, at=told.at, time_zone=told.time_zone, language=language,
        )  # fmt: skip

    # --- who is it ---

    async def _caller(self, told: Told, scope: HTTPScope) -> Caller:
        """Whose write key it is, within what one client may ask."""
        flow = self._services.flow
        client = flow.client(scope)
        try:
            caller = await self._tokens.caller(told.key)
        except BadInput:
            flow.unknown_key(client)
            raise BadInput(
                "unknown_write_key",
                "The write key is not known, or was revoked.",
                hint="Make one by `firstring token --role write_key`.",
                http_status=401,
            ) from None
        if caller.role != "write_key":
            raise BadInput(
                "role_not_allowed",
                "Pages use a write key; this token must not stand in a page.",
                where={"role": caller.role, "allowed": ["write_key"]},
                hint="Make one by `firstring token --role write_key`, and revoke this one if a page had it.",
                http_status=403,
            )
        flow.events(caller, client, 1)
        return caller

    async def _proved(self, told: Told, scope: HTTPScope) -> tuple[Caller, Visitor]:
        caller = await self._caller(told, scope)
        keys = caller.tenant.keys
        visitor = prove(
            keys,
            caller.source or SOURCE,
            visitor_id=told.id,
            secret=told.secret,
            user_id=told.user,
            user_hash=told.user_hash,
            signing_secret=signing_secret(keys, caller.token_id),
        )
        return caller, visitor


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "it is not JSON"
        raise BadInput("malformed_body", f"The body is not as expected: {reason}.", hint="See docs/delivery.md.") from None


def _cors(scope: HTTPScope) -> Headers:
    """Any page may ask: there are no cookies, and what is told depends on a secret in the body."""
    headers: Headers = [(b"access-control-allow-origin", b"*"), (b"cache-control", b"no-store")]
    if scope["method"] == "OPTIONS":
        headers += [
            (b"access-control-allow-methods", b"POST, OPTIONS"),
            (b"access-control-allow-headers", b"content-type"),
            (b"access-control-max-age", b"86400"),
        ]
    return headers


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send(cast(Any, {"type": "http.response.start", "status": status, "headers": headers}))
    await send(cast(Any, {"type": "http.response.body", "body": body, "more_body": False}))


async def _send_json(send: Send, headers: Headers, found: Any) -> None:
    status = 200
    if isinstance(found, FirstringError):
        status = found.status
        if isinstance(found, Retryable) or status == 429:
            headers.append((b"retry-after", str(found.where.get("retry_after_s", RETRY_AFTER_S)).encode()))
        found = found.as_json()
    body = _encode(found)
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await _send(send, status, headers, body)


async def _stream(send: Send, receive: Receive, headers: Headers, messages: Any) -> None:
    """Writes until the page is gone."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def write() -> None:
        await send(cast(Any, {"type": "http.response.start", "status": 200, "headers": headers}))
        try:
            async for data in messages:
                await send(cast(Any, {"type": "http.response.body", "body": data, "more_body": True}))
        finally:
            await messages.aclose()
        await send(cast(Any, {"type": "http.response.body", "body": b"", "more_body": False}))

    writing, leaving = asyncio.create_task(write()), asyncio.create_task(gone())
    try:
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writing, leaving):
            task.cancel()
        results = await asyncio.gather(writing, leaving, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]
