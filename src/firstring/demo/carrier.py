"""The caller's carrier: signs calls (STIR/SHAKEN) and publishes its certificates on a small https server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from firstring.trust.trial_ca import TrialAuthority, TrialCarrier

HOST: Final = "127.0.0.1"
_REQUEST_BYTES: Final = 8_192
_REQUEST_S: Final = 5.0


class Carrier:
    """Signs as the trial carrier. `root_file` holds the root, for the server's trust in signatures and in https alike."""

    def __init__(self, signer: TrialCarrier, root_file: Path) -> None:
        self._signer = signer
        self.root_file = root_file

    def identity(self, caller: str, called: str, now: datetime) -> str:
        """An Identity header with attestation A for a call from `caller`; for another caller it does not hold."""
        return self._signer.sign(caller, called, now, str(uuid4()), "A")


@asynccontextmanager
async def carrier(folder: Path, now: datetime) -> AsyncIterator[Carrier]:
    """The carrier with its https server. The keys are new each time; the server's lies in `folder` for a moment."""
    authority = TrialAuthority(now)
    root_file = folder / "trial-root.pem"
    root_file.write_bytes(authority.root_pem)
    context = _context(authority, folder)
    published = authority.carrier("")  # its address is known once the server listens

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_REQUEST_S):
                await reader.readuntil(b"\r\n\r\n")
                body = published.chain_pem
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/pem-certificate-chain\r\nContent-Length: {len(body)}\r\n"
                )
                writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0, ssl=context, limit=_REQUEST_BYTES)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Carrier(published.at(f"https://{HOST}:{port}/shaken.pem"), root_file)
    finally:
        server.close()


def _context(authority: TrialAuthority, folder: Path) -> ssl.SSLContext:
    chain, key = authority.tls([HOST])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = folder / "trial-https.pem"
    file.touch(mode=0o600)
    try:
        file.write_bytes(chain + key)
        context.load_cert_chain(file)
    finally:
        file.unlink()
    return context
