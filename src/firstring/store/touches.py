"""Events out of their rows, as touches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from firstring import limits
from firstring.contact import TouchRead


def touches_of(keys: Any, recent: Sequence[Any], issues: Sequence[Any]) -> tuple[tuple[TouchRead, ...], tuple[int, ...]]:
    """Touches and issue events, each once, newest first; and the persons whose issues were too many to read."""
    counts: dict[int, int] = {}
    for row in issues:
        counts[row["person_id"]] = counts.get(row["person_id"], 0) + 1
    rows = {row["event_id"]: row for row in (*recent, *issues)}
    ordered = sorted(rows.values(), key=lambda row: (row["occurred_at"], row["event_id"]), reverse=True)
    touches = []
    for row in ordered:
        payload = keys.open(row["wrapped_key"], row["sealed"])
        if payload is None:
            continue
        touches.append(
            TouchRead(
                event_id=row["event_id"],
                record_id=row["record_id"],
                person_id=row["person_id"],
                channel=row["channel"],
                name=payload["name"],
                occurred_at=row["occurred_at"],
                properties=payload.get("properties") or {},
                issue_kind=row["issue_kind"],
                issue_ref=payload.get("issue_ref"),
                issue_effect=row["issue_effect"],
                claimed=payload.get("claimed", False),
            )
        )
    return tuple(touches), tuple(p for p, count in counts.items() if count > limits.ISSUE_EVENTS_PER_PERSON)
