"""One browser that listens: a bounded queue of server-sent events (WHATWG HTML, 9.2).

A stream begins with the whole state, so a reconnect misses nothing. One that reads too slowly loses its queue and gets
the whole state anew: nothing grows without bound, and nobody works with an old picture.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec

from firstring import limits

BEAT_S: Final = 15.0
"""A sign of life, and the moment at which the sign-in is checked again."""
RETRY_MS: Final = 500

_json = msgspec.json.Encoder().encode


def message(event: str, data: Any) -> bytes:
    """One event; its data is JSON in one line, so that no line of it can be taken for another field."""
    return b"event: " + event.encode() + b"\ndata: " + _json(data) + b"\n\n"


class _Queued(NamedTuple):
    data: bytes
    sent: asyncio.Future[None]


class Stream:
    """Messages for one browser. `whole` renders the present state; `put` never blocks."""

    def __init__(self, whole: Callable[[], bytes], *, backlog: int = limits.SSE_BACKLOG) -> None:
        self._whole = whole
        self._backlog = backlog
        self._queue: deque[_Queued] = deque()
        self._waiting_for_whole: list[asyncio.Future[None]] = []  # at most the backlog and one for all that follow
        self._anew = True
        self._closed = False
        self._wake = asyncio.Event()

    def put(self, data: bytes) -> asyncio.Future[None]:
        """Queues a message; the future is done when it was handed to the socket (alone, or within the whole state)."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            sent.cancel()
        elif self._anew:
            if len(self._waiting_for_whole) > self._backlog:
                return self._waiting_for_whole[-1]
            self._waiting_for_whole.append(sent)
        elif len(self._queue) >= self._backlog:
            self._waiting_for_whole += [one.sent for one in self._queue] + [sent]
            self._queue.clear()
            self._anew = True
        else:
            self._queue.append(_Queued(data, sent))
        self._wake.set()
        return sent

    def close(self) -> None:
        """Ends the stream after what is being written."""
        self._closed = True
        self._wake.set()

    async def messages(
        self, alive: Callable[[], Awaitable[bytes | None]], *, beat_s: float = BEAT_S
    ) -> AsyncIterator[bytes]:
        """What is to be written, until closed. alive: asked every `beat_s`; returns a last message to end the stream."""
        loop = asyncio.get_running_loop()
        yield f"retry: {RETRY_MS}\n\n".encode()
        beat_at = loop.time() + beat_s
        writing: list[asyncio.Future[None]] = []
        try:
            while not self._closed:
                self._wake.clear()
                if self._anew:
                    self._anew = False
                    writing = self._taken()
                    yield self._whole()
                    _handed(writing)
                elif self._queue:
                    queued = self._queue.popleft()
                    writing = [queued.sent]
                    yield queued.data
                    _handed(writing)
                elif loop.time() >= beat_at:
                    beat_at = loop.time() + beat_s
                    last = await alive()
                    yield last or message("beat", None)
                    if last is not None:
                        return
                else:
                    try:
                        async with asyncio.timeout_at(beat_at):
                            await self._wake.wait()
                    except TimeoutError:
                        continue
        finally:
            self._closed = True
            for sent in (*writing, *self._taken(), *(one.sent for one in self._queue)):
                sent.cancel()

    def _taken(self) -> list[asyncio.Future[None]]:
        waiting, self._waiting_for_whole = self._waiting_for_whole, []
        return waiting


def _handed(sent: list[asyncio.Future[None]]) -> None:
    """The generator goes on after a yield only when the message was written: that is the moment to tell."""
    while sent:
        one = sent.pop()
        if not one.done():
            one.set_result(None)
