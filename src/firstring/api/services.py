"""What the pages and the HTTP surface are given: the running parts of one server. Built by bootstrap."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from firstring.api.ingest.flow import EventFlow
from firstring.channels.calls import Calls
from firstring.channels.house import House
from firstring.channels.treatments import Treatments
from firstring.channels.web.channel import WebChannel
from firstring.contact import Decision
from firstring.decide import Decider, Models
from firstring.errors import BadInput
from firstring.observe import Metrics
from firstring.ports import Clock, Ids
from firstring.settings import Settings
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.identity.arrivals import Arrivals
from firstring.store.journey.firings import Firings
from firstring.store.journey.intake import EventIntake
from firstring.store.nextbest.acting import Acting
from firstring.store.notices import Notices
from firstring.store.ring import RingStore
from firstring.store.routing.training import Trainings
from firstring.store.timers import Timers


@dataclass
class Services:
    """Everything is shared by all requests of the process; nothing here holds a request's state."""

    settings: Settings
    database: Database
    notices: Notices
    ring: RingStore
    arrivals: Arrivals
    intake: EventIntake
    flow: EventFlow
    timers: Timers
    firings: Firings
    acting: Acting
    contacts: Contacts
    web: WebChannel
    house: House
    treatments: Treatments
    trainings: Trainings
    decider: Decider
    models: Models
    metrics: Metrics
    clock: Clock
    ids: Ids
    calls_of: Callable[[Tenant], Calls]
    routed: Callable[[Tenant, Decision], Awaitable[None]]
    """Shows a routed decision on its agent's desk and pushes the route to the adapter that waits for it."""
    adapters: Callable[[], dict[str, bool]]
    """Whether each configured voice adapter is connected, by name."""
    stopping: bool = False


def contact_uuid(text: str) -> uuid.UUID:
    """A contact's id out of a path. Raises BadInput unknown_contact (404)."""

    try:
        return uuid.UUID(text)
    except ValueError:
        raise BadInput(
            "unknown_contact", "There is no such contact.", where={"contact": text[:40]}, http_status=404
        ) from None
