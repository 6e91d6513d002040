"""One server process for the contract tests of the HTTP surface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from tests.server_rig import Home, ServerProcess, serving

ROLES = ("administrator", "adapter", "import", "events", "write_key", "read", "steward")


class Rig(NamedTuple):
    """A server, a token of each role in the tenant main, one administrator's of the tenant other, and their agents."""

    server: ServerProcess
    client: httpx.Client
    home: Home
    tokens: dict[str, str]
    other: str
    agent: int
    other_agent: int


@pytest.fixture(scope="session")
def api(make_home: Callable[[], Path]) -> Iterator[Rig]:
    home = Home(make_home())
    tokens = dict(zip(ROLES, home.tokens(*ROLES), strict=True))
    [other] = home.tokens("administrator", tenant="other")
    agent = home.agent(channels=["voice", "chat"], capacity={"voice": 1, "chat": 2}, languages={"en": 5})
    other_agent = home.agent(tenant="other", channels=["voice", "chat"])
    with serving(home, FIRSTRING_LOG_LEVEL="debug") as server:
        with server.client() as client:
            yield Rig(server, client, home, tokens, other, agent, other_agent)
        assert server.stop() == 0
        assert "request_failed" not in server.log
