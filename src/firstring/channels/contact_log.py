"""What a contact leaves behind: when it is over it becomes a touch in the journey of the person it was.

Done after the fact by the queue task, exactly once (the event's message id is the contact's), so that the next call
shows this one, whoever answers it. A contact of somebody who was not identified is a touch of the number it came from. Where
an agent confirmed who it was, the visit in which that number was typed into a form is theirs from now on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog

from firstring.errors import FirstringError
from firstring.identity.caller.resolver import standing
from firstring.journey.events import Event, parse_event
from firstring.nextbest.actions import Catalogue
from firstring.ports import Clock
from firstring.routing.declared.places import STEP
from firstring.store.contacts import Contacts, EndedContact
from firstring.store.database import Database, Tenant
from firstring.store.journey import typed
from firstring.store.journey.events import ingest
from firstring.store.journey.firings import Told
from firstring.store.nextbest.proposed import Proposal, note_proposed
from firstring.store.ring import Recognised, RingStore, recognised

_log = structlog.get_logger("firstring.contact_log")
SOURCE: Final = "firstring"
AT_A_TIME: Final = 10
"""Contacts logged in one transaction; between two of them ringing calls have their turn."""
_NAMES: Final = {"voice": ("Call Ended", "Call Missed"), "chat": ("Chat Ended", "Chat Missed")}
_OTHER: Final = ("Contact Ended", "Contact Missed")


class ContactLog:
    """Writes ended contacts into the event table."""

    def __init__(
        self,
        database: Database,
        ring: RingStore,
        contacts: Contacts,
        clock: Clock,
        *,
        country: str,
        threshold: float,
        told: Told | None = None,
        actions_of: Callable[[Tenant], Catalogue] | None = None,
    ) -> None:
        """told: of patterns that came true by it. actions_of: a tenant's actions, whose caps count what was shown."""
        self._database = database
        self._ring = ring
        self._contacts = contacts
        self._clock = clock
        self._country = country
        self._threshold = threshold
        self._told = told
        self._actions_of = actions_of

    async def write(self, tenant: Tenant) -> int:
        """Logs contacts that are over and past their wrap-up; returns how many."""
        logged = 0
        while ended := await self._contacts.ended_not_logged(tenant, AT_A_TIME):
            logged += await self._write(tenant, ended)
            if len(ended) < AT_A_TIME:
                break
        return logged

    async def _write(self, tenant: Tenant, ended: list[EndedContact]) -> int:
        events: list[Event] = []
        on_records: dict[str, int] = {}
        confirmed: list[tuple[EndedContact, Recognised, int]] = []
        proposals: list[Proposal] = []
        rows = await self._ring.newest_decisions(tenant, [contact.contact_id for contact in ended])
        for contact in ended:
            row = rows.get(contact.contact_id)
            if row is None:
                continue
            try:
                known = recognised(tenant, row)
                event = self._event(contact, known)
            except FirstringError as error:  # damaged, or not to be told as an event: it holds up no other
                _log.info("contact_not_logged", code=error.code, contact=str(contact.contact_id))
                continue
            if event is None:
                continue
            events.append(event)
            record_id = self._record_of(known)
            if record_id is not None:
                on_records[event.message_id] = record_id
                if contact.agent_id is not None and _was_served(contact) and known.derived.action.action:
                    at = contact.answered_at or contact.offered_at
                    proposals.append(Proposal(contact.contact_id, record_id, known.derived.action.action, at))
                if known.evidence.confirmed_person is not None:
                    confirmed.append((contact, known, record_id))
        now = self._clock.now()
        await ingest(
            self._database, tenant, SOURCE, events, now=now, country=self._country, on_records=on_records, told=self._told
        )
        for contact, known, record_id in confirmed:
            at = contact.offered_at
            await typed.confirm(self._database, tenant, known.evidence.identifiers, record_id, at=at)
        if self._actions_of is not None:
            await note_proposed(self._database, tenant, proposals, self._actions_of(tenant))
        await self._contacts.mark_logged(tenant, [contact.contact_id for contact in ended])
        return len(events)

    def _record_of(self, known: Recognised) -> int | None:
        """The record of the person it was, where that is known well enough."""
        resolution = known.derived.resolution
        best = resolution.best
        if best is None or not best.records or standing(resolution, self._threshold) != "identified":
            return None
        return best.records[0]

    def _event(self, contact: EndedContact, known: Recognised) -> Event | None:
        """None where nothing says who it was: no identifier, nobody identified."""
        traits: dict[str, Any] = {}
        for identifier in known.evidence.identifiers:
            traits.setdefault(identifier.kind, identifier.value)
        if not traits and self._record_of(known) is None:
            return None
        answered, missed = _NAMES.get(contact.channel, _OTHER)
        properties: dict[str, Any] = {
            "contact_id": str(contact.contact_id),
            "end_reason": contact.end_reason,
            "outcome": contact.outcome,
        }
        if contact.answered_at is not None and contact.ended_at is not None:
            properties["duration_s"] = round((contact.ended_at - contact.answered_at).total_seconds(), 1)
            properties["wait_s"] = round(max(0.0, (contact.answered_at - contact.offered_at).total_seconds()), 1)
        if contact.agent_id is not None:
            properties["agent_id"] = contact.agent_id
        if contact.elsewhere is not None:
            properties["place"] = contact.elsewhere
        if known.evidence.intent:
            properties["intent"] = known.evidence.intent
        if known.evidence.words:
            properties["said"] = known.evidence.words
        return parse_event(
            {
                "type": "track",
                "event": answered if _was_served(contact) else missed,
                "messageId": f"contact:{contact.contact_id}",
                "anonymousId": f"contact:{contact.contact_id}",
                "timestamp": (contact.ended_at or contact.offered_at).isoformat(),
                "channel": contact.channel,
                "context": {"traits": {key: value for key, value in traits.items() if key != "cookie"}},
                "properties": {name: value for name, value in properties.items() if value is not None},
            },
            received_at=self._clock.now(),
            correct_skew=False,
        )


def _was_served(contact: EndedContact) -> bool:
    """Answered, or finished by an agent who did not take the trouble to accept it first, or by self-service."""
    self_served = contact.elsewhere is not None and STEP not in contact.elsewhere
    return contact.answered_at is not None or contact.end_reason == "finished" or self_served
