"""A SIP redirect server (RFC 3261, 8.3) on UDP, for any switch that follows a 302.

INVITE -> 100 and 180 -> the core decides -> 302 with the agent's phone in Contact. Our headers stand in the 302 and, as
URI headers, in Contact, so that a caller that honours them (RFC 3261, 19.1.1) hands them to the phone. The server sees
neither the phone's ring nor its answer: the phone or the switch tells by POST /v1/calls/events. A call that was
redirected and comes back (same Call-ID, higher CSeq) asks for the next agent anew.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from firstring.channels.voice import sip
from firstring.channels.voice.contract import (
    CallEvent,
    CallOffer,
    EventType,
    RouteAnswer,
    Switchboard,
    check_uri,
    clean_text,
    event_from_fields,
    offer_from_fields,
    route_headers,
)
from firstring.channels.voice.endpoint import Address, Endpoint
from firstring.errors import BadInput, FirstringError

TRANSACTIONS: Final = 4_096
"""Calls held at the same time, waiting ones and those whose ACK may still come; beyond it: the default at once."""
VISITS: Final = 10_000
"""Redirected calls remembered, in case they come back."""
ACK_WAIT_S: Final = 32.0
"""How long a final response is repeated for want of an ACK (Timer H, RFC 3261 17.2.1)."""
LINGER_S: Final = 5.0
"""How long a finished transaction absorbs what is still under way (Timer I)."""
RING_AGAIN_S: Final = 20.0
"""A waiting caller gets a 180 this often; proxies give up after three minutes of silence (Timer C)."""
HANDLING_MAX_S: Final = 10.0
"""A decision that takes longer is given up."""
CONTACT_CHARS: Final = 1_000
"""A Contact with URI headers beyond this goes without them: the 302 must fit a datagram on its whole way."""
_ALLOW: Final = ("Allow", "INVITE, ACK, CANCEL, OPTIONS")
_COMES_BACK: Final[EventType] = "call.unreachable"


@dataclass
class _Visit:
    """What a Call-ID was told last. `uri` is the phone, or empty after the default queue."""

    attempt: int
    cseq: int
    uri: str


@dataclass
class _Transaction:
    """One INVITE being answered."""

    invite: sip.Message
    source: Address
    key: str
    attempt: int
    refused_uri: str
    pushed: asyncio.Future[RouteAnswer]
    acked: asyncio.Event = field(default_factory=asyncio.Event)
    last: sip.Message | None = None
    told: asyncio.Task[Any] | None = None
    serving: asyncio.Task[None] | None = None

    @property
    def final(self) -> bool:
        return self.last is not None and self.last.status >= 200


class RedirectServer(Endpoint):
    """Answers INVITEs on `host`:`port`. `default_uri` is the switch's default queue, `hold_uri` where waits end."""

    def __init__(
        self,
        switchboard: Switchboard,
        *,
        default_uri: str,
        hold_uri: str = "",
        name: str = "redirect",
        host: str = "127.0.0.1",
        port: int = 5060,
        decision_budget_ms: int = 800,
        max_wait_ms: int = 120_000,
        agents_tried_max: int = 8,
        in_flight_max: int = 256,
    ) -> None:
        super().__init__(host, port)
        self._switchboard = switchboard
        self.name = name
        self._default_uri = check_uri(default_uri, "default_uri")
        self._hold_uri = check_uri(hold_uri, "hold_uri") if hold_uri else ""
        self._budget_ms = decision_budget_ms
        self._max_wait_ms = max_wait_ms
        self._agents_tried_max = agents_tried_max
        self._places = asyncio.Semaphore(in_flight_max)
        self._transactions: OrderedDict[str, _Transaction] = OrderedDict()
        self._visits: OrderedDict[str, _Visit] = OrderedDict()
        self._waiting: dict[str, str] = {}
        self._work: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def stop(self, grace_s: float = 5.0) -> None:
        """New calls go to the default queue; decisions under way are finished (at most `grace_s`); then close."""
        self._stopping = True
        for transaction in list(self._transactions.values()):
            if transaction.final and transaction.serving is not None:
                transaction.serving.cancel()
            elif not transaction.pushed.done():  # waits end now: the hold place or the default queue
                transaction.pushed.set_result(RouteAnswer())
        if self._work:
            _, late = await asyncio.wait(list(self._work), timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await super().stop()

    def waiting(self) -> Collection[str]:
        """The contacts of the calls that wait here, by the id in their decision. Another process may find an agent."""
        return self._waiting.keys()

    def holds(self, contact_id: str) -> bool:
        """Whether the call of this contact waits here."""
        return contact_id in self._waiting

    def say(self, contact_id: str, text: str) -> None:
        """Tells the caller of a call that waits how it stands: 182 Queued, with `text` as the reason phrase."""
        transaction = self._transactions.get(self._waiting.get(contact_id, ""))
        if transaction is not None and not transaction.final and not transaction.pushed.done():
            self._reply(transaction, 182, reason=clean_text(text, 128))

    async def push(self, adapter_ref: str, answer: RouteAnswer) -> None:
        """A route for a call that waits. One that is gone, or already went elsewhere, ignores it."""
        transaction = self._transactions.get(adapter_ref)
        if transaction is not None and not transaction.final and not transaction.pushed.done():
            transaction.pushed.set_result(answer)

    def on_message(self, message: sip.Message, source: Address) -> None:
        if message.status:
            return
        if message.method == "INVITE" and not sip.parameter(message.header("to"), "tag"):
            self._on_invite(message, source)
        elif message.method == "ACK":
            transaction = self._transactions.get(_key(message))
            if transaction is not None:
                transaction.acked.set()
        elif message.method == "CANCEL":
            self._on_cancel(message, source)
        elif message.method == "OPTIONS":
            self.send(sip.reply(message, 200, to_tag=_tag(message), headers=(_ALLOW,)), source)
        elif sip.parameter(message.header("to"), "tag"):
            self.send(sip.reply(message, 481, to_tag=_tag(message)), source)
        else:
            self.send(sip.reply(message, 405, to_tag=_tag(message), headers=(_ALLOW,)), source)

    def _on_invite(self, invite: sip.Message, source: Address) -> None:
        known = self._transactions.get(_key(invite))
        if known is not None:  # a retransmission gets what was said last
            if known.last is not None:
                self.send(known.last, source)
            return
        if not invite.call_id or not invite.header("via") or invite.cseq[1] != "INVITE":
            self.send(sip.reply(invite, 400, to_tag=_tag(invite)), source)
            return
        if self._stopping or not self._make_room():
            self.send(self._redirect(invite, self._default_uri, ()), source)
            return
        visit = self._visits.get(invite.call_id)
        back = visit is not None and invite.cseq[0] > visit.cseq
        transaction = _Transaction(
            invite=invite,
            source=source,
            key=_key(invite),
            attempt=visit.attempt + 1 if visit is not None and back else 0,
            refused_uri=visit.uri if visit is not None and back else "",
            pushed=asyncio.get_running_loop().create_future(),
        )
        self._transactions[transaction.key] = transaction
        self._reply(transaction, 100)
        if back and not transaction.refused_uri:  # the default queue did not take it either
            self._tell(transaction, "call.ended", reason="failed", status=480)
            transaction.serving = self._spawn(self._finish(transaction, sip.reply(invite, 480, to_tag=_tag(invite))))
            return
        self._reply(transaction, 180)
        transaction.serving = self._spawn(self._serve(transaction))

    def _make_room(self) -> bool:
        """Forget the oldest finished transaction when all places are taken; False when none is finished."""
        if len(self._transactions) < TRANSACTIONS:
            return True
        for key, transaction in self._transactions.items():
            if transaction.final:
                if transaction.serving is not None:
                    transaction.serving.cancel()
                del self._transactions[key]
                return True
        return False

    def _on_cancel(self, message: sip.Message, source: Address) -> None:
        transaction = self._transactions.get(_key(message))
        if transaction is None:
            self.send(sip.reply(message, 481, to_tag=_tag(message)), source)
            return
        self.send(sip.reply(message, 200, to_tag=_tag(message)), source)
        if not transaction.final:
            if transaction.serving is not None:
                transaction.serving.cancel()
            self._tell(transaction, "call.cancelled", status=487)
            answer = sip.reply(transaction.invite, 487, to_tag=_tag(transaction.invite))
            transaction.serving = self._spawn(self._finish(transaction, answer))

    async def _serve(self, transaction: _Transaction) -> None:
        """Ask, wait if told to, redirect."""
        try:
            answer, why = await self._ask(transaction)
            target = ""
            if answer is not None and answer.wait is not None:
                hold = answer.wait.uri
                contact_id = answer.decision.partition("/")[0]
                self._waiting[contact_id] = transaction.key
                try:
                    answer, why = await self._ring_on(transaction, min(answer.wait.max_ms, self._max_wait_ms))
                finally:
                    if self._waiting.get(contact_id) == transaction.key:
                        del self._waiting[contact_id]
                target = hold or self._hold_uri
            if answer is not None and answer.routes:
                uri, headers = answer.routes[0].uri, tuple(route_headers(answer))
                self._remember(transaction, uri)
            else:
                uri, headers = (
                    target or self._default_uri,
                    (("X-Firstring-Decision", "default"), ("X-Firstring-Default", why)),
                )
                self._remember(transaction, "")
                self._tell(transaction, "call.defaulted", uri=uri, reason=why, defaulted=True)
            redirect = self._redirect(transaction.invite, uri, headers)
        except Exception:  # noqa: BLE001 - the rim: whatever fails here, the caller reaches somebody; logged in full
            _log.exception("redirect_failed", adapter=self.name)
            redirect = self._redirect(transaction.invite, self._default_uri, ())
        await self._finish(transaction, redirect)

    async def _ask(self, transaction: _Transaction) -> tuple[RouteAnswer | None, str]:
        """The core's answer, or None and why there is none. A question that takes too long goes on, unheard."""
        if transaction.attempt >= self._agents_tried_max:
            return None, "no_agents_left"
        try:
            question = self._question(transaction)
        except BadInput as error:
            _log.warning("offer_refused", adapter=self.name, error=error.code)
            return None, "bad_offer"
        asking = self._spawn(self._put(question))
        transaction.told = asking
        done, _ = await asyncio.wait([asking], timeout=self._budget_ms / 1000)
        if not done:
            return None, "timeout"
        answer: RouteAnswer | None = asking.result()
        return answer, "no_agents_left" if answer is not None else "failed"

    async def _put(self, question: CallOffer | CallEvent) -> RouteAnswer | None:
        try:
            async with self._places, asyncio.timeout(HANDLING_MAX_S):
                if isinstance(question, CallOffer):
                    return await self._switchboard.offered(question)
                return await self._switchboard.no_agent(question)
        except (TimeoutError, FirstringError, OSError) as error:
            _log.warning("call_not_handled", adapter=self.name, error=type(error).__name__, detail=str(error))
        except Exception:  # noqa: BLE001 - as in _serve
            _log.exception("call_not_handled", adapter=self.name)
        return None

    def _question(self, transaction: _Transaction) -> CallOffer | CallEvent:
        invite = transaction.invite
        common = {
            "call_id": invite.call_id,
            "adapter": self.name,
            "adapter_ref": transaction.key,
            "attempt": transaction.attempt,
            "deadline_ms": self._budget_ms,
        }
        if transaction.attempt:
            return event_from_fields({**common, "type": _COMES_BACK, "uri": transaction.refused_uri})
        return offer_from_fields(
            {
                **common,
                "from": sip.user_of(invite.header("from")),
                "pai": sip.user_of(invite.header("p-asserted-identity")),
                "to": sip.user_of(invite.uri),
                "identity": invite.header("identity"),
                "date": invite.header("date"),
                "ua": invite.header("user-agent"),
                "src": f"{transaction.source[0]}:{transaction.source[1]}",
                "visit": invite.header("x-visit"),
                "said": invite.header("x-said"),
            }
        )

    async def _ring_on(self, transaction: _Transaction, max_ms: int) -> tuple[RouteAnswer | None, str]:
        """Keep the caller ringing until a route is pushed or the wait is over."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + max_ms / 1000
        while (left_s := until_s - loop.time()) > 0:
            done, _ = await asyncio.wait([transaction.pushed], timeout=min(left_s, RING_AGAIN_S))
            if done:
                return transaction.pushed.result(), "wait_over"
            if loop.time() < until_s:
                self._reply(transaction, 180)
        return None, "wait_over"

    async def _finish(self, transaction: _Transaction, response: sip.Message) -> None:
        """Send the final response, again until its ACK comes (RFC 3261, 17.2.1), then absorb what is still under way."""
        transaction.last = response
        loop = asyncio.get_running_loop()
        until_s, pause_s = loop.time() + ACK_WAIT_S, sip.T1_S
        while not transaction.acked.is_set() and loop.time() < until_s:
            self.send(response, transaction.source)
            try:
                async with asyncio.timeout(pause_s):
                    await transaction.acked.wait()
            except TimeoutError:
                pause_s = min(pause_s * 2, sip.T2_S)
            if self._stopping:
                break
        if not self._stopping:
            await asyncio.sleep(LINGER_S)
        if self._transactions.get(transaction.key) is transaction:
            del self._transactions[transaction.key]

    def _redirect(self, invite: sip.Message, uri: str, headers: tuple[tuple[str, str], ...]) -> sip.Message:
        contact = sip.with_uri_headers(uri, headers)
        if len(contact) > CONTACT_CHARS:
            contact = uri
        return sip.reply(invite, 302, to_tag=_tag(invite), headers=(("Contact", f"<{contact}>"), *headers))

    def _reply(self, transaction: _Transaction, status: int, *, reason: str = "") -> None:
        tag = "" if status == 100 else _tag(transaction.invite)
        transaction.last = sip.reply(transaction.invite, status, to_tag=tag, reason=reason)
        self.send(transaction.last, transaction.source)

    def _remember(self, transaction: _Transaction, uri: str) -> None:
        call_id = transaction.invite.call_id
        self._visits[call_id] = _Visit(transaction.attempt, transaction.invite.cseq[0], uri)
        self._visits.move_to_end(call_id)
        if len(self._visits) > VISITS:
            self._visits.popitem(last=False)

    def _tell(self, transaction: _Transaction, kind: EventType, **fields: Any) -> None:
        """Tell the core, after everything it was told or asked of this call before."""
        try:
            event = event_from_fields(
                {
                    "type": kind,
                    "call_id": transaction.invite.call_id,
                    "adapter": self.name,
                    "adapter_ref": transaction.key,
                    "attempt": transaction.attempt,
                    **fields,
                }
            )
        except BadInput:  # a call whose Call-ID is unusable was never offered
            return
        transaction.told = self._spawn(self._tell_after(transaction.told, event))

    async def _tell_after(self, before: asyncio.Task[Any] | None, event: CallEvent) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            async with self._places, asyncio.timeout(HANDLING_MAX_S):
                await self._switchboard.event(event)
        except (TimeoutError, FirstringError, OSError) as error:
            _log.warning("event_not_handled", adapter=self.name, error=type(error).__name__, detail=str(error))
        except Exception:  # noqa: BLE001 - as in _serve
            _log.exception("event_not_handled", adapter=self.name)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task


def _key(message: sip.Message) -> str:
    """What tells transactions apart (RFC 3261, 17.2.3): branch and sent-by; before RFC 3261 the whole of Via and CSeq."""
    via = message.header("via")
    branch = message.branch
    if not branch.startswith(sip.BRANCH_COOKIE):
        branch = f"{message.call_id} {message.cseq[0]}"
    sent_by = via.split(";", 1)[0].rsplit(" ", 1)[-1]
    return sip.stable_tag(branch, sent_by)


def _tag(message: sip.Message) -> str:
    return sip.stable_tag(message.call_id, message.branch, "redirect")


_log = structlog.get_logger(__name__)
