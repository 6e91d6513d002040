"""Changes by webhook: each receiver is told in order, from where it stands; nothing is left out, whatever fails between.

A part is told again until it is taken (any 2xx), later and later; the next part waits. 410 ends the feed. The same part
has the same webhook-id; one that grew meanwhile has another, and its changes their positions, so that a receiver can tell.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from firstring import limits
from firstring.channels.outbound.guarded import GuardedPoster
from firstring.channels.outbound.rounds import Rounds
from firstring.channels.outbound.signing import signed, webhook_secret
from firstring.errors import BadInput, FirstringError, Retryable
from firstring.identity.golden.rules import Rules
from firstring.ports import Clock
from firstring.store import changes as store
from firstring.store.changes import Changes, Feed
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.persons import people

_log = structlog.get_logger("firstring.feeds")

EVERY_S: Final = 1.0
TURN_S: Final = 60.0
"""Longer than a post takes."""
PART: Final = 100
PAUSES_S: Final = (5, 30, 120, 600, 1_800, 3_600)
FORGET_EVERY_S: Final = 3_600.0
_encode = msgspec.json.Encoder().encode


def secret_name(feed: str) -> str:
    """By which the secret of a feed is derived."""
    return f"feed:{feed}"


async def with_profiles(
    connection: Connection, tenant: Tenant, found: Changes, rules: Rules, now: datetime
) -> dict[str, dict[str, Any]]:
    """The golden record, as it is now, of everybody in a part of the feed; of those who are gone, none."""
    wanted = sorted({one.person_id for one in found.changes})
    there = await people(connection, tenant, wanted) if wanted else {}
    return {str(person_id): person.golden(now, rules).profile() for person_id, person in sorted(there.items())}


class FeedSender:
    """One for each process; several share the work."""

    def __init__(self, database: Database, clock: Clock, poster: GuardedPoster, rules: Rules) -> None:
        self._database = database
        self._clock = clock
        self._poster = poster
        self._rules = rules
        self._forgotten_s: dict[int, float] = {}
        self.rounds = Rounds("feeds", database, self.round, every_s=EVERY_S)

    async def round(self, tenant: Tenant) -> bool:
        """Tells one feed one part; whether there may be more to do at once."""
        await self._forget(tenant)
        now = self._clock.now()
        body = b""
        async with self._database.transaction(tenant.tenant_id) as connection:
            feed = await store.take_feed(connection, tenant, now, TURN_S)
            if feed is None:
                return False
            try:
                found = await store.read(connection, tenant, feed.position, PART, feed.kinds)
            except BadInput as gone:  # it slept longer than changes are kept: it is told so, and goes on
                found = Changes([], int(gone.where["last"]), int(gone.where["last"]))
                body = self._body(feed, found, {}, now, gone=True)
            assert found is not None, "there is no feed before changes are noted"
            if not found.changes and not body:
                await store.fed(connection, tenant, feed, found.next, now + timedelta(seconds=EVERY_S), None)
                return True
            if not body:
                profiles = await with_profiles(connection, tenant, found, self._rules, now) if feed.profiles else {}
                body = self._body(feed, found, profiles, now)
        await self._tell(tenant, feed, found, body)
        return True

    def _body(
        self, feed: Feed, found: Changes, profiles: dict[str, dict[str, Any]], now: datetime, *, gone: bool = False
    ) -> bytes:
        data: dict[str, Any] = {"feed": feed.name, "changes": found.changes, "next": found.next, "last": found.last}
        if feed.profiles:
            data["persons"] = profiles
        if gone:
            data["gone"] = True
        return _encode({"type": "changes", "timestamp": now, "data": data})

    async def _tell(self, tenant: Tenant, feed: Feed, found: Changes, body: bytes) -> None:
        message_id = f"feed-{feed.feed_id}-{feed.position}-{found.next}"
        headers = signed(webhook_secret(tenant.keys, secret_name(feed.name)), message_id, self._clock.now(), body)
        code = ""
        status = 0
        try:
            status = await self._poster.post(feed.url, headers, body)
            if not 200 <= status < 300:
                code = f"answered_{status}"
        except (BadInput, Retryable) as error:
            code = error.code
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            if not code:
                await store.fed(connection, tenant, feed, found.next, now, now)
            elif status == 410:
                await store.end_feed(connection, tenant, feed.name)
            else:
                pause = PAUSES_S[min(feed.failures, len(PAUSES_S) - 1)]
                await store.not_fed(connection, tenant, feed, code, now + timedelta(seconds=pause))
        if code:
            _log.warning("feed_not_told", code=code, count=feed.failures + 1, tenant=tenant.tenant_id)

    async def _forget(self, tenant: Tenant) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._forgotten_s.get(tenant.tenant_id, -FORGET_EVERY_S) < FORGET_EVERY_S:
            return
        self._forgotten_s[tenant.tenant_id] = now_s
        try:
            async with self._database.transaction(tenant.tenant_id) as connection:
                await store.forget(connection, tenant, self._clock.now())
        except FirstringError as error:
            _log.warning("changes_not_forgotten", code=error.code)


assert PART <= limits.CHANGES_READ
