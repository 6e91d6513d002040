"""Free agents as columns: hundreds of them are read, ranked and stored with every decision, without an object for each.

A packed list is a string of rows of 14 bytes, little-endian: agent id (4 bytes), version (2), idle since (8, microseconds
since 2000-01-01 UTC). What does not fit is written as `AgentFree` instead; both forms are ranked alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from firstring.contact import AgentFree

Integers = npt.NDArray[np.int64]

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""That of PostgreSQL's timestamps."""
VERSION_BITS: Final = 16
_ROW: Final = np.dtype([("agent_id", "<u4"), ("version", "<u2"), ("idle_us", "<i8")])
_VERSION_MASK: Final = (1 << VERSION_BITS) - 1


class Columns(NamedTuple):
    """keys: agent id and version as one number. idle_us: idle since, in microseconds since EPOCH."""

    keys: Integers
    idle_us: Integers

    @property
    def agent_ids(self) -> Integers:
        return self.keys >> VERSION_BITS


def packed(agent_ids: Integers, versions: Integers, idle_us: Integers) -> bytes | None:
    """The packed form of columns of equal length; None where an id or a version does not fit into it."""
    if len(agent_ids) and (int(agent_ids.max()) >= 1 << 32 or int(versions.max()) >= 1 << VERSION_BITS):
        return None
    rows = np.empty(len(agent_ids), _ROW)
    rows["agent_id"], rows["version"], rows["idle_us"] = agent_ids, versions, idle_us
    return rows.tobytes()


def columns(agents: bytes) -> Columns:
    """The columns of a packed list."""
    rows = np.frombuffer(agents, _ROW)
    keys = (rows["agent_id"].astype(np.int64) << VERSION_BITS) | rows["version"]
    return Columns(keys, rows["idle_us"].astype(np.int64))


def count(agents: Sequence[AgentFree] | bytes) -> int:
    """How many there are."""
    return len(agents) // _ROW.itemsize if isinstance(agents, bytes) else len(agents)


def pair(key: int) -> tuple[int, int]:
    """(agent id, version) of a key."""
    return key >> VERSION_BITS, key & _VERSION_MASK


def moment(idle_us: int) -> datetime:
    """The time that a number of microseconds since EPOCH stands for."""
    return EPOCH + timedelta(microseconds=idle_us)


def free_agents(agents: Sequence[AgentFree] | bytes) -> Sequence[AgentFree]:
    """One by one, for whoever looks at few of them."""
    if not isinstance(agents, bytes):
        return agents
    keys, idle_us = columns(agents)
    return [AgentFree(*pair(key), moment(since)) for key, since in zip(keys.tolist(), idle_us.tolist(), strict=True)]


def pairs_of(agents: Sequence[AgentFree] | bytes) -> list[tuple[int, int]]:
    """(agent id, version) of each."""
    if isinstance(agents, bytes):
        return [pair(key) for key in columns(agents).keys.tolist()]
    return [(agent.agent_id, agent.version) for agent in agents]


def found_in(table: Integers, keys: Integers) -> tuple[Any, npt.NDArray[np.bool_]]:
    """(places, found): where each key stands in a sorted table, and whether it does. A key that does not has place 0."""
    places = np.searchsorted(table, keys)
    places[places == len(table)] = 0
    found = table[places] == keys if len(table) else np.zeros(len(keys), np.bool_)
    return places, found
