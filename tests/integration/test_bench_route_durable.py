"""Durable decisions a second, measured small: everything is real but the size."""

from __future__ import annotations

import asyncio

from firstring.bench.route_durable import durable


def test_every_decision_that_was_told_is_there_after_the_server_was_killed() -> None:
    measures = {
        measure.name.strip(): measure for measure in asyncio.run(durable(records=300, agents=6, at_once=(2, 4), seconds=0.5))
    }
    told = measures["decisions told and not found"]
    assert told.value == 0.0, told.note
    assert measures["requests refused"].value == 0.0
    for many in (2, 4):
        assert (measures[f"durable decisions, {many} callers at a time"].value or 0.0) > 0.0
    assert measures["durable decisions, 4 callers at a time"].goal == 200.0
    assert measures["durable decisions, 2 callers at a time"].goal is None
    assert (measures["plain commits of one row a second beside it"].value or 0.0) > 0.0
