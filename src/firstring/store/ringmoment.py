"""What a decision reads beside who it may be, for the gates and expressions of actions: in the same round trip."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import asyncpg
import msgspec

from firstring import limits
from firstring.contact import Read, WentOut
from firstring.journey.consents import SIGNAL
from firstring.nextbest.incontact import Asks
from firstring.store.seal import TenantKeys
from firstring.store.touches import touches_of

READ_ASKED: Final = f"""
select r.hits, r.records, r.touches, r.issues, r.candidates_cut, r.typed_keys, r.typed,
       array_send(r.agent_ids) as agent_ids, array_send(r.agent_versions) as agent_versions,
       array_send(r.agent_free) as agent_free, m.*,
       array_send(b.busy_ids) as busy_ids, array_send(b.busy_versions) as busy_versions,
       array_send(b.busy_taken) as busy_taken, b.waiting
from ring_read($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) r
cross join lateral ring_moment(
  $1, r.records, {limits.PROFILE_FACETS}, $11, $12, {limits.ACTIONS_REMEMBERED}, $13, $14, $15
) m
cross join lateral ring_busy($1, $16, {limits.BUSY_CONSIDERED}) b
"""  # noqa: S608 - numbers of our own
"""As the ring's read alone, with its arguments first; then those of `asked`."""


def asked(asks: Asks, busy_on: str | None) -> tuple[Any, ...]:
    """The arguments of READ_ASKED that come after those of the read. busy_on: the channel on which it is asked who is
    busy."""
    since = asks.now - timedelta(days=limits.ACTION_PATTERNS_DAYS)
    return since, asks.since, list(asks.everyone), asks.now, limits.PROFILE_EVENTS if asks.history else 0, busy_on


def with_moment(keys: TenantKeys, read: Read, row: asyncpg.Record) -> Read:
    """`read` with what ring_moment found; mostly that is nothing."""
    columns = ("went_persons", "went_actions", "went_routes", "went_kinds", "went_at")
    words, _ = touches_of(keys, row["words"] or (), ())
    signals, _ = touches_of(keys, row["signals"] or (), ())
    history, _ = touches_of(keys, row["history"] or (), ())
    fired: dict[int, list[str]] = {}
    for person_id, pattern in zip(row["fired_persons"] or (), row["fired"] or (), strict=True):
        fired.setdefault(person_id, []).append(pattern)
    counts: dict[str, dict[int, int]] = {}
    brakes = (row[name] or () for name in ("brake_actions", "brake_places", "brake_counts"))
    for action, place, count in zip(*brakes, strict=True):
        counts.setdefault(action, {})[place] = count
    found = (
        (*words, *(msgspec.structs.replace(signal, name=SIGNAL) for signal in signals)),
        tuple(WentOut(*one) for one in zip(*(row[name] or () for name in columns), strict=True)),
        {person_id: tuple(sorted(patterns)) for person_id, patterns in fired.items()},
        {action: tuple(of.get(place, 0) for place in range(max(of) + 1)) for action, of in counts.items()},
        history,
    )
    if not any(found):
        return read
    names = ("consent_words", "went_out", "fired", "everyone", "history")
    return msgspec.structs.replace(read, **dict(zip(names, found, strict=True)))
