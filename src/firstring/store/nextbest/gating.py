"""Whether an action that was decided may still go out: the gates that can close in between are asked again."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from firstring.identity.golden.rules import DEFAULT as DEFAULT_RULES
from firstring.nextbest.delivery import Delivery
from firstring.nextbest.gates import Gates, locks
from firstring.nextbest.moment import Moment
from firstring.nextbest.situation import situation
from firstring.store.database import Connection, Tenant
from firstring.store.nextbest.policies import in_force
from firstring.store.nextbest.reading import moment_of, read_situation

GONE: Final = "record_gone"
SWITCHED_OFF: Final = "action_switched_off"


async def still_allowed(connection: Connection, tenant: Tenant, delivery: Delivery, now: datetime) -> str | None:
    """None where it may go out, else the code of the gate that has closed: an issue was opened, consent withdrawn, hours are
    over, nobody is free to answer, the action was switched off, the record was deleted. Within a transaction of the tenant.
    """
    force = in_force(tenant)
    action = force.catalogue.by_name.get(delivery.action)
    if action is None:
        return SWITCHED_OFF
    seen = await read_situation(connection, tenant, delivery.record_id, now=now, rules=DEFAULT_RULES)
    if seen is None:
        return GONE
    base = Moment(cause="hand", asked=action.name)
    moment = await moment_of(connection, tenant, seen, force, base, (), now)
    at = situation(seen.journeys, seen.resolution, seen.assurances, channel=seen.channel, now=now, moment=moment)
    reasons = Gates(at, locks(seen.journeys, seen.resolution, at), force.catalogue).of_delivery(action)
    return reasons[0].code if reasons else None
