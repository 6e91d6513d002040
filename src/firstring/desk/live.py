"""The live view: who is there, what they are going through, and a button that starts an action under the usual gates."""

from __future__ import annotations

from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Stream

from firstring.contact import Reason
from firstring.desk.rendering import SECURITY_HEADERS
from firstring.desk.signin import HOMES, Room, form_of, signed_in
from firstring.errors import BadInput
from firstring.store.access import Session

_ROLES: Final = ("agent", "supervisor", "administrator")


class LiveController(Controller):
    """/live: for everybody who signs in."""

    @get("/live", guards=[signed_in(*_ROLES)])
    async def page(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Response[str]:
        return room.rendering.page(
            "live_page.html",
            session=session,
            csrf=session.csrf,
            role=session.staff.role,
            homes=HOMES,
            live=await room.watching.html(session),
            stream="/live/stream",
        )

    @get("/live/stream", guards=[signed_in(*_ROLES)])
    async def stream(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Stream:
        headers = {**SECURITY_HEADERS, "X-Accel-Buffering": "no"}
        messages = await room.watching.messages(session)
        return Stream(messages, media_type="text/event-stream", headers=headers)

    @post("/live/actions", guards=[signed_in(*_ROLES, csrf=True)], status_code=204)
    async def act(
        self, request: Request[Any, Any, Any], room: NamedDependency[Room], session: NamedDependency[Session]
    ) -> None:
        """Starts an action for somebody, under the same gates. Raises BadInput action_gated (409), with why."""
        form = await form_of(request)
        person = form.get("person", "")
        if not (person.isascii() and person.isdigit() and len(person) < 19):
            raise BadInput("unknown_person", "There is no such person.", http_status=404)
        decided = await room.services.acting.by_hand(
            session.tenant, int(person), form.get("wanted", ""), by=session.staff.login
        )
        if decided.outcome != "acted":
            asked = next((one for one in decided.chosen.considered if one.action == form["wanted"]), None)
            seen = await room.pops.may_see(session)
            whole = seen is None or int(person) in seen
            why = " ".join(_told(reason, whole) for reason in asked.gated_by) if asked is not None else ""
            raise BadInput("action_gated", "This action is not allowed now.", hint=why, http_status=409)


def _told(reason: Reason, whole: bool) -> str:
    """A gate's reason; of an issue of somebody whose page may not be seen only that there is one."""
    return reason.text if whole or reason.field is None else f"A {reason.field} of theirs is open."
