"""The core's side of a telephone system: offers become decisions, events become states, decisions become answers.

Routing fails open: whatever goes wrong here, the switch is told to use its default queue, and what may have been
claimed is given back. It never says anything about trust to the caller's side: headers carry ids only.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine
from functools import lru_cache
from typing import Any, Final

import msgspec
import structlog

from firstring import limits
from firstring.channels.deadline import by_deadline
from firstring.channels.signatures import SignatureVerifier
from firstring.channels.voice.contract import CallEvent, CallOffer, RouteAnswer, Wait, route
from firstring.contact import Cause, Contact, Decision, Evidence, SignatureCheck
from firstring.decide import Decider
from firstring.errors import FirstringError
from firstring.identity.caller.evidence import caller_number, gather
from firstring.identity.canonical.contactpoints import phone
from firstring.ports import Clock, Ids
from firstring.store.contacts import Contacts, Happening
from firstring.store.database import Tenant
from firstring.store.ring import OpenCall, RingStore, call_key

_log = structlog.get_logger("firstring.calls")

_GIVEN_BACK: Final[dict[str, tuple[Happening, Cause]]] = {
    "call.busy": ("busy", "busy"),
    "call.no_answer": ("no_answer", "no_answer"),
    "call.rejected": ("rejected", "rejected"),
    "call.unreachable": ("no_answer", "no_answer"),
}
WANTS_PERSON: Final = "call.wants_person"
_HAPPENED: Final[dict[str, Happening]] = {
    "call.ringing": "ringing",
    "call.answered": "answered",
    "call.ended": "ended",
    "call.cancelled": "cancelled",
    "call.defaulted": "defaulted",
}
RELEASE_TRIES: Final = 6
"""How often a claim that came too late is tried to be given back; the pauses double from .2 s. Then it expires."""


TELLS_DEFAULTED: Final = frozenset({"kamailio", "redirect"})
"""Adapters that tell `call.defaulted` themselves. A process that is too slow to name the next agent leaves the contact to
that: another one may have named one."""
HEARD_S: Final = 0.05
"""A call that another process has in the store already was offered to this one as well after so long."""


class CallSettings(msgspec.Struct, frozen=True):
    """How calls are answered. country: region (ISO 3166) for numbers without a country code."""

    country: str
    public_url: str
    ring_timeout_ms: int
    decision_budget_ms: int = limits.DECIDE_DEADLINE_MS
    queue_wait_ms: int = limits.QUEUE_WAIT_MAX_MS
    hold_uri: str = ""


def _is_about_another(event: CallEvent, call: OpenCall) -> bool:
    """Whether an event is about the phone of an agent who had the call before."""
    return bool(event.uri and call.address) and event.uri != call.address


def _why(error: Exception) -> str:
    """A code for what kept a call from being decided; a fault of ours is logged in full."""
    if isinstance(error, TimeoutError):
        return "deadline"
    if isinstance(error, FirstringError):
        return error.code
    _log.error("call_not_decided", error=type(error).__name__, exc_info=error)
    return "internal_error"


@lru_cache(maxsize=1_000)
def called_number(called: str, country: str) -> str:
    """The called number in E.164 where it is one, so that it compares with a PASSporT's dest; else as it came."""
    number = phone(caller_number(called) or "", country)
    return number if isinstance(number, str) else called


class Calls:
    """A Switchboard (channels.voice.contract) for one tenant.

    popped: shows a decision on its agent's desk and returns when it was sent (bounded by the desk); it is awaited
    before the switch is answered, so that the desk knows before the phone rings. routed: the same, and tells a route to
    the switch that waits for it. failed_open: told why a call went to the default queue.
    """

    def __init__(
        self,
        tenant: Tenant,
        decider: Decider,
        ring: RingStore,
        contacts: Contacts,
        signatures: SignatureVerifier,
        clock: Clock,
        ids: Ids,
        settings: CallSettings,
        popped: Callable[[Tenant, Decision], Awaitable[None]],
        routed: Callable[[Tenant, Decision], Awaitable[None]],
        failed_open: Callable[[str], None],
    ) -> None:
        self._tenant = tenant
        self._decider = decider
        self._ring = ring
        self._contacts = contacts
        self._signatures = signatures
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._popped = popped
        self._routed = routed
        self._failed_open = failed_open
        self._background: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def stop(self) -> None:
        """Waits for what is still being verified; what is being given back is tried once more."""
        self._stopping.set()
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    # --- Switchboard ------------------------------------------------------------------------------------------

    async def offered(self, offer: CallOffer) -> RouteAnswer:
        """Decides within the offer's deadline, or answers with the default queue."""
        contact_id = self._ids.new()
        deadline_s = min(offer.deadline_ms, self._settings.decision_budget_ms) / 1000.0
        try:
            decision = await by_deadline(self._decide(contact_id, offer), deadline_s)
        except Exception as error:  # noqa: BLE001 - whatever fails, the caller reaches somebody
            return self._default(offer.adapter_ref, _why(error), contact_id)
        return await self._answer(decision, offer.adapter_ref)

    async def no_agent(self, event: CallEvent) -> RouteAnswer:
        """The agent did not take the call: gives it back and decides anew."""
        contact_id: uuid.UUID | None = None
        until_s = self._clock.monotonic_s() + min(event.deadline_ms, self._settings.decision_budget_ms) / 1000.0
        try:
            finding = self._ring.open_call(self._tenant, event.adapter, event.call_id)
            call = await by_deadline(finding, until_s - self._clock.monotonic_s())
            if call is None:
                return self._default(event.adapter_ref, "unknown_call", None)
            contact_id = call.contact_id if event.adapter not in TELLS_DEFAULTED else None
            decision = await by_deadline(self._next(call, event), until_s - self._clock.monotonic_s())
        except Exception as error:  # noqa: BLE001 - as in offered
            return self._default(event.adapter_ref, _why(error), contact_id)
        if decision is None:
            return self._default(event.adapter_ref, "contact_over", contact_id)
        return await self._answer(decision, event.adapter_ref)

    async def _next(self, call: OpenCall, event: CallEvent) -> Decision | None:
        """Gives the call back and decides anew. None: it is over.

        Every process is asked, and one does it: the others find the next agent claimed, and name the same one.
        """
        happening, cause = _GIVEN_BACK.get(event.type, ("rejected", "left"))
        if not _is_about_another(event, call) and not (event.type == WANTS_PERSON and call.assignment_id is not None):
            if call.assignment_id is not None:
                await self._contacts.event(self._tenant, call.contact_id, happening, assignment_id=call.assignment_id)
            decision = await self._decider.again(self._tenant, call.contact_id, cause, adapter_ref=event.adapter_ref)
            if decision is not None:
                return decision
        state = await self._ring.contact(self._tenant, call.contact_id)
        if state is None or state.state == "ended":
            return None
        return await self._ring.decision(self._tenant, call.contact_id)

    async def event(self, event: CallEvent) -> None:
        """Ringing, answered, ended, cancelled, defaulted. The phone's 200 OK is what counts as answered."""
        happening = _HAPPENED.get(event.type)
        at_phone = happening in ("ringing", "answered")
        if happening is None or (event.defaulted and at_phone):
            return
        phone = event.uri if at_phone else None
        await self._contacts.call_event(self._tenant, event.adapter, event.call_id, happening, phone=phone)

    async def reconcile(self, adapter: str, live_call_ids: Collection[str], answered_call_ids: Collection[str] = ()) -> None:
        """What happened while nobody listened: calls that are not live ended, those that were answered are answered."""
        open_calls = await self._contacts.open_calls(self._tenant, adapter.partition(":")[0])
        await asyncio.sleep(HEARD_S)
        live = {call_key(self._tenant, adapter, call_id) for call_id in live_call_ids}
        answered = {call_key(self._tenant, adapter, call_id) for call_id in answered_call_ids}
        for contact_id, state, key in open_calls:
            if key not in live:
                is_over = state in ("answered", "elsewhere")
                await self._contacts.event(self._tenant, contact_id, "ended" if is_over else "cancelled")
            elif key in answered and state == "assigned":
                await self._contacts.event(self._tenant, contact_id, "answered")

    # --- evidence ---------------------------------------------------------------------------------------------

    async def _decide(self, contact_id: uuid.UUID, offer: CallOffer) -> Decision:
        contact = Contact(
            contact_id=contact_id,
            channel="voice",
            offered_at=self._clock.now(),
            call_key=offer.call_id,
            adapter=offer.adapter,
            adapter_ref=offer.adapter_ref,
            called=offer.to[:64],
            deadline_ms=offer.deadline_ms,
        )
        country = self._settings.country
        raw = {"pai": offer.pai, "from": offer.from_, "cookie": offer.visit, "intent": offer.intent, "said": offer.said}
        evidence = gather(raw, country=country)
        caller = next((found.value for found in evidence.identifiers if found.kind == "phone"), None)

        decided = asyncio.Event()

        def came_late(check: SignatureCheck) -> None:
            self._spawn(self._decide_again(contact_id, check, decided))

        called = called_number(offer.to, country)
        signature = await self._signatures.check(offer.identity or None, caller, called, late=came_late)
        try:
            signed = msgspec.structs.replace(evidence, signature=signature)
            return await self._decider.offered(self._tenant, contact, signed)
        finally:
            decided.set()

    async def _decide_again(self, contact_id: uuid.UUID, check: SignatureCheck, decided: asyncio.Event) -> None:
        """A signature that came late makes a new decision, after the first; whoever has the contact sees it."""
        await decided.wait()

        def signed(known: Evidence) -> Evidence:
            return msgspec.structs.replace(known, signature=check)

        try:
            decision = await self._decider.again(self._tenant, contact_id, "provider", change=signed)
            if decision is not None:
                await self._routed(self._tenant, decision)
        except FirstringError as error:
            _log.info("late_signature_failed", code=error.code)

    # --- answers ----------------------------------------------------------------------------------------------

    async def _answer(self, decision: Decision, adapter_ref: str) -> RouteAnswer:
        try:
            if decision.outcome == "route" and decision.agent_address:
                await self._popped(self._tenant, decision)
            return self.answer(decision, adapter_ref)
        except Exception as error:  # noqa: BLE001 - as in offered
            return self._default(adapter_ref, _why(error), decision.contact.contact_id)

    def answer(self, decision: Decision, adapter_ref: str) -> RouteAnswer:
        """A decision as the switch reads it. A contact that somebody has already is answered with its agent again."""
        settings = self._settings
        contact_id = str(decision.contact.contact_id)
        pop_url = f"{settings.public_url}/pop/{contact_id}"
        common: dict[str, Any] = {
            "decision": f"{contact_id}/{decision.revision}",
            "reasons": tuple(reason.code for reason in decision.derived.routing.reasons),
            "treatment": decision.derived.action.action,
            "adapter_ref": adapter_ref,
        }
        if decision.agent_address:
            headers = {
                "X-Firstring-Contact": contact_id,
                "X-Firstring-Decision": str(decision.revision),
                "X-Firstring-Pop": pop_url,
            }
            to_agent = route(decision.agent_address, headers, ring_ms=settings.ring_timeout_ms)
            return RouteAnswer(routes=(to_agent,), pop_url=pop_url, **common)
        place = decision.derived.routing.elsewhere
        if place is not None and (decision.outcome == "elsewhere" or decision.evidence.at_place):
            headers = {
                "X-Firstring-Contact": contact_id,
                "X-Firstring-Decision": str(decision.revision),
                "X-Firstring-Place": place.name,
            }
            return RouteAnswer(routes=(route(place.address, headers, ring_ms=settings.ring_timeout_ms),), **common)
        if decision.outcome == "wait":
            return RouteAnswer(wait=Wait(max_ms=settings.queue_wait_ms, uri=settings.hold_uri), **common)
        return RouteAnswer(**common)

    def _default(self, adapter_ref: str, why: str, contact_id: uuid.UUID | None) -> RouteAnswer:
        """The switch's default queue; a claim that may have been committed meanwhile is given back."""
        self._failed_open(why)
        _log.warning("failed_open", why=why)
        if contact_id is not None:
            self._spawn(self._release(contact_id))
        return RouteAnswer(reasons=(why,), treatment="default_queue", adapter_ref=adapter_ref)

    async def _release(self, contact_id: uuid.UUID) -> None:
        pause_s = 0.2
        for _ in range(RELEASE_TRIES):
            is_last = self._stopping.is_set()
            try:
                change = await self._contacts.event(self._tenant, contact_id, "defaulted")
            except FirstringError:
                change = None
            if is_last or (change is not None and change.before is not None):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            pause_s *= 2

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
