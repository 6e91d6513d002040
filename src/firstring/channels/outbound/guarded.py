"""Posts to addresses that people configure, without being led into one's own network.

https to public addresses only, no redirects, no proxies, no cookies; the connection goes to the very address that was
judged (no second look-up to rebind). Hosts that are allowed by name may be anywhere, also without TLS.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final
from urllib.parse import urlsplit

import httpx

from firstring.channels.certificates import is_public
from firstring.errors import BadInput, Retryable

POST_S: Final = 15.0
ANSWER_BYTES: Final = 4_096
"""So much of an answer is read; the rest is of no interest."""
ADDRESSES_TRIED: Final = 3


def checked_address(url: str, private_hosts: frozenset[str]) -> str:
    """The address, if it may be one of a webhook. Raises BadInput webhook_address_refused."""
    if not _is_address(url, private_hosts):
        raise BadInput(
            "webhook_address_refused",
            "This cannot be the address of a webhook.",
            where={"field": "url"},
            hint="Give an https address without a password; name hosts of your own network in outbound_private_hosts.",
        )
    return url


def _is_address(url: str, private_hosts: frozenset[str]) -> bool:
    """What the standard library reads of it and what is connected to must be one: parsers differ about what is malformed."""
    try:
        parts, used = urlsplit(url), httpx.URL(url)
        port_ok = parts.port is None or 0 < parts.port < 65536
        host = parts.hostname or ""
        same = host == used.host or host.encode("idna") == used.raw_host
    except (ValueError, httpx.InvalidURL):  # UnicodeError, of idna, is a ValueError
        return False
    allowed = ("http", "https") if host in private_hosts else ("https",)
    whole = bool(host) and same and port_ok and not parts.username and not parts.fragment
    return whole and parts.scheme in allowed and url.isprintable() and " " not in url


class GuardedPoster:
    """One for each process."""

    def __init__(self, private_hosts: frozenset[str] = frozenset()) -> None:
        self.private_hosts = private_hosts

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        """The status of the answer. Raises BadInput webhook_address_refused, Retryable webhook_unreachable."""
        checked_address(url, self.private_hosts)
        address = httpx.URL(url)
        host = address.raw_host.decode("ascii")
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            async with asyncio.timeout(POST_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
                places = list(dict.fromkeys(str(one[4][0]) for one in found))
                if host not in self.private_hosts and not all(is_public(place) for place in places):
                    raise BadInput(
                        "webhook_address_refused",
                        "The webhook's address is in a private network.",
                        where={"host": host},
                        hint="Name the host in outbound_private_hosts, if it is one of yours.",
                    )
                return await self._first(address, host, places, headers, body)
        except (OSError, httpx.HTTPError, UnicodeError) as error:
            name = type(error).__name__
            raise Retryable("webhook_unreachable", f"The webhook's address does not answer ({name}).") from error

    async def _first(self, address: httpx.URL, host: str, places: list[str], headers: dict[str, str], body: bytes) -> int:
        """The answer of the first of the addresses that takes a connection."""
        named = f"[{host}]" if ":" in host else host
        headers = {
            **headers,
            "host": named if address.port is None else f"{named}:{address.port}",
            "content-type": "application/json",
            "user-agent": "Firstring",
        }
        failure: httpx.HTTPError | None = None
        for place in places[:ADDRESSES_TRIED]:
            request = httpx.Request(
                "POST", address.copy_with(host=place), headers=headers, content=body, extensions={"sni_hostname": host}
            )
            async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=POST_S) as client:
                try:
                    response = await client.send(request, stream=True)
                except httpx.ConnectError as error:
                    failure = error
                    continue
                size = 0
                async for part in response.aiter_raw():
                    size += len(part)
                    if size > ANSWER_BYTES:
                        break
                await response.aclose()
                return response.status_code
        assert failure is not None
        raise failure
