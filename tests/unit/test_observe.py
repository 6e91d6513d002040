"""Metrics and logs: what is counted, and that logs carry no values of anybody."""

from __future__ import annotations

import io
import json
import logging
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from firstring.observe import Metrics, configure_logs, only_known_fields


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A log at level debug; everything is put back afterwards."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    configured = structlog.get_config()
    stream = io.StringIO()
    configure_logs("debug", stream)
    structlog.configure(cache_logger_on_first_use=False)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:], root.level = before
    structlog.configure(**configured)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_metrics_of_two_servers_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.observe("decide", 3.0)
    one.decided("offered", "route")
    one.failed_open("deadline")
    one.request("/v1/decide", 200, 0.004)
    one.events("stored", 2)
    one.events("rejected", 0)
    text = one.text().decode()
    assert 'firstring_stage_seconds_sum{stage="decide"} 0.003' in text
    assert 'firstring_decisions_total{cause="offered",outcome="route"} 1.0' in text
    assert 'firstring_failed_open_total{code="deadline"} 1.0' in text
    assert 'firstring_http_seconds_count{route="/v1/decide",status="2xx"} 1.0' in text
    assert 'firstring_events_total{result="stored"} 2.0' in text
    assert 'result="rejected"' not in text
    assert "decide" not in other.text().decode().split("# HELP", 2)[-1].replace("decide (all", "")


def test_what_may_be_logged(log: io.StringIO) -> None:
    contact = str(uuid.uuid4())
    structlog.get_logger("x").warning("failed_open", why="deadline", contact=contact, bytes=12, name="Ann Lee")
    [line] = lines(log)
    assert (line["event"], line["level"], line["why"], line["contact"]) == ("failed_open", "warning", "deadline", contact)
    assert (line["bytes"], line["name"]) == (12, "(not logged)")


def test_an_exception_is_logged_without_its_message(log: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError("Ann Lee, +12025550123")

    try:
        fail()
    except ValueError:
        structlog.get_logger("x").exception("decide_failed")
    [line] = lines(log)
    assert line["exception"].startswith("ValueError at test_observe.py:")
    assert "fail" in line["exception"]
    assert "Ann" not in log.getvalue()


def test_libraries_are_logged_without_their_messages(log: io.StringIO) -> None:
    logging.getLogger("asyncio").error("unclosed %s", "+12025550123", exc_info=OSError("Ann"))
    logging.getLogger("uvicorn.error").info("Started")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("Ann Lee", ResourceWarning, stacklevel=1)
    first, second = lines(log)
    assert (first["event"], first["level"], first["logger"]) == ("library", "error", "asyncio")
    assert first["exception"].startswith("OSError at")
    assert (second["logger"], second["level"]) == ("py.warnings", "warning")
    assert "Ann" not in log.getvalue()
    assert "2025550123" not in log.getvalue()


def test_configured_twice_a_library_is_logged_once(log: io.StringIO) -> None:
    configure_logs("debug", log)
    logging.getLogger("x").error("y")
    assert len(lines(log)) == 1


PERSONAL = st.one_of(
    st.from_regex(r"\+[1-9][0-9]{9,14}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{9,14}", fullmatch=True),
    st.emails(),
    st.from_regex(r"[A-Z][a-z]{2,8} [A-Z][a-z]{2,8}", fullmatch=True),
    st.from_regex(r"(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]", fullmatch=True),
)
CODES = st.sampled_from(
    ["event", "code", "why", "error", "adapter", "stage", "contact", "tenant", "logger", "level", "detail"]
)


@given(field=CODES, value=PERSONAL)
def test_numbers_names_and_addresses_never_pass(field: str, value: str) -> None:
    assert only_known_fields(None, "info", {field: value})[field] == "(not logged)"
    if value.lstrip("+").isdigit() and field != "tenant":
        assert only_known_fields(None, "info", {field: int(value)})[field] == "(not logged)"
