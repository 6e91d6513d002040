"""What stewards decided about records, and the merges that guards hold back: read for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from firstring.identity.persons.guards import SAYS
from firstring.store.database import Connection, Tenant
from firstring.store.identity.looking import RECORD_SEPARATOR, Looked, records_by_id
from firstring.store.queries import sql


class DecisionView(msgspec.Struct, frozen=True):
    """A steward's decision about two records, given as their places' record ids where they still are."""

    decision_id: int
    kind: Literal["must", "cannot"]
    made_by: str
    reason: str
    made_at: datetime
    left_record: int | None = None
    right_record: int | None = None
    left: str = ""
    right: str = ""
    revoked_by: str | None = None
    revoked_reason: str | None = None
    revoked_at: datetime | None = None


class HeldView(msgspec.Struct, frozen=True):
    """A merge that a guard held back: until somebody decides, the two stay two persons."""

    left_person: int
    right_person: int
    guard: str
    text: str
    probability: float
    found_at: datetime


async def decisions_about(connection: Connection, tenant: Tenant, records: Sequence[Looked]) -> list[DecisionView]:
    """The decisions in force that concern any of these records."""
    sources, keys = [record.source_id for record in records], [record.external_key for record in records]
    rows = await connection.fetch(sql("review", "decisions_of_records"), tenant.tenant_id, sources, keys)
    by_key = {(record.source_id, record.external_key): record for record in records}
    found = []
    for row in rows:
        left = by_key.get((row["left_source"], row["left_key"]))
        right = by_key.get((row["right_source"], row["right_key"]))
        found.append(
            DecisionView(
                row["decision_id"], row["kind"], row["made_by"], row["reason"], row["made_at"],
                left.record_id if left else None, right.record_id if right else None,
                left.reference() if left else "", right.reference() if right else "",
            )
        )  # fmt: skip
    return found


async def all_decisions(connection: Connection, tenant: Tenant, *, revoked: bool, at_most: int) -> list[DecisionView]:
    """The newest decisions; those revoked too where asked for. Records that are gone have no id and no name."""
    rows = await connection.fetch(sql("review", "decisions"), tenant.tenant_id, revoked, at_most)
    ids = {row[side] for row in rows for side in ("left_record", "right_record") if row[side] is not None}
    names = {record.record_id: record.reference() for record in await records_by_id(connection, tenant, ids)}

    def name(row: Any, side: str) -> str:
        return names.get(row[f"{side}_record"], f"{row[f'{side}_name']}{RECORD_SEPARATOR}(gone)")

    return [
        DecisionView(
            row["decision_id"], row["kind"], row["made_by"], row["reason"], row["made_at"], row["left_record"],
            row["right_record"], name(row, "left"), name(row, "right"), row["revoked_by"], row["revoked_reason"],
            row["revoked_at"],
        )
        for row in rows
    ]  # fmt: skip


async def held_merges(
    connection: Connection, tenant: Tenant, person_id: int | None = None, at_most: int = 1_000
) -> list[HeldView]:
    """Merges that guards hold back, of one person or of all."""
    rows = await connection.fetch(sql("review", "held_merges"), tenant.tenant_id, person_id, at_most)
    return [
        HeldView(row["left_person"], row["right_person"], row["guard"], guard_text(row["guard"]),
                 round(row["probability"], 6), row["found_at"])
        for row in rows
    ]  # fmt: skip


def guard_text(guard: str) -> str:
    """What a guard held a merge for, in words."""
    return SAYS.get(guard, guard.replace("_", " "))
