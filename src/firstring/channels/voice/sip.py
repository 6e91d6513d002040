"""As much of SIP messages (RFC 3261) as a redirect server, a small caller and a small phone need: read, write, answer.

Lenient in what it reads (folded lines, compact names, any case), strict in its bounds and in what it writes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from firstring.errors import BadInput

MESSAGE_BYTES: Final = 65_535
"""A whole message: what one datagram can hold."""
HEADER_FIELDS: Final = 256
"""Header fields in one message."""
T1_S: Final = 0.5
"""Round trip estimate (RFC 3261, 17.1.1.1): the first retransmission over UDP comes after it."""
T2_S: Final = 4.0
"""The longest time between retransmissions."""
BRANCH_COOKIE: Final = "z9hG4bK"
"""Every branch parameter of RFC 3261 begins with it."""

_COMPACT: Final = {
    "i": "call-id",
    "m": "contact",
    "e": "content-encoding",
    "l": "content-length",
    "c": "content-type",
    "f": "from",
    "s": "subject",
    "k": "supported",
    "t": "to",
    "v": "via",
    "y": "identity",
}
_METHOD = re.compile(r"[A-Z]{1,32}")
_NAME = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,128}")
_URI_PARTS = re.compile(
    r"(?P<scheme>sips?|tel):(?:(?P<user>[^@;?]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:;?]*)(?::(?P<port>\d{1,5}))?"
    r"(?P<params>;[^?]*)?(?:\?(?P<headers>.*))?",
    re.DOTALL,
)

REASONS: Final = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    302: "Moved Temporarily",
    400: "Bad Request",
    405: "Method Not Allowed",
    408: "Request Timeout",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}
"""Reason phrases of the statuses used here."""


@dataclass(frozen=True)
class Uri:
    """The parts of a SIP URI that matter for routing; `headers` are the URI headers (RFC 3261, 19.1.1), unescaped."""

    user: str
    host: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) to send to."""
        return self.host.strip("[]"), self.port


@dataclass(frozen=True)
class Message:
    """A request (`method`, `uri`) or a response (`status`, `reason`). Headers in their order, names as written."""

    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    method: str = ""
    uri: str = ""
    status: int = 0
    reason: str = ""

    def header(self, name: str) -> str:
        """The first value of a header, or an empty string. Compact forms count."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """Every value of a header, one for each line."""
        wanted = name.lower()
        return [value for key, value in self.headers if _long(key) == wanted]

    @property
    def call_id(self) -> str:
        return self.header("call-id")

    @property
    def cseq(self) -> tuple[int, str]:
        """(number, method) of CSeq; (0, "") when it cannot be read."""
        number, _, method = self.header("cseq").strip().partition(" ")
        return (int(number), method.strip()) if number.isdigit() and len(number) <= 10 else (0, "")

    @property
    def branch(self) -> str:
        """The branch parameter of the topmost Via."""
        return parameter(self.header("via"), "branch")


def parse(data: bytes) -> Message:
    """Read one datagram. BadInput("bad_sip") names what is wrong; it never raises anything else."""
    if len(data) > MESSAGE_BYTES:
        raise _bad("larger than a datagram")
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").lstrip("\r\n").split("\r\n")
    headers = _read_headers(lines[1:])
    declared = next((value for key, value in headers if _long(key) == "content-length"), "")
    if declared.isdigit() and len(declared) < 7:
        if int(declared) > len(body):
            raise _bad("shorter than its Content-Length")
        body = body[: int(declared)]
    first = lines[0].split(" ", 2)
    if len(first) < 3 and not lines[0].startswith("SIP/2.0 "):
        raise _bad("no request or status line")
    if first[0] == "SIP/2.0":
        if len(first) < 2 or not re.fullmatch(r"[1-6]\d\d", first[1]):
            raise _bad("no status code")
        return Message(headers, body, status=int(first[1]), reason=first[2] if len(first) > 2 else "")
    if first[2] != "SIP/2.0" or _METHOD.fullmatch(first[0]) is None or not first[1]:
        raise _bad("no request line")
    return Message(headers, body, method=first[0], uri=first[1])


def encode(message: Message) -> bytes:
    """Write a message. Content-Length is written here; control characters in values become blanks."""
    if message.method:
        lines = [f"{message.method} {_clean(message.uri)} SIP/2.0"]
    else:
        reason = message.reason or REASONS.get(message.status, "Unknown")
        lines = [f"SIP/2.0 {message.status} {_clean(reason)}"]
    lines += [f"{_clean(key)}: {_clean(value)}" for key, value in message.headers if _long(key) != "content-length"]
    lines.append(f"Content-Length: {len(message.body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + message.body


def reply(
    request: Message,
    status: int,
    *,
    to_tag: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    reason: str = "",
) -> Message:
    """The response to a request (RFC 3261, 8.2.6): Via, From, To, Call-ID, CSeq and Record-Route are taken over."""
    kept: list[tuple[str, str]] = []
    for key, value in request.headers:
        name = _long(key)
        if name in ("via", "from", "call-id", "cseq") or (name == "record-route" and 100 < status < 300):
            kept.append((key, value))
        elif name == "to":
            tagged = value if not to_tag or parameter(value, "tag") else f"{value};tag={to_tag}"
            kept.append((key, tagged))
    return Message((*kept, *headers), body, status=status, reason=reason)


def stable_tag(*parts: str) -> str:
    """A tag that is the same for the same parts, so that a retransmitted request gets the same To tag."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def parameter(value: str, name: str) -> str:
    """A ;name=value parameter after a header value's address, or an empty string."""
    outside = value[value.rfind(">") + 1 :] if ">" in value else value
    for part in outside.split(";")[1:]:
        key, _, found = part.partition("=")
        if key.strip().lower() == name:
            return found.strip().strip('"')
    return ""


def address_uri(value: str) -> str:
    """The URI in a name-addr or addr-spec header value (From, To, Contact, P-Asserted-Identity)."""
    start = value.find("<")
    if start >= 0:
        end = value.find(">", start)
        return value[start + 1 : end if end >= 0 else len(value)].strip()
    return value.split(";", 1)[0].split(",", 1)[0].strip()


def parse_uri(value: str) -> Uri:
    """A SIP or tel URI, or BadInput("bad_uri"). The port is 5060 (sips: 5061) unless given."""
    match = _URI_PARTS.fullmatch(value.strip())
    if match is None or (match["scheme"] != "tel" and not match["host"]):
        raise BadInput("bad_uri", "Not a SIP URI.", where={"length": len(value)})
    port = int(match["port"] or (5061 if match["scheme"] == "sips" else 5060))
    if port > 65_535:
        raise BadInput("bad_uri", "Not a port.", where={"port": port})
    pairs = [pair.partition("=") for pair in (match["headers"] or "").split("&") if pair]
    if match["scheme"] == "tel":
        return Uri(unquote(match["host"]), "", port)
    user = unquote((match["user"] or "").split(":", 1)[0])
    return Uri(user, match["host"], port, tuple((unquote(key), unquote(found)) for key, _, found in pairs))


def user_of(value: str) -> str:
    """The user part of the URI in a header value (a number, mostly); empty when there is none to be read."""
    try:
        return parse_uri(address_uri(value)).user
    except BadInput:
        return ""


def with_uri_headers(uri: str, headers: Sequence[tuple[str, str]]) -> str:
    """`uri` with URI headers appended, percent-encoded (RFC 3261, 19.1.1): a redirected caller puts them in its INVITE."""
    if not headers:
        return uri
    joined = "&".join(f"{quote(key, safe='-')}={quote(value, safe='')}" for key, value in headers)
    return f"{uri}{'&' if '?' in uri else '?'}{joined}"


def without_uri_headers(uri: str) -> str:
    """`uri` as it goes into a request line, where URI headers may not stand."""
    return uri.split("?", 1)[0]


def _read_headers(lines: Sequence[str]) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and headers:
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if not colon or _NAME.fullmatch(name.strip()) is None:
            raise _bad("a header line without a name")
        headers.append((name.strip(), value.strip()))
        if len(headers) > HEADER_FIELDS:
            raise _bad("too many header fields")
    return tuple(headers)


def _long(name: str) -> str:
    lowered = name.lower()
    return _COMPACT.get(lowered, lowered)


def _clean(value: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", value)


def _bad(what: str) -> BadInput:
    return BadInput("bad_sip", f"Not a SIP message: {what}.")
