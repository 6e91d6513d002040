"""The outbox: actions on their way to customers, written by the transaction that decides them.

A delivery is pending until it is shown (on a page) or sent; then it is accepted, dismissed or ignored. It is offered to
its channel at least once, and shown once: whoever is about to show it asks first (`show`), and one of them is told yes.
It fails after limits.DELIVERY_ATTEMPTS, expires unshown, or is withdrawn where a gate has closed since it was decided.
It is addressed to a source record; the person is whoever has that record when it is carried out.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from firstring import limits
from firstring.errors import BadInput
from firstring.nextbest.delivery import Delivery
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.records import external_key
from firstring.store.notices import Notice, Notices
from firstring.store.queries import sql

Answer = Literal["accepted", "dismissed", "ignored"]
Happening = Literal["shown", "accepted", "dismissed", "ignored", "failed"]
State = Literal["pending", "shown", "accepted", "dismissed", "ignored", "failed", "expired", "withdrawn"]
StillAllowed: TypeAlias = Callable[[Connection, Tenant, Delivery, datetime], Awaitable[str | None]]
"""async (connection, tenant, delivery, now): None where it may go out, else the code of the gate that has closed."""

SENT_ROUTES: Final = ("email", "sms", "push", "webhook", "callback")
"""Routes that this program carries out by itself; a page asks for what is there for it."""


class Visitor(NamedTuple):
    """Who is before a page, as proved: a visitor's id with its secret, and a user's id with its signature.

    source: that of the write key. user_id: None where nobody is signed in, or it was not signed.
    """

    source: str
    visitor_id: str
    user_id: str | None = None


class Shown(NamedTuple):
    """What became of asking to show something. delivery: to be shown now; else why not (a code)."""

    delivery: Delivery | None
    why: str = ""


class Due(NamedTuple):
    """A delivery that this process carries out now. attempts: with this one."""

    delivery: Delivery
    attempts: int


class Untold(NamedTuple):
    """Something that became of a delivery and is no event yet. record_id: None where the record is gone."""

    delivery_id: uuid.UUID
    what: Happening
    at: datetime
    decision_id: uuid.UUID | None
    action: str | None
    route: str | None
    kind: str | None
    reason: str | None
    record_id: int | None


class Line(msgspec.Struct, frozen=True):
    """A delivery as lists show it: no content."""

    delivery_id: uuid.UUID
    decision_id: uuid.UUID
    record_id: int
    route: str
    action: str
    kind: str
    state: State
    reason: str | None
    not_before: datetime
    expires_at: datetime
    attempts: int
    created_at: datetime
    state_at: datetime


class Announced(NamedTuple):
    """A delivery that was just committed, and the keys of the pages that may show it (none, where it is for no page)."""

    delivery: Delivery
    keys: frozenset[bytes]


async def enqueue(connection: Connection, tenant: Tenant, delivery: Delivery, *, now: datetime) -> Announced | None:
    """Writes it into the outbox, in the transaction of its decision. None where it was there already.

    `hand_over` what is returned after the commit, or `announce` it. Raises BadInput delivery_too_large,
    delivery_times_invalid.
    """
    if (
        delivery.not_before.tzinfo is None
        or delivery.expires_at.tzinfo is None
        or delivery.expires_at <= delivery.not_before
    ):
        raise BadInput(
            "delivery_times_invalid",
            "A delivery ends after it begins, and both times have a zone.",
            where={"field": "expires_at"},
            hint="Give them in UTC.",
        )
    if len(msgspec.json.encode(delivery.content)) > limits.DELIVERY_BYTES:
        raise BadInput(
            "delivery_too_large",
            f"The content of an action has more than {limits.DELIVERY_BYTES} bytes.",
            where={"action": delivery.action},
            hint="Shorten its texts, or the values that they are filled with.",
        )
    wrapped, sealed = tenant.keys.seal(msgspec.to_builtins(delivery))
    row = await connection.fetchrow(
        sql("delivery", "enqueue"), tenant.tenant_id, delivery.delivery_id, delivery.decision_id, delivery.record_id,
        delivery.route, delivery.action, delivery.kind, delivery.not_before, delivery.expires_at, now, wrapped, sealed,
        limits.PERSON_CONTENTS,
    )  # fmt: skip
    return None if row is None else Announced(delivery, frozenset(row["keys"] or ()))


def hand_over(notices: Notices, tenant: Tenant, announced: Announced) -> None:
    """As `announce`; the pages of this process are given it as it is."""
    notices.tell(Notice(tenant.tenant_id, "delivery", announced.delivery.delivery_id, carried=announced))


def announce(notices: Notices, tenant: Tenant, deliveries: Iterable[uuid.UUID]) -> None:
    """Tells pages and the carrier that something is there for them, once its transaction is committed."""
    for delivery_id in deliveries:
        notices.tell(Notice(tenant.tenant_id, "delivery", delivery_id))


# --- pages -------------------------------------------------------------------------------------------------------


async def known_by(connection: Connection, tenant: Tenant, visitor: Visitor) -> tuple[bytes, ...]:
    """The keys by which a page is found when something is there for the person before it."""
    own = _own_keys(tenant, visitor)
    rows = await connection.fetch(sql("delivery", "visitor_keys"), tenant.tenant_id, own)
    return (cookie_key(tenant, visitor.visitor_id), *(row["key"] for row in rows))


async def addressees(
    connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, now: datetime
) -> tuple[Delivery, frozenset[bytes]] | None:
    """A delivery that may be shown now, and the keys of the pages that may show it; None where there is none."""
    statement = sql("delivery", "addressees")
    row = await connection.fetchrow(statement, tenant.tenant_id, delivery_id, now, limits.PERSON_CONTENTS)
    return None if row is None else (_opened(tenant, row), frozenset(row["keys"] or ()))


async def waiting_for(connection: Connection, tenant: Tenant, visitor: Visitor, now: datetime) -> list[Delivery]:
    """What may be shown to a visitor now, the oldest first."""
    persons = await persons_of(connection, tenant, visitor)
    if not persons:
        return []
    statement = sql("delivery", "open_for_persons")
    rows = await connection.fetch(statement, tenant.tenant_id, persons, now, limits.DELIVERIES_OFFERED)
    return [_opened(tenant, row) for row in rows]


async def persons_of(connection: Connection, tenant: Tenant, visitor: Visitor) -> list[int]:
    """The persons before a page: at most two, the visitor and the user who is signed in."""
    rows = await connection.fetch(
        sql("delivery", "visitor_persons"), tenant.tenant_id, visitor.source,
        cookie_key(tenant, visitor.visitor_id), _own_keys(tenant, visitor), limits.HOT_KEY_RECORDS,
    )  # fmt: skip
    return [row["person_id"] for row in rows]


async def show(
    connection: Connection,
    tenant: Tenant,
    visitor: Visitor,
    delivery_id: uuid.UUID,
    now: datetime,
    still_allowed: StillAllowed,
) -> Shown:
    """Asked right before something is shown: one of all who ask is told yes, and it counts as shown then."""
    row = await connection.fetchrow(
        sql("delivery", "to_show"), tenant.tenant_id, delivery_id, visitor.source,
        cookie_key(tenant, visitor.visitor_id), _own_keys(tenant, visitor), limits.HOT_KEY_RECORDS,
    )  # fmt: skip
    if row is None or row["route"] != "web" or not row["is_theirs"]:
        return Shown(None, "unknown_delivery")
    if row["state"] != "pending":
        return Shown(None, row["state"])
    if not row["not_before"] <= now < row["expires_at"]:
        return Shown(None, "expired")
    delivery = _opened(tenant, row)
    closed = await still_allowed(connection, tenant, delivery, now)
    if closed is not None:
        await withdraw(connection, tenant, delivery_id, closed, now)
        return Shown(None, "withdrawn")
    await _become(connection, tenant, delivery_id, "shown", now)
    return Shown(delivery)


async def answer(
    connection: Connection, tenant: Tenant, visitor: Visitor, delivery_id: uuid.UUID, what: Answer, now: datetime
) -> Delivery:
    """The customer's answer to something shown. The same again changes nothing; one ignored may be answered late.

    Raises BadInput unknown_delivery (404), not_shown (409), answered_already (409).
    """
    row = await connection.fetchrow(sql("delivery", "locked"), tenant.tenant_id, delivery_id)
    if row is None or row["route"] != "web" or row["person_id"] not in await persons_of(connection, tenant, visitor):
        raise unknown()
    await _answered(connection, tenant, delivery_id, row, what, now)
    return _opened(tenant, row)


async def _answered(
    connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, row: Any, what: Answer, now: datetime
) -> None:
    state = row["state"]
    if state == what or (what == "ignored" and state in ("accepted", "dismissed")):
        return
    if state in ("shown", "ignored"):
        await _become(connection, tenant, delivery_id, what, now)
        return
    if state in ("accepted", "dismissed"):
        raise BadInput("answered_already", "This was answered differently before.", http_status=409)
    raise BadInput("not_shown", "This was not shown.", where={"state": state}, http_status=409)


# --- desks -------------------------------------------------------------------------------------------------------


class AtDesk(NamedTuple):
    """A delivery that an agent is to see. is_new: nobody has seen it before."""

    delivery: Delivery
    person_id: int
    is_new: bool


async def at_desk(
    connection: Connection, tenant: Tenant, persons: Sequence[int], now: datetime, still_allowed: StillAllowed
) -> list[AtDesk]:
    """What agents are to do for these persons, the oldest first; what nobody has seen counts as shown now, where its gates
    are open still."""
    if not persons:
        return []
    at_most = len(persons) * limits.DELIVERIES_OFFERED
    rows = await connection.fetch(sql("delivery", "at_desk"), tenant.tenant_id, list(persons), now, at_most)
    found = []
    for row in rows:
        delivery = _opened(tenant, row)
        is_new = row["state"] == "pending"
        if is_new:
            closed = await still_allowed(connection, tenant, delivery, now)
            if closed is not None:
                await withdraw(connection, tenant, delivery.delivery_id, closed, now)
                continue
            await _become(connection, tenant, delivery.delivery_id, "shown", now)
        found.append(AtDesk(delivery, row["person_id"], is_new))
    return found


async def answer_at_desk(
    connection: Connection, tenant: Tenant, person_id: int, delivery_id: uuid.UUID, what: Answer, now: datetime
) -> None:
    """The agent's word on something shown. The same again changes nothing. Raises BadInput as `answer`."""
    row = await connection.fetchrow(sql("delivery", "locked"), tenant.tenant_id, delivery_id)
    if row is None or row["route"] != "desk" or row["person_id"] != person_id:
        raise unknown()
    await _answered(connection, tenant, delivery_id, row, what, now)


# --- carrying out ------------------------------------------------------------------------------------------------


async def take_due(
    connection: Connection,
    tenant: Tenant,
    now: datetime,
    *,
    turn_s: float,
    at_most: int,
    routes: Sequence[str] = SENT_ROUTES,
) -> list[Due]:
    """What this process carries out now. What it does not finish within `turn_s` is tried by somebody else."""
    until = now + timedelta(seconds=turn_s)
    rows = await connection.fetch(sql("delivery", "take_due"), tenant.tenant_id, list(routes), now, at_most, until)
    return [Due(_opened(tenant, row), row["attempts"]) for row in rows]


async def sent(connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, now: datetime) -> bool:
    """It left by its channel. False where it is pending no more (somebody else sent it meanwhile)."""
    row = await connection.fetchrow(sql("delivery", "locked"), tenant.tenant_id, delivery_id)
    if row is None or row["state"] != "pending":
        return False
    await _become(connection, tenant, delivery_id, "shown", now)
    return True


async def put_off(
    connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, until: datetime, why: str, *, tried: bool = True
) -> None:
    """It did not leave: it is tried again. why: a code. tried: False where it was not even tried, which uses up no try."""
    await connection.execute(sql("delivery", "put_off"), tenant.tenant_id, delivery_id, until, why, tried)


async def fail(connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, why: str, now: datetime) -> None:
    """It will not leave (a dead letter): it stays to be looked at, and to be tried again by hand."""
    row = await connection.fetchrow(sql("delivery", "locked"), tenant.tenant_id, delivery_id)
    if row is not None and row["state"] == "pending":
        await _become(connection, tenant, delivery_id, "failed", now, why)


async def withdraw(connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, why: str, now: datetime) -> None:
    """A gate has closed since it was decided."""
    await connection.execute(sql("delivery", "set_state"), tenant.tenant_id, delivery_id, "withdrawn", why, now)


async def person_of(connection: Connection, tenant: Tenant, record_id: int) -> int | None:
    """Who has a record now; None where it is gone."""
    found: int | None = await connection.fetchval(sql("delivery", "person_of"), tenant.tenant_id, record_id)
    return found


class Clicked(NamedTuple):
    """A link that was opened. counts: by the customer, as far as can be told, not by a program that looks into mails."""

    delivery: Delivery
    counts: bool


async def clicked(
    connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, now: datetime, *, by_program: bool
) -> Clicked | None:
    """A link of something sent was opened: it counts as accepted, unless a program opened it, or it was opened sooner after
    it left than anybody reads (limits.LINK_SCANNED_S). None for what is not there, or was not sent."""
    row = await connection.fetchrow(sql("delivery", "locked"), tenant.tenant_id, delivery_id)
    if row is None or row["state"] not in ("shown", "accepted", "ignored"):
        return None
    too_soon = row["state"] == "shown" and now - row["state_at"] < timedelta(seconds=limits.LINK_SCANNED_S)
    counts = not by_program and not too_soon
    if counts and row["state"] != "accepted":
        await _become(connection, tenant, delivery_id, "accepted", now)
    return Clicked(_opened(tenant, row), counts)


async def try_again(connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, now: datetime) -> None:
    """A failed one, by hand, for a day at least. Raises BadInput unknown_delivery (404)."""
    until = now + timedelta(days=1)
    if await connection.fetchval(sql("delivery", "retry"), tenant.tenant_id, delivery_id, now, until) is None:
        raise unknown()


async def sweep(connection: Connection, tenant: Tenant, now: datetime) -> None:
    """What is past its time: unshown it expires, unanswered it counts as ignored; what is old is forgotten."""
    at_most = limits.DELIVERIES_SWEPT
    await connection.execute(sql("delivery", "expire"), tenant.tenant_id, now, at_most)
    await connection.execute(sql("delivery", "ignore"), tenant.tenant_id, now, at_most)


async def forget(connection: Connection, tenant: Tenant, now: datetime) -> None:
    before = now - timedelta(days=limits.DELIVERY_DAYS)
    await connection.execute(sql("delivery", "forget"), tenant.tenant_id, before)
    await connection.execute(sql("delivery", "forget_happenings"), tenant.tenant_id, before)


# --- telling what became of them ---------------------------------------------------------------------------------


async def untold(connection: Connection, tenant: Tenant, at_most: int) -> list[Untold]:
    """What became of deliveries and is no event yet, the oldest first."""
    rows = await connection.fetch(sql("delivery", "untold"), tenant.tenant_id, at_most)
    return [Untold(**dict(row)) for row in rows]


async def told(connection: Connection, tenant: Tenant, those: Sequence[Untold], now: datetime) -> None:
    ids, whats = [one.delivery_id for one in those], [one.what for one in those]
    await connection.execute(sql("delivery", "told"), tenant.tenant_id, ids, whats, now)


async def listed(database: Database, tenant: Tenant, state: State | None, at_most: int) -> list[Line]:
    """The newest deliveries, of one state or all."""
    async with database.transaction(tenant.tenant_id) as connection:
        rows = await connection.fetch(sql("delivery", "listed"), tenant.tenant_id, state, at_most)
    return [msgspec.convert(dict(row), Line) for row in rows]


def unknown() -> BadInput:
    return BadInput("unknown_delivery", "There is nothing of this id here.", http_status=404)


def cookie_key(tenant: Tenant, visitor_id: str) -> bytes:
    """The identifier of a visitor's id, as the records of its events carry it."""
    return tenant.keys.blind("cookie", visitor_id)


def _own_keys(tenant: Tenant, visitor: Visitor) -> list[bytes]:
    """The ids of the records that the visitor's own events make (see store.journey.events)."""
    names = [f"cookie:{visitor.visitor_id}", *([visitor.user_id] if visitor.user_id is not None else [])]
    return [external_key(tenant.keys, visitor.source, name) for name in names]


async def happened(connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, what: Happening, now: datetime) -> None:
    """Something became of it that is to be told, whatever its state."""
    await connection.execute(sql("delivery", "happened"), tenant.tenant_id, delivery_id, what, now)


async def _become(
    connection: Connection, tenant: Tenant, delivery_id: uuid.UUID, state: Happening, now: datetime, why: str | None = None
) -> None:
    await connection.execute(sql("delivery", "become"), tenant.tenant_id, delivery_id, state, why, now)


def _opened(tenant: Tenant, row: Any) -> Delivery:
    return msgspec.convert(tenant.keys.open(row["wrapped_key"], row["sealed"]), Delivery)
