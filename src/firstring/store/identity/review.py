"""Clerical review in the store: questions drawn from the tenant's own pairs, answers kept with how they were drawn.

Pairs are drawn in two steps: records by chance, then pairs among all in which those meet another record under the active
version (identity/review/questions). A question is kept for the one who looks at it; what an older version stated is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from firstring import limits
from firstring.errors import BadInput
from firstring.identity.comparison.levels import unpacked
from firstring.identity.model.labels import LabelReport
from firstring.identity.model.model import cell_names
from firstring.identity.persons.linkkeys import bounds
from firstring.identity.review.explain import PairExplained
from firstring.identity.review.questions import Answer, Answered, Bin, Pool, calibration, drawn
from firstring.ports import Random
from firstring.store.database import Connection, Database, Tenant
from firstring.store.identity.explaining import RecordView, explained_between, view_of
from firstring.store.identity.looking import Looked, Meeting, meetings, records_by_id, scored, table_with
from firstring.store.identity.models import ActiveModel, active_model
from firstring.store.queries import sql

_ATTEMPTS: Final = 5
"""Questions whose records are gone are passed over, so many in one call."""
_DIGITS: Final = 6


class Question(msgspec.Struct, frozen=True):
    """A pair to be answered: both records side by side, and what the model makes of them."""

    question_id: int
    left: RecordView
    right: RecordView
    pair: PairExplained
    keys: tuple[str, ...]
    why: str
    version: str


class Given(msgspec.Struct, frozen=True):
    """An answer that was stored."""

    answer_id: int
    answer: Answer
    left_record: int
    right_record: int


class Disagreement(msgspec.Struct, frozen=True):
    """An answer that the stated probability speaks against."""

    answer_id: int
    answer: Answer
    probability: float
    left: str
    right: str
    made_by: str
    made_at: datetime


class TrainedWith(msgspec.Struct, frozen=True):
    """A version that learned from answers, with what they changed (identity/model/labels)."""

    version: str
    state: str
    report: LabelReport


class Effect(msgspec.Struct, frozen=True):
    """What answers say of the probabilities that the versions stated; nothing takes effect by looking at it.

    by_version: answers of each version. bins: stated against found, of the active version's answers. trained: what the
    newest version that was trained with answers made of them; a candidate takes effect when it is rolled in.
    """

    version: str
    threshold: float
    answers: dict[str, int]
    by_version: dict[str, int]
    bins: tuple[Bin, ...]
    disagreements: tuple[Disagreement, ...]
    trained: TrainedWith | None = None


class Label(msgspec.Struct, frozen=True):
    """An answer for training: records by source and the source's own id."""

    left_source: str
    left_id: str
    right_source: str
    right_id: str
    answer: Answer
    probability: float
    sampling_probability: float
    pool_pairs: int
    version: str
    made_by: str
    made_at: datetime


class _Candidates(NamedTuple):
    left: list[int]
    right: list[int]
    cells: list[str]
    pool: Pool


# --- questions -------------------------------------------------------------------------------------------------------


async def next_question(
    database: Database, tenant: Tenant, reviewer: str, *, random: Random, now: datetime
) -> Question | None:
    """The next question for a reviewer; the one they have already, if they left one. None when there is none.

    Raises BadInput no_model (409) where no version is active.
    """
    async with database.transaction(tenant.tenant_id) as connection:
        version = await _active(connection, tenant)
        for _ in range(_ATTEMPTS):
            row = await _taken(connection, tenant, reviewer, version, now)
            if row is None:
                if not await draw(connection, tenant, version, random=random, now=now):
                    return None
                continue
            question = await _question(connection, tenant, version, row)
            if question is not None:
                return question
            await connection.execute(sql("review", "drop_question"), tenant.tenant_id, row["question_id"])
    return None


async def draw(connection: Connection, tenant: Tenant, version: ActiveModel, *, random: Random, now: datetime) -> int:
    """Draws up to limits.REVIEW_QUESTIONS questions; how many there were."""
    await connection.execute(sql("review", "drop_stale_questions"), tenant.tenant_id, version.version)
    candidates = await _candidates(connection, tenant, version, random)
    if candidates is None:
        return 0
    rows = await connection.fetch(sql("review", "asked_cells"), tenant.tenant_id)
    by_cell = {row["cell"]: row["answers"] for row in rows}
    asked = {
        int(group): by_cell.get(candidates.cells[place], 0)
        for place, group in enumerate(candidates.pool.group.tolist())
    }  # fmt: skip
    chosen = drawn(candidates.pool, limits.REVIEW_QUESTIONS, random, asked)
    places = [one.place for one in chosen]
    await connection.execute(
        sql("review", "add_questions"),
        tenant.tenant_id,
        version.version,
        now,
        [candidates.left[place] for place in places],
        [candidates.right[place] for place in places],
        [float(candidates.pool.probability[place]) for place in places],
        [one.sampling_probability for one in chosen],
        [one.pool_pairs for one in chosen],
        [candidates.cells[place] for place in places],
        [one.why for one in chosen],
    )
    return len(chosen)


async def _candidates(connection: Connection, tenant: Tenant, version: ActiveModel, random: Random) -> _Candidates | None:
    """The pairs in which records drawn by chance meet others, without those asked about already."""
    ats = [random.random() for _ in range(limits.REVIEW_SEEDS)]
    seeds = {row["record_id"] for row in await connection.fetch(sql("review", "some_records"), tenant.tenant_id, ats)}
    keys = [row["key"] for row in await connection.fetch(sql("review", "link_keys"), tenant.tenant_id, sorted(seeds))]
    most = bounds(version.model.spec)
    rows = await connection.fetch(sql("review", "members"), tenant.tenant_id, keys, max(most) + 1)
    wanted = set(seeds)
    for row in rows:
        if len(row["records"]) <= most[row["key"][0]] and len(wanted) < limits.REVIEW_POOL_RECORDS:
            wanted |= set(row["records"])
    records = await records_by_id(connection, tenant, wanted)
    ids = [record.record_id for record in records]
    done = {tuple(row) for row in await connection.fetch(sql("review", "asked_pairs"), tenant.tenant_id, ids)}
    drawn_places = {place for place, record in enumerate(ids) if record in seeds}
    found = meetings(version, records, drawn_places)
    met = {pair: meeting for pair, meeting in found.items() if (ids[pair[0]], ids[pair[1]]) not in done}
    if not met:
        return None
    return await _weighed(connection, tenant, version, records, met)


async def _weighed(
    connection: Connection,
    tenant: Tenant,
    version: ActiveModel,
    records: list[Looked],
    met: dict[tuple[int, int], Meeting],
) -> _Candidates:
    scores, patterns = scored(version, table_with(version, records), met)
    comparisons = version.model.comparisons()
    cells, group = cell_names(comparisons, unpacked(comparisons, patterns))
    persons = sorted({record.person_id for record in records})
    rows = await connection.fetch(sql("review", "person_sizes"), tenant.tenant_id, persons)
    size = {row["person_id"]: row["records"] for row in rows}
    hangs = []
    for left, right in met:
        one, other = records[left].person_id, records[right].person_id
        # Of two persons every record meets every other one; within one person it may come off alone.
        hangs.append(size[one] * size[other] if one != other else size[one] - 1)
    pool = Pool(np.asarray(scores.probability), group.astype(np.int64), np.array(hangs, np.int64))
    return _Candidates(
        [records[left].record_id for left, _ in met],
        [records[right].record_id for _, right in met],
        [cells[place] for place in group.tolist()],
        pool,
    )


async def _taken(connection: Connection, tenant: Tenant, reviewer: str, version: ActiveModel, now: datetime) -> Any:
    free_again = now - timedelta(seconds=limits.REVIEW_TAKEN_S)
    return await connection.fetchrow(
        sql("review", "take_question"), tenant.tenant_id, reviewer, now, free_again, version.version
    )


async def _question(connection: Connection, tenant: Tenant, version: ActiveModel, row: Any) -> Question | None:
    records = await records_by_id(connection, tenant, (row["left_record"], row["right_record"]))
    if len(records) != 2:
        return None
    pair, meeting = explained_between(version, *records)
    left, right = map(view_of, records)
    return Question(row["question_id"], left, right, pair, meeting.keys, row["why"], version.version)


async def _active(connection: Connection, tenant: Tenant) -> ActiveModel:
    version = await active_model(connection, tenant)
    if version is None:
        raise BadInput(
            "no_model",
            "No model version is active: nothing states a probability that could be asked about.",
            hint="Train one: firstring train --store; then roll it in.",
            http_status=409,
        )
    return version


# --- answers ---------------------------------------------------------------------------------------------------------


async def give_answer(
    connection: Connection,
    tenant: Tenant,
    question_id: int,
    answer: Answer,
    *,
    by: str,
    now: datetime,
    decision_id: int | None = None,
) -> Given:
    """Stores an answer; the question is gone then. Raises BadInput unknown_question (404). In a transaction."""
    row = await connection.fetchrow(sql("review", "question"), tenant.tenant_id, question_id)
    records = [] if row is None else await records_by_id(connection, tenant, (row["left_record"], row["right_record"]))
    if len(records) != 2:
        raise BadInput(
            "unknown_question",
            "There is no such question: it was answered, or a record of it is gone.",
            where={"question": question_id},
            hint="Ask for the next one.",
            http_status=404,
        )
    left, right = records
    answer_id = await connection.fetchval(
        sql("review", "add_answer"), tenant.tenant_id, left.source_id, left.external_key, right.source_id,
        right.external_key, answer, row["version"], row["probability"], row["sampling_probability"], row["pool_pairs"],
        row["cell"], decision_id, by, now,
    )  # fmt: skip
    await connection.execute(sql("review", "drop_question"), tenant.tenant_id, question_id)
    return Given(answer_id, answer, left.record_id, right.record_id)


class Undone(NamedTuple):
    """What undoing an answer leaves: the question, if both records are there, and the decision that was made of it."""

    answer_id: int
    question_id: int | None
    decision_id: int | None


async def undo_answer(connection: Connection, tenant: Tenant, answer_id: int | None, *, by: str, now: datetime) -> Undone:
    """Takes an answer back (the last of `by` where none is named), and asks its question again.

    Raises BadInput unknown_answer (404). The decision made of it, if any, is for the caller to revoke.
    """
    row = await answer_to_undo(connection, tenant, answer_id, by)
    await connection.execute(sql("review", "undo_answer"), tenant.tenant_id, row["answer_id"], by, now)
    ids = []
    for side in ("left", "right"):
        found = await connection.fetchval(
            sql("review", "record_of_key"), tenant.tenant_id, row[f"{side}_source"], row[f"{side}_key"]
        )
        if found is None:
            return Undone(row["answer_id"], None, row["decision_id"])
        ids.append(found)
    question_id = await connection.fetchval(
        sql("review", "put_back_question"), tenant.tenant_id, min(ids), max(ids), row["version"], row["probability"],
        row["sampling_probability"], row["pool_pairs"], row["cell"], "asked again", now, by,
    )  # fmt: skip
    return Undone(row["answer_id"], question_id, row["decision_id"])


async def answer_to_undo(connection: Connection, tenant: Tenant, answer_id: int | None, by: str) -> Any:
    """The row of an answer, or of the last one of `by`. Raises BadInput unknown_answer (404)."""
    if answer_id is None:
        answer_id = await connection.fetchval(sql("review", "last_answer"), tenant.tenant_id, by)
    row = await connection.fetchrow(sql("review", "answer"), tenant.tenant_id, answer_id)
    if row is None or row["undone_at"] is not None:
        where = {} if answer_id is None else {"answer": answer_id}
        raise BadInput("unknown_answer", "There is no such answer.", where=where, http_status=404)
    return row


async def effect(connection: Connection, tenant: Tenant) -> Effect:
    """What the answers say so far. Raises BadInput no_model (409)."""
    version = await _active(connection, tenant)
    rows = await connection.fetch(sql("review", "answers"), tenant.tenant_id)
    counts: dict[str, int] = {}
    by_version: dict[str, int] = {}
    for row in rows:
        counts[row["answer"]] = counts.get(row["answer"], 0) + 1
        by_version[row["version"]] = by_version.get(row["version"], 0) + 1
    own = [row for row in rows if row["version"] == version.version]
    answered = [Answered(row["answer"], row["probability"], row["sampling_probability"], row["pool_pairs"]) for row in own]
    against = [
        row for row in own
        if row["answer"] != "unknown" and (row["answer"] == "same") != (row["probability"] >= version.threshold)
    ]  # fmt: skip
    names = await _names(connection, tenant, against)
    newest = await connection.fetchrow(sql("review", "trained_with_answers"), tenant.tenant_id)
    learned = None
    if newest is not None:
        report = msgspec.json.decode(newest["labels"], type=LabelReport)
        learned = TrainedWith(newest["version"], newest["state"], report)
    wrong = [
        Disagreement(row["answer_id"], row["answer"], round(row["probability"], _DIGITS),
                     names.get(row["left_record"], ""), names.get(row["right_record"], ""), row["made_by"], row["made_at"])
        for row in sorted(against, key=lambda row: -abs(row["probability"] - (row["answer"] == "same")))
    ]  # fmt: skip
    return Effect(
        version.version, version.threshold, counts, by_version, tuple(calibration(answered)), tuple(wrong), learned
    )  # fmt: skip


async def labels(connection: Connection, tenant: Tenant) -> list[Label]:
    """All answers whose records are still there, oldest first."""
    rows = await connection.fetch(sql("review", "answers"), tenant.tenant_id)
    ids = {row[side] for row in rows for side in ("left_record", "right_record") if row[side] is not None}
    names = {record.record_id: record.name for record in await records_by_id(connection, tenant, ids)}
    return [
        Label(row["left_name"], names[row["left_record"]], row["right_name"], names[row["right_record"]], row["answer"],
              row["probability"], row["sampling_probability"], row["pool_pairs"], row["version"], row["made_by"],
              row["made_at"])
        for row in rows
        if row["left_record"] in names and row["right_record"] in names
    ]  # fmt: skip


async def _names(connection: Connection, tenant: Tenant, rows: Sequence[Any]) -> dict[int, str]:
    ids = {row[side] for row in rows for side in ("left_record", "right_record") if row[side] is not None}
    return {record.record_id: record.reference() for record in await records_by_id(connection, tenant, ids)}
