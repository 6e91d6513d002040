"""The links in what was sent: on to where an action leads, and out of messages of a kind with one click (RFC 8058)."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from litestar import Controller, Request, Response, get, head, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from firstring.api.services import Services
from firstring.channels.delivery_log import CHANNELS, SOURCE
from firstring.channels.outbound.links import Unsubscribed, click_of, unsubscribed, with_click
from firstring.errors import BadInput
from firstring.journey.events import parse_event
from firstring.store.database import Tenant
from firstring.store.delivery import clicked, person_of
from firstring.store.journey.events import ingest

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:12vh auto;padding:0 1.2rem}}
button{{font:inherit;padding:.6rem 1.2rem;min-height:44px}}</style></head>
<body><main><h1>{title}</h1>{body}</main></body></html>"""
_PROGRAMS: Final = re.compile(
    r"bot\b|bot/|crawl|spider|preview|scan|facebookexternalhit|whatsapp|telegrambot|skypeuri|safelinks|proofpoint|mimecast"
    r"|barracuda|^(curl|wget|python|go-http|java|okhttp|libwww|axios|node)",
    re.IGNORECASE,
)
"""What programs that open links call themselves; browsers call themselves none of it."""
_ASK: Final = '<p>You will get no more of these messages.</p><form method="post"><button>Unsubscribe</button></form>'
_DONE: Final = "<p>You get no more of these messages.</p>"


class LinksController(Controller):
    """Opened by customers; nothing here tells anything of anybody."""

    path = "/web"
    include_in_schema = False

    @get("/go/{token:str}", status_code=303)
    async def go(
        self, request: Request[Any, Any, Any], token: FromPath[str], services: NamedDependency[Services]
    ) -> Response[Any]:
        """On to where an action leads; it counts as accepted, and the visit as the receiver's.

        What programs open that look into mails, or fetch pages that somebody may come to open, counts for nothing and signs
        nobody in. A page that a browser fetches ahead is refused, so that the click itself comes here.
        """
        if _ahead(request):
            return Response(None, status_code=503, headers={**_HEADERS, "Retry-After": "1"})
        return await self._on(services, token, by_program=_is_program(request))

    @head("/go/{token:str}", status_code=303)
    async def looked_at(self, token: FromPath[str], services: NamedDependency[Services]) -> Response[None]:
        """A program asks where it leads."""
        return await self._on(services, token, by_program=True)

    async def _on(self, services: Services, token: str, *, by_program: bool) -> Response[Any]:
        tenant, rest = await _tenant(services, token)
        now = services.clock.now()
        click = None if tenant is None else click_of(tenant.keys, rest, now)
        if tenant is None or click is None:
            raise _over()
        async with services.database.transaction(tenant.tenant_id) as connection:
            found = await clicked(connection, tenant, click.delivery_id, now, by_program=by_program)
        target = None if found is None else found.delivery.content.get("url")
        if found is None or not isinstance(target, str):
            raise _over()
        if found.counts:
            services.web.log.soon(tenant)
        if not urlsplit(target).scheme:
            target = urljoin(services.settings.public_url or "/", target)
        return Redirect(with_click(target, rest) if found.counts else target, status_code=303, headers=_HEADERS)

    @get("/unsubscribe/{token:str}")
    async def ask(self, token: FromPath[str], services: NamedDependency[Services]) -> Response[str]:
        """A page with one button: mail programs open links by themselves, and must not unsubscribe anybody."""
        await _named(services, token)
        return Response(_PAGE.format(title="Unsubscribe", body=_ASK), media_type="text/html", headers=_HEADERS)

    @post("/unsubscribe/{token:str}", status_code=200)
    async def unsubscribe(self, token: FromPath[str], services: NamedDependency[Services]) -> Response[str]:
        """One click, of the page's button or of a mail program (RFC 8058). Repeats change nothing."""
        tenant, who = await _named(services, token)
        now = services.clock.now()
        async with services.database.transaction(tenant.tenant_id) as connection:
            is_there = await person_of(connection, tenant, who.record_id) is not None
        if is_there:
            event = parse_event(
                {
                    "type": "track",
                    "event": "Unsubscribed" if who.purpose == "marketing" else "Consent Withdrawn",
                    "messageId": f"unsubscribed:{who.record_id}:{who.route}:{who.purpose}:{now.isoformat()}",
                    "anonymousId": f"unsubscribed:{who.record_id}",
                    "timestamp": now.isoformat(),
                    "properties": {"channel": CHANNELS.get(who.route, who.route), "by": "link"},
                },
                received_at=now,
                correct_skew=False,
            )
            on_records = {event.message_id: who.record_id}
            country = services.settings.country
            await ingest(
                services.database, tenant, SOURCE, [event], now=now, country=country, on_records=on_records,
                told=services.firings.tell,
            )  # fmt: skip
        return Response(_PAGE.format(title="Unsubscribed", body=_DONE), media_type="text/html", headers=_HEADERS)


def _ahead(request: Request[Any, Any, Any]) -> bool:
    """Whether a browser fetches it ahead of a click that may never come."""
    asked = (request.headers.get(name, "") for name in ("sec-purpose", "purpose", "x-purpose", "x-moz"))
    return any("prefetch" in value.lower() or "preview" in value.lower() for value in asked)


def _is_program(request: Request[Any, Any, Any]) -> bool:
    """Whether it says itself that nobody reads what it asks for: previews of messengers, scanners, other programs."""
    return _PROGRAMS.search(request.headers.get("user-agent", "")) is not None or not request.headers.get("user-agent")


async def _named(services: Services, token: str) -> tuple[Tenant, Unsubscribed]:
    tenant, rest = await _tenant(services, token)
    who = None if tenant is None else unsubscribed(tenant.keys, rest)
    if tenant is None or who is None:
        raise _over()
    return tenant, who


async def _tenant(services: Services, token: str) -> tuple[Tenant | None, str]:
    number, _, rest = token.partition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        return None, rest
    try:
        return await services.database.tenant(int(number)), rest
    except BadInput:
        return None, rest


def _over() -> BadInput:
    return BadInput("link_over", "This link leads nowhere any more.", http_status=404)
