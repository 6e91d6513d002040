"""A SIP endpoint on one UDP socket: what the redirect server, the small caller and the small phone share."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import structlog

from firstring.channels.voice import sip
from firstring.errors import BadInput, Retryable

RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Asked of the kernel, which may give less: a burst of calls must not be lost while the loop is busy."""

_log = structlog.get_logger(__name__)
Address = tuple[str, int]


class Endpoint(asyncio.DatagramProtocol):
    """Receives messages on `host`:`port` (0: any free port). Subclasses implement `on_message`, which must not block."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._wanted = (host, port)
        self._transport: asyncio.DatagramTransport | None = None
        self.host = host
        self.port = port

    async def start(self) -> None:
        """Bind. Retryable("address_in_use") when the address cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self._wanted)
        except OSError as error:
            raise Retryable(
                "address_in_use",
                "The SIP address cannot be bound.",
                where={"host": self._wanted[0], "port": self._wanted[1]},
                hint="Choose another port, or stop the program that has it.",
            ) from error
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.host, self.port = sock.getsockname()[:2]

    async def stop(self) -> None:
        """Close the socket; what is under way is dropped."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await asyncio.sleep(0)

    @property
    def uri_host(self) -> str:
        """host:port as it stands in a URI."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def send(self, message: sip.Message, address: Address) -> None:
        """Send one message; an unreachable address is the transport's business, not an error here."""
        self.send_bytes(sip.encode(message), address)

    def send_bytes(self, data: bytes, address: Address) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if len(data) > sip.MESSAGE_BYTES - 28:
            _log.warning("sip_too_large_to_send", bytes=len(data))
            return
        self._transport.sendto(data, address)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if len(data.strip(b"\r\n\0 ")) == 0:  # keep-alive (RFC 5626)
            return
        try:
            message = sip.parse(data)
        except BadInput as error:
            _log.info("sip_unreadable", bytes=len(data), error=error.message)
            return
        self.on_message(message, (str(addr[0]), int(addr[1])))

    def error_received(self, exc: Exception) -> None:
        _log.debug("sip_send_failed", error=type(exc).__name__)

    def on_message(self, message: sip.Message, source: Address) -> None:
        """One readable message."""
        raise NotImplementedError
