"""What the live views of this process show: who is there and what they are going through, read anew while watched."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import structlog

from firstring.api.services import Services
from firstring.desk.rendering import Rendering
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
_STATES: Final = {
    "pending": "on its way", "shown": "shown", "accepted": "accepted", "dismissed": "dismissed", "ignored": "not answered",
    "failed": "failed", "expired": "too late", "withdrawn": "withdrawn",
}  # fmt: skip


class LiveView:
    """What the browsers of one tenant show."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.streams: list[Stream] = []
        self.html = ""
        self.reading: asyncio.Task[None] | None = None
        self.names: OrderedDict[int, tuple[float, str]] = OrderedDict()


class Watching:
    """The live views that are open in this process."""

    def __init__(self, services: Services, rendering: Rendering) -> None:
        self._services = services
        self._rendering = rendering
        self._access = Access(services.database, services.clock)
        self._views: dict[int, LiveView] = {}

    async def html(self, tenant: Tenant) -> str:
        """The list as it is now."""
        view = self._views.get(tenant.tenant_id) or LiveView(tenant)
        return await self._rendered(view)

    async def messages(self, session: Session) -> AsyncIterator[bytes]:
        """Server-sent events for one browser."""
        view = self._views.setdefault(session.tenant.tenant_id, LiveView(session.tenant))
        view.html = view.html or await self._rendered(view)
        stream = Stream(lambda: message("live", {"html": view.html}))
        if len(view.streams) >= WATCHING:
            view.streams.pop(0).close()
        view.streams.append(stream)
        if view.reading is None:
            view.reading = asyncio.create_task(self._read(view), name="live view")
        return self._written(view, stream, session)

    async def _written(self, view: LiveView, stream: Stream, session: Session) -> AsyncIterator[bytes]:
        try:
            async for data in stream.messages(lambda: self._still_signed_in(session)):
                yield data
        finally:
            if stream in view.streams:
                view.streams.remove(stream)

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
            while view.streams and not self._services.stopping:
                await asyncio.sleep(EVERY_S)
                try:
                    html = await self._rendered(view)
                except FirstringError as error:
                    _log.warning("live_view_not_read", code=error.code)
                    continue
                if html != view.html:
                    view.html = html
                    for stream in view.streams:
                        stream.put(message("live", {"html": html}))
        finally:
            view.reading = None
            for stream in tuple(view.streams):
                stream.close()
            self._views.pop(view.tenant.tenant_id, None)

    async def _rendered(self, view: LiveView) -> str:
        services, tenant = self._services, view.tenant
        now = services.clock.now()
        async with services.database.transaction(tenant.tenant_id) as connection:
            found = await there(connection, tenant, now)
            await self._name(connection, view, found, now)
        force = in_force(tenant)
        actions = [(one.name, one.title or one.name) for one in force.catalogue.actions if one.trigger.patterns]
        return self._rendering.text(
            "live.html",
            people=found,
            names={person_id: name for person_id, (_, name) in view.names.items()},
            actions=sorted(actions, key=lambda one: one[1]),
            titles={one.name: one.title or one.name.replace("_", " ") for one in force.catalogue.actions},
            states=_STATES,
            now=now,
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
    return written or str(profile.get("full_name") or "") or ("Customer" if profile.get("account") else "")
