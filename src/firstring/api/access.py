"""Who calls: an API token in `Authorization: Bearer fr_...`, its tenant and its role."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from firstring.errors import BadInput
from firstring.store.access import Access
from firstring.store.database import Tenant

REMEMBERED_S: Final = 5.0
"""A token that was found valid is not looked up again for this long; so long a revoked one may still work."""
REMEMBERED: Final = 1_000


class Caller(NamedTuple):
    """The tenant a request speaks for, and the role of its token."""

    tenant: Tenant
    role: str


class Tokens:
    """Looks tokens up and remembers the valid ones for a moment."""

    def __init__(self, access: Access, monotonic_s: Callable[[], float]) -> None:
        self._access = access
        self._monotonic_s = monotonic_s
        self._remembered: OrderedDict[str, tuple[float, Caller]] = OrderedDict()

    async def caller(self, text: str) -> Caller:
        """Raises BadInput (401) for a token that is malformed, unknown or revoked."""
        now = self._monotonic_s()
        known = self._remembered.get(text)
        if known is not None and known[0] > now:
            return known[1]
        tenant, token = await self._access.token(text)
        caller = Caller(tenant, token.role)
        self._remembered[text] = (now + REMEMBERED_S, caller)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return caller


def allow(*roles: str) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """A guard: administrators, and tokens of these roles. 401 without a valid token, 403 with one of another role."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise BadInput(
                "token_missing",
                "This needs an API token.",
                where={"header": "Authorization"},
                hint="Send Authorization: Bearer fr_...; make one with `firstring token`.",
                http_status=401,
            )
        caller = await connection.app.state.tokens.caller(token.strip())
        if caller.role != "administrator" and caller.role not in roles:
            raise BadInput(
                "role_not_allowed",
                "This token's role may not do that.",
                where={"role": caller.role, "allowed": ["administrator", *roles]},
                http_status=403,
            )
        connection.state.caller = caller

    return guard


async def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    """The caller that the guard found."""
    caller: Caller = request.state.caller
    return caller
