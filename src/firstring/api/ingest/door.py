"""The addresses at which the SDKs of others send events, each with its format; one adapter for all of them.

The write key comes in each SDK's own way: as the user of Basic, as a Bearer token, in the header x-write-key, in the
address, or in the body. Browsers may send from any page: whoever has the write key may send, and no answer tells anything
about anybody.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from litestar import Request as HttpRequest
from litestar import Response, asgi, get
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.types import Receive, Scope, Send

from firstring.api.access import Caller, Tokens
from firstring.api.errors import RETRY_AFTER_S
from firstring.api.ingest import settings_of_sdks
from firstring.api.ingest.bodies import decoded, read_body, unpacked
from firstring.api.ingest.flow import EventFlow
from firstring.api.ingest.taking import Taken, sender_of, take
from firstring.api.services import Services
from firstring.channels.deadline import by_deadline
from firstring.errors import BadInput, FirstringError, Retryable
from firstring.journey.events import cloudevents
from firstring.journey.events.formats import FORMATS
from firstring.journey.events.wire import Body, Format

TAKE_MAX_S: Final = 15.0
"""The longest that events wait to be stored; beyond it the caller is told to come again."""
REJECTED_SHOWN: Final = 100
_KINDS: Final = {
    "t": "track", "p": "page", "i": "identify", "s": "screen", "a": "alias", "g": "group",
}  # fmt: skip
_ALLOWED_HEADERS: Final = b"authorization, content-type, content-encoding, x-write-key, anonymousid, x-retry-count"
_JSON: Final = (b"content-type", b"application/json")
_PIXEL: Final = base64.b64decode(b"R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_encode = msgspec.json.Encoder().encode


class Address(NamedTuple):
    """Where a format arrives. kind: the type of the one event in the body, where the address says it."""

    format: Format
    kind: str | None = None


def addresses() -> dict[str, Address]:
    """Every address that takes events, by its path."""
    segment, rudder, jitsu = FORMATS["segment"], FORMATS["rudder"], FORMATS["jitsu"]
    found = {"/v1/batch": Address(rudder), "/v1/import": Address(segment), "/beacon/v1/batch": Address(rudder)}
    for letter, kind in _KINDS.items():
        found[f"/v1/{letter}"] = Address(segment, kind)
        found[f"/v1/{kind}"] = Address(rudder, kind)
        found[f"/api/s/{kind}"] = Address(jitsu, kind)
        found[f"/api/s/s2s/{kind}"] = Address(jitsu, kind)
    for path in ("/batch", "/capture", "/e", "/i/v0/e"):
        found[path] = Address(FORMATS["posthog"])
    for path in ("/com.snowplowanalytics.snowplow/tp2", "/i"):
        found[path] = Address(FORMATS["snowplow"])
    found["/v1/cloudevents"] = Address(FORMATS["cloudevents"])
    return found


class Request(NamedTuple):
    """What is read of a request before its body. headers: by lower-case name, the last of each."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    client: str


class Door:
    """Takes events for one application."""

    def __init__(self, services: Services, tokens: Tokens) -> None:
        self._services = services
        self._tokens = tokens
        self._addresses = addresses()

    def handlers(self) -> list[ASGIRouteHandler | HTTPRouteHandler]:
        """The routes."""
        return [
            asgi(list(self._addresses), name="events", copy_scope=False)(self._guarded(self._events)),
            asgi("/v1/m", name="sdk_metrics", copy_scope=False)(self._guarded(self._passed_over)),
            self._segment_settings_route(),
            asgi("/sourceConfig", name="rudder_settings", copy_scope=False)(self._guarded(self._rudder_settings)),
        ]

    # --- answers ---

    def _guarded(self, answer: Callable[[Request, Receive], Any]) -> Callable[[Scope, Receive, Send], Any]:
        """The answer with its CORS headers, errors in the one shape, and the preflight of a browser."""

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            status, headers, body = await self._answered(_request(scope, self._services.flow), receive, answer)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})

        return handle

    async def _answered(
        self, request: Request, receive: Receive, answer: Callable[[Request, Receive], Any]
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        headers = _cors(request)
        status, body, kind = 204, b"", None
        if request.method != "OPTIONS":
            try:
                status, body, kind = await answer(request, receive)
            except FirstringError as error:
                status, body, kind = error.status, _encode(error.as_json()), _JSON
                if isinstance(error, Retryable) or error.status == 429:
                    headers.append((b"retry-after", str(error.where.get("retry_after_s", RETRY_AFTER_S)).encode()))
        if kind is not None:
            headers.append(kind)
            headers.append((b"content-length", str(len(body)).encode()))
        return status, headers, body

    def _segment_settings_route(self) -> HTTPRouteHandler:
        """A route of another sort: routes of bare ASGI have no parameters in their path."""

        @get("/v1/projects/{key:str}/settings", include_in_schema=False)
        async def segment_settings(request: HttpRequest[Any, Any, Any]) -> Response[bytes]:
            asked = _request(request.scope, self._services.flow)
            status, headers, body = await self._answered(asked, request.receive, self._segment_settings)
            named = {name.decode(): value.decode("latin-1") for name, value in headers if name != b"content-length"}
            return Response(body, status_code=status, headers=named, media_type="application/json")

        return segment_settings

    async def _events(self, request: Request, receive: Receive) -> tuple[int, bytes, Any]:
        address = self._addresses[request.path]
        if request.method not in ("POST", "GET") or (request.method == "GET" and address.format.name != "snowplow"):
            raise BadInput("method_not_allowed", "Events are sent by POST.", http_status=405)
        body = await self._body(request, receive, address)
        caller = await self._caller(request, body.write_key)
        taken = await self._take(request, caller, address.format, body)
        if len(body.items) == 1 and taken.rejected:
            one = taken.rejected[0]
            raise BadInput(one.code, one.message, where={"field": one.field} if one.field else {})
        if request.method == "GET":
            return 200, _PIXEL, (b"content-type", b"image/gif")
        return 200, _encode(_answer(taken)), _JSON

    async def _passed_over(self, _request: Request, receive: Receive) -> tuple[int, bytes, Any]:
        """What an SDK measures about itself: read, and of no interest."""
        await read_body(receive, "")
        return 200, b'{"success":true}', _JSON

    async def _segment_settings(self, request: Request, _receive: Receive) -> tuple[int, bytes, Any]:
        key = request.path.split("/")[3]
        await self._known(request, key)
        url = settings_of_sdks.own_url(self._services.settings.public_url, request.headers.get("host", ""))
        return 200, _encode(settings_of_sdks.segment(key, url)), _JSON

    async def _rudder_settings(self, request: Request, _receive: Receive) -> tuple[int, bytes, Any]:
        caller = await self._caller(request, None)
        return 200, _encode(settings_of_sdks.rudder(_key(request, None), str(caller.token_id))), _JSON

    # --- reading ---

    async def _body(self, request: Request, receive: Receive, address: Address) -> Body:
        if request.method == "GET":
            return address.format.split(dict(request.query))
        encoding = request.headers.get("content-encoding", "")
        raw = unpacked(await read_body(receive, request.headers.get("content-length", "")), encoding)
        kind = request.headers.get("content-type", "")
        if address.format.name == "cloudevents" and "ce-id" in request.headers:
            return address.format.split(cloudevents.from_binary(request.headers, kind, raw))
        body = decoded(raw)
        if address.kind is not None and isinstance(body, dict):
            body["type"] = address.kind
        return address.format.split(body)

    async def _caller(self, request: Request, in_body: str | None) -> Caller:
        caller = await self._known(request, _key(request, in_body))
        if caller.role not in ("write_key", "events", "administrator"):
            raise BadInput(
                "role_not_allowed",
                "This token's role may not send events.",
                where={"role": caller.role, "allowed": ["administrator", "events", "write_key"]},
                http_status=403,
            )
        return caller

    async def _known(self, request: Request, key: str) -> Caller:
        """Whose key it is. A client with many unknown ones is told to wait: each is looked up in the database."""
        try:
            return await self._tokens.caller(key)
        except BadInput:
            self._services.flow.unknown_key(request.client)
            raise BadInput(
                "unknown_write_key",
                "The write key is not known, or was revoked.",
                hint="Make one by `firstring token --role write_key`, and give it to the SDK as its write key.",
                http_status=401,
            ) from None

    async def _take(self, request: Request, caller: Caller, form: Format, body: Body) -> Taken:
        self._services.flow.events(caller, request.client, len(body.items))
        now = self._services.clock.now()
        work = take(self._services, sender_of(caller), form, body.items, body.common, now=now)
        try:
            return await by_deadline(work, TAKE_MAX_S)
        except TimeoutError:
            raise Retryable("database_slow", "PostgreSQL did not answer in time.", hint="Retry; look at its load.") from None


def _answer(taken: Taken) -> dict[str, Any]:
    """What each of the SDKs looks for, and what became of the events."""
    return {
        "success": True,
        "ok": True,
        "status": 1,
        "stored": taken.stored,
        "duplicates": taken.duplicates,
        "rejected": taken.rejected[:REJECTED_SHOWN],
    }


def _request(scope: Any, flow: EventFlow) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    path = scope["path"].rstrip("/") or "/"
    return Request(scope["method"], path, headers, dict(parse_qsl(query)) if query else {}, flow.client(scope))


def _cors(request: Request) -> list[tuple[bytes, bytes]]:
    """Any page may send: the write key is what allows it, and the answer says nothing of anybody."""
    origin = request.headers.get("origin")
    if origin is None:
        return []
    headers = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]
    if request.method == "OPTIONS":
        asked = request.headers.get("access-control-request-headers", "").encode("latin-1")
        headers += [
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", asked or _ALLOWED_HEADERS),
            (b"access-control-max-age", b"86400"),
        ]
    return headers


def _key(request: Request, in_body: str | None) -> str:
    """The write key, in the SDK's way. Raises BadInput write_key_missing (401)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    found = ""
    if scheme.lower() == "bearer":
        found = value.strip()
    elif scheme.lower() == "basic":
        try:
            found = base64.b64decode(value.strip(), validate=True).decode("latin-1").partition(":")[0]
        except binascii.Error:
            found = ""
    found = found or request.headers.get("x-write-key", "").partition(":")[0].strip()
    found = found or (in_body or "") or request.query.get("writeKey", "")
    if not found:
        raise BadInput(
            "write_key_missing",
            "There is no write key in this request.",
            hint="Give the SDK its write key; make one by `firstring token --role write_key`.",
            http_status=401,
        )
    return found
