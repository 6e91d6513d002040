"""The agents with a free place as the ring's read returns them, and the profiles of their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np

from firstring import limits
from firstring.contact import AgentFree, AgentProfile
from firstring.routing.may.packed import EPOCH, Integers, columns, found_in, packed, pair, pairs_of
from firstring.store.database import Database, Tenant
from firstring.store.queries import sql

_HEAD_BYTES: Final = 20
"""An array of one dimension in PostgreSQL's binary form: dimensions, flags, type, length, lower bound; then each element
with its length before it."""
_OF_8 = np.dtype([("bytes", ">i4"), ("value", ">i8")])
_OF_4 = np.dtype([("bytes", ">i4"), ("value", ">i4")])


def agents_read(ids: bytes | None, versions: bytes | None, since: bytes | None) -> tuple[AgentFree, ...] | bytes:
    """What `array_send` made of agent_ids, agent_versions and agent_free, packed.

    An agent may have several free places: the one that has been free longest, which comes first, counts.
    """
    if ids is None or versions is None or since is None:
        return ()
    agent_ids, agent_versions, idle_us = _column(ids, _OF_8), _column(versions, _OF_4), _column(since, _OF_8)
    _, first = np.unique(agent_ids, return_index=True)
    if len(first) < len(agent_ids):
        first.sort()
        agent_ids, agent_versions, idle_us = agent_ids[first], agent_versions[first], idle_us[first]
    as_bytes = packed(agent_ids, agent_versions, idle_us)
    if as_bytes is not None:
        return as_bytes
    rows = zip(agent_ids.tolist(), agent_versions.tolist(), idle_us.tolist(), strict=True)
    return tuple(AgentFree(agent_id, version, EPOCH + timedelta(microseconds=us)) for agent_id, version, us in rows)


def busy_read(ids: bytes | None, versions: bytes | None, taken: bytes | None) -> bytes:
    """As `agents_read`, with the number of contacts of each in place of since when; nothing where that does not fit."""
    if ids is None or versions is None or taken is None:
        return b""
    return packed(_column(ids, _OF_8), _column(versions, _OF_4), _column(taken, _OF_8)) or b""


def _column(array: bytes, row: np.dtype[np.void]) -> Integers:
    return np.frombuffer(array, row, offset=_HEAD_BYTES)["value"].astype(np.int64)


def agent_profile_of(agent_id: int, version: int, profile: str) -> AgentProfile:
    """An agent's profile out of its JSON column."""
    return msgspec.convert({**msgspec.json.decode(profile), "agent_id": agent_id, "version": version}, AgentProfile)


class ProfileCache:
    """The profiles of one tenant that were read: a version never changes."""

    def __init__(self) -> None:
        self.by_pair: dict[tuple[int, int], AgentProfile] = {}
        self._keys: Integers = np.empty(0, np.int64)

    async def of(
        self, database: Database, tenant: Tenant, agents: Sequence[AgentFree] | bytes
    ) -> Mapping[tuple[int, int], AgentProfile]:
        """The profiles of these versions, and of others that were asked for before."""
        missing = self._missing(agents)
        if missing:
            if len(self.by_pair) > 4 * limits.AGENTS_CONSIDERED:
                self.by_pair, self._keys = {}, np.empty(0, np.int64)
                missing = pairs_of(agents)
            known = self.by_pair  # another decision may begin anew meanwhile
            async with database.transaction(tenant.tenant_id) as connection:
                rows = await connection.fetch(
                    sql("agents", "profiles"), tenant.tenant_id, [a for a, _ in missing], [v for _, v in missing]
                )
            for row in rows:
                profile = agent_profile_of(row["agent_id"], row["version"], row["profile"])
                known[(profile.agent_id, profile.version)] = profile
            if isinstance(agents, bytes) and known is self.by_pair:
                keys = [key for key in columns(agents).keys.tolist() if pair(key) in known]
                self._keys = np.union1d(self._keys, np.array(keys, np.int64))
            return MappingProxyType(known)
        return MappingProxyType(self.by_pair)

    def _missing(self, agents: Sequence[AgentFree] | bytes) -> list[tuple[int, int]]:
        if isinstance(agents, bytes):
            keys = columns(agents).keys
            _, found = found_in(self._keys, keys)
            if found.all():
                return []
        return [one for one in pairs_of(agents) if one not in self.by_pair]
