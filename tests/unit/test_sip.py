"""The small SIP message code: examples of RFC 3261 and RFC 4475, and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstring.channels.voice import sip
from firstring.errors import BadInput

INVITE = (
    b"INVITE sip:bob@biloxi.example SIP/2.0\r\n"
    b"v: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds\r\n"
    b"Via: SIP/2.0/UDP second.example;branch=z9hG4bK2\r\n"
    b"Max-Forwards: 70\r\n"
    b"t: Bob <sip:bob@biloxi.example>\r\n"
    b'FROM: "Alice; Liddell" <sip:alice@atlanta.example>;tag=1928301774\r\n'
    b"i: a84b4c76e66710@pc33.atlanta.example\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Subject: folded\r\n  over two lines\r\n"
    b"Record-Route: <sip:p1.example;lr>\r\n"
    b"l: 4\r\n\r\nbody and more"
)


def test_a_request_is_read() -> None:
    message = sip.parse(INVITE)
    assert (message.method, message.uri, message.body) == ("INVITE", "sip:bob@biloxi.example", b"body")
    assert (message.call_id, message.cseq) == ("a84b4c76e66710@pc33.atlanta.example", (314159, "INVITE"))
    assert message.branch == "z9hG4bK776asdhds"
    assert len(message.all("Via")) == 2
    assert message.header("s") == ""
    assert message.header("Subject") == "folded over two lines"
    assert sip.user_of(message.header("from")) == "alice"
    assert sip.parameter(message.header("from"), "tag") == "1928301774"
    assert message.header("absent") == ""


def test_a_reply_takes_over_what_it_must() -> None:
    ringing = sip.parse(sip.encode(sip.reply(sip.parse(INVITE), 180, to_tag="abc", headers=(("Contact", "<sip:x@y>"),))))
    assert (ringing.status, ringing.reason) == (180, "Ringing")
    assert len(ringing.all("via")) == 2
    assert sip.parameter(ringing.header("to"), "tag") == "abc"
    assert ringing.header("record-route") == "<sip:p1.example;lr>"
    assert ringing.header("content-length") == "0"
    refused = sip.reply(ringing_request(), 486, to_tag="other")
    assert sip.parameter(refused.header("to"), "tag") == "there"
    assert refused.header("record-route") == ""


def ringing_request() -> sip.Message:
    return sip.parse(INVITE.replace(b"biloxi.example>\r\nFROM", b"biloxi.example>;tag=there\r\nFROM"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"INVITE\r\n\r\n",
        b"INVITE sip:x\r\n\r\n",
        b"invite sip:x SIP/2.0\r\n\r\n",
        b"INVITE sip:x SIP/3.0\r\n\r\n",
        b"SIP/2.0 99 x\r\n\r\n",
        b"SIP/2.0 700 x\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\nno colon\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\n: empty\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\nContent-Length: 9\r\n\r\nshort",
        b"INVITE sip:x SIP/2.0\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        sip.parse(data)
    assert caught.value.code == "bad_sip"


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:alice@atlanta.example", "alice", "atlanta.example", 5060),
        ("sip:+1%20555@192.0.2.1:5080;transport=udp?X-A=b", "+1 555", "192.0.2.1", 5080),
        ("sips:a:secret@[2001:db8::1]:5062", "a", "[2001:db8::1]", 5062),
        ("sips:host.example", "", "host.example", 5061),
        ("tel:+1-555-0001;phone-context=x", "+1-555-0001", "", 5060),
    ],
)
def test_uris(text: str, user: str, host: str, port: int) -> None:
    uri = sip.parse_uri(text)
    assert (uri.user, uri.host, uri.port) == (user, host, port)


@pytest.mark.parametrize("text", ["", "sip:", "http://x", "sip:a@b:99999", "alice"])
def test_what_is_no_uri_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        sip.parse_uri(text)
    assert sip.user_of(text) == ""


HEADER = st.tuples(
    st.from_regex(r"X-[A-Za-z0-9]{1,10}", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=40),
)


@given(st.lists(HEADER, max_size=20), st.binary(max_size=50))
def test_what_is_written_is_read_back(headers: list[tuple[str, str]], body: bytes) -> None:
    message = sip.Message(method="INVITE", uri="sip:x@y", headers=tuple(headers), body=body)
    read = sip.parse(sip.encode(message))
    assert read.headers == (*headers, ("Content-Length", str(len(body))))
    assert (read.method, read.uri, read.body) == ("INVITE", "sip:x@y", body)


@given(st.lists(st.tuples(st.from_regex(r"X-[a-z]{1,5}", fullmatch=True), st.text(max_size=30)), min_size=1, max_size=5))
def test_uri_headers_come_through_a_contact(headers: list[tuple[str, str]]) -> None:
    contact = f"<{sip.with_uri_headers('sip:agent@192.0.2.1:5062', headers)}>;expires=1"
    uri = sip.address_uri(contact)
    assert sip.parse_uri(uri).headers == tuple(headers)
    assert sip.without_uri_headers(uri) == "sip:agent@192.0.2.1:5062"


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=100).map(lambda junk: INVITE[:200] + junk + INVITE[200:])))
def test_no_bytes_get_past_bad_sip(data: bytes) -> None:
    code = ""
    try:
        message = sip.parse(data)
    except BadInput as error:
        code = error.code
    if code:
        assert code == "bad_sip"
        return
    again = sip.parse(sip.encode(message))
    assert (again.method, again.status) == (message.method, message.status)
    assert isinstance(message.cseq[0], int)
    sip.user_of(message.header("from"))
    sip.encode(sip.reply(message, 200, to_tag="t"))


@given(st.text(max_size=100))
def test_values_cannot_break_a_line(value: str) -> None:
    written = sip.encode(sip.Message(status=302, headers=(("X-A", value),)))
    assert written.count(b"\r\n") == 4
    assert b"\n\n" not in written
