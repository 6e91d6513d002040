"""What leaves: by webhook and by mail, to real servers that refuse, fail and come back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.acceptance.desk_rig import serving, settings_of
from tests.events_rig import read_events

from firstring.bootstrap import Server
from firstring.channels.outbound.guarded import GuardedPoster, checked_address
from firstring.channels.outbound.links import unsubscribe_path
from firstring.channels.outbound.signing import signed, webhook_secret
from firstring.errors import BadInput, Retryable
from firstring.identity.canonical.record import canonical_record
from firstring.journey.events import parse_event
from firstring.nextbest.delivery import Delivery, Route
from firstring.nextbest.library import sources
from firstring.ports import SystemClock
from firstring.store import delivery as store
from firstring.store.database import Tenant
from firstring.store.identity.records import apply_records
from firstring.store.journey.declared import load as load_patterns
from firstring.store.journey.events import ingest
from firstring.store.journey.firings import Firing
from firstring.store.journey.profiles import read_profile
from firstring.store.nextbest.policies import load_policy, refresh
from firstring.store.opening import initialise

ACTIONS = """
id: parcel_news
kind: service
title: Tell them where the parcel is
route: {route}
trigger: {{patterns: [late_delivery_watched]}}
chance: 0.5
value: 10
cost: 0.1
expires: 1d
content:
  en: {{title: "Your parcel", subject: "Your parcel", text: "It comes tomorrow.", accept: "See where it is", url: "https://shop.test/parcel?n=1"}}
"""


BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
PEOPLE = (
    {"record_id": "c-1", "full_name": "Ann Lee", "email": "ann@example.org", "phone": "+44 7700 900123"},
    {"record_id": "c-2", "full_name": "Bob Lee", "account": "7"},
)


class Hook:
    """A receiver of webhooks: what it was sent, and what it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        headers_as_sent = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in head.split("\r\n")[1:] if line}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers_as_sent, body))
        status = self.answers.pop(0) if self.answers else 200
        extra = "Location: http://127.0.0.1:1/\r\n" if status == 302 else ""
        writer.write(f"HTTP/1.1 {status} x\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


class Mailbox:
    """A mail server's handler."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.refuse: list[str] = []
        self.was_tls: list[bool] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.refuse:
            return self.refuse.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(envelope.content)
        self.was_tls.append(session.ssl is not None)
        return "250 OK"


class Rig(NamedTuple):
    server: Server
    tenant: Tenant
    url: str
    hook: Hook
    mailbox: Mailbox


def certificate(place: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, hashes.SHA256())
    )  # fmt: skip
    files = place / "cert.pem", place / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files[1].write_bytes(private)
    return files


@pytest.fixture(scope="module")
async def rig(make_home: Any, master_key: bytes, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    hook, mailbox = Hook(), Mailbox()
    receiver = await asyncio.start_server(hook.answer, "127.0.0.1", 0)
    hook.url = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/hook"
    chain, key = certificate(tmp_path_factory.mktemp("mail"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(chain, key)

    def allowed(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"shop", b"secret"))

    mail = await asyncio.get_running_loop().create_server(
        lambda: SMTP(
            mailbox, hostname="localhost", tls_context=tls, require_starttls=True, authenticator=allowed, auth_required=True
        ),
        "localhost",
        0,
        family=socket.AF_INET,
    )  # fmt: skip
    port = mail.sockets[0].getsockname()[1]
    settings = settings_of(
        make_home(), master_key, outbound_webhook_url=hook.url, outbound_private_hosts=("127.0.0.1",),
        outbound_smtp=f"localhost:{port}", outbound_from="The Shop <news@shop.test>", outbound_smtp_user="shop",
        outbound_smtp_password="secret", outbound_smtp_roots_file=chain, public_url="http://shop.test",
    )  # fmt: skip
    await initialise(settings, SystemClock())
    async with serving(settings) as (server, url, _):
        tenant = await server.services.database.tenant_named("main")
        await apply_records(
            server.services.database, tenant, "shop",
            [canonical_record(one, country="GB") for one in PEOPLE],
            now=server.services.clock.now(),
        )  # fmt: skip
        texts = [(f"{route}.yaml", ACTIONS.format(route=route).replace("parcel_news", f"parcel_{route}"))
                 for route in ("email", "sms", "webhook")]  # fmt: skip
        async with server.services.database.transaction(tenant.tenant_id) as connection:
            now, origin = server.services.clock.now(), server.services.notices.origin
            await load_policy(connection, tenant, [*sources("journey"), *texts], by="test", now=now, origin=origin)
        await refresh(server.services.database, tenant)
        yield Rig(server, tenant, url, hook, mailbox)
    mail.close()
    receiver.close()


async def decide(rig: Rig, route: Route, own_id: str = "c-1", **changes: Any) -> Delivery:
    services = rig.server.services
    now = services.clock.now()
    async with services.database.transaction(rig.tenant.tenant_id) as connection:
        rows = await connection.fetch("select record_id, wrapped_key, sealed from record")
        [record_id] = [
            row["record_id"]
            for row in rows
            if rig.tenant.keys.open(row["wrapped_key"], row["sealed"])["record_id"] == own_id
        ]
        made: dict[str, Any] = {
            "delivery_id": services.ids.new(), "decision_id": services.ids.new(), "person_id": 1, "record_id": record_id,
            "route": route, "action": f"parcel_{route}", "kind": "service", "not_before": now,
            "expires_at": now + timedelta(hours=6),
            "content": {
                "title": "Your parcel", "subject": "Your\r\nBcc: all@example.org\r\nparcel", "text": "It comes tomorrow.",
                "accept": "See where it is", "url": "https://shop.test/parcel?n=1",
            },
        }  # fmt: skip
        delivery = Delivery(**{**made, **changes})
        await store.enqueue(connection, rig.tenant, delivery, now=now)
    store.announce(services.notices, rig.tenant, [delivery.delivery_id])
    return delivery


async def at_rest(rig: Rig, delivery: Delivery) -> None:
    """As if it had left some time ago."""
    async with rig.server.services.database.transaction(rig.tenant.tenant_id) as connection:
        ago = "update delivery set state_at = state_at - interval '1 minute' where delivery_id = $1"
        await connection.execute(ago, delivery.delivery_id)


async def become(rig: Rig, delivery: Delivery, *states: str) -> store.Line:
    """The delivery, once it is in one of these states; tries that were put off are made at once."""
    services = rig.server.services
    for _ in range(200):
        lines = await store.listed(services.database, rig.tenant, None, 100)
        [line] = [one for one in lines if one.delivery_id == delivery.delivery_id]
        if line.state in states:
            return line
        if line.reason:
            async with services.database.transaction(rig.tenant.tenant_id) as connection:
                await connection.execute(
                    "update delivery set next_at = now() where delivery_id = $1 and state = 'pending' and reason > ''",
                    delivery.delivery_id,
                )
            store.announce(services.notices, rig.tenant, [delivery.delivery_id])
        await asyncio.sleep(0.05)
    raise AssertionError(line)


async def test_a_webhook_is_signed_and_tried_again(rig: Rig) -> None:
    rig.hook.answers = [500, 302]
    delivery = await decide(rig, "sms")
    line = await become(rig, delivery, "shown")
    assert line.attempts == 3
    sent = [one for one in rig.hook.got if one[0]["webhook-id"] == str(delivery.delivery_id)]
    assert len(sent) == 3
    headers, body = sent[-1]
    secret = webhook_secret(rig.tenant.keys, "actions")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    stamp = headers["webhook-timestamp"]
    expected = hmac.new(key, f"{delivery.delivery_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    data = json.loads(body)["data"]
    assert (data["to"], data["route"], data["content"]["text"]) == (["+447700900123"], "sms", "It comes tomorrow.")
    assert data["url"].startswith("http://shop.test/web/go/")
    names = await told(rig, delivery)
    assert names == ["Action Shown"]


async def told(rig: Rig, delivery: Delivery) -> list[str]:
    await rig.server.services.web.log.write(rig.tenant)
    found = await read_events(rig.server.services.database, rig.tenant, "shop")
    return [one.name for one in found if one.properties.get("delivery_id") == str(delivery.delivery_id)]


async def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the specification's own libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_programs_that_open_links_sign_nobody_in(rig: Rig) -> None:
    """A scanner opens what is in a mail before anybody reads it; browsers fetch ahead; messengers show previews."""
    delivery = await decide(rig, "email")
    await become(rig, delivery, "shown")
    text = message_from_bytes(rig.mailbox.mails[-1], policy=policy.default).get_content()
    link = next(word for word in text.split() if "/web/go/" in word).removeprefix("http://shop.test")
    async with httpx.AsyncClient(base_url=rig.url, headers=BROWSER) as client:
        too_soon = await client.get(link)
        await at_rest(rig, delivery)
        asked = await client.head(link)
        by_name = await client.get(link, headers={"User-Agent": "Mozilla/5.0 (compatible; SlackBot-LinkExpanding 1.0)"})
        unnamed = await client.get(link, headers={"User-Agent": ""})
        for one in (too_soon, asked, by_name, unnamed):
            assert (one.status_code, one.headers["location"]) == (303, "https://shop.test/parcel?n=1"), "no token"
        ahead = await client.get(link, headers={"Sec-Purpose": "prefetch;prerender"})
        assert (ahead.status_code, "location" in ahead.headers) == (503, False)
        assert (await become(rig, delivery, "shown")).state == "shown", "nobody has accepted anything"
        assert "fs_click=" in (await client.get(link)).headers["location"], "then the receiver comes"
        assert (await become(rig, delivery, "accepted")).state == "accepted"
        assert "fs_click=" in (await client.get(link)).headers["location"], "and comes again"


async def test_patterns_hear_at_once_what_became_of_an_action(rig: Rig) -> None:
    """Without being told they would wait for the look at what was missed, every 15 seconds."""
    services = rig.server.services
    yaml = "{id: reached, within: 1d, match: {event: Action Shown}}"
    now = services.clock.now()
    await load_patterns(services.database, rig.tenant, [("", yaml)], by="test", now=now, switch_on=True)
    heard: list[str] = []

    async def hook(tenant: Tenant, firings: Sequence[Firing]) -> None:
        heard.extend(one.pattern for one in firings)

    services.firings.hooks.append(hook)
    await become(rig, await decide(rig, "webhook"), "shown")
    async with asyncio.timeout(5):
        while "reached" not in heard:
            await asyncio.sleep(0.02)


async def test_a_mail_leaves_by_tls_with_a_way_out_of_it(rig: Rig) -> None:
    delivery = await decide(rig, "email")
    await become(rig, delivery, "shown")
    mail = message_from_bytes(rig.mailbox.mails[-1], policy=policy.default)
    assert rig.mailbox.was_tls[-1]
    assert (mail["To"], mail["From"], mail["Subject"]) == (
        "ann@example.org",
        "The Shop <news@shop.test>",
        "Your Bcc: all@example.org parcel",
    )
    assert mail["Bcc"] is None
    assert mail["Message-ID"] == f"<{delivery.delivery_id}@shop.test>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    text = mail.get_content()
    assert "It comes tomorrow." in text
    assert f"\r\nList-Unsubscribe: {mail['List-Unsubscribe']}\r\n".encode() in rig.mailbox.mails[-1], (
        "neither folded nor coded"
    )
    way_out = mail["List-Unsubscribe"].strip("<>").removeprefix("http://shop.test")
    link = next(word for word in text.split() if "/web/go/" in word).removeprefix("http://shop.test")
    async with httpx.AsyncClient(base_url=rig.url, headers=BROWSER) as client:
        await at_rest(rig, delivery)
        gone = await client.get(link)
        assert gone.status_code == 303
        assert gone.headers["location"].startswith("https://shop.test/parcel?n=1&fs_click=")
        assert (await client.get(link[:-3] + "AAA")).status_code == 404
        await become(rig, delivery, "accepted")
        assert await told(rig, delivery) == ["Action Shown", "Action Accepted"]
        assert "Unsubscribe" in (await client.get(way_out)).text
        second = await decide(rig, "email")
        await become(rig, second, "shown")
        for _ in range(2):
            assert (await client.post(way_out, content="List-Unsubscribe=One-Click")).status_code == 200
        assert (await client.post(way_out[:-3] + "000")).status_code == 404
    third = await decide(rig, "email")
    line = await become(rig, third, "withdrawn", "shown")
    assert line.state == "withdrawn", "consent withdrawn between decision and delivery"


async def test_whoever_subscribes_again_can_leave_again_on_the_same_day(rig: Rig) -> None:
    services, tenant = rig.server.services, rig.tenant
    bob = {"record_id": "c-9", "full_name": "Bo Berg", "email": "bo@example.org"}
    await apply_records(services.database, tenant, "shop", [canonical_record(bob, country="GB")], now=services.clock.now())
    delivery = await decide(rig, "webhook", own_id="c-9")
    path = unsubscribe_path(tenant.tenant_id, tenant.keys, delivery.record_id, "email", "marketing")

    async def given() -> bool | None:
        async with services.database.transaction(tenant.tenant_id) as connection:
            person = await connection.fetchval("select person_id from record where record_id = $1", delivery.record_id)
        rules = services.models.survivorship
        found = await read_profile(services.database, tenant, person, now=services.clock.now(), rules=rules)
        return found.consents.given("marketing", "email")

    async with httpx.AsyncClient(base_url=rig.url, headers=BROWSER) as client:
        for _ in range(2):
            assert (await client.post(path)).status_code == 200
        assert await given() is False
        again = parse_event(
            {"type": "track", "event": "Subscribed", "userId": "c-9", "messageId": "again",
             "properties": {"channel": "email"}, "timestamp": services.clock.now().isoformat()},
            received_at=services.clock.now(),
        )  # fmt: skip
        assert (await ingest(services.database, tenant, "shop", [again], now=services.clock.now())).stored == 1
        assert await given() is True
        assert (await client.post(path)).status_code == 200
        assert await given() is False


async def test_a_mail_server_that_fails_and_one_that_refuses(rig: Rig) -> None:
    rig.mailbox.refuse = ["451 later"]
    delivery = await decide(rig, "email", kind="safety", action="parcel_sms")
    line = await become(rig, delivery, "shown")
    assert line.attempts == 2
    rig.mailbox.refuse = ["550 no such user"]
    delivery = await decide(rig, "email", action="parcel_sms")
    line = await become(rig, delivery, "failed")
    assert (line.attempts, line.reason) == (1, "mail_refused")
    assert await told(rig, delivery) == ["Action Failed"]


async def test_dead_letters(rig: Rig) -> None:
    nobody = await decide(rig, "sms", own_id="c-2")
    assert (await become(rig, nobody, "failed")).reason == "no_address"
    rig.hook.answers = [500] * 8
    delivery = await decide(rig, "webhook")
    line = await become(rig, delivery, "failed")
    assert (line.attempts, line.reason) == (8, "webhook_refused")
    services = rig.server.services
    async with services.database.transaction(rig.tenant.tenant_id) as connection:
        await store.try_again(connection, rig.tenant, delivery.delivery_id, services.clock.now())
    assert (await become(rig, delivery, "shown")).attempts == 1
    late = await decide(rig, "webhook", expires_at=services.clock.now() + timedelta(seconds=2))
    rig.hook.answers = [500]
    assert (await become(rig, late, "failed")).attempts == 1, "its end comes before the next try"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://u:p@example.org/",
        "ftp://example.org/",
        "https://",
        "https://x:99999/",
        "https://a/#x",
        "https://[::1",
        "https://a b/",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(BadInput):
        checked_address(url, frozenset())


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
async def test_nobody_leads_us_into_our_own_network(host: str) -> None:
    with pytest.raises(BadInput) as refused:
        await GuardedPoster().post(f"https://{host}/", {}, b"{}")
    assert refused.value.code == "webhook_address_refused"


async def test_a_receiver_that_is_not_there() -> None:
    with pytest.raises(Retryable) as failed:
        await GuardedPoster(frozenset(["127.0.0.1"])).post("http://127.0.0.1:1/", {}, b"{}")
    assert failed.value.code == "webhook_unreachable"
