"""The server dies at any moment: what was acknowledged is there, and nothing is there twice."""

from __future__ import annotations

import json
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.events_rig import Key, keys, stored
from tests.server_rig import Home, ServerProcess, serving

SENDERS = 4
KILLED_AFTER = (15, 45)
"""Fives of acknowledged events after which the server is killed, each time."""


class Sender(threading.Thread):
    """Sends batches and single events until it is told to stop; notes what was sent and what was acknowledged."""

    def __init__(self, url: str, key: Key, number: int, acknowledged: Counter[str], sent: dict[str, dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self.url, self.key, self.number = url, key, number
        self.acknowledged, self.sent = acknowledged, sent
        self.enough = threading.Event()

    def run(self) -> None:
        headers = {"authorization": f"Bearer {self.key.text}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=10, trust_env=False) as client:
            for turn in range(10_000):
                events = [self.event(turn, place) for place in range(1 if turn % 2 else 20)]
                self.sent.update((event["messageId"], event) for event in events)
                try:
                    answer = client.post("/v1/batch", content=json.dumps({"batch": events}))
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    assert answer.json()["rejected"] == []
                    self.acknowledged.update(event["messageId"] for event in events)
                if self.enough.is_set():
                    return

    def event(self, turn: int, place: int) -> dict[str, Any]:
        user = f"u{(turn + place) % 7}" if place % 3 else f"new-{secrets.token_hex(4)}"
        message = secrets.token_hex(8)
        return {"type": "track", "event": "Sent", "messageId": message, "userId": user, "properties": {"message": message}}


@pytest.fixture
def home(make_home: Callable[[], Path]) -> Home:
    return Home(make_home())


def test_what_was_acknowledged_survives_and_counts_once(home: Home) -> None:
    [key] = keys(home, "events", "shop")
    acknowledged: Counter[str] = Counter()
    sent: dict[str, dict[str, Any]] = {}
    for after in KILLED_AFTER:
        with serving(home) as server:
            senders = [Sender(server.url, key, number, acknowledged, sent) for number in range(SENDERS)]
            for sender in senders:
                sender.start()
            goal = len(acknowledged) + 5 * after
            _until(lambda goal=goal: len(acknowledged) >= goal)
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            for sender in senders:
                sender.join(15)
                assert not sender.is_alive()
    assert len(acknowledged) < len(sent), "the server was killed while it worked"
    assert _count(home, key) >= set(acknowledged)
    with serving(home) as server:
        _send_again(server, key, list(sent.values()))
        assert server.stop() == 0
    found = Counter(one.properties["message"] for one in stored(home, key.source))
    assert set(found) == set(sent)
    assert set(found.values()) == {1}


def _until(condition: Callable[[], bool]) -> None:
    wait = threading.Event()
    for _ in range(1_200):
        if condition():
            return
        wait.wait(0.025)
    raise AssertionError("the senders got nowhere")


def _count(home: Home, key: Key) -> set[str]:
    return {one.properties["message"] for one in stored(home, key.source)}


def _send_again(server: ServerProcess, key: Key, events: list[dict[str, Any]]) -> None:
    with server.client(key.text) as client:
        for start in range(0, len(events), 1_000):
            answer = client.post("/v1/batch", json={"batch": events[start : start + 1_000]})
            assert answer.status_code == 200, answer.text
            assert answer.json()["rejected"] == []
