"""What the live views of this process show: who is there and what they are going through, read anew while watched."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import structlog

from firstring.api.services import Services
from firstring.desk.pops import Pops
from firstring.desk.streams import Stream, message
from firstring.errors import BadInput, FirstringError
from firstring.store.access import Access, Session
from firstring.store.database import Tenant
from firstring.store.identity.persons import people
from firstring.store.live import There, there
from firstring.store.nextbest.policies import in_force

_log = structlog.get_logger("firstring.desk")

EVERY_S: Final = 1.0
"""How often it is read anew while somebody watches."""
WATCHING: Final = 50
"""Browsers of one tenant; one more ends the oldest."""
NAMES_KEPT: Final = 5_000
NAME_KEPT_S: Final = 60.0
NOT_SHOWN: Final = "Customer"
"""Instead of the name of somebody whose page may not be seen either."""
_STATES: Final = {
    "pending": "on its way", "shown": "shown", "accepted": "accepted", "dismissed": "dismissed", "ignored": "not answered",
    "failed": "failed", "expired": "too late", "withdrawn": "withdrawn",
}  # fmt: skip


class Watcher:
    """One browser: who watches, and what it shows."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.html = ""
        self.stream = Stream(lambda: message("live", {"html": self.html}))


class LiveView:
    """What the browsers of one tenant show."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.watchers: list[Watcher] = []
        self.reading: asyncio.Task[None] | None = None
        self.names: OrderedDict[int, tuple[float, str]] = OrderedDict()


class Watching:
    """The live views that are open in this process."""

    def __init__(self, services: Services, pops: Pops) -> None:
        self._services = services
        self._pops = pops
        self._access = Access(services.database, services.clock)
        self._views: dict[int, LiveView] = {}

    async def html(self, session: Session) -> str:
        """The list as it is now, with the names that they may see (Pops.may_see)."""
        view = self._views.get(session.tenant.tenant_id) or LiveView(session.tenant)
        return self._rendered(view, await self._there(view), await self._pops.may_see(session))

    async def messages(self, session: Session) -> AsyncIterator[bytes]:
        """Server-sent events for one browser."""
        watcher = Watcher(session)
        watcher.html = await self.html(session)
        view = self._views.setdefault(session.tenant.tenant_id, LiveView(session.tenant))
        if len(view.watchers) >= WATCHING:
            view.watchers.pop(0).stream.close()
        view.watchers.append(watcher)
        if view.reading is None:
            view.reading = asyncio.create_task(self._read(view), name="live view")
        return self._written(view, watcher)

    async def _written(self, view: LiveView, watcher: Watcher) -> AsyncIterator[bytes]:
        try:
            async for data in watcher.stream.messages(lambda: self._still_signed_in(watcher.session)):
                yield data
        finally:
            if watcher in view.watchers:
                view.watchers.remove(watcher)

    async def _still_signed_in(self, session: Session) -> bytes | None:
        try:
            await self._access.session(session.cookie)
        except BadInput:
            return message("signed_out", None)
        except FirstringError:
            return None
        return None

    async def _read(self, view: LiveView) -> None:
        """Until nobody watches, or the server stops: then the streams end, too."""
        try:
            while view.watchers and not self._services.stopping:
                await asyncio.sleep(EVERY_S)
                try:
                    await self._read_once(view)
                except FirstringError as error:
                    _log.warning("live_view_not_read", code=error.code)
        finally:
            view.reading = None
            for watcher in tuple(view.watchers):
                watcher.stream.close()
            self._views.pop(view.tenant.tenant_id, None)

    async def _read_once(self, view: LiveView) -> None:
        """One reading for all; rendered once for all who may see the same names."""
        found = await self._there(view)
        present = frozenset(one.person_id for one in found)
        rendered: dict[frozenset[int] | None, str] = {}
        for watcher in tuple(view.watchers):
            seen = await self._pops.may_see(watcher.session)
            seen = None if seen is None else seen & present
            if seen not in rendered:
                rendered[seen] = self._rendered(view, found, seen)
            if rendered[seen] != watcher.html:
                watcher.html = rendered[seen]
                watcher.stream.put(message("live", {"html": watcher.html}))

    async def _there(self, view: LiveView) -> list[There]:
        now = self._services.clock.now()
        async with self._services.database.transaction(view.tenant.tenant_id) as connection:
            found = await there(connection, view.tenant, now)
            await self._name(connection, view, found, now)
        return found

    def _rendered(self, view: LiveView, found: list[There], seen: frozenset[int] | None) -> str:
        """seen: whose names may be seen; None: everybody's."""
        force = in_force(view.tenant)
        actions = [(one.name, one.title or one.name) for one in force.catalogue.actions if one.trigger.patterns]
        names = {person_id: name for person_id, (_, name) in view.names.items()}
        if seen is not None:
            names = {person_id: name if person_id in seen else name and NOT_SHOWN for person_id, name in names.items()}
        return self._pops.rendering.text(
            "live.html",
            people=found,
            names=names,
            actions=sorted(actions, key=lambda one: one[1]),
            titles={one.name: one.title or one.name.replace("_", " ") for one in force.catalogue.actions},
            states=_STATES,
            now=self._services.clock.now(),
        )

    async def _name(self, connection: Any, view: LiveView, found: list[There], now: datetime) -> None:
        """Names are looked up once a minute."""
        now_s = self._services.clock.monotonic_s()
        missing = [one.person_id for one in found if view.names.get(one.person_id, (0.0, ""))[0] < now_s]
        if missing:
            known = await people(connection, view.tenant, missing)
            for person_id in missing:
                view.names.pop(person_id, None)
                rules = self._services.models.survivorship
                profile = known[person_id].golden(now, rules).profile() if person_id in known else {}
                view.names[person_id] = (now_s + NAME_KEPT_S, _name(profile))
        while len(view.names) > NAMES_KEPT:
            view.names.popitem(last=False)


def _name(profile: dict[str, Any]) -> str:
    """As people call them; "" for a visitor of whom nothing is known."""
    parts = [profile.get("given_name"), profile.get("family_name")]
    written = " ".join(str(part) for part in parts if part)
    return written or str(profile.get("full_name") or "") or (NOT_SHOWN if profile.get("account") else "")
