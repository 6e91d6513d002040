"""Where a supervisor steps in: one page for a contact that waits, one for an agent."""

from __future__ import annotations

from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from firstring.api.services import contact_uuid
from firstring.desk.board import SHOWN, needs_of, refused, said
from firstring.desk.rendering import SECURITY_HEADERS
from firstring.desk.signin import HOMES, Room, form_of, signed_in
from firstring.errors import BadInput
from firstring.store.access import Session
from firstring.store.contacts import Presence
from firstring.store.interventions import listed

POINTS_MAX: Final = 50
"""Points of priority that one form gives or takes."""
_ROLES: Final = ("supervisor", "administrator")
_PRESENCES: Final[tuple[Presence, ...]] = ("ready", "away", "offline")


class SteppingInController(Controller):
    """The pages and their forms, which need no script."""

    @get("/supervisor/contacts/{contact_id:str}", guards=[signed_in(*_ROLES)])
    async def contact(
        self, contact_id: FromPath[str], room: NamedDependency[Room], session: NamedDependency[Session]
    ) -> Response[str]:
        identity = contact_uuid(contact_id)
        services = room.services
        state = await services.ring.contact(session.tenant, identity)
        decision = await services.ring.decision(session.tenant, identity)
        if state is None or decision is None:
            raise BadInput("unknown_contact", "There is no such contact.", http_status=404)
        agents = await services.contacts.agents(session.tenant)
        names = {one.profile.agent_id: one.profile.name for one in agents}
        now = services.clock.now()
        since = state.waiting_since or state.contact.offered_at
        need = decision.derived.routing.need
        needs, tier = needs_of(need, max(0.0, (now - since).total_seconds()), names)
        return room.rendering.page(
            "board_contact.html",
            **_common(session),
            state=state,
            need=need,
            since=since,
            needs=needs,
            tier=tier,
            reasons=decision.derived.routing.reasons,
            agents=sorted(
                (one for one in agents if state.contact.channel in one.profile.channels),
                key=lambda one: (_PRESENCES.index(one.presence), one.profile.name),
            ),
            names=names,
            log=[
                (one, said(one, names), refused(one))
                for one in await listed(services.database, session.tenant, SHOWN, contact_id=identity)
            ],
            now=now,
        )

    @post("/supervisor/contacts/{contact_id:str}/move", guards=[signed_in(*_ROLES, csrf=True)], status_code=303)
    async def move(
        self,
        contact_id: FromPath[str],
        request: Request[Any, Any, Any],
        room: NamedDependency[Room],
        session: NamedDependency[Session],
    ) -> Response[Any]:
        form = await form_of(request)
        agent_id = _number(form.get("agent", ""), "agent")
        return await _directed(room, session, contact_id, to_agent=agent_id, because=form.get("why", ""))

    @post("/supervisor/contacts/{contact_id:str}/priority", guards=[signed_in(*_ROLES, csrf=True)], status_code=303)
    async def prioritise(
        self,
        contact_id: FromPath[str],
        request: Request[Any, Any, Any],
        room: NamedDependency[Room],
        session: NamedDependency[Session],
    ) -> Response[Any]:
        form = await form_of(request)
        points = _number(form.get("points", ""), "points")
        if abs(points) > POINTS_MAX:
            raise BadInput("out_of_range", f"Points are from -{POINTS_MAX} to {POINTS_MAX}.", where={"field": "points"})
        return await _directed(room, session, contact_id, points=points, because=form.get("why", ""))

    @post("/supervisor/contacts/{contact_id:str}/note", guards=[signed_in(*_ROLES, csrf=True)], status_code=303)
    async def note(
        self,
        contact_id: FromPath[str],
        request: Request[Any, Any, Any],
        room: NamedDependency[Room],
        session: NamedDependency[Session],
    ) -> Response[Any]:
        form = await form_of(request)
        return await _directed(room, session, contact_id, note=form.get("note", ""), because="a note for the agent")

    @get("/supervisor/agents/{agent_id:int}", guards=[signed_in(*_ROLES)])
    async def agent(
        self, agent_id: FromPath[int], room: NamedDependency[Room], session: NamedDependency[Session]
    ) -> Response[str]:
        services = room.services
        found = await services.contacts.agent(session.tenant, agent_id) if 0 < agent_id < 2**63 else None
        if found is None:
            raise BadInput("unknown_agent", "There is no such agent.", http_status=404)
        return room.rendering.page(
            "board_agent.html",
            **_common(session),
            agent=found,
            contacts=await services.contacts.of_agent(session.tenant, agent_id),
            presences=_PRESENCES,
            now=services.clock.now(),
        )

    @post("/supervisor/agents/{agent_id:int}/presence", guards=[signed_in(*_ROLES, csrf=True)], status_code=303)
    async def presence(
        self,
        agent_id: FromPath[int],
        request: Request[Any, Any, Any],
        room: NamedDependency[Room],
        session: NamedDependency[Session],
    ) -> Response[Any]:
        form = await form_of(request)
        wanted = next((one for one in _PRESENCES if one == form.get("presence")), None)
        if wanted is None:
            raise BadInput("out_of_range", "presence is ready, away or offline.", where={"field": "presence"})
        await room.services.house.presence(
            session.tenant, agent_id, wanted, by=session.staff.login, because=form.get("why", "")
        )
        return _back(f"/supervisor/agents/{agent_id}")


def _common(session: Session) -> dict[str, Any]:
    return {"session": session, "csrf": session.csrf, "role": session.staff.role, "homes": HOMES, "stream": ""}


async def _directed(room: Room, session: Session, contact_id: str, **wanted: Any) -> Response[Any]:
    """Does with a contact what the form asks for (`House.direct`); back to its page. Raises as that does."""
    identity = contact_uuid(contact_id)
    await room.services.house.direct(session.tenant, identity, by=session.staff.login, **wanted)
    return _back(f"/supervisor/contacts/{identity}")


def _back(path: str) -> Response[Any]:
    """To the page the form stands on, which then shows what came of it (RFC 9110, 15.4.4)."""
    return Redirect(path, status_code=303, headers=SECURITY_HEADERS)


def _number(text: str, field: str) -> int:
    try:
        number = int(text) if len(text) <= 19 else 2**63
        if number >= 2**63:  # more than the store's numbers have room for
            raise ValueError
        return number
    except ValueError:
        raise BadInput("out_of_range", f"{field} is a number.", where={"field": field}) from None
