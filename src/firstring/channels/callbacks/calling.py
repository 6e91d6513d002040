"""Promises of calls, and that they are kept: at its time a call is offered to agents as a contact, with all that is known.

The agent who gets it sees whom to call and why, and dials. One that nobody could make in time is tried again, as often as
the hours' file says; then it is missed, and told as an event.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import phonenumbers
import structlog

from firstring import limits
from firstring.channels.callbacks.opening import Opening
from firstring.contact import Contact, Decision, Evidence
from firstring.decide import Decider
from firstring.errors import BadInput
from firstring.identity.caller.evidence import gather
from firstring.nextbest.delivery import Delivery
from firstring.nextbest.hours import is_zone
from firstring.ports import Clock, Ids
from firstring.store import callbacks as store
from firstring.store.callbacks import Promise
from firstring.store.contacts import Contacts
from firstring.store.database import Connection, Database, Tenant
from firstring.store.delivery import happened
from firstring.store.notices import Notice, Notices
from firstring.store.timers import cancel_timer

_log = structlog.get_logger("firstring.callbacks")

ADAPTER: Final = "callback"
UNOFFERED_S: Final = 120.0
"""A call whose offering broke off in the middle counts as not made after this."""
_COSTLY: Final = (phonenumbers.PhoneNumberType.PREMIUM_RATE, phonenumbers.PhoneNumberType.SHARED_COST)


class CallBacks:
    """One for each process. routed: shows a routed contact on its agent's desk."""

    def __init__(
        self,
        database: Database,
        decider: Decider,
        contacts: Contacts,
        notices: Notices,
        clock: Clock,
        ids: Ids,
        opening: Opening,
        routed: Callable[[Tenant, Decision], Awaitable[None]],
        *,
        country: str,
    ) -> None:
        self._database = database
        self._decider = decider
        self._contacts = contacts
        self._notices = notices
        self._clock = clock
        self._ids = ids
        self.opening = opening
        self._routed = routed
        self._country = country

    # --- promising --------------------------------------------------------------------------------------------

    async def slots(self, tenant: Tenant, at_most: int = 60) -> list[datetime]:
        """The times that may be promised now."""
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            taken = await store.taken(connection, tenant, now)
        free = (at for at in self.opening.slots(now) if taken.get(at, 0) < self.opening.per_slot)
        return [at for at, _ in zip(free, range(at_most), strict=False)]

    def promise(
        self, number: str, time_zone: str | None, language: str | None, reason: str | None, action: str | None
    ) -> Promise:
        """What a customer asked for, checked. Raises BadInput phone_invalid, phone_refused, time_zone_unknown."""
        if time_zone is not None and not is_zone(time_zone):
            raise BadInput("time_zone_unknown", "There is no such time zone.", where={"field": "timeZone"},
                           hint="Send an IANA name, such as Europe/Lisbon.")  # fmt: skip
        found = gather({"phone": number[: limits.FIELD_CHARS]}, country=self._country).identifiers
        if not found:
            raise BadInput("phone_invalid", "That is no telephone number.", where={"field": "phone"},
                           hint="Write it with its country code, such as +44 7700 900123.")  # fmt: skip
        parsed = phonenumbers.parse(found[0].value)
        countries = self.opening.countries or (self._country,)
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(parsed.country_code or 0, ())
        if phonenumbers.number_type(parsed) in _COSTLY or not set(regions) & set(countries):
            raise BadInput("phone_refused", "Numbers of this kind are not called.", where={"field": "phone"},
                           hint="Give another number.")  # fmt: skip
        return Promise(found[0].value, time_zone, language, reason, action)

    def moment(self, asked: str | None) -> datetime:
        """When it is to be: now, where no time is asked for. Raises BadInput time_invalid, time_past, closed_now,
        outside_hours."""
        now = self._clock.now()
        if asked is None:
            if not self.opening.is_open(now):
                raise BadInput("closed_now", "Nobody calls back at this hour.", hint="Choose a time.", http_status=409)
            return now
        try:
            at = datetime.fromisoformat(asked.replace("Z", "+00:00"))
        except ValueError:
            at = datetime.min  # noqa: DTZ901 - refused below, for it has no zone
        if at.tzinfo is None:
            raise BadInput("time_invalid", "That is no time.", where={"field": "at"}, hint="Send one of the times offered.")
        at = at.astimezone(UTC)
        if at < now:
            raise BadInput("time_past", "This time is over.", where={"field": "at"}, hint="Choose another one.")
        if at not in set(self.opening.slots(now)):
            raise BadInput("outside_hours", "No calls are made at this time.", where={"field": "at"},
                           hint="Send one of the times offered.")  # fmt: skip
        return at

    async def book(
        self, connection: Connection, tenant: Tenant, delivery: Delivery, promise: Promise, at: datetime, *, is_slot: bool
    ) -> uuid.UUID:
        """Promises a call in the caller's transaction; `wake` after its commit. Raises BadInput as store.callbacks.book."""
        callback_id = self._ids.new()
        per_slot = self.opening.per_slot if is_slot else None
        await store.book(
            connection, tenant, callback_id, promise,
            record_id=delivery.record_id, delivery_id=delivery.delivery_id, due_at=at, now=self._clock.now(),
            per_slot=per_slot,
        )  # fmt: skip
        return callback_id

    async def keep(self, tenant: Tenant, contact_id: uuid.UUID, promise: Promise, *, record_id: int) -> uuid.UUID:
        """Promises a call to a caller who waits as this contact: it is under way with the contact's place in the line.

        record_id: whom it is for, 0 where nobody is known. Raises BadInput callback_booked (409).
        """
        callback_id, now = self._ids.new(), self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            await store.book(
                connection, tenant, callback_id, promise, record_id=record_id, delivery_id=None, due_at=now, now=now
            )
            await store.offered(connection, tenant, callback_id, contact_id, now)
            await cancel_timer(connection, tenant, store.TIMER, str(callback_id))
        return callback_id

    async def drop(self, tenant: Tenant, callback_id: uuid.UUID) -> None:
        """The caller could not be promised it."""
        async with self._database.transaction(tenant.tenant_id) as connection:
            await store.become(connection, tenant, callback_id, "cancelled", self._clock.now())

    async def rings(self, tenant: Tenant, decision: Decision) -> None:
        """An agent got a call to make: it stands on their desk, and is theirs for as long as a phone rings."""
        if decision.contact.adapter == ADAPTER and decision.outcome == "route":
            await self._contacts.event(tenant, decision.contact.contact_id, "ringing", assignment_id=decision.assignment_id)

    def wake(self, tenant: Tenant) -> None:
        """A call may be due now."""
        self._notices.tell(Notice(tenant.tenant_id, "timer"))

    # --- keeping ----------------------------------------------------------------------------------------------

    async def due(self, tenant: Tenant, key: str, _payload: dict[str, Any]) -> None:
        """The handler of the timers of promised calls."""
        callback_id = uuid.UUID(key)
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            found = await store.booked(connection, tenant, callback_id)
            if found is None or found.promise is None or found.state not in ("booked", "offered"):
                return
            contact_id, attempt = found.contact_id, found.attempts
            if found.state == "booked" or contact_id is None:
                contact_id, attempt = self._ids.new(), attempt + 1
                await store.offered(connection, tenant, callback_id, contact_id, now)
            identifiers = await store.identifiers_of(connection, tenant, found.record_id)
        promise = found.promise
        evidence = gather({"phone": promise.number}, country=self._country)
        known = (*evidence.identifiers, *identifiers)
        evidence = msgspec.structs.replace(
            evidence,
            identifiers=tuple(dict.fromkeys(known))[: limits.IDENTIFIERS_PER_CONTACT],
            intent=promise.reason,
        )
        await self._offer(tenant, contact_id, callback_id, attempt, promise, evidence, now)

    async def _offer(
        self,
        tenant: Tenant,
        contact_id: uuid.UUID,
        callback_id: uuid.UUID,
        attempt: int,
        promise: Promise,
        evidence: Evidence,
        now: datetime,
    ) -> None:
        """The same call offered twice (after a crash) is one contact: its own id is the promise's with the try's."""
        contact = Contact(
            contact_id=contact_id,
            channel="voice",
            offered_at=now,
            call_key=f"{callback_id}:{attempt}",
            adapter=ADAPTER,
            adapter_ref=promise.time_zone or "",
            called=promise.number,
            language=promise.language,
        )
        decision = await self._decider.offered(tenant, contact, evidence, cause="callback")
        if decision.outcome == "route":
            await self._routed(tenant, decision)

    async def settle(self, tenant: Tenant) -> int:
        """A chore: calls whose contact is over are done, tried again, or missed; returns how many."""
        now = self._clock.now()
        async with self._database.transaction(tenant.tenant_id) as connection:
            found = await store.over(connection, tenant, now - timedelta(seconds=UNOFFERED_S))
            for one in found:
                locked = await store.booked(connection, tenant, one.callback_id)
                if locked is None or locked.state != "offered" or locked.attempts != one.attempts:
                    continue
                if one.answered_at is not None or one.end_reason == "finished":
                    await store.become(connection, tenant, one.callback_id, "done", now)
                elif one.attempts < self.opening.attempts:
                    due_at = now + timedelta(minutes=self.opening.again_minutes)
                    await store.again(connection, tenant, one.callback_id, due_at, now)
                else:
                    await store.become(connection, tenant, one.callback_id, "missed", now)
                    _log.warning("callback_missed", tenant=tenant.tenant_id)
                    if one.delivery_id is not None:
                        await happened(connection, tenant, one.delivery_id, "failed", now)
        return len(found)
