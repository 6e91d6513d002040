"""An answer's head and body leave together, and nothing is lost when the connection is closed at once."""

from __future__ import annotations

import asyncio
import socket

from firstring.serving import HttpProtocol, _OneWrite


async def connected() -> tuple[socket.socket, _OneWrite]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    theirs.setblocking(False)
    return theirs, _OneWrite(transport, loop)


async def received(peer: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(peer, 100)


async def test_what_is_written_in_one_turn_leaves_together() -> None:
    peer, connection = await connected()
    connection.write(b"head ")
    connection.write(b"body")
    await asyncio.sleep(0)
    assert await received(peer) == b"head body"
    connection.write(b"more")
    assert await received(peer) == b"more"
    connection.close()
    assert await received(peer) == b""
    peer.close()


async def test_what_was_written_before_the_end_arrives() -> None:
    peer, connection = await connected()
    connection.write(b"head ")
    connection.write(b"body")
    connection.close()
    assert connection.is_closing()
    assert await received(peer) == b"head body"
    assert await received(peer) == b""
    peer.close()


async def test_a_connection_that_was_lost_is_written_to_in_vain() -> None:
    peer, connection = await connected()
    connection.write(b"head")
    connection.abort()
    connection.write(b"body")
    await asyncio.sleep(0.01)
    peer.close()


def test_the_server_uses_it() -> None:
    assert issubclass(HttpProtocol, asyncio.Protocol)
