"""A lean HTTP/1.1 client with kept connections, so that what is measured is the server and not the client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import httptools
import msgspec

from firstring.errors import Retryable


class Answer(msgspec.Struct, frozen=True):
    """A response: its status and its body."""

    status: int
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class _Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._body: list[bytes] = []
        self._answer: asyncio.Future[Answer] | None = None
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Retryable("connection_lost", "The server closed the connection."))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), b"".join(self._body)))

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Client:
    """Requests to one server with one token; as many connections as requests run at a time."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        self._idle: list[_Connection] = []

    async def warm(self, connections: int) -> None:
        """Opens connections beforehand."""
        self._idle += [await self._connect() for _ in range(connections - len(self._idle))]

    async def post(self, path: str, value: Any) -> Answer:
        """POST a value as JSON."""
        body = msgspec.json.encode(value)
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return await self._ask(head.encode() + body)

    async def get(self, path: str) -> Answer:
        return await self._ask(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())

    async def _ask(self, request: bytes) -> Answer:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                break
        else:
            connection = await self._connect()
        answer = await connection.send(request)
        self._idle.append(connection)
        return answer

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        return connection

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


def expect(answer: Answer, what: str, wanted: Mapping[int, object] | tuple[int, ...] = (200, 201)) -> Answer:
    """The answer, or Retryable where its status is another one."""
    if answer.status not in wanted:
        raise Retryable("bench_refused", f"{what}: {answer.status} {answer.body[:300]!r}")
    return answer
