"""Whose the events of visitors are, kept true in the store while they arrive: late, in any order, from many programs.

The rule is journey/stitch.py's. Here the part of a visitor's log that new events can change is read, at most
stitch.REACH events each way, and what is owned differently now is moved. One transaction at a time works on a visitor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from firstring import limits
from firstring.journey import stitch
from firstring.journey.stitch import Entry, Mark
from firstring.store.database import Connection, Tenant
from firstring.store.journey.replaying import mark_stale
from firstring.store.queries import sql

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)
_APART: Final = timedelta(days=1)
"""New events of one visitor that are further apart are looked at one by one: what lies between them is of no interest."""
_NOBODY_THERE: Final = frozenset((None, int(Mark.OUT), int(Mark.KNOWN_OUT)))


class Coming(NamedTuple):
    """An event that is about to be stored, of a visitor. record: where it came in, or whom its mark names."""

    visitor: bytes
    occurred_at: datetime
    key: bytes
    mark: Mark
    record: int
    anonymous: bool
    seen: int = 0

    def entry(self) -> Entry:
        names = self.seen if self.mark is Mark.SEEN else self.record if not self.anonymous else 0
        return Entry(_us(self.occurred_at), self.key, self.mark, names, self.anonymous)


class Stretch(NamedTuple):
    """A part of a visitor's log in which something is new, or gone."""

    visitor: bytes
    low: datetime
    high: datetime


class MovedEvent(NamedTuple):
    """A stored event that is counted with another record now."""

    event_id: int
    from_record: int
    to_record: int
    channel: str
    occurred_at: datetime
    wrapped_key: bytes | None
    sealed: bytes | None


class _Stored(NamedTuple):
    event_id: int
    record_id: int
    came_in: int | None


async def lock_visitors(connection: Connection, tenant: Tenant, visitors: Collection[bytes]) -> None:
    """Waits until nobody else works on these visitors. First of all locks of a transaction, before anything is read."""
    if visitors:
        await connection.execute(sql("stitching", "lock_visitors"), tenant.tenant_id, _locks(visitors))


def locking(tenant: Tenant, visitors: Collection[bytes]) -> str:
    """The same as a statement of its own, for Database.transaction(begins_with=...); "" where there are none."""
    if not visitors:
        return ""
    locks = _locks(visitors)
    keys = "null" if locks is None else f"'{{{','.join(map(str, locks))}}}'"
    return sql("stitching", "lock_at_once").format(tenant=int(tenant.tenant_id), keys=keys)


def _locks(visitors: Collection[bytes]) -> list[int] | None:
    """In order; None: so many that all others have to wait."""
    few = len(visitors) <= limits.VISITORS_LOCKED
    return sorted({int.from_bytes(one[:8], "big", signed=True) for one in visitors}) if few else None


async def place(
    connection: Connection, tenant: Tenant, coming: Sequence[Coming]
) -> tuple[dict[bytes, int], list[MovedEvent]]:
    """Where anonymous events are counted, by their message key; stored ones that are owned differently because of the new
    ones, and were moved: whoever calls moves their patterns on (following.follow).

    Within a transaction that locked the visitors.
    """
    by_visitor: dict[bytes, list[Coming]] = {}
    for one in coming:
        by_visitor.setdefault(one.visitor, []).append(one)
    stretches = [stretch for own in by_visitor.values() for stretch in _stretches(own)]
    counted = {one.key: one.record for one in coming if one.anonymous}
    if not stretches:
        return counted, []
    bound = stitch.LOOK_BACK + 1
    rows = await connection.fetch(sql("stitching", "around"), tenant.tenant_id, *_columns(stretches), bound)
    stored: dict[bytes, _Stored] = {}
    logs = [
        _Log(stretch, *_marks_before(row, stored))
        for stretch, row in zip(stretches, rows, strict=True)
        if _concerned(_within(by_visitor[stretch.visitor], stretch), row)
    ]
    if not logs:
        return counted, []
    owned, moved = await _derive(connection, tenant, logs, by_visitor, stored)
    for key, owner in owned.items():
        if owner is not None and key in counted:
            counted[key] = owner
    return counted, moved


async def derive_again(connection: Connection, tenant: Tenant, stretches: Sequence[Stretch]) -> None:
    """Derives stretches anew in which events changed or are gone. The patterns of the persons concerned are made anew.

    Within a transaction that locked the visitors.
    """
    if not stretches:
        return
    _, moved = await _derive(connection, tenant, [_Log(stretch, [], False) for stretch in stretches], {}, {})
    if moved:
        touched = {record for one in moved for record in (one.from_record, one.to_record)}
        rows = await connection.fetch(sql("stitching", "persons_of"), tenant.tenant_id, list(touched))
        await mark_stale(connection, tenant, [row["person_id"] for row in rows])


def _stretches(own: Sequence[Coming]) -> list[Stretch]:
    """Where the new events of one visitor are."""
    found: list[Stretch] = []
    for one in sorted(own, key=lambda coming: coming.occurred_at):
        if found and one.occurred_at - found[-1].high <= _APART:
            found[-1] = found[-1]._replace(high=one.occurred_at)
        else:
            found.append(Stretch(one.visitor, one.occurred_at, one.occurred_at))
    return found


def _within(own: Sequence[Coming], stretch: Stretch) -> list[Coming]:
    return [one for one in own if stretch.low <= one.occurred_at <= stretch.high]


def _concerned(own: Sequence[Coming], row: Any) -> bool:
    """Whether anything can be owned by somebody because of these events, or differently: most need no further look."""
    has_marks = any(one.mark is not Mark.NONE for one in own)
    has_anonymous = any(one.anonymous for one in own)
    if not has_marks:
        return bool(row["later"]) or row["mark"] not in _NOBODY_THERE
    return has_anonymous or bool(row["plain"])


def _marks_before(row: Any, stored: dict[bytes, _Stored]) -> tuple[list[Entry], bool]:
    """(the marks that are known of a stretch, whether these are all that matter): the newest of a log, as it mostly is."""
    if row["later"]:
        return [], False
    if row["mark"] is None:
        return [], True
    return ([_entry(row, stored)], True) if Mark(row["mark"]) in stitch.ANCHORS else ([], False)


async def _derive(
    connection: Connection,
    tenant: Tenant,
    logs: Sequence[_Log],
    new: Mapping[bytes, Sequence[Coming]],
    stored: dict[bytes, _Stored],
) -> tuple[dict[bytes, int | None], list[MovedEvent]]:
    """The owner of each anonymous event in reach; the stored ones that are owned differently now, and were moved."""
    unread = [log for log in logs if not log.is_read]
    if unread:
        columns = _columns(log.stretch for log in unread)
        for row in await connection.fetch(sql("stitching", "marks"), tenant.tenant_id, *columns, stitch.LOOK_BACK + 1):
            unread[row["number"]].marks.append(_entry(row, stored))
    parts: list[_Part] = []
    for log in logs:
        parts.extend(log.parts([one.entry() for one in new.get(log.stretch.visitor, ())]))
    await _fill(connection, tenant, parts, stored)
    owned: dict[bytes, int | None] = {}
    for part in parts:
        owned.update(part.owners())
    return owned, await _move(connection, tenant, owned, stored)


async def _move(
    connection: Connection, tenant: Tenant, owned: Mapping[bytes, int | None], stored: Mapping[bytes, _Stored]
) -> list[MovedEvent]:
    """Counts stored events elsewhere."""
    moves: dict[int, tuple[int, int]] = {}
    for key, was in stored.items():
        if was.came_in is None or key not in owned:
            continue
        owner = owned[key]
        record = was.came_in if owner is None else owner
        if record != was.record_id:
            moves[was.event_id] = was.record_id, record
    if not moves:
        return []
    targets = [record for _, record in moves.values()]
    rows = await connection.fetch(sql("stitching", "move_events"), tenant.tenant_id, list(moves), targets)
    return [MovedEvent(row[0], *moves[row[0]], *row[1:]) for row in map(tuple, rows)]


class _Log(NamedTuple):
    """The marks around a stretch, in order. is_read: all that matter are here already."""

    stretch: Stretch
    marks: list[Entry]
    is_read: bool

    def parts(self, own: Sequence[Entry]) -> list[_Part]:
        """The segments that can be owned differently because of the visitor's new events: from the last mark before the
        stretch to the first that makes it all the same behind it."""
        low, high = _us(self.stretch.low), _us(self.stretch.high)
        stored_behind = sum(1 for mark in self.marks if mark.at > high)
        goes_on = stored_behind > stitch.LOOK_BACK
        self._add(own, low, high)
        plain = [one for one in own if one.mark is Mark.NONE]
        start = sum(1 for mark in self.marks if mark.at < low)
        found: list[_Part] = []
        for place in range(start, len(self.marks) + (0 if goes_on else 1)):
            after = self.marks[place] if place < len(self.marks) else None
            if place or after is not None:
                from_at = self.marks[place - 1].at if place else None
                between = [one for one in plain if (from_at is None or one.at >= from_at) and _is_before(one, after)]
                found.append(_Part(self.stretch.visitor, self.marks[:place], after, between, len(own)))
            if after is None or (after.at > high and after.mark in stitch.ANCHORS):
                break
        return found

    def _add(self, own: Sequence[Entry], low: int, high: int) -> None:
        """Takes in the new marks of the visitor that lie among those that were read."""
        before = [mark for mark in self.marks if mark.at < low]
        behind = [mark for mark in self.marks if mark.at > high]
        first = before[0].at if len(before) > stitch.LOOK_BACK else -(2**62)
        last = behind[-1].at if len(behind) > stitch.LOOK_BACK else 2**62
        self.marks.extend(one for one in own if one.mark is not Mark.NONE and first <= one.at <= last)
        self.marks.sort(key=stitch.order)


def _is_before(one: Entry, after: Entry | None) -> bool:
    return after is None or one.at < after.at


class _Part:
    """A segment of a visitor's log: the marks up to it, the mark behind it, what is new in it, what is stored in it."""

    def __init__(
        self, visitor: bytes, marks: Sequence[Entry], after: Entry | None, between: Sequence[Entry], more: int
    ) -> None:
        self.visitor = visitor
        self.marks = marks
        self.after = after
        self.between = between
        self.bound = stitch.REACH + more + 1
        self.first: list[Entry] = []
        self.last: list[Entry] | None = None

    def columns(self) -> tuple[bytes, datetime, datetime]:
        low = _time(self.marks[-1].at) if self.marks else _NEVER
        return self.visitor, low, _time(self.after.at) if self.after is not None else _EVER

    def owners(self) -> dict[bytes, int | None]:
        new = sorted(self.between, key=stitch.order)
        if self.last is None:
            return stitch.segment_owners(self.marks, self.after, sorted([*self.first, *new], key=stitch.order))
        found: dict[bytes, int | None] = {one.key: None for one in new}
        head, tail = stitch.order(self.first[-1]), stitch.order(self.last[0])
        first = sorted([*self.first, *(one for one in new if stitch.order(one) < head)], key=stitch.order)
        last = sorted([*self.last, *(one for one in new if stitch.order(one) > tail)], key=stitch.order)
        found.update(stitch.segment_owners(self.marks, self.after, first, last))
        return found


async def _fill(connection: Connection, tenant: Tenant, parts: Sequence[_Part], stored: dict[bytes, _Stored]) -> None:
    """Reads what is stored in the segments: all of it, or the first and the last events."""
    if not parts:
        return
    bound = max(part.bound for part in parts)
    columns = [list(column) for column in zip(*(part.columns() for part in parts), strict=True)]
    for row in await connection.fetch(sql("stitching", "plain_first"), tenant.tenant_id, *columns, bound):
        parts[row["number"]].first.append(_entry(row, stored))
    long = [part for part in parts if len(part.first) == bound]
    if long:
        for part in long:
            part.last = []
        columns = [list(column) for column in zip(*(part.columns() for part in long), strict=True)]
        for row in await connection.fetch(sql("stitching", "plain_last"), tenant.tenant_id, *columns, bound):
            last = long[row["number"]].last
            assert last is not None
            last.append(_entry(row, stored))


def _entry(row: Any, stored: dict[bytes, _Stored]) -> Entry:
    mark, anonymous = Mark(row["mark"]), row["came_in"] is not None
    stored[row["message_key"]] = _Stored(row["event_id"], row["record_id"], row["came_in"])
    names = row["seen"] or 0 if mark is Mark.SEEN else 0 if anonymous else row["record_id"]
    return Entry(_us(row["occurred_at"]), row["message_key"], mark, names, anonymous)


def _columns(stretches: Iterable[Stretch]) -> tuple[list[bytes], list[datetime], list[datetime]]:
    found = list(stretches)
    return [one.visitor for one in found], [one.low for one in found], [one.high for one in found]


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _time(us: int) -> datetime:
    return _EPOCH + us * _MICROSECOND
