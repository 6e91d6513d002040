"""The catalogue of offers: loaded from files, refused rows kept; the model of what goes together, made in the background."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from firstring import limits
from firstring.contact import TouchRead
from firstring.errors import BadInput
from firstring.nextbest.offers.affinity import NOTHING, Affinity, Offer, fitted
from firstring.nextbest.offers.interest import STRENGTHS, Interest, interests
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql

FIELDS: Final = (
    "offer_id", "title", "price", "currency", "category", "url", "image", "products", "available", "starts_at", "ends_at",
)  # fmt: skip
PEOPLE_LEARNED_FROM: Final = 100_000
"""The most recently active people, of whose interests the model is made."""
EVENTS_LEARNED_FROM: Final = 500_000
"""The newest events that are looked at for it."""
_PAGE: Final = 2_000
_decoder: Final = msgspec.msgpack.Decoder(Affinity)


class Rejected(NamedTuple):
    """A row that is no offer: its number (from 1), why, and the row."""

    number: int
    code: str
    message: str
    line: str


class Loaded(msgspec.Struct, frozen=True):
    """What a file came to. gone: offers that were there before and are not in it."""

    offers: int
    rejected: int
    gone: int


def offer_of(row: Mapping[str, Any]) -> Offer:
    """The offer of one row (CSV: all text). Raises BadInput offer_invalid."""
    unknown = sorted(set(row) - set(FIELDS))
    if unknown:
        raise _invalid(f"An offer has no field {unknown[0][:64]}.", unknown[0][:64], f"There are: {', '.join(FIELDS)}.")
    texts = {
        name: str(row.get(name) or "").strip() for name in ("offer_id", "title", "currency", "category", "url", "image")
    }
    for name in ("offer_id", "title"):
        if not texts[name]:
            raise _invalid(f"The offer has no {name}.", name, f"Give every row a {name}.")
    for name, text in texts.items():
        if len(text) > limits.FIELD_CHARS or not text.isprintable():
            raise _invalid(f"{name} is not printable text of {limits.FIELD_CHARS} characters at most.", name, "Shorten it.")
    for name in ("url", "image"):
        if texts[name] and not texts[name].startswith(("https://", "http://", "/")):
            raise _invalid(f"{name} is no address.", name, "Begin it with https:// or /.")
    starts_at, ends_at = _moment(row.get("starts_at"), "starts_at"), _moment(row.get("ends_at"), "ends_at")
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        raise _invalid("It ends before it starts.", "ends_at", "Correct one of the two.")
    listed = row.get("products") or ()
    named = listed.replace(";", " ").replace("|", " ").split() if isinstance(listed, str) else [str(one) for one in listed]
    products = tuple(dict.fromkeys([texts["offer_id"], *(one.strip() for one in named if one.strip())]))[:50]
    return Offer(price=_price(row.get("price")), products=products, starts_at=starts_at, ends_at=ends_at, **texts)


def is_available(row: Mapping[str, Any]) -> bool:
    """Whether a row says that the offer can be had. Raises BadInput offer_invalid."""
    said = str(row.get("available", "true") if row.get("available") is not None else "true").strip().lower()
    if said in ("", "true", "yes", "1", "in stock", "in_stock"):
        return True
    if said in ("false", "no", "0", "out of stock", "out_of_stock"):
        return False
    raise _invalid("available is yes or no.", "available", "Write true or false.")


def read_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[list[tuple[Offer, bool]], list[Rejected]]:
    """Offers with whether they are available, and the rows that are none. Of one id the last row counts."""
    found: dict[str, tuple[Offer, bool]] = {}
    rejected: list[Rejected] = []
    for number, row in enumerate(rows, 1):
        try:
            if "" in row or None in row:
                raise _invalid("The row has more cells than the header.", "", "Quote cells that hold the delimiter.")
            offer = offer_of({name: value for name, value in row.items() if value is not None})
            found[offer.offer_id] = (offer, is_available(row))
        except BadInput as error:
            line = msgspec.json.encode({str(name): value for name, value in row.items()}).decode()[:2_000]
            rejected.append(Rejected(number, error.code, f"{error.message} {error.hint}".strip(), line))
    return list(found.values()), rejected


async def load_offers(
    connection: Connection,
    tenant: Tenant,
    file: str,
    offers: Sequence[tuple[Offer, bool]],
    rejected: Sequence[Rejected],
    *,
    now: datetime,
    origin: str,
) -> Loaded:
    """Puts a file's offers in the place of those before. Raises BadInput offers_missing where not one row is an offer."""
    if not offers:
        raise BadInput(
            "offers_missing",
            "No row of the file is an offer; what was loaded before stays.",
            where={"file": file, "rejected": len(rejected)},
            hint=rejected[0].message if rejected else "Give offer_id and title.",
        )
    if len(offers) > limits.OFFERS:
        raise BadInput(
            "too_many_offers",
            f"A catalogue has at most {limits.OFFERS:,} offers.",
            where={"file": file},
            hint="Leave out what is not to be offered.",
        )
    columns = list(
        zip(
            *[
                (o.offer_id, o.title, o.price, o.currency, o.category, o.url, o.image, ";".join(o.products), available,
                 o.starts_at, o.ends_at)
                for o, available in offers
            ],
            strict=True,
        )
    )  # fmt: skip
    gone = await connection.fetchval(sql("offers", "forget_others"), tenant.tenant_id, list(columns[0]))
    await connection.execute(sql("offers", "put"), tenant.tenant_id, now, *[list(column) for column in columns])
    await connection.execute(sql("offers", "forget_rejected"), tenant.tenant_id, file)
    if rejected:
        rows = list(zip(*rejected, strict=True))
        await connection.execute(sql("offers", "reject"), tenant.tenant_id, file, now, *[list(column) for column in rows])
    await connection.execute(sql("actions", "tell"), tenant.tenant_id, origin)
    return Loaded(len(offers), len(rejected), gone or 0)


async def offers_in_force(connection: Connection, tenant: Tenant) -> tuple[tuple[Offer, ...], Affinity]:
    """The offers that can be had, and what goes together."""
    rows = await connection.fetch(sql("offers", "available"), tenant.tenant_id)
    if not rows:
        return (), NOTHING
    offers = tuple(
        Offer(
            **{
                **dict(row),
                "price": None if row["price"] is None else float(row["price"]),
                "products": tuple(row["products"]),
            }
        )
        for row in rows
    )
    model = await connection.fetchval(sql("offers", "model"), tenant.tenant_id)
    return offers, NOTHING if model is None else _decoder.decode(model)


async def rebuild(database: Database, tenant: Tenant, *, now: datetime, origin: str) -> Affinity | None:
    """Makes the model anew out of the interests of the people who were active last; None without offers or interests."""
    people: dict[int, list[Interest]] = {}
    before = 2**63 - 1
    looked_at = 0
    while len(people) < PEOPLE_LEARNED_FROM and looked_at < EVENTS_LEARNED_FROM:
        async with database.transaction(tenant.tenant_id) as connection:
            if before == 2**63 - 1 and not await connection.fetchval(sql("offers", "any"), tenant.tenant_id):
                return None
            rows = await connection.fetch(sql("offers", "events_before"), tenant.tenant_id, before, _PAGE)
        if not rows:
            break
        before = rows[-1]["event_id"]
        looked_at += len(rows)
        await asyncio.to_thread(_gather, tenant, rows, people)
    model = await asyncio.to_thread(
        fitted, [sorted(found, key=lambda one: one.at, reverse=True) for found in people.values()]
    )
    if model.people == 0:
        return None
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(
            sql("offers", "put_model"), tenant.tenant_id, msgspec.msgpack.encode(model), model.people, now
        )
        await connection.execute(sql("actions", "tell"), tenant.tenant_id, origin)
    return model


def _gather(tenant: Tenant, rows: Sequence[Any], people: dict[int, list[Interest]]) -> None:
    """Puts the interests that events show to those of their people."""
    for row in rows:
        touch = _opened(tenant, row)
        if touch is not None:
            people.setdefault(row["person_id"], []).extend(interests([touch]))


def _opened(tenant: Tenant, row: Any) -> TouchRead | None:
    payload = tenant.keys.open(row["wrapped_key"], row["sealed"])
    if payload is None or payload["name"] not in STRENGTHS:
        return None
    return TouchRead(
        row["event_id"], row["record_id"], row["person_id"], row["channel"], payload["name"], row["occurred_at"],
        payload.get("properties") or {},
    )  # fmt: skip


def _price(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        price = float(value)
    except (TypeError, ValueError):
        price = math.nan
    if isinstance(value, bool) or not 0.0 <= price < 1e12:
        raise _invalid("price is no amount of money.", "price", "Write it as 19.90, the currency in its own column.")
    return price


def _moment(value: Any, name: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise _invalid(f"{name} is no time.", name, "Write 2026-12-24 or 2026-12-24T18:00:00+01:00.") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)


def _invalid(message: str, name: str, hint: str) -> BadInput:
    return BadInput("offer_invalid", message, where={"field": name} if name else {}, hint=hint)
