"""Stewards' decisions as they are made: by name or by person, out of an answer, about a merge that a guard holds."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from firstring.errors import BadInput
from firstring.identity.persons.clustering import LIKELY
from firstring.identity.review.explain import held_together
from firstring.identity.review.questions import Answer
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity import decisions, review
from firstring.store.identity.decisions import Kind, decide_all, decide_in, settle_first
from firstring.store.identity.explaining import asked, best_pair, linked
from firstring.store.identity.looking import Looked, is_number, living, record_named, records_of_person
from firstring.store.identity.models import ActiveModel, active_model
from firstring.store.queries import sql

_KIND: dict[Answer, Kind] = {"same": "must", "household": "cannot", "different": "cannot"}


class Made(NamedTuple):
    """decision_ids: those that hold now, new or not; persons merged and split by them.

    apart: after a must-link of records, the persons that hold others of the two records' persons: those did not come along.
    waits: nobody is linked by a model yet; decisions take effect with the first version.
    """

    decision_ids: tuple[int, ...]
    merged: int
    split: int
    apart: tuple[int, ...] = ()
    waits: bool = False


async def decide_pair(
    database: Database, tenant: Tenant, kind: Kind, one: str, other: str, *, by: str, because: str, now: datetime
) -> Made:
    """Two are one person (must), or are not (cannot); each a record (SOURCE:RECORD_ID) or a person's number.

    Of records the decision is about just them. Of persons: must joins the two records that agree best, and all others
    where these would not come along; cannot keeps apart every likely pair between the two. Raises BadInput as
    decisions.decide_in and explaining.why_pair do: decisions_contradict where a cannot-link stands between two persons.
    """
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        ones, others = [await asked(connection, tenant, text) for text in (one, other)]
        if await settle_first(connection, tenant, [record.record_id for record in (*ones, *others)], now):
            ones, others = [await asked(connection, tenant, text) for text in (one, other)]
        if kind == "cannot" and ones and others and ones[0].person_id == others[0].person_id and len(ones) + len(others) > 2:
            raise BadInput(
                "same_person",
                "The two are one person today.",
                hint="Name the two records that are not one, or take one out: firstring decision unmerge.",
                http_status=409,
            )
        version = await active_model(connection, tenant)
        left, right = best_pair(version, ones, others)
        pairs = [(left.record_id, right.record_id)]
        if kind == "cannot":
            pairs = await _likely(connection, tenant, ones, others) or pairs
            return await _decide(connection, tenant, kind, pairs, by, because, now)
        whole = await _records_of(connection, tenant, {left.person_id, right.person_id})
        await connection.execute(sql("linking", "try"))
        made = await _decide(connection, tenant, kind, pairs, by, because, now)
        apart = await _apart(connection, tenant, whole, left.record_id) if version is not None else ()
        if apart and (is_number(one) or is_number(other)):
            # What a steward says of a person holds for all of it.
            await connection.execute(sql("linking", "undo"))
            if is_number(one):
                pairs += _held_together(version, ones)
            if is_number(other):
                pairs += _held_together(version, others)
            made = await _decide(connection, tenant, kind, pairs, by, because, now)
            apart = await _apart(connection, tenant, whole, left.record_id)
        return made._replace(apart=apart, waits=version is None)


async def settle_held(
    database: Database,
    tenant: Tenant,
    left_person: int,
    right_person: int,
    *,
    accept: bool,
    by: str,
    because: str,
    now: datetime,
) -> Made:
    """A held merge happens, or never does.

    Accepted, all records of the two are joined by must-links, so that nothing keeps a part of them away; rejected, every
    likely pair between the two becomes a cannot-link. Raises BadInput unknown_held (404), and as decide_in does.
    """
    async with database.transaction(tenant.tenant_id) as connection:
        await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
        known = await connection.fetch(sql("review", "held_merges"), tenant.tenant_id, left_person, 1_000)
        wanted = {left_person, right_person}
        if not any({row["left_person"], row["right_person"]} == wanted for row in known):
            raise BadInput(
                "unknown_held",
                "No merge of these two is held.",
                where={"left_person": left_person, "right_person": right_person},
                hint="See those there are: firstring held list.",
                http_status=404,
            )
        ones, others = [await records_of_person(connection, tenant, person) for person in (left_person, right_person)]
        version = await active_model(connection, tenant)
        left, right = best_pair(version, ones, others)
        pairs = [(left.record_id, right.record_id)]
        if accept:
            pairs += [*_held_together(version, ones), *_held_together(version, others)]
        else:
            pairs = await _likely(connection, tenant, ones, others) or pairs
        return await _decide(connection, tenant, "must" if accept else "cannot", pairs, by, because, now)


async def take_out(
    database: Database, tenant: Tenant, person: int, record: str, *, by: str, because: str, now: datetime
) -> Made:
    """A record (SOURCE:RECORD_ID) is not this person's. Raises BadInput as decisions.unmerge does."""
    async with database.transaction(tenant.tenant_id) as connection:
        person = await living(connection, tenant, person)
        record_id = await record_named(connection, tenant, record)
    done = await decisions.unmerge(database, tenant, person, [record_id], by=by, reason=because, now=now)
    return Made(done.decision_ids, done.merged, done.split)


async def revoke(database: Database, tenant: Tenant, decision_id: int, *, by: str, because: str, now: datetime) -> Made:
    """Ends a decision. Raises BadInput unknown_decision (404), decision_revoked (409)."""
    done = await decisions.revoke_decision(database, tenant, decision_id, by=by, reason=because, now=now)
    return Made(done.decision_ids, done.merged, done.split)


# --- answers ---------------------------------------------------------------------------------------------------------


async def answer(
    database: Database,
    tenant: Tenant,
    question_id: int,
    said: Answer,
    *,
    by: str,
    now: datetime,
    decide: bool = False,
) -> review.Given:
    """Stores an answer; with `decide` it is a decision too: same a must-link, household and different a cannot-link.

    Raises BadInput as review.give_answer and decisions.decide_in do.
    """
    async with database.transaction(tenant.tenant_id) as connection:
        decision_id = None
        if decide and said in _KIND:
            await connection.execute(sql("records", "lock_applier"), tenant.tenant_id)
            row = await connection.fetchrow(sql("review", "question"), tenant.tenant_id, question_id)
            if row is not None:
                pair = (row["left_record"], row["right_record"])
                newest = await connection.fetchval(sql("review", "newest_decision"), tenant.tenant_id)
                reason = f"clerical review: {said}"
                [found] = (
                    await decide_in(connection, tenant, _KIND[said], pair, by=by, reason=reason, now=now)
                ).decision_ids
                # One that was there before belongs to whoever made it, and does not go when the answer is taken back.
                decision_id = found if found > newest else None
        return await review.give_answer(connection, tenant, question_id, said, by=by, now=now, decision_id=decision_id)


async def undo(database: Database, tenant: Tenant, answer_id: int | None, *, by: str, now: datetime) -> review.Undone:
    """Takes an answer back (the last of `by` where none is named) with the decision that was made of it."""
    async with database.transaction(tenant.tenant_id) as connection:
        row = await review.answer_to_undo(connection, tenant, answer_id, by)
    if row["decision_id"] is not None:
        # First, and again without harm: an answer without its decision can be taken back, a decision must not be left.
        try:
            await revoke(database, tenant, row["decision_id"], by=by, because="the answer was taken back", now=now)
        except BadInput as error:
            if error.code != "decision_revoked":
                raise
    async with database.transaction(tenant.tenant_id) as connection:
        return await review.undo_answer(connection, tenant, row["answer_id"], by=by, now=now)


# --- pairs -----------------------------------------------------------------------------------------------------------


def _held_together(version: ActiveModel | None, records: list[Looked]) -> list[tuple[int, int]]:
    """Pairs that hold all of a person's records together, by record ids: its strongest links."""
    held = held_together(range(len(records)), linked(version, records, ()).links.values())
    pairs = [(records[link.left].record_id, records[link.right].record_id) for link in held.links]
    return pairs + [(records[place].record_id, records[0].record_id) for place in held.loose if place]


async def _records_of(connection: Connection, tenant: Tenant, persons: set[int]) -> list[int]:
    rows = [await connection.fetch(sql("linking", "records_of_person"), tenant.tenant_id, person) for person in persons]
    return [row["record_id"] for some in rows for row in some]


async def _apart(connection: Connection, tenant: Tenant, records: list[int], record: int) -> tuple[int, ...]:
    """The persons of these records, but for the one that this record is of."""
    rows = await connection.fetch(sql("linking", "persons_of"), tenant.tenant_id, records)
    person_of = {row["record_id"]: row["person_id"] for row in rows}
    return tuple(sorted({*person_of.values()} - {person_of[record]}))


async def _likely(connection: Connection, tenant: Tenant, ones: list[Looked], others: list[Looked]) -> list[tuple[int, int]]:
    """The pairs between two persons that would join them, by record ids."""
    version = await active_model(connection, tenant)
    if version is None or (len(ones) == 1 and len(others) == 1):
        return []
    bound = min(LIKELY, version.log_odds)
    graph = linked(version, [*ones, *others], ())
    return [
        (graph.records[link.left].record_id, graph.records[link.right].record_id)
        for link in graph.links.values()
        if link.left < len(ones) <= link.right and link.log_odds_nats >= bound
    ]


async def _decide(
    connection: Connection,
    tenant: Tenant,
    kind: Kind,
    pairs: list[tuple[int, int]],
    by: str,
    because: str,
    now: datetime,
) -> Made:
    done = await decide_all(connection, tenant, kind, pairs, by=by, reason=because, now=now)
    return Made(done.decision_ids, done.merged, done.split)
