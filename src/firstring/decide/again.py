"""A stored decision derived again, and where it differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from firstring.contact import Decision, Derived
from firstring.decide.deriving import Profiles, derive
from firstring.decide.models import Models
from firstring.routing.declared.policy import RoutingPolicy
from firstring.routing.pick.beside import hold_until


def rederive(decision: Decision, profiles: Profiles, models: Models) -> Derived:
    """A stored decision derived again from what it read. profiles: of `profiles_of`."""
    return derive(
        decision.contact,
        decision.evidence,
        decision.read,
        profiles,
        models,
        now=decision.decided_at,
        waited_s=decision.waited_s,
        excluded=decision.derived.routing.need.excluded,
        preferred=decision.derived.routing.need.preferred,
        hold_until=_may_have_been_held(decision, models.routing),
        keep=decision.outcome == "keep",
    )


def _may_have_been_held(decision: Decision, policy: RoutingPolicy) -> datetime | None:
    """Until when a stored decision might hold its contact. Of one that came later in a hold, it stands where it did."""
    hold = decision.derived.routing.need.hold
    if hold is not None or decision.outcome == "keep":
        return None if hold is None else hold.until
    return hold_until(decision.cause, policy.hold_s, decision.decided_at, None)


def differences(stored: Any, again: Any, *, tolerance: float = 1e-9, place: str = "") -> list[str]:
    """Where two derivations differ: numbers by more than `tolerance`, everything else at all. Empty: they are the same."""
    if isinstance(stored, bool) or isinstance(again, bool):
        return [] if stored is again else [f"{place}: {stored!r} was stored, {again!r} derived"]
    if isinstance(stored, int | float) and isinstance(again, int | float):
        same = math.isclose(stored, again, rel_tol=0.0, abs_tol=tolerance)
        return [] if same else [f"{place}: {stored!r} was stored, {again!r} derived"]
    if isinstance(stored, msgspec.Struct) and type(stored) is type(again):
        return [
            line
            for field in stored.__struct_fields__
            for line in differences(
                getattr(stored, field), getattr(again, field), tolerance=tolerance, place=f"{place}.{field}".lstrip(".")
            )
        ]
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        if stored.keys() != again.keys():
            return [f"{place}: the fields {sorted(map(str, stored.keys() ^ again.keys()))} are in one only"]
        return [
            line
            for key in stored
            for line in differences(stored[key], again[key], tolerance=tolerance, place=f"{place}.{key}".lstrip("."))
        ]
    if isinstance(stored, list | tuple) and isinstance(again, list | tuple):
        if len(stored) != len(again):
            return [f"{place}: {len(stored)} were stored, {len(again)} derived"]
        return [
            line
            for index, (left, right) in enumerate(zip(stored, again, strict=True))
            for line in differences(left, right, tolerance=tolerance, place=f"{place}[{index}]")
        ]
    return [] if stored == again else [f"{place}: {stored!r} was stored, {again!r} derived"]
