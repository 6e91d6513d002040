"""A server's core that is killed with SIGKILL at one step of a call's life. Run by test_killed.py.

Arguments: JSON {"connect": {...}, "master_key": hex, "tenant": id, "life": "call" or "transfer", "step": name, "nth": which
time, "delay_ms": number}. Steps are "before:METHOD", "after:METHOD" and "during:METHOD" (delay_ms into it). Exits 0 if the
step never came.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

from firstring.channels.callbacks.calling import CallBacks
from firstring.channels.callbacks.opening import Opening
from firstring.channels.calls import Calls, CallSettings
from firstring.channels.certificates import CertificateCache
from firstring.channels.house import House
from firstring.channels.signatures import SignatureVerifier
from firstring.channels.voice.contract import CallEvent, CallOffer
from firstring.decide import Decider, Models
from firstring.dispatch import Dispatcher
from firstring.identity.caller.weights import Weights
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import SystemClock, SystemIds
from firstring.routing.declared.policy import RoutingPolicy
from firstring.store.contacts import Contacts
from firstring.store.database import Database
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.trust.score import DEFAULT_PRIORS


def armed(target: Any, method: str, plan: dict[str, Any], seen: Iterator[int]) -> None:
    """Wraps a method so that the plan's step kills this process there. What is told of a call (call_event) is an event."""
    real = getattr(target, method)
    when, name = plan["step"].split(":")
    if name != method.removeprefix("call_"):
        return

    async def wrapped(*arguments: Any, **named: Any) -> Any:
        if next(seen) != plan["nth"]:
            return await real(*arguments, **named)
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "during":
            asyncio.get_running_loop().call_later(plan["delay_ms"] / 1000.0, lambda: os.kill(os.getpid(), signal.SIGKILL))
        result = await real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(target, method, wrapped)


async def life(plan: dict[str, Any]) -> None:
    """Two calls, two agents: offered, busy, answered, ended, a wait that is served, finished."""
    clock = SystemClock()
    database = await Database.open(plan["connect"], bytes.fromhex(plan["master_key"]), connections=2)
    tenant = await database.tenant(plan["tenant"])
    notices = Notices(database.arguments, f"killed-{os.getpid()}")
    ring = RingStore(database, notices)
    contacts = Contacts(database, notices, clock, wrap_up_s=30.0)
    decider = Decider(ring, Models(Weights(), DEFAULT_PRIORS, BUILT_IN, RoutingPolicy()), clock, SystemIds(), Metrics())
    certificates = CertificateCache(clock)

    async def show(*_: Any) -> None:
        return None

    async def tenants() -> list[Any]:
        return [tenant]

    settings = CallSettings("US", "http://desk.test", 15_000)
    signatures = SignatureVerifier(certificates, (), clock)
    calls = Calls(tenant, decider, ring, contacts, signatures, clock, SystemIds(), settings, show, show, lambda _: None)
    dispatcher = Dispatcher(contacts, ring, decider, clock, tenants, show)
    seen = count(1)
    for method in ("read", "commit"):
        armed(ring, method, plan, seen)
    for method in ("event", "call_event", "set_presence", "take_lease", "waiting"):
        armed(contacts, method, plan, seen)

    first, second, third = (
        CallOffer(call_id=secrets.token_hex(8), from_="+12025550100", to="+18005550100", adapter="kamailio")
        for _ in range(3)
    )

    def event(kind: Any, offer: CallOffer) -> CallEvent:
        return CallEvent(type=kind, call_id=offer.call_id, adapter="kamailio")

    if plan["life"] == "transfer":
        callbacks = CallBacks(database, decider, contacts, notices, clock, SystemIds(), Opening(), show, country="US")
        house = House(database, ring, decider, contacts, callbacks, clock, show)
        await calls.offered(first)
        contact_id = await ring.contact_by_call(tenant, "kamailio", first.call_id)
        assert contact_id is not None
        for nth in (1, 2):  # to the other one, and on to nobody who is free: it waits
            await calls.event(event("call.ringing", first))
            await calls.event(event("call.answered", first))
            await house.transfer(tenant, contact_id, by="ann", because=f"hand over {nth}", intent="legal", note="patient")
        await dispatcher.sweep(tenant)
        await certificates.aclose()
        await database.close()
        return
    await calls.offered(first)
    await calls.no_agent(event("call.busy", first))
    await calls.event(event("call.ringing", first))
    await calls.event(event("call.answered", first))
    await calls.offered(second)
    await calls.offered(third)  # nobody is left: it waits
    await calls.event(event("call.ringing", second))
    await calls.event(event("call.cancelled", second))
    await dispatcher.sweep(tenant)
    await calls.event(event("call.ended", first))
    for agent in await contacts.agents(tenant):
        for line in await contacts.of_agent(tenant, agent.profile.agent_id):
            await contacts.event(tenant, line.contact_id, "finished", outcome="resolved")
    await dispatcher.sweep(tenant)
    await certificates.aclose()
    await database.close()


if __name__ == "__main__":
    asyncio.run(life(json.loads(sys.argv[1])))
