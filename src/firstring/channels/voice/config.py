"""Writes the configuration of Kamailio (`firstring kamailio-config`)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from firstring.channels.voice.contract import check_uri
from firstring.errors import BadInput

HEADER_PREFIX = "X-Firstring-"
"""Headers beginning with this are ours: taken from no one outside, added for agents' phones."""

DEFAULT_LISTEN: Final = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
_LISTEN = re.compile(r"(?:udp|tcp):(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")
_PREFIX = re.compile(r"X-[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*-")


def render_config(
    *,
    listen: Sequence[str] = DEFAULT_LISTEN,
    evapi: str = "127.0.0.1:8448",
    default_uri: str,
    hold_uri: str = "",
    decision_budget_ms: int = 800,
    ring_timeout_ms: int = 15_000,
    response_timeout_ms: int = 3_000,
    default_ring_timeout_ms: int = 120_000,
    max_wait_ms: int = 120_000,
    agents_tried_max: int = 8,
    call_expires_s: int = 14_400,
    header_prefix: str = HEADER_PREFIX,
    children: int = 4,
    log_stderror: bool = False,
) -> str:
    """A complete kamailio.cfg.

    listen: "udp:ADDRESS:PORT" or "tcp:ADDRESS:PORT". evapi: where Firstring connects, an IPv4 loopback address only,
    for evapi has no authentication. default_uri: the switch's default queue. hold_uri: where a wait goes when it is over
    (empty: the default queue). decision_budget_ms: 100-5,000, in steps of Kamailio's timer (62.5 ms). ring_timeout_ms:
    how long an agent's phone rings unless the answer says otherwise. max_wait_ms: the longest a caller is left ringing
    in a wait. call_expires_s: a call whose BYE was never seen is over after this. Anything else is BadInput.
    """
    host, port = _loopback(evapi)
    _check_listen(listen)
    if _PREFIX.fullmatch(header_prefix) is None:
        raise BadInput("bad_header_prefix", "A header prefix looks like X-Firstring-.", where={"prefix": header_prefix})
    numbers = {
        "decision_budget_ms": _within("decision_budget_ms", decision_budget_ms, 100, 5_000),
        "ring_timeout_ms": _within("ring_timeout_ms", ring_timeout_ms, 500, 180_000),
        "response_timeout_ms": _within("response_timeout_ms", response_timeout_ms, 100, 32_000),
        "default_ring_timeout_ms": _within("default_ring_timeout_ms", default_ring_timeout_ms, 500, 600_000),
        "max_wait_ms": _within("max_wait_ms", max_wait_ms, 0, 600_000),
        # a question, a wait and a phone: three branches an agent, of 27
        "agents_tried_max": _within("agents_tried_max", agents_tried_max, 1, 9),
        "call_expires_s": _within("call_expires_s", call_expires_s, 60, 86_400),
        "children": _within("children", children, 1, 64),
    }
    lifetime_ms = max_wait_ms + default_ring_timeout_ms + agents_tried_max * (ring_timeout_ms + decision_budget_ms)
    environment = Environment(
        loader=PackageLoader("firstring.channels.voice", "."),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - not HTML; every value is checked above
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("kamailio.cfg.j2").render(
        listen=list(listen),
        evapi_host=host,
        evapi_port=port,
        default_uri=_config_uri(default_uri, "default_uri"),
        hold_uri=_config_uri(hold_uri, "hold_uri") if hold_uri else "",
        invite_lifetime_ms=max(180_000, lifetime_ms),
        header_prefix=header_prefix,
        silence_s=3,
        clients_max=8,  # the number of places evapi has
        branches_max=27,
        log_stderror=log_stderror,
        **numbers,
    )


def _check_listen(listen: Sequence[str]) -> None:
    if not listen:
        raise BadInput("bad_listen", "Kamailio needs an address to listen on.", hint="Give at least one --listen.")
    for address in listen:
        if _LISTEN.fullmatch(address) is None:
            raise BadInput(
                "bad_listen",
                "Not an address to listen on.",
                where={"listen": address[:100]},
                hint="Write it as udp:192.0.2.1:5060 or tcp:192.0.2.1:5060.",
            )


def _loopback(evapi: str) -> tuple[str, int]:
    host, _, port = evapi.rpartition(":")
    try:
        address = ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
        number = int(port)
    except ValueError as error:
        raise BadInput(
            "bad_evapi",
            "Not an IPv4 address and port.",
            where={"evapi": evapi[:100]},
            hint="Write it as 127.0.0.1:8448.",
        ) from error
    if not address.is_loopback:
        raise BadInput(
            "evapi_not_loopback",
            "evapi has no authentication: it is bound to loopback only.",
            where={"evapi": evapi[:100]},
            hint="Use 127.0.0.1, and run Firstring on Kamailio's machine or through a tunnel.",
        )
    if not 1 <= number <= 65_535:
        raise BadInput("bad_evapi", "Not a port.", where={"evapi": evapi[:100]})
    return str(address), number


def _config_uri(value: str, field: str) -> str:
    check_uri(value, field)
    if "$" in value:  # Kamailio would read it as a variable
        raise BadInput("bad_uri", "A URI in Kamailio's configuration holds no dollar sign.", where={"field": field})
    return value


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise BadInput("bad_setting", f"{name} is {low} to {high}.", where={"setting": name, "value": value})
    return value
