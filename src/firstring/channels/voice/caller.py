"""A small SIP caller on UDP: calls, follows a 302, listens to the ring, acknowledges, hangs up. Without media.

For demonstrations, tests and the benchmark of the ring path (`place_calls`), against Kamailio or the redirect server.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from firstring.channels.voice import sip
from firstring.channels.voice.endpoint import Address, Endpoint
from firstring.channels.voice.phone import Phone
from firstring.errors import BadInput

QUEUED: Final = 182
REDIRECTS_MAX: Final = 5
"""302 answers followed for one call."""
_DIALOG_WAIT_S: Final = 4.0


@dataclass
class CallResult:
    """One call as the caller heard it. `status` is the last final status, 0 when none came in time.

    Times are `time.perf_counter()` seconds. `uris` are the addresses called, one after the other; `responses` every
    status heard, in order; `queued` what was said of the wait (182);
    `answer` the last final response. `hung_up_by` is "" for a call never answered.
    """

    call_id: str
    invited_s: float = 0.0
    status: int = 0
    rang_s: float | None = None
    answered_s: float | None = None
    ended_s: float | None = None
    hung_up_by: str = ""
    uris: list[str] = field(default_factory=list)
    responses: list[int] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    answer: sip.Message = field(default_factory=lambda: sip.Message(()))


@dataclass
class _Leg:
    """One INVITE transaction: what is needed to acknowledge, cancel and end it."""

    invite: sip.Message
    address: Address
    result: CallResult


@dataclass(frozen=True)
class CallTimes:
    """One call of `place_calls`. `to_phone_ms`: INVITE sent until a phone of this process saw one (None: it never did)."""

    call_id: str
    status: int
    to_phone_ms: float | None
    to_ring_ms: float | None
    to_answer_ms: float | None


class Caller(Endpoint):
    """Places any number of calls at the same time from one socket."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host, port)
        self._inbox: dict[str, asyncio.Queue[sip.Message]] = {}
        self._hung_up: dict[str, asyncio.Event] = {}
        self._numbers = itertools.count(1)
        self._run_id = os.urandom(6).hex()

    def new_call_id(self) -> str:
        """A Call-ID that this process has not used."""
        return f"{next(self._numbers)}-{self._run_id}@firstring"

    def invite(
        self,
        uri: str,
        *,
        number: str,
        call_id: str,
        cseq: int = 1,
        headers: Sequence[tuple[str, str]] = (),
    ) -> sip.Message:
        """The INVITE of a call: the same arguments give the same message, so sending it twice is a retransmission."""
        branch = sip.BRANCH_COOKIE + sip.stable_tag(call_id, str(cseq), uri)
        return sip.Message(
            method="INVITE",
            uri=sip.without_uri_headers(uri),
            headers=(
                ("Via", f"SIP/2.0/UDP {self.uri_host};branch={branch};rport"),
                ("Max-Forwards", "70"),
                ("From", f"<sip:{number}@{self.host}>;tag={sip.stable_tag(call_id, 'from')}"),
                ("To", f"<{sip.without_uri_headers(uri)}>"),
                ("Call-ID", call_id),
                ("CSeq", f"{cseq} INVITE"),
                ("Contact", f"<sip:{number}@{self.uri_host}>"),
                *headers,
                ("Content-Type", "application/sdp"),
            ),
            body=b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n",
        )

    async def call(
        self,
        uri: str,
        *,
        number: str = "+15551230001",
        headers: Sequence[tuple[str, str]] = (),
        hold_ms: int = 50,
        timeout_ms: int = 30_000,
        cancel_after_ms: int | None = None,
        call_id: str | None = None,
        come_back: int = 0,
    ) -> CallResult:
        """Call `uri` as `number` and stay `hold_ms` on the line once answered (or until the other side hangs up).

        `timeout_ms` bounds the time until a final answer; then the call is cancelled. `cancel_after_ms` gives up
        earlier. `come_back`: how often a call that was redirected and then refused calls `uri` again, under the same
        Call-ID, as a PBX does.
        """
        result = CallResult(call_id or self.new_call_id(), invited_s=time.perf_counter())
        self._inbox[result.call_id] = asyncio.Queue()
        self._hung_up[result.call_id] = asyncio.Event()
        try:
            target, extra, cseq, redirects = uri, tuple(headers), 1, 0
            while True:
                invite = self.invite(target, number=number, call_id=result.call_id, cseq=cseq, headers=extra)
                leg = _Leg(invite, sip.parse_uri(target).address, result)
                result.uris.append(sip.without_uri_headers(target))
                await self._until_final(leg, timeout_ms, cancel_after_ms)
                cseq += 1
                if 200 <= result.status < 300:
                    await self._talk(leg, hold_ms)
                    return result
                contact = sip.address_uri(result.answer.header("contact"))
                if result.status == 302 and contact and redirects < REDIRECTS_MAX:
                    redirects += 1
                    target, extra = contact, (*headers, *sip.parse_uri(contact).headers)
                elif redirects and come_back and result.status not in (0, 487):
                    come_back -= 1
                    target, extra, redirects = uri, tuple(headers), 0
                else:
                    return result
        finally:
            del self._inbox[result.call_id]
            del self._hung_up[result.call_id]

    async def _until_final(self, leg: _Leg, timeout_ms: int, cancel_after_ms: int | None) -> None:
        """Send the INVITE, again while nothing is heard (RFC 3261, 17.1.1), and collect responses to the final one."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + (timeout_ms if cancel_after_ms is None else cancel_after_ms) / 1000
        pause_s, heard, cancelled = sip.T1_S, False, False
        leg.result.status = 0
        self.send(leg.invite, leg.address)
        resend_s = loop.time() + pause_s
        while True:
            until_s = give_up_s if heard else min(give_up_s, resend_s)
            try:
                async with asyncio.timeout_at(until_s):
                    response = await self._inbox[leg.result.call_id].get()
            except TimeoutError:
                if loop.time() < give_up_s:
                    self.send(leg.invite, leg.address)
                    pause_s *= 2
                    resend_s = loop.time() + pause_s
                    continue
                if cancelled or not heard:  # a CANCEL before any response must not be sent (RFC 3261, 9.1)
                    return
                cancelled = True
                give_up_s = loop.time() + _DIALOG_WAIT_S
                self.send(self._follow_up(leg, "CANCEL"), leg.address)
                continue
            if response.cseq != leg.invite.cseq:
                continue
            heard = True
            if self._take_response(leg, response):
                return

    def _take_response(self, leg: _Leg, response: sip.Message) -> bool:
        """Note a response to the INVITE; True when it is final."""
        result = leg.result
        result.responses.append(response.status)
        if response.status == QUEUED:
            result.queued.append(response.reason)
        if response.status < 200:
            if response.status >= 180 and result.rang_s is None:
                result.rang_s = time.perf_counter()
            return False
        result.status, result.answer = response.status, response
        if response.status < 300:
            result.answered_s = time.perf_counter()
        else:
            self.send(self._follow_up(leg, "ACK", to_value=response.header("to")), leg.address)
        return True

    async def _talk(self, leg: _Leg, hold_ms: int) -> None:
        """Acknowledge the 200, stay on the line, hang up unless the other side did, wait for the BYE's answer."""
        result = leg.result
        ack, address = self._in_dialog(leg, "ACK")
        self.send(ack, address)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(hold_ms / 1000):
                while not self._hung_up[result.call_id].is_set():
                    await self._hang_up_or_repeat(result.call_id, ack, address)
        if self._hung_up[result.call_id].is_set():
            result.hung_up_by, result.ended_s = "other", time.perf_counter()
            return
        result.hung_up_by = "caller"
        bye, address = self._in_dialog(leg, "BYE")
        pause_s = sip.T1_S
        while pause_s <= _DIALOG_WAIT_S:
            self.send(bye, address)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    while (await self._inbox[result.call_id].get()).cseq != bye.cseq:
                        pass
                    result.ended_s = time.perf_counter()
                    return
            pause_s *= 2

    async def _hang_up_or_repeat(self, call_id: str, ack: sip.Message, address: Address) -> None:
        """Until the other side hangs up; a repeated 200 is acknowledged again."""
        waiting = [
            asyncio.ensure_future(self._hung_up[call_id].wait()),
            asyncio.ensure_future(self._inbox[call_id].get()),
        ]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if waiting[1] in done:
                self.send(ack, address)
        finally:
            for task in waiting:
                task.cancel()

    def on_message(self, message: sip.Message, source: Address) -> None:
        if message.status:
            inbox = self._inbox.get(message.call_id)
            if inbox is not None:
                inbox.put_nowait(message)
        elif message.method == "BYE":
            hung_up = self._hung_up.get(message.call_id)
            self.send(sip.reply(message, 200 if hung_up else 481, to_tag=sip.stable_tag(message.call_id)), source)
            if hung_up is not None:
                hung_up.set()
        elif message.method != "ACK":
            status = 200 if message.method == "OPTIONS" else 405
            self.send(sip.reply(message, status, to_tag=sip.stable_tag(message.call_id)), source)

    def _follow_up(self, leg: _Leg, method: str, to_value: str = "") -> sip.Message:
        """CANCEL, or the ACK of a refusal: the INVITE's own Via, From, Call-ID (RFC 3261, 9.1 and 17.1.1.3)."""
        invite = leg.invite
        return sip.Message(
            method=method,
            uri=invite.uri,
            headers=(
                ("Via", invite.header("via")),
                ("Max-Forwards", "70"),
                ("From", invite.header("from")),
                ("To", to_value or invite.header("to")),
                ("Call-ID", invite.call_id),
                ("CSeq", f"{invite.cseq[0]} {method}"),
            ),
        )

    def _in_dialog(self, leg: _Leg, method: str) -> tuple[sip.Message, Address]:
        """A request inside the dialog that the 200 made, and where it goes (RFC 3261, 12.2.1.1; loose routing)."""
        answer, invite = leg.result.answer, leg.invite
        routes = [value.strip() for line in answer.all("record-route") for value in line.split(",")][::-1]
        target = sip.without_uri_headers(sip.address_uri(answer.header("contact")) or invite.uri)
        number = invite.cseq[0] + (0 if method == "ACK" else 1)
        branch = sip.BRANCH_COOKIE + sip.stable_tag(invite.call_id, str(number), method)
        request = sip.Message(
            method=method,
            uri=target,
            headers=(
                ("Via", f"SIP/2.0/UDP {self.uri_host};branch={branch};rport"),
                ("Max-Forwards", "70"),
                *(("Route", value) for value in routes),
                ("From", invite.header("from")),
                ("To", answer.header("to")),
                ("Call-ID", invite.call_id),
                ("CSeq", f"{number} {method}"),
            ),
        )
        try:
            address = sip.parse_uri(sip.address_uri(routes[0]) if routes else target).address
        except BadInput:
            address = leg.address
        return request, address


async def place_calls(
    caller: Caller,
    phones: Sequence[Phone],
    uri: str,
    numbers: Sequence[str],
    *,
    rate_per_s: float,
    hold_ms: int = 50,
    headers: Sequence[tuple[str, str]] = (),
) -> list[CallTimes]:
    """Place one call to `uri` from each of `numbers`, `rate_per_s` a second, evenly spaced, and time each.

    Caller and phones share this process and its clock. A call that falls behind its place in the row is placed at once,
    so the rate holds; every call is waited for. In the order of `numbers`.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    tasks = []
    for position, number in enumerate(numbers):
        await asyncio.sleep(max(0.0, began_s + position / rate_per_s - loop.time()))
        tasks.append(asyncio.create_task(caller.call(uri, number=number, hold_ms=hold_ms, headers=headers)))
    results = await asyncio.gather(*tasks)
    return [_times(result, phones) for result in results]


def _times(result: CallResult, phones: Sequence[Phone]) -> CallTimes:
    seen = [phone.calls[result.call_id].invited_s for phone in phones if result.call_id in phone.calls]

    def since(moment_s: float | None) -> float | None:
        return None if moment_s is None else (moment_s - result.invited_s) * 1000

    return CallTimes(
        call_id=result.call_id,
        status=result.status,
        to_phone_ms=since(min(seen, default=None)),
        to_ring_ms=since(result.rang_s),
        to_answer_ms=since(result.answered_s),
    )
