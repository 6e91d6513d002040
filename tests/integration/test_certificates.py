"""Certificates fetched from a real HTTPS server on this machine, and addresses that must not be followed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstring.channels import certificates
from firstring.channels.certificates import CertificateAnswer, CertificateCache, is_public
from firstring.channels.signatures import SignatureVerifier
from firstring.contact import SignatureCheck
from firstring.ports import SystemClock
from firstring.trust.trial_ca import TrialAuthority, TrialCarrier

NOW = datetime.now(UTC)
CA = TrialAuthority(NOW)
CARRIER = CA.carrier("https://localhost/chain.pem")
CALLER, CALLED = "+15551234567", "+18005550100"
LOCAL = frozenset({"127.0.0.1", "localhost", "certificates.example.com"})


class TurnedClock:
    """The machine's clocks, turned forward by `ahead_s`."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def monotonic_s(self) -> float:
        return SystemClock().monotonic_s() + self.ahead_s


class Server:
    """An HTTPS server that answers each path with the bytes it was given, and counts what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {"/chain.pem": ok(CARRIER.chain_pem)}
        self.delay_s: dict[str, float] = {}
        self.asked: list[tuple[str, str]] = []
        self.connections = 0
        self.port = 0

    def url(self, path: str = "/chain.pem", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = request.split(" ", 2)[1]
            host = next(line[6:] for line in request.split("\r\n") if line.lower().startswith("host: "))
            self.asked.append((path, host))
            await asyncio.sleep(self.delay_s.get(path, 0.0))
            writer.write(self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


def ok(body: bytes, *headers: str) -> bytes:
    head = "\r\n".join(("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *headers))
    return head.encode() + b"\r\n\r\n" + body


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    chain, key = CA.tls(["localhost", "127.0.0.1", "certificates.example.com"])
    (tmp_path / "tls.pem").write_bytes(chain + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem")
    serving = Server()
    listening = await asyncio.start_server(serving.serve, "127.0.0.1", 0, ssl=context)
    serving.port = listening.sockets[0].getsockname()[1]
    try:
        yield serving
    finally:
        listening.close()
        await listening.wait_closed()


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CA.root_pem.decode())


@pytest.fixture
async def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
async def cache(clock: TurnedClock) -> AsyncIterator[CertificateCache]:
    opened = CertificateCache(clock, tls=trusting(), allow_private_hosts=LOCAL, resolve=to_this_machine)
    yield opened
    await opened.aclose()


async def to_this_machine(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


LONG_MS = 5_000


async def test_a_chain_is_fetched_once_and_kept_for_a_day(
    server: Server, cache: CertificateCache, clock: TurnedClock
) -> None:
    for _ in range(3):
        assert await cache.get(server.url(), LONG_MS) == CARRIER.chain_pem
    assert server.asked == [("/chain.pem", f"localhost:{server.port}")]
    clock.ahead_s = 23 * 3600
    assert await cache.get(server.url(), 0) == CARRIER.chain_pem
    clock.ahead_s = 25 * 3600
    assert await cache.get(server.url(), 0) is None
    assert await cache.get(server.url(), LONG_MS) == CARRIER.chain_pem
    assert len(server.asked) == 2


async def test_a_chain_is_not_kept_beyond_its_end(server: Server, cache: CertificateCache, clock: TurnedClock) -> None:
    short = CA.carrier(server.url("/short"), until=datetime.now(UTC) + timedelta(minutes=10))
    server.answers["/short"] = ok(short.chain_pem)
    assert await cache.get(short.url, LONG_MS) == short.chain_pem
    clock.ahead_s = 9 * 60
    assert await cache.get(short.url, 0) == short.chain_pem
    clock.ahead_s = 11 * 60
    assert await cache.get(short.url, 0) is None


async def test_many_calls_share_one_fetch(server: Server, cache: CertificateCache) -> None:
    server.delay_s["/chain.pem"] = 0.1
    found = await asyncio.gather(*(cache.get(server.url(), LONG_MS) for _ in range(50)))
    assert set(found) == {CARRIER.chain_pem}
    assert server.connections == 1


async def test_the_connection_goes_to_the_address_that_was_judged(server: Server, cache: CertificateCache) -> None:
    """The name stays in SNI, in the check of the server's certificate and in Host."""
    url = server.url(host="certificates.example.com")
    assert await cache.get(url, LONG_MS) == CARRIER.chain_pem
    assert server.asked == [("/chain.pem", f"certificates.example.com:{server.port}")]


async def test_a_server_without_the_certificate_of_its_name_is_not_believed(server: Server) -> None:
    cache = CertificateCache(
        SystemClock(), tls=trusting(), allow_private_hosts=frozenset({"other.example.com"}), resolve=to_this_machine
    )
    url = server.url(host="other.example.com")
    assert await cache.answer(url, LONG_MS) == CertificateAnswer(fault="certificate_unavailable")
    await cache.aclose()
    system = CertificateCache(SystemClock(), allow_private_hosts=LOCAL)
    assert (await system.answer(server.url(), LONG_MS)).fault == "certificate_unavailable"
    await system.aclose()
    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f.0.0.1/x",
        "https://10.0.0.1/x",
        "https://172.16.0.1/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/x",
        "https://0.0.0.0/x",
        "https://224.0.0.1/x",
        "https://[fe80::1]/x",
        "https://[fc00::1]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://[2002:7f00:1::]/x",
        "http://certificates.example.com/x",
        "https://certificates.example.com:22/x",
        "https://user:secret@certificates.example.com/x",
        "https:///x",
        "ftp://certificates.example.com/x",
    ],
)
async def test_addresses_that_point_inside_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody_connects(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", nobody_connects)
    cache = CertificateCache(SystemClock(), tls=trusting())
    assert await cache.answer(url, LONG_MS) == CertificateAnswer(fault="certificate_refused")
    await cache.aclose()


async def test_every_address_of_a_name_must_be_public(server: Server) -> None:
    async def mixed(host: str, port: int) -> Sequence[str]:
        return ["93.184.215.14", "127.0.0.1"]

    async def nothing(host: str, port: int) -> Sequence[str]:
        return []

    for resolve in (mixed, nothing, to_this_machine):
        cache = CertificateCache(SystemClock(), tls=trusting(), resolve=resolve)
        assert (await cache.answer("https://certificates.example.com/x", LONG_MS)).fault == "certificate_refused"
        await cache.aclose()
    assert server.connections == 0


async def test_only_hosts_on_the_list(server: Server) -> None:
    cache = CertificateCache(
        SystemClock(),
        tls=trusting(),
        allow_private_hosts=LOCAL,
        only_hosts=frozenset({"localhost"}),
        resolve=to_this_machine,
    )
    assert (await cache.answer(server.url(host="127.0.0.1"), LONG_MS)).fault == "certificate_refused"
    assert await cache.get(server.url(), LONG_MS) == CARRIER.chain_pem
    await cache.aclose()


async def test_redirects_large_bodies_and_other_answers(server: Server, cache: CertificateCache) -> None:
    to_chain = f"HTTP/1.1 302 Found\r\nLocation: {server.url()}\r\nContent-Length: 0\r\n\r\n".encode()
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    server.answers |= {
        "/redirect": to_chain,
        "/large": ok(b"x" * (certificates.BODY_BYTES + 1)),
        "/endless": endless + b"4000\r\n" + b"x" * 0x4000 + b"\r\n",
        "/compressed": ok(CARRIER.chain_pem, "Content-Encoding: gzip"),
        "/text": ok(b"hello"),
        "/empty": ok(b""),
        "/no-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "/cut": ok(CARRIER.chain_pem)[:-10],
    }
    faults = {path: (await cache.answer(server.url(path), LONG_MS)).fault for path in [*server.answers, "/missing"]}
    assert faults == {
        "/chain.pem": None,
        "/redirect": "certificate_refused",
        "/large": "certificate_refused",
        "/endless": "certificate_refused",
        "/compressed": "certificate_refused",
        "/text": "certificate_malformed",
        "/empty": "certificate_malformed",
        "/no-http": "certificate_unavailable",
        "/cut": "certificate_unavailable",
        "/missing": "certificate_unavailable",
    }
    assert [path for path, _ in server.asked].count("/chain.pem") == 1


async def test_a_failure_is_remembered_for_half_a_minute(
    server: Server, cache: CertificateCache, clock: TurnedClock
) -> None:
    url = server.url("/later")
    for _ in range(3):
        assert await cache.get(url, LONG_MS) is None
    assert len(server.asked) == 1
    server.answers["/later"] = ok(CARRIER.chain_pem)
    clock.ahead_s = certificates.KEEP_FAILED_S + 1
    assert await cache.get(url, LONG_MS) == CARRIER.chain_pem


async def test_a_closed_port_is_unavailable(cache: CertificateCache) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = await cache.answer(f"https://localhost:{closed.getsockname()[1]}/x", LONG_MS)
    assert answer == CertificateAnswer(fault="certificate_unavailable")


async def test_the_other_addresses_of_a_name_are_tried(server: Server, clock: TurnedClock) -> None:
    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]  # the server listens on the second alone

    cache = CertificateCache(clock, tls=trusting(), allow_private_hosts=LOCAL, resolve=two)
    assert await cache.get(server.url(), LONG_MS) == CARRIER.chain_pem
    await cache.aclose()


async def test_a_slow_server_is_not_waited_for_and_its_answer_is_kept(server: Server, cache: CertificateCache) -> None:
    server.delay_s["/chain.pem"] = 0.4
    came: asyncio.Future[CertificateAnswer] = asyncio.get_running_loop().create_future()
    answer = await cache.answer(server.url(), 50, came.set_result)
    assert answer == CertificateAnswer(fault="certificate_pending")
    assert not came.done()
    assert (await asyncio.wait_for(came, 5)).pem == CARRIER.chain_pem
    assert await cache.get(server.url(), 0) == CARRIER.chain_pem
    assert server.connections == 1


async def test_a_server_that_never_answers_is_given_up(
    server: Server, cache: CertificateCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "FETCH_S", 0.2)
    server.delay_s["/chain.pem"] = 2.0
    assert (await cache.answer(server.url(), LONG_MS)).fault == "certificate_unavailable"


async def test_fetches_are_bounded(server: Server, cache: CertificateCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "PENDING", 3)
    server.delay_s |= {f"/{n}": 0.3 for n in range(5)}
    answers = [(await cache.answer(server.url(f"/{n}"), 0)).fault for n in range(5)]
    assert answers == ["certificate_pending"] * 3 + ["certificate_unavailable"] * 2


async def test_what_is_remembered_is_bounded(
    server: Server, cache: CertificateCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "CACHED", 2)
    for path in ("/1", "/2", "/chain.pem", "/3"):
        await cache.get(server.url(path), LONG_MS)
    assert len(cache._kept) == 2
    assert await cache.get(server.url(), 0) == CARRIER.chain_pem


async def test_closing_gives_up_what_is_under_way(server: Server, clock: TurnedClock) -> None:
    server.delay_s["/chain.pem"] = 1.0
    cache = CertificateCache(clock, tls=trusting(), allow_private_hosts=LOCAL, resolve=to_this_machine)
    waiting = asyncio.create_task(cache.answer(server.url(), LONG_MS))
    await asyncio.sleep(0.05)
    await cache.aclose()
    assert (await waiting).fault == "certificate_unavailable"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60).map("https://{}".format) | st.text(max_size=60))
def test_any_text_as_an_address(url: str) -> None:
    async def ask() -> CertificateAnswer:
        cache = CertificateCache(SystemClock(), tls=trusting(), resolve=to_this_machine)
        try:
            return await cache.answer(url, LONG_MS)
        finally:
            await cache.aclose()

    assert asyncio.run(ask()).fault in ("certificate_refused", "certificate_unavailable")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255"),
        *("0.0.0.0", "0.1.2.3", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "fc00::1", "fd12::1"),
        *("fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001::1", "2001:db8::1", "2001:10::1", "2002:808:808::"),
        *("3fff::1", "5f00::1", "2606:4700::1111%1", "", "localhost", "1.2.3", "8.8.8.8/32", " 8.8.8.8"),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"])
def test_public(address: str) -> None:
    assert is_public(address)


# --- the whole check of a call -----------------------------------------------------------------------------------


def identity(carrier: TrialCarrier) -> str:
    return carrier.sign(CALLER, CALLED, datetime.now(UTC), "origin-1")


async def test_a_call_is_checked_with_the_certificate_it_points_at(server: Server, cache: CertificateCache) -> None:
    verifier = SignatureVerifier(cache, [CA.root], SystemClock())
    carrier = CARRIER.at(server.url())
    for _ in range(3):
        check = await verifier.check(identity(carrier), CALLER, CALLED, deadline_ms=LONG_MS)
        assert (check.verstat, check.attestation) == ("TN-Validation-Passed", "A")
    assert server.connections == 1
    spoofed = await verifier.check(identity(carrier), "+15550000000", CALLED)
    assert (spoofed.reason, spoofed.sip_code) == ("orig_mismatch", 438)


async def test_a_late_certificate_finishes_the_check(server: Server, cache: CertificateCache) -> None:
    server.delay_s["/chain.pem"] = 0.3
    verifier = SignatureVerifier(cache, [CA.root], SystemClock())
    came: asyncio.Future[SignatureCheck] = asyncio.get_running_loop().create_future()
    carrier = CARRIER.at(server.url())
    check = await verifier.check(identity(carrier), CALLER, CALLED, deadline_ms=20, late=came.set_result)
    assert (check.verstat, check.reason, check.sip_code) == ("No-TN-Validation", "certificate_pending", 436)
    assert (await asyncio.wait_for(came, 5)).verstat == "TN-Validation-Passed"


async def test_an_unknown_authority_and_an_address_inside(server: Server, cache: CertificateCache) -> None:
    stranger = SignatureVerifier(cache, [TrialAuthority(NOW).root], SystemClock())
    check = await stranger.check(identity(CARRIER.at(server.url())), CALLER, CALLED, deadline_ms=LONG_MS)
    assert (check.verstat, check.reason, check.sip_code) == ("TN-Validation-Failed", "certificate_untrusted", 437)
    strict = CertificateCache(SystemClock(), tls=trusting())
    verifier = SignatureVerifier(strict, [CA.root], SystemClock())
    check = await verifier.check(identity(CARRIER.at(server.url())), CALLER, CALLED, deadline_ms=LONG_MS)
    assert (check.verstat, check.reason, check.sip_code) == ("TN-Validation-Failed", "certificate_refused", 436)
    assert server.connections == 1
    await strict.aclose()


async def test_without_roots_nothing_is_fetched(server: Server, cache: CertificateCache) -> None:
    verifier = SignatureVerifier(cache, [], SystemClock())
    check = await verifier.check(identity(CARRIER.at(server.url())), CALLER, CALLED, deadline_ms=LONG_MS)
    assert (check.verstat, check.reason) == ("No-TN-Validation", "no_trusted_roots")
    assert server.connections == 0
