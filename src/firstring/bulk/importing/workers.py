"""Rows made ready for the store: canonical, hashed, sealed. Pure computation, spread over processes for large files.

Worker processes are forked, so that the tenant's keys travel nowhere; each closes what it inherited, and ends when the
pipe to its parent closes, also when the parent is killed.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import msgspec

from firstring.bulk.files.mapping import FieldMap, mapped
from firstring.bulk.files.read import BadRow, Row
from firstring.bulk.files.rejects import Reject, shown
from firstring.contact import Reason
from firstring.errors import BadInput, Retryable
from firstring.identity.canonical.record import canonical_record
from firstring.store.identity.records import Prepared, prepare
from firstring.store.seal import TenantKeys

Line = Row | BadRow


class Job(NamedTuple):
    """What all rows of one import have in common. linked: the records are linked by a model."""

    keys: TenantKeys
    source: str
    fields: FieldMap
    country: str
    linked: bool = False


class Ready(msgspec.Struct, frozen=True, array_like=True):
    """A batch that can be applied: (line, record) in the order of the file, and what was rejected or dropped."""

    records: list[tuple[int, Prepared]]
    rejects: list[Reject]


def make_ready(job: Job, rows: Sequence[Line]) -> Ready:
    """Prepares rows. Nothing of a bad row is kept but its reason."""
    records: list[tuple[int, Prepared]] = []
    rejects: list[Reject] = []
    for row in rows:
        if isinstance(row, BadRow):
            rejects.append(Reject(row.line, row.field, row.code, row.reason, shown(row.value)))
            continue
        raw = mapped(row.cells, job.fields)
        if not job.fields.has_record_id:
            raw["record_id"] = row_digest(job, raw)
        try:
            record = canonical_record(raw, country=job.country)
        except BadInput as error:
            field = error.where.get("field")
            rejects.append(Reject(row.line, field, error.code, error.message, shown(raw.get(field or ""))))
            continue
        rejects.extend(_dropped(row.line, reason, raw) for reason in record.dropped)
        records.append((row.line, prepare(job.keys, job.source, record, linked=job.linked)))
    return Ready(records, rejects)


def row_digest(job: Job, raw: dict[str, Any]) -> str:
    """By what a row without a record_id is known: a keyed hash of its mapped content."""
    content = msgspec.json.encode(raw, order="deterministic").decode()
    return "row:" + job.keys.blind(f"row:{job.source}", content).hex()


def _dropped(line: int, reason: Reason, raw: dict[str, Any]) -> Reject:
    value = shown(raw.get(reason.field)) if reason.field else ""
    return Reject(line, reason.field, reason.code, reason.text, value, kept=True)


# --- processes ---------------------------------------------------------------------------------------------------

_encode = msgspec.msgpack.Encoder().encode
_rows_decoder = msgspec.msgpack.Decoder(
    list[tuple[int, dict[str, str | list[str]] | None, tuple[str, str, str | None, str]]]
)
_ready_decoder = msgspec.msgpack.Decoder(Ready)
_NO_REASON = ("", "", None, "")


class Workers:
    """Prepares batches in `processes` forked processes, or in a thread of this one for 0. Use as a context."""

    def __init__(self, job: Job, processes: int) -> None:
        self._job = job
        self._processes: list[tuple[Any, Connection]] = []
        self._idle: asyncio.Queue[Connection] = asyncio.Queue()
        context = multiprocessing.get_context("fork")
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, job), daemon=True)
            with warnings.catch_warnings():
                # Python 3.12 warns of forking beside threads, whose locks the child would find held: a worker takes none.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()
            self._processes.append((process, ours))
            self._idle.put_nowait(ours)

    async def ready(self, rows: Sequence[Line]) -> Ready:
        """As make_ready. Raises Retryable import_worker_lost when a worker was killed."""
        if not self._processes:
            return await asyncio.to_thread(make_ready, self._job, rows)
        pipe = await self._idle.get()
        try:
            ready = await asyncio.to_thread(_asked, pipe, rows)
        except (EOFError, OSError) as error:
            raise Retryable(
                "import_worker_lost", "A worker process of the import died.", hint="Run the import again."
            ) from error
        self._idle.put_nowait(pipe)
        return ready

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for _process, pipe in self._processes:
            pipe.close()
        for process, _pipe in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()


def _asked(pipe: Connection, rows: Sequence[Line]) -> Ready:
    packed = [
        (row.line, row.cells, _NO_REASON)
        if isinstance(row, Row)
        else (row.line, None, (row.code, row.reason, row.field, row.value))
        for row in rows
    ]
    pipe.send_bytes(_encode(packed))
    return _ready_decoder.decode(pipe.recv_bytes())


def _work(pipe: Connection, job: Job) -> None:
    """A worker's life: batches in, batches out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.set_threshold(100_000, 50, 100)  # thousands of live rows and no cycles: the collector would find nothing, often
    own = pipe.fileno()
    os.closerange(3, own)
    os.closerange(own + 1, min(os.sysconf("SC_OPEN_MAX"), 65_536))
    while True:
        try:
            request = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        rows: list[Line] = [
            BadRow(line, reason[0], reason[1], reason[2], reason[3]) if cells is None else Row(line, cells)
            for line, cells, reason in _rows_decoder.decode(request)
        ]
        pipe.send_bytes(_encode(make_ready(job, rows)))
