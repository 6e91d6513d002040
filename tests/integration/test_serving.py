"""`firstring serve` as operators meet it: stopping, being killed, the database going away, refusing to start."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.server_rig import Home, ServerProcess, error_of, family, own_loop, postmaster, serving, until

from firstring.store.database import connect
from firstring.store.server import embedded

ANSWERED_BY_S = 0.85
"""The adapters' deadline: a call that got no answer by then goes to the default queue without us."""


@pytest.fixture(scope="module")
def home(make_home: Callable[[], Path]) -> Home:
    return Home(make_home())


@pytest.fixture(scope="module")
def adapter(home: Home) -> str:
    return home.tokens("adapter")[0]


@pytest.fixture(scope="module")
def administrator(home: Home) -> str:
    return home.tokens("administrator")[0]


def offer() -> dict[str, Any]:
    return {"call_id": secrets.token_hex(8), "from": f"+1202555{secrets.randbelow(9000) + 1000}", "to": "+12025550100"}


# --- stopping ----------------------------------------------------------------------------------------------------


def test_a_stop_finishes_what_was_accepted(home: Home, adapter: str, administrator: str) -> None:
    """Requests under load at the signal: each is answered in full or was never accepted; what was answered is stored."""
    answered: list[str] = []
    broken: list[str] = []
    with serving(home) as server, server.client(administrator) as waiting:
        made = waiting.post("/v1/contacts", json={"id": secrets.token_hex(8), "channel": "social"}).json()

        def load() -> None:
            with server.client(adapter) as client:
                while True:
                    number = secrets.token_hex(8)
                    try:
                        response = client.post("/v1/contacts", json={"id": number, "channel": "email"})
                    except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                        if not isinstance(error, httpx.ConnectError):
                            broken.append(type(error).__name__)
                        return
                    if response.status_code != 201:
                        broken.append(response.text)
                        return
                    answered.append(response.json()["contact_id"])

        threads = [threading.Thread(target=load) for _ in range(6)]
        with ThreadPoolExecutor(1) as pool:
            path = f"/v1/contacts/{made['contact_id']}/route?wait_ms=30000"
            told = pool.submit(waiting.get, path)
            for thread in threads:
                thread.start()
            until(lambda: len(answered) > 50, "load")
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert server.stop(signal.SIGINT) == 0
            assert time.monotonic() - began < 15
            assert told.result(5).json()["wait"] is not None
        for thread in threads:
            thread.join(10)
        # A connection that is idle when the server closes it may meet the next request of its client (RFC 9112, 9.5).
        assert all(what in ("RemoteProtocolError", "ReadError", "WriteError") for what in broken), broken
        assert '"event": "stopped"' in server.log
        assert "Traceback" not in server.log
    assert set(answered) <= stored(home)


def stored(home: Home) -> set[str]:
    async def read(_database: Any, tenant: Any) -> set[str]:
        connection = await connect({**home_dsn(home), "user": embedded.SUPERUSER})
        try:
            rows = await connection.fetch(
                "select c.contact_id from contact c join decision d using (tenant_id, contact_id) where c.tenant_id = $1",
                tenant.tenant_id,
            )
        finally:
            await connection.close()
        return {str(row["contact_id"]) for row in rows}

    return home.within(read)


def home_dsn(home: Home) -> dict[str, Any]:
    with embedded.start(home.path) as running:
        return running.dsn(embedded.SUPERUSER)


def test_a_stop_while_it_starts(home: Home) -> None:
    server = ServerProcess(home)
    try:
        time.sleep(1.2)
        assert server.stop() in (0, -signal.SIGTERM)
    finally:
        server.close()


# --- being killed ------------------------------------------------------------------------------------------------


def test_killed_and_started_again_everything_acknowledged_is_there(home: Home, administrator: str) -> None:
    records: list[str] = []
    events: list[dict[str, Any]] = []
    contacts: list[str] = []
    with serving(home) as server:

        def load(number: int) -> None:
            with server.client(administrator) as client:
                try:
                    for turn in range(10_000):
                        record = {"record_id": f"{number}-{turn}", "email": f"k{number}x{turn}@example.com"}
                        client.post("/v1/records", json={"source": "kill", "records": [record]}).raise_for_status()
                        records.append(record["email"])
                        event = {"type": "track", "event": "Order Completed", "messageId": f"{number}-{turn}"}
                        event |= {"userId": record["record_id"]}
                        client.post("/v1/events", json={"source": "kill", "batch": [event]}).raise_for_status()
                        events.append(event)
                        offered = {"id": f"kill-{number}-{turn}", "channel": "email", "fields": {"email": record["email"]}}
                        made = client.post("/v1/contacts", json=offered)
                        made.raise_for_status()
                        contacts.append(made.json()["contact_id"])
                except httpx.TransportError:
                    return

        threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(contacts) > 40, "load")
        server.process.kill()
        for thread in threads:
            thread.join(10)
    with serving(home) as server, server.client(administrator) as client:
        assert set(contacts) <= stored(home)
        for email in records:
            found = client.post("/v1/resolve", json={"fields": {"email": email}}).json()
            assert len(found["candidates"]) == 1, email
        for start in range(0, len(events), 500):
            batch = events[start : start + 500]
            again = client.post("/v1/events", json={"source": "kill", "batch": batch}).json()
            assert (again["duplicates"], again["stored"]) == (len(batch), 0)
        assert server.stop() == 0


# --- the database goes away --------------------------------------------------------------------------------------


def decided(client: httpx.Client) -> dict[str, Any]:
    """A call's answer; it comes in time and is never an error."""
    began = time.monotonic()
    response = client.post("/v1/decide", json=offer())
    took_s = time.monotonic() - began
    assert response.status_code == 200, response.text
    assert took_s < ANSWERED_BY_S, took_s
    return dict(response.json())


def test_the_database_hangs(home: Home, adapter: str, administrator: str) -> None:
    """PostgreSQL is frozen: calls go to the default queue in time; thawed, everything is as before."""
    [never_seen] = home.tokens("adapter")
    with serving(home) as server, server.client(adapter) as client, server.client(administrator, timeout=40.0) as other:
        assert "wait" in decided(client)
        frozen = family(postmaster(home))
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            for token in (adapter, adapter, never_seen, "fr_1_" + "a" * 43):
                client.headers["authorization"] = f"Bearer {token}"
                answer = decided(client)
                assert (answer["routes"], answer["wait"], answer["treatment"]) == ([], None, "default_queue")
            client.headers["authorization"] = f"Bearer {adapter}"
            began = time.monotonic()
            busy = client.post("/v1/calls/events", json={"type": "call.busy", "call_id": "x"})
            assert (busy.status_code, busy.json()["treatment"]) == (200, "default_queue")
            assert time.monotonic() - began < ANSWERED_BY_S
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["ready"], ready.json()["database"]) == (503, False, "database_slow")
            assert client.get("/healthz").status_code == 200
            with ThreadPoolExecutor(4) as pool:
                tries = [
                    pool.submit(other.post, "/v1/resolve", json={"fields": {"phone": "+12025550123"}}) for _ in range(4)
                ]
                for answer_to in tries:
                    response = answer_to.result(40)
                    assert (response.status_code, error_of(response)["group"]) == (503, "retryable")
                    assert response.headers["retry-after"] == "1"
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        until(lambda: client.get("/readyz").status_code == 200, "ready again")
        until(lambda: decided(client)["wait"] is not None, "decisions again")
        assert 'firstring_failed_open_total{code="d' in client.get("/metrics").text
        assert server.stop() == 0


def test_the_database_dies(home: Home, adapter: str) -> None:
    """PostgreSQL is killed with SIGKILL: no call gets an error, and the server has it started again."""
    with serving(home) as server, server.client(adapter) as client:
        assert "wait" in decided(client)
        for pid in family(postmaster(home)):
            os.kill(pid, signal.SIGKILL)
        decided(client)
        until(lambda: decided(client)["wait"] is not None, "decisions again")
        until(lambda: client.get("/readyz").status_code == 200, "ready again")
        assert server.stop() == 0


def test_a_stop_while_the_database_hangs(home: Home, adapter: str) -> None:
    """The stop is bounded, and says that it is not complete."""
    with serving(home) as server, server.client(adapter) as client:
        assert "wait" in decided(client)
        frozen = family(postmaster(home))
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            decided(client)
            assert server.stop(timeout_s=40.0) in (0, 75)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


# --- refusing to start -------------------------------------------------------------------------------------------


def refused(home: Home, status: int, code: str, *arguments: str, **environment: str) -> str:
    """The command ends with the status, and one line of an error of this code."""
    run = home.run(*(arguments or ("serve",)), **environment)
    assert run.returncode == status, (run.returncode, run.stderr)
    lines = [line for line in run.stderr.splitlines() if line.startswith(code)]
    assert len(lines) == 1, run.stderr
    assert "Traceback" not in run.stderr
    return lines[0]


def test_what_keeps_it_from_starting_is_one_line(home: Home, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "FIRSTRING_LISTEN_PORT" in refused(home, 70, "address_in_use", FIRSTRING_LISTEN_PORT=port)
    refused(home, 70, "address_unusable", FIRSTRING_LISTEN_HOST="192.0.2.1")
    assert "FIRSTRING_LISTEN_PORT" in refused(home, 2, "setting_unknown", FIRSTRING_LISTENPORT="1")
    refused(home, 2, "setting_invalid", FIRSTRING_LISTEN_PORT="many")
    (tmp_path / "broken.toml").write_text("listen_port = ")
    refused(home, 2, "settings_unreadable", FIRSTRING_CONFIG=str(tmp_path / "broken.toml"))
    refused(home, 70, "master_key_malformed", FIRSTRING_MASTER_KEY="abc")
    refused(home, 70, "wrong_master_key", FIRSTRING_MASTER_KEY="00" * 32)
    url = f"postgresql://firstring_app@127.0.0.1:{free_port()}/firstring"
    refused(home, 75, "database_unavailable", FIRSTRING_DATABASE_URL=url)
    with embedded.start(home.path) as running:
        own = running.dsn(embedded.SUPERUSER)
        url = f"postgresql://{own['user']}@/{own['database']}?host={own['host']}&port={own['port']}"
        refused(home, 70, "unsafe_database_role", FIRSTRING_DATABASE_URL=url)


def test_a_newer_schema_is_refused(home: Home) -> None:
    async def change(statement: str) -> None:
        connection: asyncpg.Connection = await connect(home_dsn(home))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    number = 9_999
    with embedded.start(home.path):
        own_loop(change(f"insert into schema_migration values ({number}, '9999_future.sql', 'x')"))
        try:
            assert "newer" in refused(home, 70, "newer_schema")
        finally:
            own_loop(change(f"delete from schema_migration where number = {number}"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- logs --------------------------------------------------------------------------------------------------------


def test_logs_hold_nothing_of_anybody(home: Home, administrator: str) -> None:
    """Planted values go through calls, contacts, records, events, errors; nothing of them is in the log."""
    mark = secrets.token_hex(5)
    name, email, account = f"Zebulon{mark}", f"zeb{mark}@example.com", f"ACC{mark}"
    number, visit = "+12025550187", f"visit{mark}"
    fields = {"full_name": f"{name} Quux", "email": email, "phone": number, "account": account}
    with serving(home, FIRSTRING_LOG_LEVEL="debug") as server, server.client(administrator) as client:

        def post(path: str, body: Any) -> httpx.Response:
            return client.post(path, json=body)

        post("/v1/records", {"source": "crm", "records": [{"record_id": account, **fields}]}).raise_for_status()
        track = {"type": "track", "event": "Refund Requested", "userId": account, "properties": {"order_id": visit}}
        post("/v1/events", {"source": "crm", "batch": [track]}).raise_for_status()
        post("/v1/resolve", {"fields": fields}).raise_for_status()
        call = {"call_id": f"call-{mark}", "from": f'"{name}" <sip:{number}@pbx.test>', "to": number, "visit": visit}
        post("/v1/decide", {**call, "identity": f"garbage;{email}", "ua": name}).raise_for_status()
        post("/v1/decide", {**call, "from": {"name": name}})
        post("/v1/calls/events", {"type": "call.busy", "call_id": f"call-{mark}"}).raise_for_status()
        made = post("/v1/contacts", {"id": f"chat-{mark}", "channel": "chat", "fields": fields, "intent": name}).json()
        post(f"/v1/contacts/{made['contact_id']}/evidence", {"intent": email}).raise_for_status()
        post(f"/v1/contacts/{made['contact_id']}/events", {"what": "finished", "outcome": email})
        client.get(f"/v1/contacts/{email}")
        client.get(f"/v1/contacts?limit={name}")
        client.post("/v1/resolve", content=f'{{"fields": "{email}'.encode())
        client.get("/readyz", headers={"authorization": f"Bearer fr_1_{mark}"})
        for pid in family(postmaster(home)):
            os.kill(pid, signal.SIGKILL)
        for _ in range(5):
            client.post("/v1/decide", json={**call, "call_id": f"again-{mark}-{secrets.token_hex(3)}"}).raise_for_status()
        until(lambda: client.get("/readyz").status_code == 200, "ready again")
        assert server.stop() == 0
        log = server.log
    assert '"event": "serving"' in log
    for planted in (mark, number, number[2:], "Quux", "Zebulon", administrator):
        assert planted.lower() not in log.lower(), planted
    for line in log.splitlines():
        if not line.startswith("{"):
            assert line.startswith(("PostgreSQL", "starting", "waiting")), line  # progress of the embedded server
            continue
        assert {"event", "level", "timestamp"} <= set(json.loads(line))
