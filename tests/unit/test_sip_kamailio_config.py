"""`render_config`: what it refuses, and that its evapi side stays on loopback. That Kamailio takes it: test_kamailio."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstring.channels.voice.config import render_config
from firstring.channels.voice.kamailio import encode_frame, read_frame
from firstring.errors import BadInput

DEFAULT = "sip:queue@192.0.2.1:5080;transport=udp"


def test_the_settings_stand_in_the_configuration() -> None:
    text = render_config(
        default_uri=DEFAULT, hold_uri="sip:hold@192.0.2.2", evapi="localhost:9000", listen=("udp:192.0.2.9:5060",)
    )
    assert "listen=udp:192.0.2.9:5060\n" in text
    assert 'modparam("evapi", "bind_addr", "127.0.0.1:9000")' in text
    assert f'$ru = "{DEFAULT}";' in text
    assert '$ru = "sip:hold@192.0.2.2";' in text
    assert 'remove_hf_re("^X-Firstring-")' in text
    assert "{{" not in text
    assert "{%" not in text


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"evapi": "0.0.0.0:8448"}, "evapi_not_loopback"),
        ({"evapi": "192.0.2.1:8448"}, "evapi_not_loopback"),
        ({"evapi": "[::1]:8448"}, "bad_evapi"),
        ({"evapi": "127.0.0.1"}, "bad_evapi"),
        ({"evapi": "127.0.0.1:99999"}, "bad_evapi"),
        ({"default_uri": 'sip:q"; exec("x")@h'}, "bad_uri"),
        ({"default_uri": "sip:$var(x)@h"}, "bad_uri"),
        ({"hold_uri": "sip:a\nb@h"}, "bad_uri"),
        ({"listen": ()}, "bad_listen"),
        ({"listen": ("udp:host:5060",)}, "bad_listen"),
        ({"header_prefix": 'X-"-'}, "bad_header_prefix"),
        ({"decision_budget_ms": 20}, "bad_setting"),
        ({"agents_tried_max": 10}, "bad_setting"),
    ],
)
def test_what_would_be_unsafe_is_refused(settings: dict[str, Any], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        render_config(**{"default_uri": DEFAULT, **settings})
    assert caught.value.code == code


async def read_all(data: bytes) -> list[bytes]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    frames: list[bytes] = []
    try:
        while True:
            frames.append(await read_frame(reader))
    except asyncio.IncompleteReadError:
        return frames


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_netstrings_come_through(payloads: list[bytes]) -> None:
    assert asyncio.run(read_all(b"".join(map(encode_frame, payloads)))) == payloads


@pytest.mark.parametrize("data", [b"x", b"12345678:", b"3:abcd,", b"999999:"])
async def test_what_is_no_netstring_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="netstring"):
        await read_all(data)


@given(st.binary(max_size=100))
def test_no_bytes_get_past_bad_frame(data: bytes) -> None:
    code = "bad_frame"
    try:
        asyncio.run(read_all(data))
    except BadInput as error:
        code = error.code
    assert code == "bad_frame"
