"""Which arm a contact is in: by chance, and the same whoever asks and whenever."""

from __future__ import annotations

import math
import uuid
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from firstring.routing.trial.plan import Trial


class Arm(NamedTuple):
    """treated: whether it is the treatment; probability: with which chance chose this arm; overrides: its keys of
    `[routing]`."""

    name: str
    treated: bool
    probability: float
    overrides: dict[str, Any]


class Exposure(NamedTuple):
    """What a contact felt: inverse probabilities of that being the treatment's (control's) alone, 0 where it was not.
    unit: what was randomised, counted from the start in time; the contact itself where that is None."""

    treated: float
    untreated: float
    unit: int | None


def arm_of(trial: Trial, contact_id: uuid.UUID, at: datetime) -> Arm:
    """The arm of a contact that was offered at a moment. A contact keeps it through all its decisions."""
    draft = trial.draft
    by_itself = draft.kind == "contact"
    treated = _drawn(trial, contact_id.bytes) if by_itself else _of_interval(trial, _interval(trial, at))
    share = draft.share if treated else 1.0 - draft.share
    if treated:
        return Arm("treatment", True, share, draft.treatment)
    return Arm("control", False, share, draft.control)


def exposure_of(trial: Trial, contact_id: uuid.UUID, at: datetime) -> Exposure:
    """What a contact was exposed to. In a switchback also what was in force carry_over_s before it: agents are busy with
    those who came then."""
    share = trial.draft.share
    if trial.draft.kind == "contact":
        treated = _drawn(trial, contact_id.bytes)
        return Exposure(1.0 / share if treated else 0.0, 0.0 if treated else 1.0 / (1.0 - share), None)
    unit = _interval(trial, at)
    first = max(0, _interval(trial, at - timedelta(seconds=trial.draft.carry_over_s)))
    felt = [_of_interval(trial, one) for one in range(min(first, unit), unit + 1)]
    count = len(felt)
    return Exposure(
        share**-count if all(felt) else 0.0,
        (1.0 - share) ** -count if not any(felt) else 0.0,
        unit,
    )


def _interval(trial: Trial, at: datetime) -> int:
    assert trial.started_at is not None
    return math.floor((at - trial.started_at).total_seconds() / trial.draft.interval_s)


def _of_interval(trial: Trial, interval: int) -> bool:
    return _drawn(trial, b"interval" + interval.to_bytes(8, "big", signed=True))


def _drawn(trial: Trial, of: bytes) -> bool:
    """Whether chance says treatment: 53 bits of a keyed hash below the share."""
    digest = blake2b(of, key=bytes.fromhex(trial.salt), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53 < trial.draft.share
