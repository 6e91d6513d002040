"""Agents at their desks: they sign in over HTTP as browsers do, listen for pops, go ready, accept and finish."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple

import httpx
import msgspec

from firstring.demo.world import SignIn
from firstring.errors import Retryable, Unrecoverable

_CSRF_FIELD = re.compile(r'name="csrf"\s+value="([^"]+)"')
_CSRF_META = re.compile(r'name="csrf-token"\s+content="([^"]+)"')
_OPEN_S: Final = 10.0
_HTTP_S: Final = 10.0
_AGAIN_S: Final = 0.5


class Pop(NamedTuple):
    """A contact that appeared on somebody's desk. at_s: `time.perf_counter()`."""

    contact_id: str
    login: str
    at_s: float


class Desks:
    """What all desks of the demonstration saw, in order."""

    def __init__(self) -> None:
        self.pops: list[Pop] = []
        self._changed = asyncio.Condition()

    async def add(self, pop: Pop) -> None:
        async with self._changed:
            self.pops.append(pop)
            self._changed.notify_all()

    def popped(self, contact_id: str, login: str | None = None) -> bool:
        return any(pop.contact_id == contact_id and login in (None, pop.login) for pop in self.pops)

    async def next_pop(self, known: Iterable[str], timeout_s: float) -> Pop | None:
        """The first pop of a contact that is not among `known`; None when none comes in time."""
        not_these = set(known)
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                while True:
                    for pop in self.pops:
                        if pop.contact_id not in not_these:
                            return pop
                    await self._changed.wait()
        except TimeoutError:
            return None


class Desk:
    """One agent's desk, signed in."""

    def __init__(self, login: str, client: httpx.AsyncClient, csrf: str, desks: Desks) -> None:
        self.login = login
        self._client = client
        self._csrf = csrf
        self._desks = desks
        self._shown: set[str] = set()
        self._listening = asyncio.Event()

    async def presence(self, presence: str) -> None:
        """ready or away."""
        await self._post("/desk/presence", {"presence": presence})

    async def accept(self, contact_id: str) -> None:
        """Answers a digital contact."""
        await self._post(f"/desk/contacts/{contact_id}/accept", {})

    async def pick(self, contact_id: str, person_id: int) -> None:
        """Says which of the people that come into question it is."""
        await self._post(f"/desk/contacts/{contact_id}/confirm", {"person": str(person_id)})

    async def finish(self, contact_id: str, outcome: str = "resolved") -> None:
        """Ends the work on a contact."""
        await self._post(f"/desk/contacts/{contact_id}/finish", {"outcome": outcome})

    async def listening(self) -> None:
        """Until the stream is open. Raises Retryable where it does not open."""
        try:
            async with asyncio.timeout(_OPEN_S):
                await self._listening.wait()
        except TimeoutError:
            raise Retryable("desk_silent", f"The desk of {self.login} does not open its stream.") from None

    async def listen(self) -> None:
        """Follows the stream for ever; connects again when it ends."""
        while True:
            try:
                await self._follow()
            except httpx.HTTPError:
                await asyncio.sleep(_AGAIN_S)

    async def _follow(self) -> None:
        timeout = httpx.Timeout(_HTTP_S, read=None)
        async with self._client.stream("GET", "/desk/stream", timeout=timeout) as response:
            response.raise_for_status()
            event = ""
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    await self._heard(event, line.removeprefix("data: "))

    async def _heard(self, event: str, data: str) -> None:
        if event == "state":
            self._listening.set()
            for card in msgspec.json.decode(data)["cards"]:
                await self._saw(card)
        elif event == "card":
            await self._saw(msgspec.json.decode(data))

    async def _saw(self, card: dict[str, Any]) -> None:
        contact_id = card["contact"]
        if contact_id not in self._shown:
            self._shown.add(contact_id)
            await self._desks.add(Pop(contact_id, self.login, time.perf_counter()))

    async def _post(self, path: str, form: dict[str, str]) -> None:
        response = await self._client.post(path, data={"csrf": self._csrf, **form})
        if response.status_code >= 400:
            raise _refused(self.login, path, response)


@asynccontextmanager
async def signed_in(address: str, sign_ins: Iterable[SignIn], desks: Desks) -> AsyncIterator[dict[str, Desk]]:
    """Desks by login, listening, until the block ends."""
    async with AsyncExitStack() as stack:
        clients = {
            sign_in: await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=_HTTP_S, trust_env=False))
            for sign_in in sign_ins
        }
        forms = await asyncio.gather(*(_sign_in(client, sign_in) for sign_in, client in clients.items()))
        made: dict[str, Desk] = {}
        for (sign_in, client), csrf in zip(clients.items(), forms, strict=True):
            made[sign_in.login] = desk = Desk(sign_in.login, client, csrf, desks)
            listening = asyncio.create_task(desk.listen(), name=f"desk-{sign_in.login}")
            stack.push_async_callback(_ended, listening)
        for desk in made.values():
            await desk.listening()
        yield made


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _sign_in(client: httpx.AsyncClient, sign_in: SignIn) -> str:
    """Signs in; the token that every form of this sign-in carries."""
    page = await client.get("/signin")
    form = {"login": sign_in.login, "password": sign_in.password, "csrf": _found(_CSRF_FIELD, page)}
    answer = await client.post("/signin", data=form)
    if answer.status_code != 303:
        raise _refused(sign_in.login, "/signin", answer)
    return _found(_CSRF_META, await client.get("/desk"))


def _found(pattern: re.Pattern[str], page: httpx.Response) -> str:
    match = pattern.search(page.text)
    if page.status_code != 200 or match is None:
        raise Unrecoverable("desk_unreadable", f"{page.url.path} answers {page.status_code} without a form token.")
    return match[1]


def _refused(login: str, path: str, response: httpx.Response) -> Retryable:
    return Retryable("desk_refused", f"{login}: {path} answers {response.status_code}.", where={"path": path})
