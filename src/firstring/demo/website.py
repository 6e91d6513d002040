"""A visitor on the shop's web site: sends what the page's snippet sends, and is shown what is decided (docs/delivery.md)."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx
import msgspec

from firstring.demo.asking import ask
from firstring.errors import Retryable
from firstring.journey.events.reading import user_signature

SHOWN_S: Final = 10.0
_AGAIN_S: Final = 0.5


class WriteKey(NamedTuple):
    """The key that stands in the shop's pages, and the secret with which the shop's own server signs user ids."""

    text: str
    secret: str


class Happened(NamedTuple):
    """Something that the visitor does. minutes_ago: 0 is now; pages send late what happened while they were offline."""

    event: str
    properties: Mapping[str, Any]
    minutes_ago: float = 0.0


class ShownAction(NamedTuple):
    """An action as the page shows it. after_ms: from sending the events until the page had what it shows."""

    delivery: str
    action: str
    content: Mapping[str, Any]
    after_ms: float


class Visitor:
    """One page that is open. user: who is signed in there, if anybody is."""

    def __init__(self, client: httpx.AsyncClient, key: WriteKey, told: Mapping[str, str], user: str) -> None:
        self._client = client
        self._key = key
        self._id = told["id"]
        self._user = user
        self._signature = user_signature(key.secret, user) if user else ""
        signed = {"user": user, "userHash": self._signature} if user else {}
        self._said = {"key": key.text, "id": told["id"], "secret": told["secret"], **signed}
        self._shown: asyncio.Queue[ShownAction] = asyncio.Queue()
        self._open = asyncio.Event()
        self._sent_s = 0.0

    async def does(self, *happened: Happened) -> int:
        """Sends it as the snippet does: one batch of Segment's form. How many of it were stored."""
        now = datetime.now(UTC)
        batch = [self._identify()] if self._user else []
        batch += [self._event(one, now) for one in happened]
        body = {"writeKey": self._key.text, "sentAt": now.isoformat(), "batch": batch}
        self._sent_s = time.perf_counter()
        answer = msgspec.json.decode(await ask(self._client, "POST", "/v1/batch", body))
        return int(answer["stored"])

    async def shown(self, timeout_s: float = SHOWN_S) -> ShownAction | None:
        """The next action that the page shows. None where there is none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._shown.get()
        except TimeoutError:
            return None

    async def accepts(self, shown: ShownAction) -> None:
        """Clicks on yes."""
        await self._ask("/web/answer", delivery=shown.delivery, what="accepted")

    async def asks_to_be_called(self, shown: ShownAction, number: str) -> None:
        """Clicks on yes, with a number: at once."""
        await self._ask("/web/callback", delivery=shown.delivery, phone=number)

    async def listening(self) -> None:
        """Until the stream is open."""
        async with asyncio.timeout(SHOWN_S):
            await self._open.wait()

    async def listen(self) -> None:
        """Follows the stream for ever; connects again when it ends, as browsers do."""
        while True:
            with contextlib.suppress(httpx.HTTPError, Retryable):
                await self._follow()
            await asyncio.sleep(_AGAIN_S)

    async def _follow(self) -> None:
        timeout = httpx.Timeout(SHOWN_S, read=None)
        async with self._client.stream("POST", "/web/stream", json=self._said, timeout=timeout) as response:
            response.raise_for_status()
            event = ""
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event == "open":
                    self._open.set()
                elif line.startswith("data: ") and event == "action":
                    await self._show(msgspec.json.decode(line.removeprefix("data: ")))

    async def _show(self, told: Mapping[str, str]) -> None:
        """The page asks whether it may show what it was told of, as each page does right before."""
        answer = msgspec.json.decode(await self._ask("/web/show", delivery=told["id"]))
        after_ms = 1000 * (time.perf_counter() - self._sent_s)
        if answer["show"]:
            self._shown.put_nowait(ShownAction(told["id"], told["action"], answer["content"], after_ms))

    async def _ask(self, path: str, **more: str) -> bytes:
        return await ask(self._client, "POST", path, {**self._said, **more})

    def _identify(self) -> dict[str, Any]:
        return {"type": "identify", **self._who(), "messageId": str(uuid.uuid4())}

    def _event(self, one: Happened, now: datetime) -> dict[str, Any]:
        at = now - timedelta(minutes=one.minutes_ago)
        return {
            "type": "track",
            **self._who(),
            "messageId": str(uuid.uuid4()),
            "event": one.event,
            "timestamp": at.isoformat(),
            "properties": dict(one.properties),
        }

    def _who(self) -> dict[str, Any]:
        user = {"userId": self._user, "context": {"userHash": self._signature}} if self._user else {}
        return {"anonymousId": self._id, "channel": "web", **user}


@asynccontextmanager
async def visiting(client: httpx.AsyncClient, key: WriteKey, user: str = "") -> AsyncIterator[Visitor]:
    """Somebody opens the shop's page; it listens until the block ends. user: signed in as this customer."""
    told = msgspec.json.decode(await ask(client, "POST", "/web/visitor", {"key": key.text}))
    visitor = Visitor(client, key, told, user)
    listening = asyncio.create_task(visitor.listen(), name="web-visitor")
    try:
        await visitor.listening()
        yield visitor
    finally:
        listening.cancel()
        await asyncio.wait({listening})


def failing_payment(order: Mapping[str, Any]) -> tuple[Happened, ...]:
    """The payment failed at the checkout an hour ago, no order followed, and now it fails again."""
    return (
        Happened("Checkout Started", order, 63.0),
        Happened("Payment Failed", order, 61.0),
        Happened("Payment Failed", order),
    )
