"""Serves HTTP over a running server, and stops gracefully: nothing new, then what was accepted, then the store."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import structlog
import uvicorn

from firstring.bootstrap import Server, application, running
from firstring.errors import Unrecoverable
from firstring.settings import Settings

_log = structlog.get_logger("firstring.server")
KEEP_ALIVE_S = 75
GRACE_S = 10


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handling: the signals are ours."""

    def capture_signals(self) -> Any:
        return nullcontext()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 lets the system choose. Raises Unrecoverable address_in_use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Unrecoverable(
            "address_in_use",
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            where={"setting": "FIRSTRING_LISTEN_PORT"},
            hint="End the other program, or choose another port.",
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
            http="httptools",
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
    """Until SIGTERM, SIGINT or `stop`. `started` is told the address once requests are answered."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listening = bind(settings.listen_host, settings.listen_port)
    try:
        async with running(settings, progress=progress) as server:
            http = http_server(server)
            task = asyncio.create_task(http.serve(sockets=[listening]), name="http")
            while not http.started and not task.done():
                await asyncio.sleep(0.01)
            address = f"http://{settings.listen_host}:{listening.getsockname()[1]}"
            _log.info("serving", address=address)
            started(server, address)
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            _log.info("stopping")
            server.services.stopping = True
            server.pops.close()
            http.should_exit = True
            await task
        _log.info("stopped")
    finally:
        listening.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
