"""The HTTP door for telephone systems: POST /v1/decide and what became of the call. JSON and form encoding."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, MediaType, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, Parameter

from firstring.api.access import Caller, Ringing, allow, allow_ringing
from firstring.api.services import Services, contact_uuid
from firstring.channels.announcing import said_to, with_said
from firstring.channels.deadline import by_deadline
from firstring.channels.voice.contract import (
    ASKS_AGAIN,
    RouteAnswer,
    encode_answer,
    encode_answer_form,
    event_from_form,
    event_from_json,
    offer_from_form,
    offer_from_json,
)
from firstring.errors import BadInput, Retryable
from firstring.store.notices import Notice

FORM: Final = "application/x-www-form-urlencoded"
ROUTE_WAIT_MAX_MS: Final = 30_000
EVENT_WAIT_S: Final = 5.0


class VoiceController(Controller):
    path = "/v1"
    tags = ("voice",)

    @post(
        "/decide",
        status_code=200,
        guards=[allow_ringing("adapter")],
        summary="A call rings: who is it, and where should it go?",
        description=(
            "Takes a CallOffer as JSON or as application/x-www-form-urlencoded and answers in the same encoding with "
            "one route, a wait, or neither (use the default queue). Idempotent by call_id while the call is open. "
            "Whatever fails here, the answer comes by the deadline and is the default queue."
        ),
    )
    async def decide(self, request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[bytes]:
        ringing: Ringing = request.state.ringing
        form, body = await _body(request)
        offer = offer_from_form(body) if form else offer_from_json(body)
        if ringing.caller is None:
            return _unknown_caller(services, ringing, offer.adapter_ref, form)
        left = _left_ms(services, ringing, offer.deadline_ms)
        offer = msgspec.structs.replace(offer, adapter="http", deadline_ms=left)
        answer = await services.calls_of(ringing.caller.tenant).offered(offer)
        return _encoded(answer, form)

    @post(
        "/calls/events",
        status_code=200,
        guards=[allow_ringing("adapter")],
        summary="What became of a call; busy and no_answer are answered with the next agent",
        description=(
            "Takes a CallEvent as JSON or form. A phone behind the redirect server, which cannot see what became of a "
            "call, reports it here with adapter=redirect. Events that ask for the next agent are always answered; the "
            "others are to be sent again where the answer is 503."
        ),
    )
    async def call_event(self, request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[bytes]:
        ringing: Ringing = request.state.ringing
        form, body = await _body(request)
        event = event_from_form(body) if form else event_from_json(body)
        asks = event.type in ASKS_AGAIN
        if ringing.caller is None:
            if asks:
                return _unknown_caller(services, ringing, event.adapter_ref, form)
            assert ringing.failure is not None
            raise ringing.failure
        left = _left_ms(services, ringing, event.deadline_ms)
        adapter = "redirect" if event.adapter == "redirect" else "http"
        event = msgspec.structs.replace(event, adapter=adapter, deadline_ms=left)
        calls = services.calls_of(ringing.caller.tenant)
        if asks:
            return _encoded(await calls.no_agent(event), form)
        try:
            await by_deadline(calls.event(event), EVENT_WAIT_S)
        except TimeoutError:
            raise Retryable("database_slow", "PostgreSQL did not answer in time.", hint="Send the event again.") from None
        return _encoded(RouteAnswer(adapter_ref=event.adapter_ref, treatment="noted"), form)

    @get(
        "/contacts/{contact_id:str}/route",
        guards=[allow("adapter")],
        summary="Waits for the route of a contact that was told to wait",
    )
    async def route(
        self,
        contact_id: FromPath[str],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        wait_ms: Annotated[int, Parameter(ge=0, le=ROUTE_WAIT_MAX_MS, description="How long to wait.")] = 10_000,
        said: Annotated[
            int | None, Parameter(ge=0, description="Of the last answer's wait: answers news of the wait at once too.")
        ] = None,
    ) -> Response[bytes]:
        """Answers as soon as an agent was claimed (or it goes to another place), or after wait_ms (at most 30,000) with what
        holds then: what is to be announced of the wait among it. With `said` it answers as soon as that is another."""
        identity = contact_uuid(contact_id)
        changed = asyncio.Event()

        def heard(notice: Notice) -> None:
            if notice.contact_id == identity or notice.what == "resync":
                changed.set()

        unsubscribe = services.notices.subscribe(heard)
        try:
            deadline = services.clock.monotonic_s() + wait_ms / 1000.0
            while True:
                changed.clear()
                decision = await services.ring.decision(caller.tenant, identity)
                if decision is None:
                    raise BadInput("unknown_contact", "There is no such contact.", http_status=404)
                left_s = deadline - services.clock.monotonic_s()
                waits = decision.outcome == "wait"
                news = await said_to(services.database, caller.tenant, identity) if waits else None
                is_news = said is not None and news is not None and news.at_ms > said
                if not waits or is_news or left_s <= 0 or services.stopping:
                    answer = services.calls_of(caller.tenant).answer(decision, decision.contact.adapter_ref)
                    return _encoded(with_said(answer, news), form=False)
                try:
                    async with asyncio.timeout(left_s):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            unsubscribe()


async def _body(request: Request[Any, Any, Any]) -> tuple[bool, bytes]:
    return _is_form(request), await request.body()


def _left_ms(services: Services, ringing: Ringing, deadline_ms: int) -> int:
    """What is left of a deadline that counts from the arrival of the request."""
    spent_s = services.clock.monotonic_s() - ringing.arrived_s
    return max(0, min(deadline_ms, services.settings.decision_budget_ms) - round(spent_s * 1000.0))


def _unknown_caller(services: Services, ringing: Ringing, adapter_ref: str, form: bool) -> Response[bytes]:
    """The default queue: nobody can say now whose call this is."""
    why = ringing.failure.code if ringing.failure is not None else "unknown_token"
    services.metrics.failed_open(why)
    return _encoded(RouteAnswer(reasons=(why,), treatment="default_queue", adapter_ref=adapter_ref), form)


def _is_form(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def _encoded(answer: RouteAnswer, form: bool) -> Response[bytes]:
    if form:
        return Response(encode_answer_form(answer), media_type=FORM)
    return Response(encode_answer(answer), media_type=MediaType.JSON)
