"""The HTTP door for telephone systems: POST /v1/decide and what became of the call. JSON and form encoding."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar import Controller, MediaType, Request, Response, get, post

from firstring.api.access import Caller, allow
from firstring.api.services import Services, contact_uuid
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
from firstring.errors import BadInput
from firstring.store.notices import Notice

FORM = "application/x-www-form-urlencoded"
ROUTE_WAIT_MAX_MS = 30_000


class VoiceController(Controller):
    path = "/v1"
    tags = ("voice",)
    guards = (allow("adapter"),)

    @post(
        "/decide",
        status_code=200,
        summary="A call rings: who is it, and where should it go?",
        description=(
            "Takes a CallOffer as JSON or as application/x-www-form-urlencoded and answers in the same encoding with "
            "one route, a wait, or neither (use the default queue). Idempotent by call_id while the call is open."
        ),
    )
    async def decide(self, request: Request[Any, Any, Any], services: Services, caller: Caller) -> Response[bytes]:
        body = await request.body()
        form = _is_form(request)
        offer = offer_from_form(body) if form else offer_from_json(body)
        offer = msgspec.structs.replace(offer, adapter="http")
        answer = await services.calls_of(caller.tenant).offered(offer)
        return _encoded(answer, form)

    @post(
        "/calls/events",
        status_code=200,
        summary="What became of a call; busy and no_answer are answered with the next agent",
        description=(
            "Takes a CallEvent as JSON or form. A phone behind the redirect server, which cannot see what became of a "
            "call, reports it here with adapter=redirect."
        ),
    )
    async def call_event(self, request: Request[Any, Any, Any], services: Services, caller: Caller) -> Response[bytes]:
        body = await request.body()
        form = _is_form(request)
        event = event_from_form(body) if form else event_from_json(body)
        event = msgspec.structs.replace(event, adapter="redirect" if event.adapter == "redirect" else "http")
        calls = services.calls_of(caller.tenant)
        if event.type in ASKS_AGAIN:
            return _encoded(await calls.no_agent(event), form)
        await calls.event(event)
        return _encoded(RouteAnswer(adapter_ref=event.adapter_ref, treatment="noted"), form)

    @get("/contacts/{contact_id:str}/route", summary="Waits for the route of a contact that was told to wait")
    async def route(self, contact_id: str, services: Services, caller: Caller, wait_ms: int = 10_000) -> Response[bytes]:
        """Answers as soon as an agent was claimed, or after wait_ms (at most 30,000) with what holds then."""
        identity = contact_uuid(contact_id)
        if not 0 <= wait_ms <= ROUTE_WAIT_MAX_MS:
            raise BadInput("out_of_range", "wait_ms is 0 to 30000.", where={"field": "wait_ms"})
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
                if decision.outcome != "wait" or left_s <= 0 or services.stopping:
                    answer = services.calls_of(caller.tenant).answer(decision, decision.contact.adapter_ref)
                    return _encoded(answer, form=False)
                try:
                    async with asyncio.timeout(left_s):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            unsubscribe()


def _is_form(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def _encoded(answer: RouteAnswer, form: bool) -> Response[bytes]:
    if form:
        return Response(encode_answer_form(answer), media_type=FORM)
    return Response(encode_answer(answer), media_type=MediaType.JSON)
