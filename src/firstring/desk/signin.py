"""Signing in and out, whose page it is, and the protection of every form.

A sign-in is a cookie (HttpOnly, SameSite=Lax, Secure where the desk is served by https). Every POST carries the token
of its session, in the field `csrf` or the header X-CSRF-Token; the sign-in form, which has no session yet, carries the
value of a cookie of its own (double submit). Failed sign-ins are counted in memory, within bounds.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import structlog
from litestar import Controller, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.response import Redirect

from firstring.api.errors import HANDLERS
from firstring.api.services import Services
from firstring.desk.audits import Audits
from firstring.desk.pops import Pops
from firstring.desk.rendering import SECURITY_HEADERS, Rendering
from firstring.desk.watching import Watching
from firstring.errors import BadInput, FirstringError
from firstring.ports import Clock
from firstring.store.access import Access, Session
from firstring.store.database import Tenant

_log = structlog.get_logger("firstring.desk")

FORM: Final = "application/x-www-form-urlencoded"
FORM_FIELDS: Final = 20
FORM_BYTES: Final = 20_000
HOMES: Final = {"agent": "/desk", "supervisor": "/supervisor", "administrator": "/administrator"}
NEXT: Final = ("/desk", "/supervisor", "/administrator", "/pop/", "/live")
"""Where a sign-in may lead back to; anything else leads to the role's own page."""


@dataclass
class Room:
    """What the desk's handlers share."""

    services: Services
    access: Access
    pops: Pops
    rendering: Rendering
    watching: Watching
    failures: FailedSignIns
    is_secure: bool
    audits: Audits

    def cookie_name(self, name: str) -> str:
        """A __Host- cookie is bound to this host and path and to https (RFC 6265bis, 4.1.3.2)."""
        return f"__Host-{name}" if self.is_secure else name

    def cookie(self, name: str, value: str, *, max_age_s: int) -> Cookie:
        return Cookie(
            key=self.cookie_name(name),
            value=value,
            path="/",
            httponly=True,
            secure=self.is_secure,
            samesite="lax",
            max_age=max_age_s,
        )


class FailedSignIns:
    """Counts failed sign-ins: `ATTEMPTS` for one login from one address, and more for an address as a whole.

    An attempt counts as failed until it succeeded: many at once are not more than many in turn. Each count is forgotten
    `FORGOTTEN_S` after the last failure; at most `KEPT` are kept, the oldest go first.
    """

    ATTEMPTS: Final = 5
    ATTEMPTS_OF_ADDRESS: Final = 50
    FORGOTTEN_S: Final = 300.0
    KEPT: Final = 10_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[tuple[str, ...], tuple[int, float]] = OrderedDict()

    def begin(self, tenant: str, login: str, address: str) -> None:
        """Counts an attempt. Raises BadInput too_many_attempts (429) where there were too many."""
        now = self._clock.monotonic_s()
        for key, most in self._keys(tenant, login, address):
            count, last = self._counts.get(key, (0, 0.0))
            left_s = last + self.FORGOTTEN_S - now
            if count >= most and left_s > 0:
                raise BadInput(
                    "too_many_attempts",
                    "Too many failed sign-ins.",
                    hint=f"Try again in {max(1, round(left_s / 60))} min.",
                    http_status=429,
                )
        for key, _ in self._keys(tenant, login, address):
            count, last = self._counts.pop(key, (0, 0.0))
            self._counts[key] = (count + 1 if now - last < self.FORGOTTEN_S else 1, now)
        while len(self._counts) > self.KEPT:
            self._counts.popitem(last=False)

    def succeeded(self, tenant: str, login: str, address: str) -> None:
        """Takes the attempt back, and forgets the failures of this login from this address."""
        (of_login, _), (of_address, _) = self._keys(tenant, login, address)
        self._counts.pop(of_login, None)
        count, last = self._counts.get(of_address, (0, 0.0))
        if count:
            self._counts[of_address] = (count - 1, last)

    def _keys(self, tenant: str, login: str, address: str) -> tuple[tuple[tuple[str, ...], int], ...]:
        of_login = (tenant, login.strip().casefold()[:200], address)
        return (of_login, self.ATTEMPTS), ((address,), self.ATTEMPTS_OF_ADDRESS)


# --- who is it, and may they -------------------------------------------------------------------------------------


def signed_in(
    *roles: str, csrf: bool = False
) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """A guard: a session of one of these roles (none named: any). csrf: the request must carry the session's token.

    Raises BadInput not_signed_in (401), role_not_allowed (403), csrf_failed (403).
    """

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        room: NamedDependency[Room] = handler.opt["room"]()
        session = await room.access.session(connection.cookies.get(room.cookie_name("firstring"), ""))
        if roles and session.staff.role not in roles:
            raise BadInput(
                "role_not_allowed",
                "This page is not for your role.",
                where={"role": session.staff.role},
                hint=f"Your page is {HOMES[session.staff.role]}.",
                http_status=403,
            )
        if csrf:
            sent = connection.headers.get("x-csrf-token", "")
            if not sent and isinstance(connection, Request):
                sent = (await form_of(connection)).get("csrf", "")
            if not _same(sent, session.csrf):
                raise csrf_failed()
        connection.state.session = session

    return guard


async def provide_session(request: Request[Any, Any, Any]) -> Session:
    """The session that the guard found."""
    session: NamedDependency[Session] = request.state.session
    return session


async def form_of(request: Request[Any, Any, Any]) -> dict[str, str]:
    """A posted form, one value a field. Raises BadInput form_expected (415), too_large (413) or form_invalid."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise BadInput("form_expected", "A form is expected here.", hint=f"Send {FORM}.", http_status=415)
    body = await request.body()
    if len(body) > FORM_BYTES:
        raise BadInput("too_large", "The form is too large.", http_status=413)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS, errors="strict"))
    except ValueError:
        raise BadInput("form_invalid", "The form cannot be read.") from None


def csrf_failed() -> BadInput:
    return BadInput("csrf_failed", "The form does not belong to this sign-in.", hint="Load the page anew.", http_status=403)


def _same(sent: str, known: str) -> bool:
    return bool(known) and hmac.compare_digest(sent.encode(), known.encode())


# --- pages -------------------------------------------------------------------------------------------------------


class SignInController(Controller):
    """GET and POST /signin, POST /signout."""

    @get("/signin")
    async def page(self, request: Request[Any, Any, Any], room: NamedDependency[Room]) -> Response[str]:
        return _signin_page(request, room, following=request.query_params.get("next", ""))

    @post("/signin", status_code=200)
    async def sign_in(self, request: Request[Any, Any, Any], room: NamedDependency[Room]) -> Response[Any]:
        form = await form_of(request)
        login, following = form.get("login", ""), form.get("next", "")
        address = request.client.host if request.client else ""
        tenant_name = form.get("tenant") or room.services.settings.tenant
        if not _same(form.get("csrf", ""), request.cookies.get(room.cookie_name("firstring_form"), "")):
            return _signin_page(request, room, following=following, error=csrf_failed(), login=login)
        try:
            room.failures.begin(tenant_name, login, address)
            session = await self._verified(room, tenant_name, login, form.get("password", ""), address)
        except BadInput as error:
            return _signin_page(request, room, following=following, error=error, login=login)
        target = following if _is_ours(following) else HOMES[session.staff.role]
        lasts_s = round(room.services.settings.session_hours * 3600)
        cookies = [
            room.cookie("firstring", session.cookie, max_age_s=lasts_s),
            room.cookie("firstring_form", "", max_age_s=0),
        ]
        return Redirect(target, status_code=303, cookies=cookies, headers=SECURITY_HEADERS)

    async def _verified(self, room: Room, tenant_name: str, login: str, password: str, address: str) -> Session:
        try:
            tenant = await self._tenant(room, tenant_name)
            staff = await room.access.verify(tenant, login, password)
        except BadInput as error:
            _log.info("sign_in_refused", code=error.code)
            raise BadInput(
                "login_refused", "Login or password is wrong.", hint="An administrator can reset it.", http_status=401
            ) from None
        except FirstringError:  # the store does not answer: that is nobody's guess
            room.failures.succeeded(tenant_name, login, address)
            raise
        room.failures.succeeded(tenant_name, login, address)
        assert tenant is not None
        return await room.access.open_session(tenant, staff, timedelta(hours=room.services.settings.session_hours))

    async def _tenant(self, room: Room, name: str) -> Tenant | None:
        """None for a name that no tenant has: how long the refusal takes does not tell."""
        try:
            return await room.services.database.tenant_named(name)
        except BadInput:
            return None

    @post("/signout", guards=[signed_in(csrf=True)], status_code=303)
    async def sign_out(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Response[Any]:
        """Ends the sign-in. An agent who leaves takes no further contacts."""
        if session.staff.agent_id is not None:
            await room.services.contacts.set_presence(session.tenant, session.staff.agent_id, "offline")
        await room.access.end_session(session.cookie)
        return Redirect(
            "/signin", status_code=303, cookies=[room.cookie("firstring", "", max_age_s=0)], headers=SECURITY_HEADERS
        )


def _signin_page(
    request: Request[Any, Any, Any],
    room: NamedDependency[Room],
    *,
    following: str,
    error: FirstringError | None = None,
    login: str = "",
) -> Response[str]:
    form_token = request.cookies.get(room.cookie_name("firstring_form")) or secrets.token_urlsafe(32)
    response = room.rendering.page(
        "signin.html",
        status_code=error.status if error is not None else 200,
        headers={"Retry-After": "60"} if error is not None and error.status == 429 else None,
        csrf=form_token,
        tenant=request.query_params.get("tenant", room.services.settings.tenant),
        following=following if _is_ours(following) else "",
        error=error,
        login=login[:200],
    )
    response.set_cookie(room.cookie("firstring_form", form_token, max_age_s=3600))
    return response


def _is_ours(path: str) -> bool:
    """A path of the desk itself: never another site ("//host", "/\\host")."""
    return path.startswith(NEXT) and "\\" not in path and "//" not in path and path.isprintable()


# --- errors ------------------------------------------------------------------------------------------------------


def page_handlers(rendering: Rendering) -> dict[Any, Any]:
    """The application's handlers of errors, which answer browsers with a page and everybody else as before."""

    def wrapped(handler: Callable[[Any, Any], Response[dict[str, Any]]]) -> Callable[[Any, Any], Response[Any]]:
        def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
            response = handler(request, error)
            if not _is_browser(request):
                return response
            told: Mapping[str, Any] = response.content["error"]
            if response.status_code == 401 and request.method == "GET":
                return Redirect(f"/signin?next={quote(request.url.path)}", status_code=303, headers=SECURITY_HEADERS)
            return rendering.page("error.html", status_code=response.status_code or 500, error=told)

        return handle

    return {kind: wrapped(handler) for kind, handler in HANDLERS.items()}


def _is_browser(request: Request[Any, Any, Any]) -> bool:
    path = request.url.path
    return "text/html" in request.headers.get("accept", "") and not path.startswith(("/v1/", "/schema"))
