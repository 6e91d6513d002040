"""Fetching the certificates that callers point at, without going where an attacker sends us.

The address of a certificate (x5u of a PASSporT) is the attacker's choice. So: https only, ports 443 and 8443, every address
behind the name must be public, the connection goes to the very address that was judged (no second look-up to rebind),
no redirects, no proxies, no cookies, 16 KB, 2 s, a bounded number at once, one fetch for many callers of one address.
What failed is not tried again for half a minute; what was fetched is kept for a day at most.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final, Literal

import httpx
import msgspec
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from firstring import limits
from firstring.ports import Clock

FETCH_S: Final = 2.0
"""One fetch as a whole: look-up, TLS and body."""
BODY_BYTES: Final = 16_384
"""A chain file."""
FETCHES: Final = 8
"""Fetches under way at once; others wait their turn inside their two seconds."""
PENDING: Final = 64
"""Fetches under way or waiting; beyond it an address is not fetched now."""
CACHED: Final = 1_000
"""Addresses remembered, the least recently used forgotten first."""
KEEP_S: Final = 24 * 3600.0
"""A chain is kept for this long, or until its first certificate ends."""
KEEP_FAILED_S: Final = 30.0
"""A failure is remembered for this long."""
ADDRESSES_TRIED: Final = 3
"""Addresses of one name that are tried in turn."""
PORTS: Final = frozenset({443, 8443})

Fault = Literal["certificate_pending", "certificate_unavailable", "certificate_refused", "certificate_malformed"]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks up a name: (host, port) -> addresses as text. Raises OSError when there are none."""


class CertificateAnswer(msgspec.Struct, frozen=True):
    """A chain in PEM, or why there is none (a reason of trust.stir.FAULTS; pending: still being fetched)."""

    pem: bytes | None = None
    fault: Fault | None = None


class _Kept(msgspec.Struct, frozen=True):
    answer: CertificateAnswer
    until_s: float


class _Refused(Exception):
    """The address, or what it answered, is against the rules."""


_UNAVAILABLE: Final = CertificateAnswer(fault="certificate_unavailable")
_REFUSED: Final = CertificateAnswer(fault="certificate_refused")
_MALFORMED: Final = CertificateAnswer(fault="certificate_malformed")
_PENDING: Final = CertificateAnswer(fault="certificate_pending")

_V6_PUBLIC: Final = ipaddress.IPv6Network("2000::/3")
# Ranges inside 2000::/3 that reach an embedded IPv4 address or nobody: IETF protocols with Teredo, 6to4, documentation.
_V6_NOT_PUBLIC: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_V4_NOT_PUBLIC: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/3")
)


def is_public(address: str) -> bool:
    """May we connect there? Plain global unicast only; mapped, translated and tunnelled IPv4 addresses are refused."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not any(ip in network for network in _V4_NOT_PUBLIC)
    if ip.scope_id is not None or ip not in _V6_PUBLIC or any(ip in network for network in _V6_NOT_PUBLIC):
        return False
    return ip.is_global


class CertificateCache:
    """Chains by address, fetched at most once at a time. Close it with `aclose`."""

    def __init__(
        self,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        only_hosts: frozenset[str] | None = None,
        allow_private_hosts: frozenset[str] = frozenset(),
        resolve: Resolve | None = None,
    ) -> None:
        """tls: how to trust the HTTPS servers (default: the system's roots). only_hosts: if given, no other host is asked.

        allow_private_hosts: hosts that may be anywhere, on any port. It is for trials on one machine, where a carrier of
        one's own publishes its chain on 127.0.0.1; leave it empty in production.
        """
        self._clock = clock
        self._tls = tls or ssl.create_default_context()
        self._only = only_hosts
        self._private = allow_private_hosts
        # A pool of its own: a name server that never answers must not occupy the threads of others.
        self._threads = ThreadPoolExecutor(FETCHES, thread_name_prefix="certificate-lookup")
        self._resolve = resolve or self._look_up
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._running: dict[str, asyncio.Task[CertificateAnswer]] = {}
        self._places = asyncio.Semaphore(FETCHES)

    async def get(self, url: str, deadline_ms: float = limits.CERTIFICATE_WAIT_MS) -> bytes | None:
        """The chain at `url` if it is there within the deadline; None otherwise (`answer` says why)."""
        return (await self.answer(url, deadline_ms)).pem

    async def answer(
        self,
        url: str,
        deadline_ms: float = limits.CERTIFICATE_WAIT_MS,
        late: Callable[[CertificateAnswer], None] | None = None,
    ) -> CertificateAnswer:
        """The chain at `url`, or why there is none. Never raises for what a server does.

        A fetch that takes longer than the deadline goes on in the background; `late` is called with what it brought.
        """
        kept = self._kept.get(url)
        if kept is not None and kept.until_s > self._clock.monotonic_s():
            self._kept.move_to_end(url)
            return kept.answer
        fetch = self._running.get(url)
        if fetch is None:
            if len(self._running) >= PENDING:
                return _UNAVAILABLE
            fetch = asyncio.create_task(self._fetch_and_keep(url), name="certificate-fetch")
            self._running[url] = fetch
            fetch.add_done_callback(lambda _done: self._running.pop(url, None))
        done, _ = await asyncio.wait({fetch}, timeout=max(0.0, deadline_ms) / 1000)
        if done:
            return _UNAVAILABLE if fetch.cancelled() else fetch.result()
        if late is not None:
            tell = late
            fetch.add_done_callback(lambda done: None if done.cancelled() else tell(done.result()))
        return _PENDING

    async def aclose(self) -> None:
        """Give up what is being fetched."""
        running = list(self._running.values())
        for fetch in running:
            fetch.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fetch_and_keep(self, url: str) -> CertificateAnswer:
        try:
            async with asyncio.timeout(FETCH_S):
                async with self._places:
                    pem = await self._fetch(url)
            answer, keep_s = self._judge(pem)
        except _Refused:
            answer, keep_s = _REFUSED, KEEP_FAILED_S
        # OSError: look-up, TimeoutError among them. UnicodeError: a name that IDNA cannot spell.
        except (OSError, httpx.HTTPError, httpx.InvalidURL, UnicodeError):
            answer, keep_s = _UNAVAILABLE, KEEP_FAILED_S
        self._kept[url] = _Kept(answer, self._clock.monotonic_s() + keep_s)
        self._kept.move_to_end(url)
        while len(self._kept) > CACHED:
            self._kept.popitem(last=False)
        return answer

    def _judge(self, pem: bytes) -> tuple[CertificateAnswer, float]:
        """The answer and for how long to keep it."""
        try:
            ends: datetime = x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc
        except (ValueError, x509.InvalidVersion, CryptographyDeprecationWarning):
            return _MALFORMED, KEEP_FAILED_S
        left_s = (ends - self._clock.now()).total_seconds()
        return CertificateAnswer(pem=pem), max(KEEP_FAILED_S, min(KEEP_S, left_s))

    async def _fetch(self, url: str) -> bytes:
        address = httpx.URL(url)
        host, port = address.raw_host.decode("ascii"), address.port or 443
        if address.scheme != "https" or not host or address.userinfo:
            raise _Refused("not a plain https address")
        if self._only is not None and host not in self._only:
            raise _Refused("not a host on the list")
        private = host in self._private
        if not private and port not in PORTS:
            raise _Refused("port")
        found = await self._resolve(host, port)
        if not found or not (private or all(is_public(place) for place in found)):
            raise _Refused("not a public address")
        # The name goes into SNI, into the check of the server's certificate and into Host; the socket to the address.
        name = f"[{host}]" if ":" in host else host
        headers = {"host": name if address.port is None else f"{name}:{port}", "accept-encoding": "identity"}
        failure: httpx.HTTPError | None = None
        for place in found[:ADDRESSES_TRIED]:
            request = httpx.Request(
                "GET", address.copy_with(host=place, fragment=None), headers=headers, extensions={"sni_hostname": host}
            )
            try:
                return await self._request(request)
            except httpx.ConnectError as error:
                failure = error
        assert failure is not None
        raise failure

    async def _request(self, request: httpx.Request) -> bytes:
        # A client per fetch: nothing (connections, cookies) is carried from one server to another.
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=FETCH_S) as client:
            response = await client.send(request, stream=True)
            try:
                if response.has_redirect_location or 300 <= response.status_code < 400:
                    raise _Refused("redirect")
                if response.status_code != 200:
                    raise httpx.HTTPError(f"status {response.status_code}")
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise _Refused("compressed")
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > BODY_BYTES:
                        raise _Refused("too large")
                return bytes(body)
            finally:
                await response.aclose()

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))
