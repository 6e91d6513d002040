"""Work of a server that takes long, in a process of its own at the lowest priority: whoever rings goes first.

Beside the event loop, in a thread, it would share the interpreter with every call: half a minute of it made the slowest
of a hundred resolves five times as slow.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final, TypeAlias, TypeVar, cast

import msgspec

from firstring import limits
from firstring.errors import FirstringError, Retryable
from firstring.settings import Settings
from firstring.store.database import Database, Tenant
from firstring.store.opening import database_only

_CONNECTIONS: Final = 2

_Result = TypeVar("_Result")
Work: TypeAlias = Callable[[Database, Tenant], Awaitable[_Result]]


async def aside(settings: Settings, tenant: str, work: Work[_Result]) -> _Result:
    """What `work` returns, which a new process calls with a store of its own, opened by `settings`.

    work: a function of a module, or a partial of one: it, its arguments, its result and its errors are pickled. Raises
    what it raises, and Retryable aside_ended where the process ended without an answer. Cancelled, it ends the process.
    """
    context = get_context("spawn")  # a fork would take the event loop and the open connections along
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(answer, settings, tenant, work), name="firstring-aside", daemon=True)
    given_up = threading.Event()

    def result() -> object:
        try:
            process.start()
            answer.close()  # the child's is then the only one: its end is heard
            if given_up.is_set():
                process.kill()
            return answers.recv()
        except EOFError:
            return Retryable(
                "aside_ended",
                "The process that did this beside the server ended without an answer.",
                hint="The log says why.",
            )
        finally:
            answers.close()
            process.join()

    thread = ThreadPoolExecutor(1, "aside")  # not the loop's own few: it waits for as long as the work takes
    running = asyncio.get_running_loop().run_in_executor(thread, result)
    thread.shutdown(wait=False)
    try:
        found = await asyncio.shield(running)
    except asyncio.CancelledError:
        given_up.set()
        if process.pid is not None:
            process.kill()
        await asyncio.wait((running,))
        raise
    if isinstance(found, FirstringError):
        raise found
    return cast(_Result, found)


def _run(answer: Connection, settings: Settings, tenant: str, work: Work[object]) -> None:
    os.nice(limits.NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the server's to handle: it ends this process
    try:
        answer.send(asyncio.run(_worked(settings, tenant, work)))
    except FirstringError as error:
        answer.send(error)


async def _worked(settings: Settings, tenant: str, work: Work[object]) -> object:
    async with database_only(msgspec.structs.replace(settings, database_connections=_CONNECTIONS)) as database:
        return await work(database, await database.tenant_named(tenant))
