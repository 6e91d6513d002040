"""`firstring demo`, as a newcomer runs it: the whole story, twice, by both telephone systems, and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.needs import need

STORY_S = 60
CONTACTS = 15
SCENES = [
    "known_caller", "open_refund", "household", "unknown_number", "anonymous", "switchboard", "vip", "spanish", "spoofed",
    "busy_agent", "queue", "chat", "web_event", "payment_error", "no_offer", "call_me",
]  # fmt: skip
SETTING_UP = ["home", "database", "telephony", "customers", "actions", "agents", "server", "desks"]
MakeHome = Callable[[], Path]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "firstring.cli", "demo", *arguments]


def environment(home: Path) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTRING_")}
    return {**others, "FIRSTRING_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def told(home: Path, voice: str) -> dict[str, Any]:
    """The result of one run of the story."""
    run = subprocess.run(
        command("--once", "--json", "--voice", voice),
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=STORY_S,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert run.stdout.count("\n") == 1, "nothing but one line of JSON stands on standard output"
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def left(home: Path) -> list[str]:
    """Programs that have to do with the home, of any kind: by their command line or their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if str(home).encode() in (entry / "environ").read_bytes() or str(home) in line:
                found.append(f"{entry.name} {line}")
        except OSError:
            continue
    return found


def check_nothing_left(home: Path) -> None:
    """The keeper needs a moment to stop PostgreSQL once the last program has ended."""
    until = time.monotonic() + 30
    while (programs := left(home)) and time.monotonic() < until:
        time.sleep(0.05)
    assert programs == []


def check_story(found: dict[str, Any], voice: str) -> dict[str, str]:
    """The form and the figures of a result; the details by step."""
    assert list(found) == ["steps", "contacts", "decided", "popped", "decide_ms", "voice"]
    assert [step["name"] for step in found["steps"]] == [*SETTING_UP, *SCENES, "replay"]
    assert all(list(step) == ["name", "ok", "detail"] and step["ok"] is True for step in found["steps"])
    assert (found["contacts"], found["decided"], found["popped"]) == (CONTACTS, CONTACTS, CONTACTS)
    assert 0 < found["decide_ms"]["p50"] <= found["decide_ms"]["p99"]
    assert found["voice"] == voice
    details = {step["name"]: step["detail"] for step in found["steps"]}
    assert details["replay"].endswith("0 differences")
    return details


def test_the_story_without_kamailio_and_once_more(make_home: MakeHome) -> None:
    home = make_home()
    first = check_story(told(home, "redirect"), "redirect")
    assert first["customers"].startswith("324 new records of 324, 88 new events")
    assert "offers locked" in first["open_refund"]
    error = "cart_payment_error (the payment failed at the checkout and no order followed within an hour)"
    shown = r"-> payment_help_chat: Trouble with the payment.*\? shown \d+ ms after the event"
    assert re.fullmatch(rf"a visitor; {re.escape(error)} {shown}, accepted", first["payment_error"])
    removed = "pay_in_parts removed by open_refund"
    assert re.fullmatch(rf"Alice Novak; {re.escape(error)} {shown}; {removed}", first["no_offer"])
    assert "-> call_me_now: Shall we call you? shown " in first["call_me"]
    again = check_story(told(home, "redirect"), "redirect")
    assert again["database"] == "everything was there"
    assert again["customers"].startswith("0 new records of 324, ")
    assert again["no_offer"].endswith(removed)
    check_nothing_left(home)


def test_the_story_with_kamailio_and_sipp(make_home: MakeHome) -> None:
    need("kamailio", package="kamailio kamailio-extra-modules kamailio-json-modules")
    need("sipp", package="sip-tester")
    home = make_home()
    check_story(told(home, "auto"), "kamailio")
    check_nothing_left(home)


@contextmanager
def staying(home: Path) -> Iterator[tuple[subprocess.Popen[str], list[str], Callable[[str], None]]]:
    """A demonstration that stays: (the program, its lines so far, waits for a line)."""
    program = subprocess.Popen(
        command("--voice", "redirect"),
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: list[str] = []
    more = threading.Condition()

    def read() -> None:
        assert program.stdout is not None
        for line in program.stdout:
            with more:
                lines.append(line)
                more.notify_all()

    reader = threading.Thread(target=read)
    reader.start()

    def until(text: str) -> None:
        with more:
            assert more.wait_for(lambda: any(text in line for line in lines), timeout=STORY_S), "".join(lines)

    try:
        yield program, lines, until
    finally:
        if program.poll() is None:
            program.kill()
        program.wait()
        reader.join()
        assert program.stdout is not None
        program.stdout.close()


def test_it_stays_and_leaves_nothing_behind(make_home: MakeHome) -> None:
    home = make_home()
    with staying(home) as (program, lines, until):
        until("Ctrl-C ends everything.")
        text = "".join(lines)
        assert "The desk: http://127.0.0.1:" in text
        assert re.search(r"/live\n", text)
        assert re.search(r"/person/\d+\n", text)
        assert "as an agent:      agent / " in text
        assert "as a supervisor:  supervisor / " in text
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does
        assert program.wait(timeout=30) == 0, "".join(lines)
    check_nothing_left(home)


@pytest.mark.parametrize("moment", ["a home of its own", "sample customers", "a caller with an open refund"])
def test_interrupted_at_any_moment_it_leaves_nothing_behind(make_home: MakeHome, moment: str) -> None:
    home = make_home()
    with staying(home) as (program, lines, until):
        until(moment)
        os.killpg(program.pid, signal.SIGINT)
        assert program.wait(timeout=30) == 1, "".join(lines)
    check_nothing_left(home)
