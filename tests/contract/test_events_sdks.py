"""The stock SDKs for Python, unmodified, each in a process of its own, against a real server."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import Rig
from tests.events_rig import Key, Stored, keys, stored

ROOT = Path(__file__).resolve().parents[2]
AROUND_S = 120.0


@pytest.fixture(scope="module")
def made(api: Rig) -> dict[str, Key]:
    names = ("segment", "segment-1", "rudder", "posthog", "snowplow", "cloudevents")
    sources = [f"{name}-{secrets.token_hex(3)}" for name in names]
    return dict(zip(names, keys(api.home, "events", *sources), strict=True))


@pytest.fixture(scope="module")
def older() -> Path:
    """The folder with what tests/sdks/requirements.txt names. Made once; two test processes do not make it at once."""
    place = ROOT / "build" / "sdks" / "python"
    place.mkdir(parents=True, exist_ok=True)
    wanted = ROOT / "tests" / "sdks" / "requirements.txt"
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place / ".installed"
        if not done.exists() or done.read_text() != wanted.read_text():
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(place)]
            installed = subprocess.run([*command, "-r", str(wanted)], capture_output=True, text=True, timeout=300)
            assert installed.returncode == 0, installed.stderr
            done.write_text(wanted.read_text())
    return place


def run(program: str, api: Rig, key: str, path: Path | None = None) -> None:
    """Runs a program that uses an SDK; URL and KEY are its server and its write key. path: where it is looked for first."""
    host, port = api.server.url.removeprefix("http://").split(":")
    head = f"URL, HOST, PORT, KEY = {api.server.url!r}, {host!r}, {port}, {key!r}\n"
    program = head + textwrap.dedent(program)
    environment = dict(os.environ) if path is None else {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr


def by_name(found: list[Stored]) -> dict[str, Stored]:
    named = {one.name: one for one in found}
    assert len(named) == len(found), [one.name for one in found]
    for one in found:
        assert abs(one.occurred_at - datetime.now(UTC)) < timedelta(seconds=AROUND_S)
        assert one.standing == 1
    return named


def test_segment(api: Rig, made: dict[str, Key]) -> None:
    key = made["segment"]
    run(
        """
        import segment.analytics as analytics
        failed = []
        analytics.write_key, analytics.host, analytics.gzip = KEY, URL, True
        analytics.on_error = lambda error, items: failed.append(error)
        analytics.identify("u1", {"email": "ann@segment.test", "firstName": "Ann"})
        analytics.track("u1", "Order Completed", {"order_id": "1042", "total": 59.9})
        analytics.page("u1", "Shop", "Home", {"url": "https://shop.test/"})
        analytics.screen("u1", "App", "Start")
        analytics.group("u1", "acme", {"name": "Acme"})
        analytics.alias("old-1", "u1")
        analytics.flush()
        analytics.shutdown()
        assert not failed, failed
        """,
        api,
        key.text,
    )
    found = by_name(stored(api.home, key.source))
    assert set(found) == {"Identified", "Order Completed", "Page Viewed", "Screen Viewed", "Group Joined", "Aliased"}
    assert {one.user for one in found.values()} == {"u1"}
    assert found["Identified"].fields == {"email": "ann@segment.test", "given_name": "Ann"}
    assert found["Order Completed"].properties == {"order_id": "1042", "total": 59.9}
    assert found["Page Viewed"].properties["name"] == "Home"
    assert found["Group Joined"].properties == {"group_id": "acme", "group": {"name": "Acme"}}
    assert found["Group Joined"].fields == {}
    assert found["Order Completed"].context["library"]["name"] == "analytics-python"


def test_segment_as_it_was_before(api: Rig, made: dict[str, Key], older: Path) -> None:
    """analytics-python, which many programs still have."""
    key = made["segment-1"]
    run(
        """
        import analytics
        assert analytics.__name__ == "analytics"
        failed = []
        analytics.write_key, analytics.host, analytics.gzip = KEY, URL, True
        analytics.on_error = lambda error, items: failed.append(error)
        analytics.identify("u1", {"email": "ann@older.test"})
        analytics.track("u1", "Order Completed", {"order_id": "1042", "total": 59.9})
        analytics.alias("old-1", "u1")
        analytics.flush()
        analytics.join()
        assert not failed, failed
        """,
        api,
        key.text,
        older,
    )
    found = by_name(stored(api.home, key.source))
    assert set(found) == {"Identified", "Order Completed", "Aliased"}
    assert found["Identified"].fields == {"email": "ann@older.test"}
    assert {one.record for one in found.values()} == {"u1"}
    assert found["Order Completed"].context["library"]["version"].startswith("1.4")


def test_rudderstack(api: Rig, made: dict[str, Key]) -> None:
    key = made["rudder"]
    run(
        """
        import rudderstack.analytics as analytics
        failed = []
        analytics.write_key, analytics.dataPlaneUrl, analytics.gzip = KEY, URL, True
        analytics.on_error = lambda error, items: failed.append(error)
        analytics.identify("u1", {"email": "ann@rudder.test", "name": "Ann Lee"})
        analytics.track("u1", "product_viewed", {"product_id": "7"})
        analytics.alias("old-1", "u1")
        analytics.group("u1", "acme", {"name": "Acme"})
        analytics.flush()
        analytics.shutdown()
        assert not failed, failed
        """,
        api,
        key.text,
    )
    found = by_name(stored(api.home, key.source))
    assert set(found) == {"Identified", "Product Viewed", "Aliased", "Group Joined"}
    assert found["Identified"].fields == {"email": "ann@rudder.test", "full_name": "Ann Lee"}
    assert {one.record for one in found.values()} == {"u1"}


def test_posthog(api: Rig, made: dict[str, Key]) -> None:
    key = made["posthog"]
    run(
        """
        from posthog import Posthog
        failed = []
        client = Posthog(KEY, host=URL, gzip=True, on_error=lambda error, items: failed.append(error))
        client.capture("Order Completed", distinct_id="u1", properties={"total": 5, "$set": {"email": "ann@posthog.test"}})
        client.set(distinct_id="u1", properties={"name": "Ann Lee"})
        client.alias("u1", "old-1")
        client.group_identify("company", "acme", {"name": "Acme"})
        client.capture("Seen By Nobody")
        client.flush()
        client.shutdown()
        assert not failed, failed
        """,
        api,
        key.text,
    )
    found = by_name(stored(api.home, key.source))
    assert set(found) == {"Order Completed", "Identified", "Aliased", "Seen By Nobody"}
    assert found["Order Completed"].properties == {"total": 5}
    assert found["Order Completed"].fields == {"email": "ann@posthog.test"}
    assert found["Identified"].fields == {"full_name": "Ann Lee"}
    assert found["Aliased"].record == "u1"
    assert found["Seen By Nobody"].record.startswith("cookie:")


def test_snowplow(api: Rig, made: dict[str, Key]) -> None:
    key = made["snowplow"]
    run(
        """
        from snowplow_tracker import (
            Emitter, PageView, SelfDescribing, SelfDescribingJson, StructuredEvent, Subject, Tracker
        )
        failed = []
        subject = Subject()
        subject.set_user_id("u1")
        subject.set_timezone("Europe/Paris")
        emitter = Emitter(HOST, protocol="http", port=PORT, method="post", batch_size=3,
                          on_failure=lambda count, events: failed.append(events))
        tracker = Tracker("tracker", emitters=emitter, app_id=KEY, subject=subject)
        def own(name, data):
            return SelfDescribing(SelfDescribingJson(f"iglu:com.acme/{name}/jsonschema/1-0-0", data))
        tracker.track(own("order_completed", {"order_id": "1042", "total": 5}))
        tracker.track(own("identify", {"email": "ann@snowplow.test"}))
        tracker.track(PageView("https://shop.test/a", "Home"))
        tracker.track(StructuredEvent("shop", "add-to-basket", "label", "pcs", 2.0))
        tracker.flush()
        assert not failed, failed
        """,
        api,
        key.text,
    )
    found = by_name(stored(api.home, key.source))
    assert set(found) == {"Order Completed", "Identified", "Page Viewed", "add-to-basket"}
    assert found["Order Completed"].properties == {"order_id": "1042", "total": 5}
    assert found["Order Completed"].context["timezone"] == "Europe/Paris"
    assert found["Identified"].fields == {"email": "ann@snowplow.test"}
    assert found["Page Viewed"].properties == {"name": "Home", "title": "Home", "url": "https://shop.test/a"}
    assert found["add-to-basket"].properties == {"category": "shop", "label": "label", "property": "pcs", "value": 2.0}
    assert {one.record for one in found.values()} == {"u1"}


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_cloudevents(api: Rig, made: dict[str, Key], mode: str) -> None:
    key = made["cloudevents"]
    run(
        f"""
        import httpx
        from cloudevents.core.bindings.http import to_binary_event, to_structured_event
        from cloudevents.core.v1.event import CloudEvent
        event = CloudEvent(
            {{"type": "com.acme.order.completed", "source": "/shop", "id": "{mode}", "subject": "u-{mode}"}},
            {{"order_id": "1042", "note": "Zoë"}},
        )
        from cloudevents.core.formats.json import JSONFormat
        message = to_{mode}_event(event, JSONFormat())
        headers = {{**message.headers, "authorization": f"Bearer {{KEY}}"}}
        for _ in range(2):
            httpx.post(f"{{URL}}/v1/cloudevents", content=message.body, headers=headers).raise_for_status()
        """,
        api,
        key.text,
    )
    [one] = [one for one in stored(api.home, key.source) if one.record == f"u-{mode}"]
    assert (one.name, one.properties) == ("Order Completed", {"order_id": "1042", "note": "Zoë"})


def test_cloudevents_in_a_batch(api: Rig, made: dict[str, Key]) -> None:
    key = made["cloudevents"]
    batch: list[dict[str, Any]] = [
        {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "order.shipped", "userid": "u-batch"}
        for number in range(3)
    ]
    batch[1]["type"] = ""
    answer = api.client.post(
        "/v1/cloudevents",
        content=json.dumps(batch),
        headers={"content-type": "application/cloudevents-batch+json", "x-write-key": key.text},
    ).json()
    assert (answer["stored"], [one["index"] for one in answer["rejected"]]) == (2, [1])
    assert [one.name for one in stored(api.home, key.source) if one.record == "u-batch"] == ["Order Shipped"] * 2
