"""Serves HTTP over a running server, and stops gracefully: nothing new, then what was accepted, then the store."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final, cast

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from firstring.bootstrap import Server, application, running
from firstring.errors import Retryable, Unrecoverable
from firstring.settings import Settings
from firstring.store.notices import Notice

_log = structlog.get_logger("firstring.server")
KEEP_ALIVE_S: Final = 75
GRACE_S: Final = 5
"""How long requests that were accepted may take after the signal to stop; then they are cancelled."""
STOP_S: Final = 15.0
"""The bound of a whole stop: the requests', then what is given back, then the store's."""
YOUNG_OBJECTS: Final = 10_000
"""Objects made before cycles among them are looked for; 700 by default, of which a decision makes thousands."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class _OneWrite:
    """A connection that writes once a turn of the event loop: an answer's head and body leave together, in one call of the
    system and one packet, instead of two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol over `_OneWrite`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _OneWrite(transport, self.loop)))


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handling: the signals are ours."""

    def capture_signals(self) -> Any:
        return nullcontext()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 lets the system choose. Raises Unrecoverable address_in_use or address_unusable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise Unrecoverable(
                "address_in_use",
                f"Another program listens on {host}:{port}.",
                where={"setting": "FIRSTRING_LISTEN_PORT"},
                hint="End the other program, or choose another port.",
            ) from error
        raise Unrecoverable(
            "address_unusable",
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            where={"setting": "FIRSTRING_LISTEN_HOST"},
            hint="Choose an address of this machine and a port from 1024 on.",
        ) from error
    listening.listen(1024)
    listening.setblocking(False)
    return listening


def http_server(server: Server) -> HttpServer:
    """The HTTP server of a running server."""
    return HttpServer(
        uvicorn.Config(
            application(server),  # type: ignore[arg-type]
            loop="none",
            http=HttpProtocol,
            lifespan="on",
            access_log=False,
            log_config=None,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            server_header=False,
            date_header=True,
            proxy_headers=False,
        )
    )


async def serve(
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
    *,
    started: Callable[[Server, str], None] = lambda _server, _url: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Until SIGTERM, SIGINT or `stop`. `started` is told the address once requests are answered.

    Raises Unrecoverable address_in_use, address_unusable, http_not_started and as `running` does; Retryable
    stop_incomplete where what was accepted could not be finished within STOP_S (without `stop`, the process then ends
    with the exit status of Retryable, 75).
    """
    is_ours_alone = stop is None
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    listening = bind(settings.listen_host, settings.listen_port)
    try:
        life = asyncio.create_task(_live(settings, progress, listening, started, stop), name="server")
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({life, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        done, _ = await asyncio.wait({life}, timeout=STOP_S)
        if not done:
            _log.error("stop_incomplete")
            if is_ours_alone:
                os._exit(os.EX_TEMPFAIL)  # what hangs would hang the orderly end of the loop, too
            life.cancel()
            raise Retryable(
                "stop_incomplete",
                f"Not everything could be finished within {STOP_S:.0f} s.",
                hint="Nothing acknowledged is lost; agents still held are free again when their offers expire.",
            )
        life.result()
        _log.info("stopped")
    finally:
        listening.close()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            if is_ours_alone:
                signal.signal(number, signal.SIG_IGN)  # the process ends now: one more signal must not break that


async def _live(
    settings: Settings,
    progress: Callable[[str], None],
    listening: socket.socket,
    started: Callable[[Server, str], None],
    stop: asyncio.Event,
) -> None:
    """One server's life: everything is opened, requests are answered until `stop`, everything is closed in reverse."""
    async with running(settings, progress=progress) as server:
        http = http_server(server)
        task = asyncio.create_task(http.serve(sockets=[listening]), name="http")
        while not http.started and not task.done():  # noqa: ASYNC110 - uvicorn has a flag for it, no event
            await asyncio.sleep(0.01)
        if not http.started:
            await task
            raise Unrecoverable("http_not_started", "The HTTP server did not start.", hint="Look into the log.")
        host, port = listening.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        _log.info("serving", address=address)
        gc.set_threshold(YOUNG_OBJECTS)
        gc.collect()
        gc.freeze()  # what lives as long as the server is not looked through again and again while calls ring
        started(server, address)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        _log.info("stopping")
        server.services.stopping = True
        server.pops.close()
        server.services.notices.publish(Notice(0, "resync"))  # wakes who waits for a route: it is told to ask elsewhere
        http.should_exit = True
        await task
