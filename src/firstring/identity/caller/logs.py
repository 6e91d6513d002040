"""Weights of an outcome, by class of pairs."""

from __future__ import annotations

from typing import NamedTuple


class Logs(NamedTuple):
    """ln of the share of each class at an outcome over the share of unrelated pairs, in nats."""

    same: float
    household: float
    namesake: float
    local: float
