"""The one contract between Firstring and every telephone system.

A voice adapter (Kamailio, the redirect server, POST /v1/decide) turns what its switch says into a `CallOffer` or a
`CallEvent`, asks a `Switchboard`, and carries out the `RouteAnswer`. An answer names exactly one agent, already
claimed; or says `wait`; or names nobody, which is the switch's default queue. Every further agent is asked for anew.
Every adapter keeps its own deadline and its own default: an answer that does not come in time is not waited for.

Text from a switch is untrusted: fields are cut to their bound and lose control characters; only what would make an
answer impossible (no usable call id, a body beyond `OFFER_BYTES`) is refused with BadInput.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, Protocol
from urllib.parse import parse_qsl, urlencode

import msgspec

from firstring.channels.voice.sip import user_of
from firstring.errors import BadInput

CALL_ID_CHARS: Final = 256
"""A call id: printable ASCII without blanks, 1 to this many characters (RFC 3261, callid)."""
OFFER_BYTES: Final = 65_536
"""A call offer or event as it arrives, in bytes."""
ANSWER_BYTES: Final = 16_384
"""An answer, encoded, in bytes. Kamailio's evapi reads at most 32,767 bytes of a message."""
HEADER_CHARS: Final = 512
"""One header value in an answer."""
HEADERS_MAX: Final = 16
"""Headers in an answer."""
REASONS_MAX: Final = 10
"""Reason codes in an answer."""
URI_CHARS: Final = 512
"""A SIP URI."""
DEADLINE_MAX_MS: Final = 10_000
"""The longest deadline an adapter may name."""
RING_MAX_MS: Final = 180_000
"""The longest an agent's phone rings."""

FIELD_CHARS: Final[dict[str, int]] = {
    "from": 256,
    "pai": 256,
    "to": 256,
    "identity": 8_192,
    "date": 64,
    "ua": 256,
    "src": 64,
    "visit": 256,
    "intent": 256,
    "said": 1_000,
    "adapter": 64,
    "adapter_ref": 256,
    "uri": URI_CHARS,
    "reason": 64,
}
"""How many characters of each text field of an offer or event are kept; the rest is cut."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CALL_ID = re.compile(rf"[!-~]{{1,{CALL_ID_CHARS}}}")
_URI = re.compile(r"(?:sips?|tel):[^\s<>\"'\\\x00-\x20\x7f-\uffff]{1,500}")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_OFFER_TYPE = "call.offered"

EventType = Literal[
    "call.ringing",
    "call.answered",
    "call.ended",
    "call.cancelled",
    "call.defaulted",
    "call.busy",
    "call.no_answer",
    "call.rejected",
    "call.unreachable",
    "call.wants_person",
]
"""busy (486, 600), no_answer (408, 480, nobody picked up), rejected (603) and unreachable (any other refusal, or a
redirected call that came back) want the next agent. defaulted: the switch sent the call to its default queue, whatever
was answered. ended: hung up, or failed for good. cancelled: the caller gave up before an answer."""

ASKS_AGAIN: Final[frozenset[str]] = frozenset(
    {"call.busy", "call.no_answer", "call.rejected", "call.unreachable", "call.wants_person"}
)
"""Events that are answered: they ask for the next agent (`Switchboard.no_agent`)."""


def clean_text(value: str, limit: int) -> str:
    """`value` with runs of control characters (CR, LF and NUL among them) as one blank, trimmed, cut to `limit`."""
    return _CONTROL.sub(" ", value[: limit * 2]).strip()[:limit]


def check_call_id(value: str) -> str:
    """The call id, or BadInput("bad_call_id") when it is empty, too long or not printable ASCII."""
    if _CALL_ID.fullmatch(value) is None:
        raise BadInput(
            "bad_call_id",
            "A call id is 1 to 256 printable ASCII characters without blanks.",
            where={"field": "call_id", "length": len(value)},
            hint="Send the Call-ID of the INVITE.",
        )
    return value


def check_uri(value: str, field: str = "uri") -> str:
    """A sip:, sips: or tel: URI without blanks, quotes or angle brackets, or BadInput("bad_uri")."""
    if len(value) > URI_CHARS or _URI.fullmatch(value) is None:
        raise BadInput(
            "bad_uri",
            "Not a SIP URI that a call can be sent to.",
            where={"field": field},
            hint="Write it as sip:user@host:port, without display name, blanks or quotes.",
        )
    return value


class CallOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A call that rings: CloudEvent type `call.offered`. All text, empty when the switch did not say.

    `from_` (JSON `from`) is the caller's number as shown, `pai` the one of P-Asserted-Identity, `to` what was called (of
    URIs the user part is kept; unreadable ones are empty), `identity` and `date` the headers
    of RFC 8224, `src` the address the call came from, `visit` the web visit it belongs to, `intent` what was chosen in
    an IVR and `said` what was said to it. `adapter_ref` is opaque and
    returned with the answer. `attempt` counts from 0 how often this call asked. `deadline_ms` is counted from arrival.
    """

    call_id: str
    from_: str = msgspec.field(name="from", default="")
    pai: str = ""
    to: str = ""
    identity: str = ""
    date: str = ""
    ua: str = ""
    src: str = ""
    visit: str = ""
    intent: str = ""
    said: str = ""
    adapter: str = ""
    adapter_ref: str = ""
    attempt: int = 0
    deadline_ms: int = 800


class CallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a call. `uri` is the phone it is about, `status` the SIP status behind it (0: none).

    `defaulted` says that the phone is the default queue. `reason` is a short code (timeout, no_decider, wait_over,
    no_agents_left, bad_answer, hangup, expired, failed). The same event may come twice: the core takes it once.
    """

    type: EventType
    call_id: str
    adapter: str = ""
    adapter_ref: str = ""
    attempt: int = 0
    uri: str = ""
    status: int = 0
    defaulted: bool = False
    reason: str = ""
    deadline_ms: int = 800


class ExtraHeaders(msgspec.Struct, frozen=True, omit_defaults=True):
    """Headers to add to the INVITE: complete lines, each ended by CRLF."""

    extra: str = ""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's phone. fr_timer: ms until it must have said anything; fr_inv_timer: ms it may ring."""

    uri: str
    headers: ExtraHeaders = ExtraHeaders()
    branch_flags: int = 0
    fr_timer: int = 3_000
    fr_inv_timer: int = 15_000


class Wait(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nobody is free. Keep the caller ringing for `max_ms`, then send the call to `uri` (empty: the switch's own).

    What is to be announced, where that is known: place (1 is next), the estimated wait with an interval (seconds; four of
    five lie in it), since when (said, milliseconds since 1970: what to ask for news by), whether to offer a call-back.
    """

    max_ms: int
    uri: str = ""
    place: int = 0
    wait_s: float = 0.0
    low_s: float = 0.0
    high_s: float = 0.0
    said: int = 0
    callback_offered: bool = False


class RouteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with a call: one route, or a wait, or neither (the default queue). A superset of Kamailio's rtjson."""

    version: str = "1.0"
    routing: Literal["serial"] = "serial"
    routes: tuple[Route, ...] = ()
    wait: Wait | None = None
    decision: str = ""
    reasons: tuple[str, ...] = ()
    treatment: str = ""
    pop_url: str = ""
    adapter_ref: str = ""

    def __post_init__(self) -> None:
        if len(self.routes) > 1 or (self.routes and self.wait is not None):
            raise BadInput(
                "bad_answer",
                "An answer names one agent, or a wait, or neither.",
                where={"routes": len(self.routes), "wait": self.wait is not None},
                hint="Further agents are asked for anew, one claim at a time.",
            )

    @property
    def action(self) -> Literal["route", "wait", "default"]:
        """Which of the three it is."""
        if self.routes:
            return "route"
        return "wait" if self.wait is not None else "default"


class Switchboard(Protocol):
    """What a voice adapter needs from the core. Idempotent by call id: several processes hear the same call.

    None means: say nothing (another process answers). Exceptions of these methods are logged by the adapter and the
    call goes to the default queue. Messages of one call arrive one after the other, in order; calls run concurrently.
    """

    async def offered(self, offer: CallOffer) -> RouteAnswer | None:
        """Decide. An answer that comes after `offer.deadline_ms` is not carried out; `call.defaulted` then follows."""
        ...

    async def no_agent(self, event: CallEvent) -> RouteAnswer | None:
        """The agent did not take it (busy, no answer, rejected, unreachable): the next one anew, claimed."""
        ...

    async def event(self, event: CallEvent) -> None:
        """Something became of the call (ringing, answered, ended, cancelled, defaulted)."""
        ...

    async def reconcile(self, adapter: str, live_call_ids: Collection[str], answered_call_ids: Collection[str] = ()) -> None:
        """These calls of `adapter` live, and these of them were answered; every other call that the core holds open is
        over, or out of its hands. `live_call_ids` may grow while this runs, by calls that the adapter hears of.
        """
        ...


def route(
    uri: str,
    headers: Mapping[str, str] | None = None,
    *,
    ring_ms: int = 15_000,
    response_ms: int = 3_000,
) -> Route:
    """A route to one phone. Values lose control characters and are cut; a bad URI or header name is BadInput."""
    lines = []
    for name, value in list((headers or {}).items())[:HEADERS_MAX]:
        if _HEADER_NAME.fullmatch(name) is None:
            raise BadInput("bad_header_name", "Not a SIP header name.", where={"header": clean_text(name, 64)})
        lines.append(f"{name}: {clean_text(value, HEADER_CHARS)}\r\n")
    return Route(
        uri=check_uri(uri),
        headers=ExtraHeaders(extra="".join(lines)),
        fr_timer=min(max(response_ms, 100), RING_MAX_MS),
        fr_inv_timer=min(max(ring_ms, 500), RING_MAX_MS),
    )


def route_headers(answer: RouteAnswer) -> list[tuple[str, str]]:
    """The headers of an answer's route as (name, value) pairs; empty when it routes to nobody."""
    if not answer.routes:
        return []
    lines = answer.routes[0].headers.extra.split("\r\n")
    pairs = [line.partition(":") for line in lines if line]
    return [(name, value.strip()) for name, _, value in pairs]


def encode_answer(answer: RouteAnswer) -> bytes:
    """JSON, at most ANSWER_BYTES. Beyond it the pop address and the reasons go first, then BadInput("answer_too_large")."""
    slim = msgspec.structs.replace(
        answer,
        reasons=tuple(clean_text(code, 64) for code in answer.reasons[:REASONS_MAX]),
        treatment=clean_text(answer.treatment, 128),
    )
    encoded = msgspec.json.encode(slim)
    if len(encoded) > ANSWER_BYTES:
        encoded = msgspec.json.encode(msgspec.structs.replace(slim, pop_url="", reasons=()))
    if len(encoded) > ANSWER_BYTES:
        raise BadInput("answer_too_large", "The answer is larger than a switch reads.", where={"bytes": len(encoded)})
    return encoded


def encode_answer_form(answer: RouteAnswer) -> bytes:
    """The answer as one flat form (application/x-www-form-urlencoded), for switches that read no JSON.

    Fields: action (route, wait, default), uri, ring_ms, response_ms, headers (lines ended by CRLF), wait_ms, place,
    wait_s, said, callback_offered, decision, treatment, reasons (joined by commas), pop_url, adapter_ref. Fields that do
    not apply are empty.
    """
    first = answer.routes[0] if answer.routes else None
    wait = answer.wait
    return urlencode(
        {
            "action": answer.action,
            "uri": first.uri if first else (wait.uri if wait else ""),
            "ring_ms": first.fr_inv_timer if first else "",
            "response_ms": first.fr_timer if first else "",
            "headers": first.headers.extra if first else "",
            "wait_ms": wait.max_ms if wait else "",
            "place": (wait.place or "") if wait else "",
            "wait_s": (wait.wait_s if wait.said else "") if wait else "",
            "said": (wait.said or "") if wait else "",
            "callback_offered": ("true" if wait.callback_offered else "") if wait else "",
            "decision": answer.decision,
            "treatment": answer.treatment,
            "reasons": ",".join(answer.reasons[:REASONS_MAX]),
            "pop_url": answer.pop_url,
            "adapter_ref": answer.adapter_ref,
        }
    ).encode()


def offer_from_json(body: bytes) -> CallOffer:
    """A call offer out of JSON. Unknown fields are ignored; what cannot be read is BadInput, naming the field."""
    return offer_from_fields(_json_object(body))


def offer_from_form(body: bytes) -> CallOffer:
    """A call offer out of application/x-www-form-urlencoded. The first value of a repeated field counts."""
    return offer_from_fields(_form_fields(body))


def event_from_json(body: bytes) -> CallEvent:
    """A call event out of JSON, `type` included."""
    return event_from_fields(_json_object(body))


def event_from_form(body: bytes) -> CallEvent:
    """A call event out of application/x-www-form-urlencoded, `type` included."""
    return event_from_fields(_form_fields(body))


def offer_from_fields(fields: Mapping[str, Any]) -> CallOffer:
    """A call offer out of named values: text is cleaned and cut, numbers are put into their range."""
    kind = fields.get("type", _OFFER_TYPE)
    if kind != _OFFER_TYPE:
        raise BadInput("bad_event_type", "Expected a call.offered.", where={"field": "type"})
    return CallOffer(
        call_id=check_call_id(_text(fields, "call_id", CALL_ID_CHARS + 1)),
        from_=_number_text(fields, "from"),
        pai=_number_text(fields, "pai"),
        to=_number_text(fields, "to"),
        identity=_text(fields, "identity"),
        date=_text(fields, "date"),
        ua=_text(fields, "ua"),
        src=_text(fields, "src"),
        visit=_text(fields, "visit"),
        intent=_text(fields, "intent"),
        said=_text(fields, "said"),
        adapter=_text(fields, "adapter"),
        adapter_ref=_text(fields, "adapter_ref"),
        attempt=_number(fields, "attempt", 0, 1_000, 0),
        deadline_ms=_number(fields, "deadline_ms", 1, DEADLINE_MAX_MS, 800),
    )


def event_from_fields(fields: Mapping[str, Any]) -> CallEvent:
    """A call event out of named values; BadInput("bad_event_type") when `type` is none of EventType."""
    try:
        kind = msgspec.convert(fields.get("type"), EventType)
    except msgspec.ValidationError as error:
        raise BadInput(
            "bad_event_type",
            "Not a call event that Firstring knows.",
            where={"field": "type"},
            hint=f"Use one of {', '.join(EventType.__args__)}.",  # type: ignore[attr-defined]
        ) from error
    return CallEvent(
        type=kind,
        call_id=check_call_id(_text(fields, "call_id", CALL_ID_CHARS + 1)),
        adapter=_text(fields, "adapter"),
        adapter_ref=_text(fields, "adapter_ref"),
        attempt=_number(fields, "attempt", 0, 1_000, 0),
        uri=_text(fields, "uri"),
        status=_number(fields, "status", 0, 699, 0),
        defaulted=str(fields.get("defaulted", "")).lower() in ("true", "1", "yes"),
        reason=_text(fields, "reason"),
        deadline_ms=_number(fields, "deadline_ms", 1, DEADLINE_MAX_MS, 800),
    )


def _json_object(body: bytes) -> dict[str, Any]:
    _check_size(body)
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput("bad_json", "Not a JSON object.", hint="Send one JSON object in UTF-8.") from error


def _form_fields(body: bytes) -> dict[str, Any]:
    _check_size(body)
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=64)
    except ValueError as error:
        raise BadInput("bad_form", "Not a form that can be read.", hint="Send at most 64 fields.") from error
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def _check_size(body: bytes) -> None:
    if len(body) > OFFER_BYTES:
        raise BadInput(
            "body_too_large",
            "A call offer or event is at most 64 KiB.",
            where={"bytes": len(body)},
            hint="Leave out headers that Firstring does not ask for.",
            http_status=413,
        )


def _text(fields: Mapping[str, Any], name: str, limit: int | None = None) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise BadInput("bad_field", "Expected text.", where={"field": name})
    return clean_text(str(value), limit if limit is not None else FIELD_CHARS[name])


def _number_text(fields: Mapping[str, Any], name: str) -> str:
    """A number, or the user part where a switch sends a URI or a whole header value."""
    value = _text(fields, name)
    if value.startswith(("sip:", "sips:", "tel:")) or "<" in value:
        return user_of(value)
    return value


def _number(fields: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    value = fields.get(name)
    if value is None or value == "":
        return default
    try:
        return min(max(int(value), low), high)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput("bad_field", "Expected a whole number.", where={"field": name}) from error
