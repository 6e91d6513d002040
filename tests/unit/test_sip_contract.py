"""The contract with telephone systems: what is read, what is refused, what is written."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstring.channels.voice.contract import (
    ANSWER_BYTES,
    ASKS_AGAIN,
    HEADER_CHARS,
    RouteAnswer,
    Wait,
    check_uri,
    clean_text,
    encode_answer,
    encode_answer_form,
    event_from_form,
    event_from_json,
    offer_from_form,
    offer_from_json,
    route,
    route_headers,
)
from firstring.errors import BadInput, FirstringError

OFFER = {
    "call_id": "a84b4c76e66710@pc33.example",
    "from": "+15551230001",
    "pai": "+15551230001",
    "to": "support",
    "identity": "eyJ.e30.sig;info=<https://cert.example/p.cer>",
    "date": "Sun, 22 Nov 2026 00:00:00 GMT",
    "ua": "carrier-gw",
    "src": "192.0.2.1:5060",
    "visit": "v-123",
    "intent": "refund",
    "said": "I want my money back",
    "adapter_ref": "1:2:0",
    "deadline_ms": 800,
}


def test_an_offer_is_the_same_in_json_and_as_a_form() -> None:
    from_json = offer_from_json(json.dumps(OFFER).encode())
    assert from_json == offer_from_form(urlencode(OFFER).encode())
    assert json.loads(msgspec.json.encode(from_json)) == {**OFFER, "adapter": "", "attempt": 0}


def test_uris_become_numbers() -> None:
    sent = {
        "call_id": "1",
        "from": '"Jo <3" <sip:+1555%20;phone-context=x@h.example;user=phone>;tag=1',
        "pai": "tel:+1555",
        "to": "sips:support@[::1]:5061",
    }
    offer = offer_from_json(json.dumps(sent).encode())
    assert (offer.pai, offer.to) == ("+1555", "support")
    assert offer_from_json(b'{"call_id":"1","from":"<sip:anonymous@anonymous.invalid>"}').from_ == "anonymous"
    assert offer_from_json(b'{"call_id":"1","pai":"<garbage>"}').pai == ""


def test_fields_that_are_too_long_are_cut_and_lose_control_characters() -> None:
    body = urlencode({"call_id": "1", "from": "9" * 5_000, "identity": "x" * 20_000, "ua": "a\r\nX-Evil: 1\x00\x85b"})
    offer = offer_from_form(body.encode())
    assert (len(offer.from_), len(offer.identity), offer.ua) == (256, 8_192, "a X-Evil: 1 b")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_json"),
        (b"[]", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b'{"call_id":', "bad_json"),
        (b"[" * 60_000, "bad_json"),
        (b"{}", "bad_call_id"),
        (b'{"call_id":""}', "bad_call_id"),
        (b'{"call_id":"two words"}', "bad_call_id"),
        ('{"call_id":"\u00e9"}'.encode(), "bad_call_id"),
        (b'{"call_id":"' + b"x" * 257 + b'"}', "bad_call_id"),
        (b'{"call_id":["1"]}', "bad_field"),
        (b'{"call_id":"1","from":{}}', "bad_field"),
        (b'{"call_id":"1","deadline_ms":"soon"}', "bad_field"),
        (b'{"call_id":"1","deadline_ms":[1]}', "bad_field"),
        (b'{"call_id":"1","type":"call.ended"}', "bad_event_type"),
        (b" " * 65_537, "body_too_large"),
    ],
)
def test_an_offer_that_cannot_be_answered_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        offer_from_json(body)
    assert caught.value.code == code
    assert caught.value.status == (413 if code == "body_too_large" else 400)


def test_a_form_with_too_many_fields_is_refused() -> None:
    with pytest.raises(BadInput, match="Not a form"):
        offer_from_form(b"&".join(b"a=1" for _ in range(65)))


def test_numbers_are_put_into_their_range() -> None:
    offer = offer_from_json(b'{"call_id":"1","deadline_ms":99999999,"attempt":-4}')
    assert (offer.deadline_ms, offer.attempt) == (10_000, 0)
    assert offer_from_form(b"call_id=1&deadline_ms=&call_id=2").call_id == "1"


def test_an_event_in_json_and_as_a_form() -> None:
    sent = {"type": "call.answered", "call_id": "1", "uri": "sip:a@192.0.2.1", "status": 200, "defaulted": True}
    event = event_from_json(json.dumps(sent).encode())
    assert event == event_from_form(urlencode(sent).encode())
    assert (event.defaulted, event.status) == (True, 200)
    assert event.type not in ASKS_AGAIN
    for body in (b"{}", b'{"type":"call.exploded","call_id":"1"}', b'{"type":7,"call_id":"1"}'):
        with pytest.raises(BadInput) as caught:
            event_from_json(body)
        assert caught.value.code == "bad_event_type"


def test_an_answer_names_one_agent_or_a_wait_or_nobody() -> None:
    one = route("sip:a@192.0.2.1")
    assert RouteAnswer(routes=(one,)).action == "route"
    assert RouteAnswer(wait=Wait(max_ms=1)).action == "wait"
    assert RouteAnswer().action == "default"
    for wrong in ({"routes": (one, one)}, {"routes": (one,), "wait": Wait(max_ms=1)}):
        with pytest.raises(BadInput, match="one agent"):
            RouteAnswer(**wrong)  # type: ignore[arg-type]


def test_a_route_is_what_kamailio_reads() -> None:
    answer = RouteAnswer(routes=(route("sip:a@192.0.2.1", {"X-Firstring-Contact": "c"}, ring_ms=9_000),), adapter_ref="r")
    document = json.loads(encode_answer(answer))
    assert (document["version"], document["routing"], document["adapter_ref"]) == ("1.0", "serial", "r")
    assert document["routes"] == [
        {
            "uri": "sip:a@192.0.2.1",
            "headers": {"extra": "X-Firstring-Contact: c\r\n"},
            "branch_flags": 0,
            "fr_timer": 3_000,
            "fr_inv_timer": 9_000,
        }
    ]
    assert route_headers(answer) == [("X-Firstring-Contact", "c")]
    assert route_headers(RouteAnswer()) == []


def test_the_answer_as_a_form() -> None:
    to_agent = RouteAnswer(routes=(route("sip:a@192.0.2.1", {"X-A": "b&c"}),), reasons=("vip", "idle"), decision="d/1")
    fields = parse_qs(encode_answer_form(to_agent).decode())
    assert fields["action"] == ["route"]
    assert fields["headers"] == ["X-A: b&c\r\n"]
    assert fields["reasons"] == ["vip,idle"]
    waits = parse_qs(encode_answer_form(RouteAnswer(wait=Wait(max_ms=5, uri="sip:h@192.0.2.2"))).decode())
    assert (waits["action"], waits["wait_ms"], waits["uri"]) == (["wait"], ["5"], ["sip:h@192.0.2.2"])
    assert parse_qs(encode_answer_form(RouteAnswer()).decode()) == {"action": ["default"]}


def test_an_answer_that_is_too_large_loses_its_pop_address_and_reasons_first() -> None:
    one = route("sip:a@192.0.2.1", {f"X-{n}": "v" * HEADER_CHARS for n in range(16)})
    large = RouteAnswer(routes=(one,), pop_url="https://desk.example/" + "p" * ANSWER_BYTES, reasons=("r",) * 99)
    assert len(encode_answer(large)) <= ANSWER_BYTES
    assert json.loads(encode_answer(large))["pop_url"] == ""
    with pytest.raises(BadInput, match="larger"):
        encode_answer(RouteAnswer(decision="d" * ANSWER_BYTES))


@pytest.mark.parametrize(
    "uri",
    ["", "sip:", "http://x", "sip:a b@c", "sip:a@b\r\nX: y", 'sip:a"@b', "<sip:a@b>", "sip:\u00e9@b", "sip:" + "a" * 600],
)
def test_a_bad_uri_is_refused(uri: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_uri(uri)
    assert caught.value.code == "bad_uri"


def test_a_bad_header_name_is_refused() -> None:
    with pytest.raises(BadInput):
        route("sip:a@b", {"X A": "1"})


@given(st.text(max_size=200), st.integers(1, 100))
def test_cleaned_text_has_no_control_characters_and_is_bounded(value: str, limit: int) -> None:
    cleaned = clean_text(value, limit)
    assert len(cleaned) <= limit
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in cleaned)
    assert len(cleaned.splitlines()) <= 1


@given(st.binary(max_size=300))
def test_no_body_gets_past_the_errors_of_the_house(body: bytes) -> None:
    for read in (offer_from_json, offer_from_form, event_from_json, event_from_form):
        try:
            read(body)
        except FirstringError:
            continue


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True), st.text(max_size=600), max_size=20))
def test_headers_are_single_lines_whatever_the_values(headers: dict[str, str]) -> None:
    extra = route("sip:a@192.0.2.1", headers).headers.extra
    lines = extra.split("\r\n")
    assert lines[-1] == ""
    assert len(lines) - 1 == min(len(headers), 16)
    assert all(line.partition(":")[0] in headers for line in lines[:-1])
