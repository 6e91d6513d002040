"""Who may do what: staff and their sign-ins, API tokens.

Passwords are kept as argon2id (RFC 9106) with the parameters of the OWASP password storage cheat sheet. Cookies and
tokens carry the tenant's id beside 256 bits of chance, of which only the SHA-256 is stored: they need no slow hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import unicodedata
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, get_args

import asyncpg
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from firstring.errors import BadInput
from firstring.ports import Clock
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql
from firstring.store.seal import TenantKeys

StaffRole = Literal["agent", "supervisor", "administrator"]
TokenRole = Literal["administrator", "adapter", "import", "events", "write_key", "read", "steward"]
"""administrator: everything; adapter: offers contacts and tells what became of them; import: records; events and
write_key: POST /v1/events (a write key is public, it stands in web pages); read: looks up and resolves."""

PASSWORD_CHARS: Final = (10, 200)
LOGIN_CHARS: Final = 200
HASHES_AT_ONCE: Final = 2
"""Each takes 19 MiB and a core for some 20 ms."""


class Staff(NamedTuple):
    """Somebody who signs in at the desk. `agent_id` says which agent they are, if any."""

    staff_id: int
    login: str
    role: StaffRole
    agent_id: int | None
    active: bool
    created_at: datetime


class Session(NamedTuple):
    """A sign-in. `cookie` is the secret that the browser keeps; it is not stored here."""

    tenant: Tenant
    staff: Staff
    cookie: str
    csrf: str
    expires_at: datetime


class Token(NamedTuple):
    """An API token as it is listed: without its secret."""

    token_id: int
    role: TokenRole
    name: str
    created_at: datetime
    revoked_at: datetime | None
    source: str | None = None
    """The system whose ids the events of this token speak of; None: not said."""


class Access:
    """Staff, sessions and tokens of every tenant."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self._nobody = ""

    # --- tenants and staff ---

    async def create_tenant(self, name: str) -> Tenant:
        """Raises BadInput tenant_exists (409) or tenant_name_invalid."""
        tenant = await self._database.add_tenant(name, self._clock.now())
        if tenant is None:
            raise BadInput("tenant_exists", "There is a tenant of this name.", where={"tenant": name}, http_status=409)
        return tenant

    async def create_staff(
        self, tenant: Tenant, login: str, password: str, role: StaffRole, *, agent_id: int | None = None
    ) -> Staff:
        """Raises BadInput login_invalid, password_invalid, role_invalid or login_taken (409)."""
        login, hashed = _login(login), await self._hash(_password(password))
        if role not in get_args(StaffRole):
            raise _unknown_role(role, get_args(StaffRole))
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            staff_id = await connection.fetchval(
                sql("access", "add_staff"), tenant.tenant_id, login, hashed, role, agent_id, now
            )
        if staff_id is None:
            raise BadInput("login_taken", "Somebody has this login.", where={"field": "login"}, http_status=409)
        return Staff(staff_id, login, role, agent_id, True, now)

    async def ensure_administrator(self, tenant: Tenant, login: str) -> str | None:
        """Where the tenant has no administrator, adds one and returns the password; else None. Safe to run twice at once."""
        login, password = _login(login), secrets.token_urlsafe(15)
        hashed = await self._hash(password)
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("access", "lock_staff"))
            staff_id = await connection.fetchval(
                sql("access", "first_administrator"), tenant.tenant_id, login, hashed, self._clock.now()
            )
        return None if staff_id is None else password

    async def staff(self, tenant: Tenant) -> list[Staff]:
        """Everybody of a tenant, by login."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            rows = await connection.fetch(sql("access", "staff"), tenant.tenant_id)
        return [_staff(row) for row in rows]

    async def set_password(self, tenant: Tenant, staff_id: int, password: str) -> None:
        """Sets a new password and ends every sign-in. Raises BadInput password_invalid, unknown_staff (404)."""
        hashed = await self._hash(_password(password))
        await self._change(tenant, staff_id, "set_password", hashed)

    async def set_active(self, tenant: Tenant, staff_id: int, active: bool) -> None:
        """Lets somebody in or shuts them out, ending every sign-in. Raises BadInput unknown_staff (404)."""
        await self._change(tenant, staff_id, "set_active", active)

    async def verify(self, tenant: Tenant | None, login: str, password: str) -> Staff:
        """Who signs in. Raises BadInput login_refused (401), after the same work whether or not tenant and login exist."""
        row = None
        if tenant is not None and 0 < len(login) <= LOGIN_CHARS and "\0" not in login:
            async with self._database.transaction(tenant.tenant_id) as connection:
                row = await connection.fetchrow(sql("access", "staff_by_login"), tenant.tenant_id, _folded(login))
        if not self._nobody:
            self._nobody = await self._hash(secrets.token_urlsafe())
        matches = await self._matches(row["password_hash"] if row else self._nobody, password[: PASSWORD_CHARS[1] + 1])
        if row is None or not matches or not row["active"]:
            raise BadInput(
                "login_refused", "Login or password is wrong.", hint="Ask an administrator to reset it.", http_status=401
            )
        return _staff(row)

    # --- sessions ---

    async def open_session(self, tenant: Tenant, staff: Staff, lasts: timedelta) -> Session:
        """A sign-in for somebody whom `verify` returned."""
        secret = secrets.token_urlsafe(32)
        now = self._clock.now()
        session = Session(tenant, staff, f"{tenant.tenant_id}.{secret}", secrets.token_urlsafe(32), now + lasts)
        async with self._database.transaction(tenant.tenant_id) as connection:
            await connection.execute(sql("access", "end_expired_sessions"), tenant.tenant_id, now)
            await connection.execute(
                sql("access", "add_session"),
                tenant.tenant_id, _digest(secret), staff.staff_id, session.csrf, now, session.expires_at,
            )  # fmt: skip
        return session

    async def session(self, cookie: str) -> Session:
        """Whose sign-in a cookie is. Raises BadInput not_signed_in (401)."""
        tenant, secret = await self._addressed(cookie, ".")
        if tenant is not None:
            async with self._database.transaction(tenant.tenant_id) as connection:
                row = await connection.fetchrow(
                    sql("access", "session"), tenant.tenant_id, _digest(secret), self._clock.now()
                )
            if row is not None:
                return Session(tenant, _staff(row), cookie, row["csrf"], row["expires_at"])
        raise BadInput("not_signed_in", "Nobody is signed in.", hint="Sign in.", http_status=401)

    async def end_session(self, cookie: str) -> None:
        """Signs out; nothing happens for a cookie that is none."""
        tenant, secret = await self._addressed(cookie, ".")
        if tenant is not None:
            async with self._database.transaction(tenant.tenant_id) as connection:
                await connection.execute(sql("access", "end_session"), tenant.tenant_id, _digest(secret))

    # --- tokens ---

    async def create_token(self, tenant: Tenant, role: TokenRole, name: str, source: str | None = None) -> tuple[str, Token]:
        """(the token's text, shown once and not stored; the token). source: the system that its events come from.

        Raises BadInput role_invalid, token_name_invalid, source_invalid.
        """
        if role not in get_args(TokenRole):
            raise _unknown_role(role, get_args(TokenRole))
        if not 0 < len(name) <= 100 or not name.isprintable():
            raise BadInput("token_name_invalid", "A token needs a name of up to 100 characters.", where={"field": "name"})
        if source is not None and not (0 < len(source) <= 100 and source.isprintable()):
            raise BadInput(
                "source_invalid", "A source has a name of 1 to 100 printable characters.", where={"field": "source"}
            )
        secret, now = secrets.token_urlsafe(32), self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            token_id = await connection.fetchval(
                sql("access", "add_token"), tenant.tenant_id, _digest(secret), role, name, now, source
            )
        return f"fr_{tenant.tenant_id}_{secret}", Token(token_id, role, name, now, None, source)

    async def token(self, text: str) -> tuple[Tenant, Token]:
        """Whose token it is. Raises BadInput unknown_token (401)."""
        tenant, secret = await self._addressed(text.removeprefix("fr_"), "_") if text.startswith("fr_") else (None, "")
        if tenant is not None:
            async with self._database.transaction(tenant.tenant_id) as connection:
                row = await connection.fetchrow(sql("access", "token"), tenant.tenant_id, _digest(secret))
            if row is not None:
                return tenant, _token(row)
        raise BadInput(
            "unknown_token",
            "The token is not known, or was revoked.",
            hint="Make one by `firstring token`.",
            http_status=401,
        )

    async def tokens(self, tenant: Tenant) -> list[Token]:
        """Every token of a tenant, revoked ones too."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            return [_token(row) for row in await connection.fetch(sql("access", "tokens"), tenant.tenant_id)]

    async def revoke_token(self, tenant: Tenant, token_id: int) -> bool:
        """Ends a token; False if there is no such token in use."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            found = await connection.fetchval(sql("access", "revoke_token"), tenant.tenant_id, token_id, self._clock.now())
        return found is not None

    # --- inside ---

    async def _change(self, tenant: Tenant, staff_id: int, statement: str, value: Any) -> None:
        async with self._database.transaction(tenant.tenant_id) as connection:
            found = await connection.fetchval(sql("access", statement), tenant.tenant_id, staff_id, value)
            await connection.execute(sql("access", "end_sessions_of"), tenant.tenant_id, staff_id)
        if found is None:
            raise BadInput("unknown_staff", "There is nobody of this id.", where={"staff": staff_id}, http_status=404)

    async def _addressed(self, text: str, separator: str) -> tuple[Tenant | None, str]:
        """The tenant whose id stands before the secret; None for what cannot be one of ours."""
        number, _, secret = text.partition(separator)
        if not (
            0 < len(number) <= 9 and number.isascii() and number.isdigit() and 20 <= len(secret) <= 100 and secret.isascii()
        ):
            return None, ""
        try:
            return await self._database.tenant(int(number)), secret
        except BadInput:
            return None, ""

    async def _hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, _bytes(password))

    async def _matches(self, hashed: str, password: str) -> bool:
        async with self._hashing:
            try:
                return await asyncio.to_thread(self._hasher.verify, hashed, _bytes(password))
            except VerifyMismatchError:
                return False


def _folded(login: str) -> str:
    return unicodedata.normalize("NFKC", login).strip().casefold()


def _login(login: str) -> str:
    folded = _folded(login)
    if not 0 < len(folded) <= LOGIN_CHARS or not folded.isprintable():
        raise BadInput("login_invalid", f"A login has 1 to {LOGIN_CHARS} printable characters.", where={"field": "login"})
    return folded


def _password(password: str) -> str:
    least, most = PASSWORD_CHARS
    if not least <= len(password) <= most:
        raise BadInput("password_invalid", f"A password has {least} to {most} characters.", where={"field": "password"})
    return password


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")  # what no keyboard sends is a wrong password, not a crash


def _unknown_role(role: str, known: tuple[str, ...]) -> BadInput:
    return BadInput("role_invalid", "There is no such role.", where={"field": "role"}, hint=f"One of {', '.join(known)}.")


def signing_secret(keys: TenantKeys, token_id: int) -> str:
    """The secret with which one's own server signs user ids for a write key. Derived, not stored."""
    return keys.blind("signing", str(token_id)).hex()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _staff(row: asyncpg.Record) -> Staff:
    return Staff(row["staff_id"], row["login"], row["role"], row["agent_id"], row["active"], row["created_at"])


def _token(row: asyncpg.Record) -> Token:
    return Token(row["token_id"], row["role"], row["name"], row["created_at"], row["revoked_at"], row["source"])
