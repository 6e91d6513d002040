"""The keeper of the embedded PostgreSQL server: it stops the server once the last program that used it is gone.

Every program that uses the server holds a shared flock on `users.lock`. The kernel drops that lock however the program
ends, kill -9 included, so waiting for an exclusive flock on the same file is waiting for the last user to leave.

This file is also a script, run by `firstring.store.server.embedded` in a session of its own:

    python -I -S keeper.py DATA_DIR KEEPER_LOCK_FD USERS_LOCK_FD UID GID

It imports the standard library only, so that it starts in some 15 ms and does not need the virtual environment.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from typing import Final, NamedTuple

POLL_S: Final = 0.01
FAST_SHUTDOWN_S: Final = 300.0
"""Time given to a fast shutdown, which writes a checkpoint, before an immediate one, which needs recovery."""
IMMEDIATE_SHUTDOWN_S: Final = 30.0
LATE_START_S: Final = 1.0
"""A server whose starter was killed just then shows its postmaster.pid within this time."""
PID_FILE_BYTES: Final = 8_192


class Postmaster(NamedTuple):
    """What `postmaster.pid` says (PostgreSQL, miscadmin.h): `state` is starting, ready, stopping, or empty at first."""

    pid: int
    socket_dir: str
    state: str


def read_postmaster(data_dir: str) -> Postmaster | None:
    """The content of DATA_DIR/postmaster.pid; None if there is none or it is not complete yet."""
    try:
        fd = os.open(os.path.join(data_dir, "postmaster.pid"), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        lines = os.read(fd, PID_FILE_BYTES).decode("utf-8", "surrogateescape").split("\n")
    finally:
        os.close(fd)
    if not lines[0].strip().isdigit():
        return None
    lines += [""] * 8
    return Postmaster(int(lines[0]), lines[4], lines[7].strip())


def is_alive(pid: int, data_dir: str) -> bool:
    """Whether `pid` is the server of this data directory: not a zombie, not a later owner of the same pid."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.stat(data_dir).st_uid:
            return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(data_dir) in arguments


def running(data_dir: str) -> Postmaster | None:
    """The live server of this data directory, in whatever state; None if there is none."""
    postmaster = read_postmaster(data_dir)
    return postmaster if postmaster and is_alive(postmaster.pid, data_dir) else None


def stop_postmaster(data_dir: str, timeout_s: float = FAST_SHUTDOWN_S) -> bool:
    """Stop the server by a fast shutdown, after `timeout_s` by an immediate one. False if it still lives after that."""
    for signal_number, limit_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, IMMEDIATE_SHUTDOWN_S)):
        postmaster = running(data_dir)
        if postmaster is None:
            return True
        try:
            os.kill(postmaster.pid, signal_number)
        except ProcessLookupError:
            return True
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if not is_alive(postmaster.pid, data_dir):
                return True
            time.sleep(POLL_S)
    return running(data_dir) is None


def is_same_file(fd: int, path: str) -> bool:
    """Whether `fd` is the file that is at `path` now."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def main(arguments: list[str]) -> int:
    """Wait for the last user to leave, stop the server, end. Exit code 1 if the server would not stop."""
    data_dir = arguments[0]
    keeper_fd, users_fd, uid, gid = (int(argument) for argument in arguments[1:])
    if os.geteuid() == 0 != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    fcntl.flock(users_fd, fcntl.LOCK_EX)
    if running(data_dir) is None:
        # Let go meanwhile: a program that starts now must not wait, and finds its keeper here.
        fcntl.flock(users_fd, fcntl.LOCK_UN)
        time.sleep(LATE_START_S)
        fcntl.flock(users_fd, fcntl.LOCK_EX)
    # A home deleted and made anew at the same path has another lock, and a server that is not this keeper's.
    is_ours = is_same_file(users_fd, os.path.join(os.path.dirname(data_dir), "users.lock"))
    stopped = stop_postmaster(data_dir) if is_ours else True
    # In this order: whoever gets the users' lock next must not take this process for a keeper that stays.
    os.close(keeper_fd)
    os.close(users_fd)
    return 0 if stopped else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
