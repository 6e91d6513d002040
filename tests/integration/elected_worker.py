"""A server that is elected for a tenant, and serves its line until it is killed. Run by test_routing_holds.py.

Arguments: JSON {"connect": {...}, "master_key": hex, "tenant": id}. Says "elected" once it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import msgspec

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
from firstring.store.routing import models as fits
from firstring.store.routing import prices
from firstring.trust.score import DEFAULT_PRIORS


async def serve(plan: dict[str, Any]) -> None:
    clock = SystemClock()
    database = await Database.open(plan["connect"], bytes.fromhex(plan["master_key"]), connections=2)
    tenant = await database.tenant(plan["tenant"])
    notices = Notices(database.arguments, f"elected-{os.getpid()}")
    ring = RingStore(database, notices)
    contacts = Contacts(database, notices, clock, wrap_up_s=30.0)
    models = Models(Weights(), DEFAULT_PRIORS, BUILT_IN, RoutingPolicy())
    fit, live = await fits.refresh(database, tenant), await prices.refresh(database, tenant)
    decider = Decider(ring, msgspec.structs.replace(models, fit=fit, live=live), clock, SystemIds(), Metrics())

    async def routed(*_: Any) -> None:
        return None

    async def tenants() -> list[Any]:
        return [tenant]

    dispatcher = Dispatcher(contacts, ring, decider, clock, tenants, routed)
    while await contacts.take_lease(tenant, "queue") is None:
        await asyncio.sleep(0.1)
    sys.stdout.write("elected\n")
    sys.stdout.flush()
    while True:
        await dispatcher.sweep(tenant)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
