"""The desk's pages and what their buttons do."""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec
from litestar import Controller, Request, Response, Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from firstring.api.services import Services, contact_uuid
from firstring.contact import ContactState, Decision, Evidence
from firstring.desk.audits import Audits
from firstring.desk.live import LiveController
from firstring.desk.person import PersonController
from firstring.desk.pops import Card, Pops
from firstring.desk.proof import ProofController
from firstring.desk.rendering import SECURITY_HEADERS
from firstring.desk.signin import HOMES, FailedSignIns, Room, SignInController, form_of, provide_session, signed_in
from firstring.desk.stepping_in import SteppingInController
from firstring.desk.views import CALL_BACK
from firstring.desk.watching import Watching
from firstring.errors import BadInput
from firstring.identity.caller.resolver import standing
from firstring.routing.trial.recognise import shown
from firstring.store.access import Access, Session
from firstring.store.contacts import ContactLine

OUTCOMES: Final = {
    "resolved": "Resolved",
    "follow_up": "Follow-up",
    "wrong_person": "Wrong person",
    "no_outcome": "No outcome",
}
"""What an agent notes at the end, in the order of their keys 1 to 4."""
SOMEONE_NEW: Final = "new"


def desk_pages(services: Services, pops: Pops) -> list[Any]:
    """The desk's route handlers, for `api.app.create_app`."""
    room = make_room(services, pops)
    return [
        Router(
            path="/",
            route_handlers=[
                SignInController,
                HomeController,
                AgentController,
                SupervisorController,
                SteppingInController,
                ProofController,
                PersonController,
                LiveController,
            ],
            dependencies={
                "room": Provide(lambda: room, sync_to_thread=False),
                "session": Provide(provide_session),
            },
            include_in_schema=False,
            opt={"room": lambda: room},  # for the guards (options are copied, a function is not)
        )
    ]


def make_room(services: Services, pops: Pops) -> Room:
    return Room(
        services=services,
        access=Access(services.database, services.clock),
        pops=pops,
        rendering=pops.rendering,
        watching=Watching(services, pops),
        failures=FailedSignIns(services.clock),
        is_secure=services.settings.public_url.startswith("https:"),
        audits=Audits(services),
    )


class HomeController(Controller):
    """What everybody has: the way to their own page, the static files, whether they are still signed in."""

    @get("/", guards=[signed_in()], status_code=303)
    async def home(self, session: NamedDependency[Session]) -> Response[Any]:
        return Redirect(HOMES[session.staff.role], status_code=303, headers=SECURITY_HEADERS)

    @get("/static/{name:str}")
    async def static(
        self, name: FromPath[str], request: Request[Any, Any, Any], room: NamedDependency[Room]
    ) -> Response[bytes]:
        found = room.rendering.static.get(name)
        if found is None:
            raise BadInput("not_found", "There is no such file.", http_status=404)
        return found.response(zipped="gzip" in request.headers.get("accept-encoding", ""))

    @get("/session", guards=[signed_in()], status_code=204)
    async def alive(self) -> None:
        """Whether the sign-in still holds: a browser cannot see why its stream was refused."""


class AgentController(Controller):
    """The agent's desk: /desk, its stream, its buttons; /pop/{contact}."""

    @get("/desk", guards=[signed_in("agent", "administrator")])
    async def page(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Response[str]:
        desk = await room.pops.desk(session)
        agent = await room.services.contacts.agent(session.tenant, desk.agent_id)
        return room.rendering.page(
            "desk.html",
            **common(session),
            name=agent.profile.name if agent is not None else session.staff.login,
            presence=desk.presence,
            cards=list(desk.cards.values()),
            stream="/desk/stream",
        )

    @get("/desk/stream", guards=[signed_in("agent", "administrator")])
    async def stream(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Stream:
        return _stream(await room.pops.desk_messages(session))

    @get("/pop/{contact_id:str}", guards=[signed_in()])
    async def pop(
        self, contact_id: FromPath[str], room: NamedDependency[Room], session: NamedDependency[Session]
    ) -> Response[str]:
        """One contact alone, for other desktops. An agent sees their own contacts, a supervisor every one."""
        identity = contact_uuid(contact_id)
        services = room.services
        state = await services.ring.contact(session.tenant, identity)
        decision = await services.ring.decision(session.tenant, identity)
        if state is None or decision is None:
            raise _unknown()
        own_id = session.staff.agent_id
        is_own = own_id is not None and own_id == state.agent_id
        had_it = own_id is not None and own_id == decision.agent_id  # None is nobody, not the agent of a waiting contact
        if session.staff.role == "agent" and not (is_own or had_it):
            raise BadInput("not_your_contact", "Somebody else has this contact.", http_status=403)
        lines = await services.contacts.of_agent(session.tenant, state.agent_id) if state.agent_id is not None else []
        line = next((one for one in lines if one.contact_id == identity), None) or _line(state, decision)
        card = Card(room.rendering, line, decision, services.settings.identify_threshold)
        if is_own and card.person_id is not None:
            found = await services.treatments.shown(session.tenant, [card.person_id])
            treatments = found.get(card.person_id, ())
            card = Card(room.rendering, line, decision, services.settings.identify_threshold, treatments)
        return room.rendering.page(
            "pop_page.html",
            **common(session),
            card=card,
            stream="/desk/stream" if is_own and session.staff.role != "supervisor" else "",
        )

    @post("/desk/presence", guards=[signed_in("agent", "administrator", csrf=True)], status_code=204)
    async def presence(
        self, request: Request[Any, Any, Any], room: NamedDependency[Room], session: NamedDependency[Session]
    ) -> None:
        wanted = (await form_of(request)).get("presence", "")
        if wanted not in ("ready", "away"):
            raise BadInput("out_of_range", "presence is ready or away.", where={"field": "presence"})
        if not await room.services.contacts.set_presence(session.tenant, _agent(session), wanted):  # type: ignore[arg-type]
            raise BadInput("unknown_agent", "There is no such agent.", http_status=404)

    @post(
        "/desk/contacts/{contact_id:str}/accept",
        guards=[signed_in("agent", "administrator", csrf=True)],
        status_code=204,
    )
    async def accept(
        self, contact_id: FromPath[str], room: NamedDependency[Room], session: NamedDependency[Session]
    ) -> None:
        """A digital contact, or a call that the agent makes, is answered by this button; any other call by the phone."""
        state = await _own(room, session, contact_id)
        if state.contact.channel == "voice" and state.contact.adapter != CALL_BACK:
            raise BadInput("answered_by_phone", "A call is answered by the phone.", http_status=409)
        change = await room.services.contacts.event(
            session.tenant, state.contact.contact_id, "answered", assignment_id=state.assignment_id
        )
        if change.after != "answered":
            raise BadInput("contact_over", "The contact is over.", http_status=409)

    @post(
        "/desk/contacts/{contact_id:str}/finish",
        guards=[signed_in("agent", "administrator", csrf=True)],
        status_code=204,
    )
    async def finish(
        self,
        contact_id: FromPath[str],
        request: Request[Any, Any, Any],
        room: NamedDependency[Room],
        session: NamedDependency[Session],
    ) -> None:
        """Ends the contact with an outcome and frees its agent."""
        outcome = (await form_of(request)).get("outcome", "")
        if outcome not in OUTCOMES:
            raise BadInput("out_of_range", f"outcome is one of {', '.join(OUTCOMES)}.", where={"field": "outcome"})
        state = await _own(room, session, contact_id)
        await room.services.contacts.event(
            session.tenant, state.contact.contact_id, "finished", outcome=outcome, assignment_id=state.assignment_id
        )

    @post(
        "/desk/contacts/{contact_id:str}/confirm",
        guards=[signed_in("agent", "administrator", csrf=True)],
        status_code=204,
    )
    async def confirm(
        self,
        contact_id: FromPath[str],
        request: Request[Any, Any, Any],
        room: NamedDependency[Room],
        session: NamedDependency[Session],
    ) -> None:
        """The agent picked who it is: evidence, and a new decision. `person` is a person's id or "new"."""
        person = (await form_of(request)).get("person", "")
        state = await _own(room, session, contact_id)
        decision = await room.services.ring.decision(session.tenant, state.contact.contact_id)
        if decision is None:
            raise _unknown()
        made = await room.services.decider.again(
            session.tenant,
            state.contact.contact_id,
            "confirmed",
            change=lambda known: picked(known, decision, person),
        )
        if made is None:
            raise BadInput("contact_over", "The contact is over, or changed meanwhile.", http_status=409)
        await room.services.routed(session.tenant, made)

    @post(
        "/desk/contacts/{contact_id:str}/told",
        guards=[signed_in("agent", "administrator", csrf=True)],
        status_code=204,
    )
    async def told(self, contact_id: FromPath[str], room: NamedDependency[Room], session: NamedDependency[Session]) -> None:
        """The caller said who they are: what is known of them is shown, where a trial withheld it."""
        state = await _own(room, session, contact_id)
        made = await room.services.decider.again(
            session.tenant,
            state.contact.contact_id,
            "said",
            change=lambda known: msgspec.structs.replace(known, told=True),
        )
        if made is None:
            raise BadInput("contact_over", "The contact is over, or changed meanwhile.", http_status=409)
        await room.services.routed(session.tenant, made)

    @post(
        "/desk/contacts/{contact_id:str}/treatments/{delivery_id:uuid}",
        guards=[signed_in("agent", "administrator", csrf=True)],
        status_code=204,
    )
    async def treated(
        self,
        contact_id: FromPath[str],
        delivery_id: FromPath[uuid.UUID],
        request: Request[Any, Any, Any],
        room: NamedDependency[Room],
        session: NamedDependency[Session],
    ) -> None:
        """The agent did what was to be done for the person of their contact, or will not."""
        what = (await form_of(request)).get("what", "")
        if what not in ("accepted", "dismissed"):
            raise BadInput("out_of_range", "what is accepted or dismissed.", where={"field": "what"})
        state = await _own(room, session, contact_id)
        decision = await room.services.ring.decision(session.tenant, state.contact.contact_id)
        if decision is None:
            raise _unknown()
        resolution = shown(decision).derived.resolution
        best = resolution.best
        if best is None or standing(resolution, room.services.settings.identify_threshold) != "identified":
            raise BadInput("unidentified", "It is not sure who this is.", http_status=409)
        await room.services.treatments.answered(
            session.tenant,
            best.person_id,
            delivery_id,
            what,  # type: ignore[arg-type]
        )
        room.pops.treat(await room.pops.desk(session))


class SupervisorController(Controller):
    """The live board, and who is who."""

    @get("/supervisor", guards=[signed_in("supervisor", "administrator")])
    async def page(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Response[str]:
        board = await room.pops.board(session)
        return room.rendering.page("supervisor.html", **common(session), board=board.html, stream="/supervisor/stream")

    @get("/supervisor/stream", guards=[signed_in("supervisor", "administrator")])
    async def stream(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Stream:
        return _stream(await room.pops.board_messages(session))

    @get("/administrator", guards=[signed_in("administrator")])
    async def administrator(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Response[str]:
        agents = await room.services.contacts.agents(session.tenant)
        return room.rendering.page(
            "administrator.html",
            **common(session),
            agents=agents,
            names={agent.profile.agent_id: agent.profile.name for agent in agents},
            people=await room.access.staff(session.tenant),
            tokens=await room.access.tokens(session.tenant),
            stream="",
        )


def picked(evidence: Evidence, decision: Decision, person: str) -> Evidence:
    """The evidence after an agent's pick. Raises BadInput unknown_person for somebody who does not come into question.

    Somebody new rules out everybody who was read, and takes an earlier pick back.
    """
    resolution = shown(decision).derived.resolution
    known = {candidate.person_id for candidate in resolution.candidates}
    if resolution.household is not None:
        known |= set(resolution.household.members)
    if person == SOMEONE_NEW:
        ruled_out = tuple(dict.fromkeys((*evidence.ruled_out, *sorted(known))))
        return msgspec.structs.replace(evidence, confirmed_person=None, ruled_out=ruled_out)
    if not (person.isascii() and person.isdigit() and len(person) < 19 and int(person) in known):
        raise BadInput("unknown_person", "This person does not come into question any more.", http_status=409)
    ruled_out = tuple(one for one in evidence.ruled_out if one != int(person))
    return msgspec.structs.replace(evidence, confirmed_person=int(person), ruled_out=ruled_out)


def common(session: Session) -> dict[str, Any]:
    """What every page behind the sign-in needs."""
    return {"session": session, "csrf": session.csrf, "role": session.staff.role, "homes": HOMES}


def _stream(messages: Any) -> Stream:
    headers = {**SECURITY_HEADERS, "X-Accel-Buffering": "no"}
    return Stream(messages, media_type="text/event-stream", headers=headers)


def _agent(session: Session) -> int:
    if session.staff.agent_id is None:
        raise BadInput("no_agent", "This sign-in belongs to no agent.", http_status=403)
    return session.staff.agent_id


async def _own(room: Room, session: Session, contact_id: str) -> ContactState:
    """The contact, if this agent has it. Raises BadInput unknown_contact (404) or not_your_contact (409)."""
    state = await room.services.ring.contact(session.tenant, contact_uuid(contact_id))
    if state is None:
        raise _unknown()
    if state.agent_id != _agent(session):
        raise BadInput("not_your_contact", "You do not have this contact any more.", http_status=409)
    return state


def _line(state: ContactState, decision: Decision) -> ContactLine:
    """A contact that no agent has, as a line."""
    return ContactLine(
        contact_id=state.contact.contact_id,
        channel=state.contact.channel,
        state=state.state,
        revision=state.revision,
        priority=decision.derived.routing.need.priority,
        offered_at=state.contact.offered_at,
        agent_id=state.agent_id,
    )


def _unknown() -> BadInput:
    return BadInput("unknown_contact", "There is no such contact.", http_status=404)
