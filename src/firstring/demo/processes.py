"""The programs that a demonstration starts, and ends: each by its own handle, never by its name."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from firstring.errors import Unrecoverable

_STOP_S: Final = 12.0
"""A program gets this long to end by itself; the server finishes what it accepted within it."""
_POLL_S: Final = 0.02
_LOG_CHARS: Final = 600


class Program:
    """A running program with its log. In a session of its own, so that a Ctrl-C in the terminal is for us alone."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    async def ended(self, timeout_s: float) -> int | None:
        """Its exit code once it has ended, or None when it has not in time."""
        for _ in range(int(timeout_s / _POLL_S)):
            if self._process.poll() is not None:
                break
            await asyncio.sleep(_POLL_S)
        return self._process.poll()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text("utf-8", "replace")[-_LOG_CHARS:].strip() if self.log.exists() else ""

    async def stop(self) -> None:
        """Asks it to end, and ends it when it does not. Nothing happens where it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
        if await self.ended(_STOP_S) is None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


def find_program(name: str) -> str | None:
    """Where a program is; Debian keeps some where only root's PATH leads."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin")))


def start_program(
    name: str, command: Sequence[str], *, log: Path, folder: Path, environment: Mapping[str, str] | None = None
) -> Program:
    """Starts a program; its output goes to `log`. Where setpriv is there, the program also ends if we are killed."""
    setpriv = find_program("setpriv")
    ends_with_us = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - programs and arguments are ours
            [*ends_with_us, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
    return Program(name, process, log)


def failed(program: Program) -> Unrecoverable:
    """The error for a program that does not do what it was started for."""
    return Unrecoverable(
        "demo_program_failed",
        f"{program.name} does not start: {program.last_words() or 'it said nothing'}",
        where={"log": str(program.log)},
        hint="Look into the log.",
    )


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of the loopback interface that was free a moment ago, for a program that must be told one."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Whether nobody has the port."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
