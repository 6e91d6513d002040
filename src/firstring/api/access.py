"""Who calls: an API token in `Authorization: Bearer fr_...`, its tenant and its role."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from firstring.channels.deadline import by_deadline
from firstring.errors import BadInput, Retryable
from firstring.store.access import Access
from firstring.store.database import Tenant

REMEMBERED_S: Final = 5.0
"""A token that was found valid is not looked up again for this long; so long a revoked one may still work."""
REMEMBERED: Final = 1_000
LOOKED_UP_S: Final = 5.0
"""How long a token is looked up."""
LOOKED_UP_RINGING_S: Final = 0.2
"""The same while a call rings: the rest of its time belongs to the decision."""

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


class Caller(NamedTuple):
    """The tenant a request speaks for, the role of its token, the token's name, the source it is for, its number."""

    tenant: Tenant
    role: str
    name: str = ""
    source: str | None = None
    token_id: int = 0


class Tokens:
    """Looks tokens up and remembers the valid ones for a moment."""

    def __init__(self, access: Access, monotonic_s: Callable[[], float]) -> None:
        self._access = access
        self.monotonic_s = monotonic_s
        self._remembered: OrderedDict[str, tuple[float, Caller]] = OrderedDict()

    async def caller(self, text: str, *, within_s: float = LOOKED_UP_S) -> Caller:
        """Raises BadInput (401) for a token that is malformed, unknown or revoked; Retryable without the database."""
        now = self.monotonic_s()
        known = self._remembered.get(text)
        if known is not None and known[0] > now:
            return known[1]
        try:
            tenant, token = await by_deadline(self._access.token(text), within_s)
        except TimeoutError:
            raise Retryable("database_slow", "PostgreSQL did not answer in time.", hint="Retry; look at its load.") from None
        caller = Caller(tenant, token.role, token.name, token.source, token.token_id)
        self._remembered[text] = (now + REMEMBERED_S, caller)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return caller


def allow(*roles: str) -> Guard:
    """A guard: administrators, and tokens of these roles. 401 without a valid token, 403 with one of another role."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        tokens: Tokens = connection.app.state.tokens
        caller = await tokens.caller(_token(connection))
        _check(caller, roles)
        connection.state.caller = caller

    return guard


def allow_ringing(*roles: str) -> Guard:
    """As `allow`, for calls that ring: routing fails open. Where the token cannot be looked up now, the request goes on
    with nobody as its caller (`Ringing`), and is answered with the default queue, which tells nothing of anybody."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        tokens: Tokens = connection.app.state.tokens
        arrived_s = tokens.monotonic_s()
        try:
            caller = await tokens.caller(_token(connection), within_s=LOOKED_UP_RINGING_S)
        except Retryable as error:
            connection.state.ringing = Ringing(None, arrived_s, error)
            return
        _check(caller, roles)
        connection.state.ringing = Ringing(caller, arrived_s, None)

    return guard


class Ringing(NamedTuple):
    """A request about a call that rings. caller is None where `failure` kept its token from being looked up."""

    caller: Caller | None
    arrived_s: float
    failure: Retryable | None


async def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    """The caller that the guard found."""
    caller: Caller = request.state.caller
    return caller


def _token(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BadInput(
            "token_missing",
            "This needs an API token.",
            where={"header": "Authorization"},
            hint="Send Authorization: Bearer fr_...; make one with `firstring token`.",
            http_status=401,
        )
    return token.strip()


def _check(caller: Caller, roles: tuple[str, ...]) -> None:
    if caller.role != "administrator" and caller.role not in roles:
        raise BadInput(
            "role_not_allowed",
            "This token's role may not do that.",
            where={"role": caller.role, "allowed": ["administrator", *roles]},
            http_status=403,
        )
