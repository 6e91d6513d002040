"""One contact of the demonstration from its arrival to its outcome, watched from outside: SIP, HTTP, desks, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Final, NamedTuple

import httpx
import msgspec

from firstring.api.contacts import ContactView, DecisionView
from firstring.demo.account import Account, account
from firstring.demo.asking import ask
from firstring.demo.desks import Desk, Desks
from firstring.demo.voice import Call, Telephony
from firstring.demo.website import Visitor, visiting
from firstring.demo.world import SOURCE, Tokens, World
from firstring.errors import Retryable
from firstring.store.contacts import ContactLine

POP_S: Final = 15.0
"""How long a pop is waited for; a contact that waits in the queue pops when an agent is free."""
_SETTLED_S: Final = 5.0
_POLL_S: Final = 0.02
_FIGURE = re.compile(r'^firstring_stage_seconds_(sum|count)\{stage="decide"\} (\S+)$', re.MULTILINE)


class Figures(NamedTuple):
    """The server's own count and time of decisions so far."""

    decisions: int
    total_ms: float


class Taken(NamedTuple):
    """A contact that is over. first: its first decision. problem: what went wrong on the way, or empty."""

    view: ContactView
    first: DecisionView
    login: str
    account: Account
    problem: str


class Stage:
    """What is running. `accounts` is what happened so far; `decide_ms` the time of each decision.

    said: lines about what was no contact. looked_at: the first person who was recognised.
    """

    def __init__(
        self,
        world: World,
        telephony: Telephony,
        desks: Desks,
        staff: Mapping[str, Desk],
        client: httpx.AsyncClient,
        tokens: Tokens,
    ) -> None:
        self.world = world
        self.telephony = telephony
        self.desks = desks
        self.accounts: list[Account] = []
        self.decide_ms: list[float] = []
        self.said: list[str] = []
        self.looked_at: int | None = None
        self._staff = staff
        self._client = client
        self._tokens = tokens
        self._known: set[str] = set()
        self._ready: list[str] = []
        self._logins = {sign_in.agent_id: sign_in.login for sign_in in world.sign_ins.values() if sign_in.agent_id}

    # --- agents -----------------------------------------------------------------------------------------------

    async def ready(self, *logins: str) -> None:
        """These agents take contacts, whoever is named first having waited longest; the others are away."""
        if self._ready == list(logins):
            return
        for login in self._ready:
            await self._staff[login].presence("away")
        for login in logins:
            await self._staff[login].presence("ready")
        self._ready = list(logins)

    # --- contacts ---------------------------------------------------------------------------------------------

    async def remember(self) -> None:
        """The contacts that are there already are not ours."""
        self._known |= {str(line.contact_id) for line in await self.world.recent()}

    async def call(self, title: str, call: Call, *, pick: str = "", on_desk: asyncio.Event | None = None) -> Taken:
        """A call from the INVITE to the agent's outcome. `on_desk` is set once it is on somebody's desk.

        pick: the given name of whom the agent picks where several people come into question.
        """
        before = await self._figures()
        calling = asyncio.create_task(self.telephony.call(call), name="call")
        try:
            contact_id = await self._arrived()
            after = await self._figures()
            if on_desk is not None:
                on_desk.set()
            if pick:
                await self._pick(contact_id, pick)
            in_order = await calling
        finally:
            await _cancelled(calling)
        line = await self._until(contact_id, lambda line: line.state == "ended")
        problem = "" if in_order else "the call was not answered and ended in order"
        if not problem and line.answered_at is None:
            problem = "the server did not hear that the phone answered"
        # Decisions that came later (a busy phone, a late certificate) are of this contact too.
        settled = await self._figures() if on_desk is None else after
        return await self._over(title, contact_id, before, settled, problem)

    async def chat(self, title: str, fields: Mapping[str, str]) -> Taken:
        """A chat, offered over HTTP and answered by the desk's button."""
        before = await self._figures()
        body = {"id": str(uuid.uuid4()), "channel": "chat", "fields": dict(fields)}
        made: dict[str, Any] = msgspec.json.decode(await self._http("POST", "/v1/contacts", body))
        contact_id = str(made["contact_id"])
        pop = await self.desks.next_pop(self._known, POP_S)
        self._known.add(contact_id)
        problem = "" if pop is not None and pop.contact_id == contact_id else "the chat did not pop"
        login = self._logins.get(made["agent_id"], "")
        if login:
            await self._staff[login].accept(contact_id)
        line = await self._until(contact_id, lambda line: line.answered_at is not None)
        if not problem and line.answered_at is None:
            problem = "the chat was not accepted"
        return await self._over(title, contact_id, before, await self._figures(), problem)

    def on_the_site(self, user: str = "") -> AbstractAsyncContextManager[Visitor]:
        """Somebody on the shop's web site; signed in where `user` is named."""
        return visiting(self._client, self._tokens.pages, user)

    async def call_back(self, title: str, asked: Awaitable[None]) -> Taken:
        """A call that a customer asked for is offered to an agent, who makes it. asked: asks for it."""
        before = await self._figures()
        await asked
        contact_id = await self._arrived()
        login = self._logins.get((await self._view(contact_id)).agent_id or 0, "")
        if login in self._staff:
            await self._staff[login].accept(contact_id)
        line = await self._until(contact_id, lambda line: line.answered_at is not None)
        problem = "" if line.answered_at is not None else "nobody made the call"
        return await self._over(title, contact_id, before, await self._figures(), problem)

    async def event(self, name: str, user: str, properties: Mapping[str, Any]) -> bool:
        """Something that a customer does in the shop just now. Whether it was stored."""
        track = {"type": "track", "userId": user, "event": name, "channel": "web", "properties": dict(properties)}
        return await self._reported([track])

    async def waits_for_refund(self, user: str, traits: Mapping[str, Any]) -> bool:
        """A new customer, and what the shop tells of them: a refund was asked for two days ago. Whether it was stored."""
        asked_at = self.world.now() - timedelta(days=2)
        refund = {"order_id": "1088", "amount": 59.9, "currency": "USD"}
        told = {"userId": user, "event": "Refund Requested", "timestamp": asked_at.isoformat(), "properties": refund}
        identify = {"type": "identify", "userId": user, "traits": dict(traits), "timestamp": asked_at.isoformat()}
        return await self._reported([identify, {"type": "track", **told}])

    async def _reported(self, events: Sequence[Mapping[str, Any]]) -> bool:
        """Events from the shop's own server. Whether they were stored."""
        body = {"source": SOURCE, "batch": [{"messageId": str(uuid.uuid4()), **one} for one in events]}
        result = msgspec.json.decode(await self._http("POST", "/v1/events", body, token=self._tokens.events))
        return bool(result["stored"] == len(events))

    async def tell(self, contact_id: str, what: str) -> None:
        """A phone behind the redirect server says what became of a call."""
        await self._http("POST", f"/v1/contacts/{contact_id}/events", {"what": what})

    async def waiting(self, timeout_s: float = _SETTLED_S) -> bool:
        """Until a contact waits in the queue."""
        for _ in range(int(timeout_s / _POLL_S)):
            if any(line.state == "waiting" for line in await self.world.recent()):
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _pick(self, contact_id: str, given_name: str) -> None:
        """The agent who has the contact says who it is, unless the visitor has it: they may pick themselves."""
        view = await self._view(contact_id)
        login = self._logins.get(view.agent_id or 0, "")
        for candidate in view.decision.resolution.candidates:
            if candidate.profile.get("given_name") == given_name and login in self._staff:
                await self._staff[login].pick(contact_id, candidate.person_id)

    # --- inside -----------------------------------------------------------------------------------------------

    async def _arrived(self) -> str:
        """The contact that just came: seen on a desk or, failing that, in the store."""
        pop = await self.desks.next_pop(self._known, POP_S)
        if pop is not None:
            self._known.add(pop.contact_id)
            return pop.contact_id
        for line in await self.world.recent():
            if str(line.contact_id) not in self._known:
                self._known.add(str(line.contact_id))
                return str(line.contact_id)
        raise Retryable("contact_missing", "The call did not reach the server.", hint="See server.log.")

    async def _over(self, title: str, contact_id: str, before: Figures, after: Figures, problem: str) -> Taken:
        """The outcome at the desk, and the account of the whole."""
        view = await self._view(contact_id)
        first = view.decision
        if view.revision > 1:
            text = await self._http("GET", f"/v1/contacts/{contact_id}/decisions/1")
            first = msgspec.json.decode(text, type=DecisionView)
        login = self._logins.get(view.decision.agent_id or view.agent_id or 0, "")
        if not problem and not self.desks.popped(contact_id, login):
            problem = "it did not pop on the desk of its agent"
        if login in self._staff and view.agent_id is not None:
            await self._staff[login].finish(contact_id)
        count = after.decisions - before.decisions
        times = [(after.total_ms - before.total_ms) / count] * count if count > 0 else []
        agent = self.world.names.get(view.decision.agent_id or view.agent_id or 0, "the queue")
        made = account(title, first, view.decision, agent, popped=self.desks.popped(contact_id, login), decide_ms=times)
        best = view.decision.resolution.best
        if self.looked_at is None and best is not None:
            self.looked_at = best.person_id
        self.accounts.append(made)
        self.decide_ms += times
        return Taken(view, first, login, made, problem)

    async def _until(self, contact_id: str, there: Any) -> ContactLine:
        """The contact once `there` holds, or as it is when that does not come to pass."""
        line: ContactLine | None = None
        for _ in range(int(_SETTLED_S / _POLL_S)):
            line = next((one for one in await self.world.recent() if str(one.contact_id) == contact_id), line)
            if line is not None and there(line):
                break
            await asyncio.sleep(_POLL_S)
        if line is None:
            raise Retryable("contact_missing", "The contact is not in the store.", where={"contact": contact_id})
        return line

    async def _view(self, contact_id: str) -> ContactView:
        return msgspec.json.decode(await self._http("GET", f"/v1/contacts/{contact_id}"), type=ContactView)

    async def _figures(self) -> Figures:
        found = dict(_FIGURE.findall((await self._client.get("/metrics")).text))
        return Figures(int(float(found.get("count", 0))), 1000.0 * float(found.get("sum", 0.0)))

    async def _http(self, method: str, path: str, body: Any = None, *, token: str = "") -> bytes:
        headers = {"Authorization": f"Bearer {token or self._tokens.adapter}"}
        return await ask(self._client, method, path, body, headers)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


async def quietly(work: Awaitable[Any]) -> None:
    """Awaits what may fail without harm: a server that is just stopping needs to be told nothing."""
    with contextlib.suppress(Retryable, httpx.HTTPError):
        await work
