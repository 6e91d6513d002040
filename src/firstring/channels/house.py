"""What people of the house do about contacts: send one to an agent, bring one forward, whisper a note, hand one on, call a
caller back instead of letting them wait; and put an agent on a break. Each is written down before it is done.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from firstring.channels.callbacks.calling import ADAPTER as CALL_BACK
from firstring.channels.callbacks.calling import CallBacks
from firstring.contact import Cause, Contact, ContactState, Decision, Directions, Evidence
from firstring.decide import Decider
from firstring.errors import BadInput, FirstringError
from firstring.ports import Clock
from firstring.routing.declared import fields
from firstring.store import interventions
from firstring.store.contacts import Contacts, Presence
from firstring.store.database import Database, Tenant
from firstring.store.ring import RingStore

NOTE_CHARS: Final = 500
BECAUSE_CHARS: Final = 200
NOTES_KEPT: Final = 10
POINTS_MAX: Final = 1_000


class House:
    """One for each process. routed: shows a decision on its agent's desk and tells its adapter."""

    def __init__(
        self,
        database: Database,
        ring: RingStore,
        decider: Decider,
        contacts: Contacts,
        callbacks: CallBacks,
        clock: Clock,
        routed: Callable[[Tenant, Decision], Awaitable[None]],
    ) -> None:
        self._database = database
        self._ring = ring
        self._decider = decider
        self._contacts = contacts
        self._callbacks = callbacks
        self._clock = clock
        self._routed = routed

    async def direct(
        self,
        tenant: Tenant,
        contact_id: uuid.UUID,
        *,
        by: str,
        because: str,
        points: int = 0,
        to_agent: int | None = None,
        skills: Mapping[str, int] | None = None,
        note: str = "",
    ) -> Decision:
        """A contact that waits is brought forward by `points`, sent to an agent or to whoever has `skills`; `note` is
        whispered to whoever gets it or has it.

        Sent to an agent it waits for them alone, for a while (`directed_s`); their capacity holds as always. A contact that
        somebody talks to is handed on by `transfer`, and here only a note can reach it. Raises BadInput unknown_contact
        (404), contact_over (409), contact_taken (409), unknown_agent (404), nothing_asked, because_missing, out_of_range.
        """
        skills, note = fields.skills(dict(skills or {}), "skills", 20), _text(note, "note", NOTE_CHARS)
        _bounded(points)
        if not (points or to_agent is not None or skills or note):
            raise BadInput("nothing_asked", "Say what is to be done: points, to_agent, skills or a note.")
        state = await self._open(tenant, contact_id)
        await self._known(tenant, to_agent)
        if state.agent_id is not None and (points or to_agent is not None or skills):
            raise BadInput(
                "contact_taken",
                "Somebody has this contact.",
                hint="Hand it on instead, or whisper a note.",
                http_status=409,
            )
        what = "move" if to_agent is not None or skills else "prioritise" if points else "note"
        detail = _detail(points, skills)
        done = await self._noted(tenant, what, by, because, contact_id, to_agent, detail, note)
        return await self._again(tenant, contact_id, "directed", done, self._directed(points, to_agent, skills, by, note))

    async def transfer(
        self,
        tenant: Tenant,
        contact_id: uuid.UUID,
        *,
        by: str,
        because: str,
        to_agent: int | None = None,
        skills: Mapping[str, int] | None = None,
        intent: str = "",
        note: str = "",
    ) -> Decision:
        """Whoever has the contact hands it on, with all that is known of it: to an agent, to whoever has `skills`, or to
        whoever serves the reason that it turned out to be. It does not come back to them at once.

        The decision says who has it next; a telephone system carries out the transfer of a call. Raises as `direct` does.
        """
        skills, note = fields.skills(dict(skills or {}), "skills", 20), _text(note, "note", NOTE_CHARS)
        if not (to_agent is not None or skills or intent):
            raise BadInput("nothing_asked", "Say to whom: to_agent, skills or the intent.")
        state = await self._open(tenant, contact_id)
        await self._known(tenant, to_agent)
        if state.agent_id is None:
            raise BadInput(
                "contact_not_taken",
                "Nobody has this contact.",
                hint="A contact that waits is sent by direct.",
                http_status=409,
            )
        if to_agent == state.agent_id:
            raise BadInput("contact_taken", "This agent has the contact already.", http_status=409)
        detail = ",".join(filter(None, (_detail(0, skills), f"intent={fields.slug(intent, 'intent')}" if intent else "")))
        done = await self._noted(tenant, "transfer", by, because, contact_id, to_agent, detail, note)
        change = await self._contacts.event(tenant, contact_id, "transferred", assignment_id=state.assignment_id)
        if change.after != "offered":
            await interventions.refused(self._database, tenant, done, "contact_over")
            raise _over()
        directed = self._directed(0, to_agent, skills, by, note)

        def handed(known: Evidence) -> Evidence:
            # To whom it was sent before is over; what was whispered goes along.
            before = known.directions or Directions()
            known = directed(msgspec.structs.replace(known, directions=Directions(points=before.points, notes=before.notes)))
            return msgspec.structs.replace(known, intent=intent) if intent else known

        return await self._again(tenant, contact_id, "transferred", done, handed)

    async def call_back(self, tenant: Tenant, contact_id: uuid.UUID, *, by: str, phone: str = "") -> Decision:
        """A caller who waits hangs up and keeps the place: at their turn an agent calls them.

        phone: where; without it the number that called. It is a promise like others: where nobody reached them it is tried
        again, and told as missed. Raises BadInput unknown_contact, contact_over, contact_taken, not_a_call (409),
        callback_booked (409), phone_invalid, phone_refused.
        """
        state = await self._open(tenant, contact_id)
        if state.contact.channel != "voice":
            raise BadInput("not_a_call", "Only callers are called back.", http_status=409)
        if state.agent_id is not None or state.state == "elsewhere":
            raise BadInput("contact_taken", "Somebody has this contact.", http_status=409)
        if state.contact.adapter.partition(":")[0] == CALL_BACK:
            raise BadInput("callback_booked", "They are to be called back already.", http_status=409)
        shown = next((one.value for one in state.evidence.identifiers if one.kind == "phone"), "")
        promise = self._callbacks.promise(phone or shown, None, state.contact.language, None, None)

        def kept(contact: Contact) -> Contact:
            return msgspec.structs.replace(
                contact, adapter=CALL_BACK, adapter_ref="", dials=promise.number, call_key=f"kept:{contact.contact_id}"
            )

        decision = await self._ring.decision(tenant, contact_id)
        best = None if decision is None else decision.derived.resolution.best
        callback_id = await self._callbacks.keep(
            tenant, contact_id, promise, record_id=best.records[0] if best is not None and best.records else 0
        )
        done = await self._noted(tenant, "call_back", by, "asked for by the caller", contact_id, None, "", "")
        try:
            return await self._again(tenant, contact_id, "callback", done, lambda known: known, kept)
        except FirstringError:
            await self._callbacks.drop(tenant, callback_id)
            raise

    async def person(self, tenant: Tenant, contact_id: uuid.UUID, *, by: str) -> Decision:
        """A customer leaves self-service for a person: they come to an agent, or into the line, as of their arrival.

        Raises BadInput unknown_contact, contact_over, not_in_self_service (409).
        """
        state = await self._open(tenant, contact_id)
        if state.state != "elsewhere":
            raise BadInput(
                "not_in_self_service",
                "The contact is neither in self-service nor at another place.",
                hint="It is in the line, or somebody has it.",
                http_status=409,
            )
        done = await self._noted(
            tenant, "person", by, "asked for by the customer", contact_id, None, state.elsewhere or "", ""
        )
        return await self._again(tenant, contact_id, "left", done, lambda known: known)

    async def presence(self, tenant: Tenant, agent_id: int, presence: Presence, *, by: str, because: str) -> None:
        """A supervisor puts an agent on a break, or signs one off. Raises BadInput unknown_agent (404), because_missing."""
        await self._known(tenant, agent_id)
        await self._noted(tenant, "presence", by, because, None, agent_id, presence, "")
        await self._contacts.set_presence(tenant, agent_id, presence)

    # --- parts ------------------------------------------------------------------------------------------------

    def _directed(
        self, points: int, to_agent: int | None, skills: Mapping[str, int], by: str, note: str
    ) -> Callable[[Evidence], Evidence]:
        at = self._clock.now()

        def change(known: Evidence) -> Evidence:
            before = known.directions or Directions()
            notes = (*before.notes, (by, note))[-NOTES_KEPT:] if note else before.notes
            made = Directions(
                points=max(-POINTS_MAX, min(POINTS_MAX, before.points + points)),
                to_agent=before.to_agent if to_agent is None else to_agent,
                to_agent_at=before.to_agent_at if to_agent is None else at,
                skills={**before.skills, **skills},
                notes=notes,
            )
            return msgspec.structs.replace(known, directions=made)

        return change

    async def _again(
        self,
        tenant: Tenant,
        contact_id: uuid.UUID,
        cause: Cause,
        done: int,
        change: Callable[[Evidence], Evidence],
        of_contact: Callable[[Contact], Contact] | None = None,
    ) -> Decision:
        try:
            decision = await self._decider.again(tenant, contact_id, cause, change=change, of_contact=of_contact)
            if decision is None:
                raise _over()
        except FirstringError as error:
            await interventions.refused(self._database, tenant, done, error.code)
            raise
        await self._routed(tenant, decision)
        return decision

    async def _open(self, tenant: Tenant, contact_id: uuid.UUID) -> ContactState:
        state = await self._ring.contact(tenant, contact_id)
        if state is None:
            raise BadInput(
                "unknown_contact", "There is no such contact.", where={"contact": str(contact_id)}, http_status=404
            )
        if state.state == "ended":
            raise _over()
        return state

    async def _known(self, tenant: Tenant, agent_id: int | None) -> None:
        if agent_id is not None and await self._contacts.agent(tenant, agent_id) is None:
            raise BadInput("unknown_agent", "There is no such agent.", where={"agent": agent_id}, http_status=404)

    async def _noted(
        self,
        tenant: Tenant,
        what: str,
        by: str,
        because: str,
        contact_id: uuid.UUID | None,
        agent_id: int | None,
        detail: str,
        note: str,
    ) -> int:
        because = _text(because, "because", BECAUSE_CHARS)
        if not because:
            raise BadInput("because_missing", "Say why: it is kept with what was done.", where={"field": "because"})
        return await interventions.add(
            self._database, tenant, what, by=by, because=because, at=self._clock.now(), contact_id=contact_id,
            agent_id=agent_id, detail=detail, note=note,
        )  # fmt: skip


def _over() -> BadInput:
    return BadInput("contact_over", "The contact is over, or changed meanwhile.", http_status=409)


def _detail(points: int, skills: Mapping[str, int]) -> str:
    parts = [f"points={points:+d}"] if points else []
    return ",".join((*parts, *(f"{skill}={level}" for skill, level in sorted(skills.items()))))


def _bounded(points: int) -> None:
    if not -POINTS_MAX <= points <= POINTS_MAX:
        raise BadInput("out_of_range", f"Points are from -{POINTS_MAX} to {POINTS_MAX}.", where={"field": "points"})


def _text(value: str, field: str, chars: int) -> str:
    text = " ".join("".join(char if char.isprintable() else " " for char in value[: 4 * chars]).split())
    if len(text) > chars:
        raise BadInput("out_of_range", f"At most {chars} characters.", where={"field": field})
    return text
