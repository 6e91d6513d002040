"""A small SIP phone on UDP: answers, is busy, rings for ever, or is dead. For demonstrations and tests, without media."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from firstring.channels.voice import sip
from firstring.channels.voice.endpoint import Address, Endpoint

Behaviour = Literal["answer", "busy", "reject", "ring", "unavailable", "dead"]
"""answer: 180, then 200. busy: 486. reject: 603. ring: 180 and nothing more. unavailable: 503. dead: no word at all."""
CALLS_KEPT: Final = 20_000
"""Calls remembered; the oldest are forgotten first."""
_REFUSALS: Final = {"busy": 486, "reject": 603, "unavailable": 503}


@dataclass
class PhoneCall:
    """One call as the phone saw it. Times are `time.perf_counter()` seconds, None where it did not come to that."""

    call_id: str
    uri: str
    headers: tuple[tuple[str, str], ...]
    invited_s: float
    answered_s: float | None = None
    confirmed: bool = False
    ended_s: float | None = None
    cancelled: bool = False
    tag: str = ""
    source: Address = ("", 0)
    invite: sip.Message = field(default_factory=lambda: sip.Message(()))

    def header(self, name: str) -> str:
        """The first value of a header of the INVITE."""
        return self.invite.header(name)


PhoneListener = Callable[[str, PhoneCall], Awaitable[None]]
"""Told ("call.ringing" | "call.answered" | "call.ended" | "call.cancelled" | "call.busy" | "call.rejected", call)."""


class Phone(Endpoint):
    """A phone. `behaviour` and `answer_after_ms` may be changed between calls; `calls` holds what it saw, by Call-ID.

    `listener` hears what becomes of each call: behind a redirect server nobody else can tell that it was answered.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        user: str = "phone",
        behaviour: Behaviour = "answer",
        answer_after_ms: int = 20,
        listener: PhoneListener | None = None,
    ) -> None:
        super().__init__(host, port)
        self.user = user
        self.behaviour: Behaviour = behaviour
        self.answer_after_ms = answer_after_ms
        self.calls: dict[str, PhoneCall] = {}
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    @property
    def uri(self) -> str:
        """Where to call it."""
        return f"sip:{self.user}@{self.uri_host}"

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()

    async def wait_for(self, condition: Callable[[PhoneCall], bool], timeout_s: float = 5.0) -> PhoneCall:
        """The first call for which `condition` holds; TimeoutError when none does in time."""
        async with asyncio.timeout(timeout_s), self._changed:
            while True:
                for call in self.calls.values():
                    if condition(call):
                        return call
                await self._changed.wait()

    def hang_up(self, call_id: str) -> None:
        """End an answered call from this side."""
        call = self.calls[call_id]
        invite = call.invite
        target = sip.address_uri(invite.header("contact")) or sip.address_uri(invite.header("from"))
        routes = [("Route", value) for value in invite.all("record-route")]
        to_value = invite.header("to")
        bye = sip.Message(
            method="BYE",
            uri=sip.without_uri_headers(target),
            headers=(
                (
                    "Via",
                    f"SIP/2.0/UDP {self.uri_host};branch={sip.BRANCH_COOKIE}{sip.stable_tag(call_id, 'bye')};rport",
                ),
                ("Max-Forwards", "70"),
                *routes,
                ("From", f"{to_value};tag={call.tag}"),
                ("To", invite.header("from")),
                ("Call-ID", call_id),
                ("CSeq", "1 BYE"),
            ),
        )
        call.ended_s = time.perf_counter()
        self.send(bye, call.source)
        self._tell("call.ended", call)

    def on_message(self, message: sip.Message, source: Address) -> None:
        if message.status:
            return
        if message.method == "INVITE" and not sip.parameter(message.header("to"), "tag"):
            self._on_invite(message, source)
        elif message.method == "ACK":
            self._on_ack(message)
        elif message.method == "CANCEL":
            self._on_cancel(message, source)
        elif message.method == "BYE":
            self._on_bye(message, source)
        else:
            status = 200 if message.method in ("OPTIONS", "INVITE") else 405
            self.send(sip.reply(message, status, to_tag=sip.stable_tag(message.call_id)), source)

    def _on_invite(self, message: sip.Message, source: Address) -> None:
        known = self.calls.get(message.call_id)
        if known is not None and known.invite.branch == message.branch:
            return  # a retransmission: the answer is on its way
        call = PhoneCall(
            call_id=message.call_id,
            uri=message.uri,
            headers=message.headers,
            invited_s=time.perf_counter(),
            tag=sip.stable_tag(message.call_id, message.branch, self.user),
            source=source,
            invite=message,
        )
        self.calls[message.call_id] = call
        if len(self.calls) > CALLS_KEPT:
            del self.calls[next(iter(self.calls))]
        refusal = _REFUSALS.get(self.behaviour)
        if refusal is not None:
            self.send(sip.reply(message, refusal, to_tag=call.tag), source)
            self._tell("call.busy" if refusal == 486 else "call.rejected" if refusal == 603 else "call.unreachable", call)
        elif self.behaviour != "dead":
            self.send(sip.reply(message, 180, to_tag=call.tag, headers=(("Contact", f"<{self.uri}>"),)), source)
            self._tell("call.ringing", call)
            if self.behaviour == "answer":
                self._spawn(self._answer(call))
        else:
            self._tell("", call)

    async def _answer(self, call: PhoneCall) -> None:
        await asyncio.sleep(self.answer_after_ms / 1000)
        if call.cancelled:
            return
        call.answered_s = time.perf_counter()
        headers = (("Contact", f"<{self.uri}>"), ("Content-Type", "application/sdp"))
        answer = sip.reply(call.invite, 200, to_tag=call.tag, headers=headers, body=_session(self.host))
        self._tell("call.answered", call)
        pause_s = sip.T1_S
        for _ in range(10):  # the 200 is sent again until its ACK comes (RFC 3261, 13.3.1.4)
            self.send(answer, call.source)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, sip.T2_S)
            if call.confirmed or call.ended_s is not None:
                return

    def _on_ack(self, message: sip.Message) -> None:
        call = self.calls.get(message.call_id)
        if call is not None and call.answered_s is not None:
            call.confirmed = True
            self._tell("", call)

    def _on_cancel(self, message: sip.Message, source: Address) -> None:
        call = self.calls.get(message.call_id)
        if call is None or call.invite.branch != message.branch:
            self.send(sip.reply(message, 481, to_tag=sip.stable_tag(message.call_id)), source)
            return
        self.send(sip.reply(message, 200, to_tag=call.tag), source)
        if call.answered_s is None:
            self.send(sip.reply(call.invite, 487, to_tag=call.tag), source)
            if not call.cancelled:
                call.cancelled = True
                self._tell("call.cancelled", call)

    def _on_bye(self, message: sip.Message, source: Address) -> None:
        call = self.calls.get(message.call_id)
        self.send(sip.reply(message, 200 if call else 481, to_tag=sip.stable_tag(message.call_id)), source)
        if call is not None and call.ended_s is None:
            call.ended_s = time.perf_counter()
            self._tell("call.ended", call)

    def _tell(self, what: str, call: PhoneCall) -> None:
        self._spawn(self._notify(what, call))

    async def _notify(self, what: str, call: PhoneCall) -> None:
        async with self._changed:
            self._changed.notify_all()
        if what and self._listener is not None:
            await self._listener(what, call)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with contextlib.suppress(asyncio.CancelledError):
            task.result()


def _session(host: str) -> bytes:
    """A session description (RFC 8866) that accepts audio and sends none."""
    family = "IP6" if ":" in host else "IP4"
    lines = ("v=0", f"o=- 0 0 IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0", "m=audio 9 RTP/AVP 0")
    return "".join(f"{line}\r\n" for line in (*lines, "a=inactive")).encode()
