"""The stock SDKs for Node and for browsers, unmodified, against a real server.

They come from the npm registry by tests/sdks/package.json and its lock file, into build/sdks.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route
from tests.acceptance.conftest import new_world
from tests.acceptance.desk_rig import World
from tests.events_rig import Key, Stored, make_key, read_events
from tests.needs import need

from firstring.bootstrap import Server

ROOT = Path(__file__).resolve().parents[2]
SDKS = ROOT / "tests" / "sdks"
SHOP = "https://shop.test"
WAIT_S = 15.0


@pytest.fixture(scope="session")
def modules() -> Path:
    """The folder node_modules with the SDKs of the lock file. Made once; two test processes do not make it at once."""
    npm = need("npm", package="nodejs npm")
    place = ROOT / "build" / "sdks"
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = hashlib.sha256((SDKS / "package-lock.json").read_bytes()).hexdigest()
        done = place / ".installed"
        if not done.exists() or done.read_text() != stamp:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SDKS / name, place / name)
            # `npm ci` refuses lock files with optional parts for other systems that the registry does not have.
            command = [npm, "install", "--no-save", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
            installed = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300)
            assert installed.returncode == 0, installed.stderr
            assert (place / "package-lock.json").read_bytes() == (SDKS / "package-lock.json").read_bytes()
            done.write_text(stamp)
    return place / "node_modules"


@pytest.fixture
async def shop(desk_server: tuple[Server, str]) -> World:
    return await new_world(*desk_server)


async def key_of(shop: World, role: Any, source: str) -> Key:
    return await make_key(shop.server.services.database, shop.tenant, role, source)


async def stored(shop: World, source: str, count: int, problems: Sequence[str] = ()) -> dict[str, Stored]:
    """The events of a source by name, once there are `count`. problems: what else went wrong, for the message."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while True:
        found = await read_events(shop.server.services.database, shop.tenant, source)
        if len(found) >= count:
            named = {one.name: one for one in found}
            assert len(named) == len(found) == count, [one.name for one in found]
            return named
        assert asyncio.get_running_loop().time() < deadline, ([one.name for one in found], problems)
        await asyncio.sleep(0.1)


async def test_node(modules: Path, shop: World) -> None:
    node = need("node", package="nodejs")
    keys = [await key_of(shop, "events", source) for source in ("segment", "rudder", "posthog")]
    process = await asyncio.create_subprocess_exec(
        node, str(SDKS / "node.mjs"), shop.url, *(key.text for key in keys),
        cwd=modules.parent, env={"PATH": os.environ["PATH"]}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    segment = await stored(shop, "segment", 4)
    assert set(segment) == {"Identified", "Order Completed", "Aliased", "Group Joined"}
    assert segment["Order Completed"].properties == {"order_id": "1042", "total": 5}
    assert {one.record for one in segment.values()} == {"u1"}
    rudder = await stored(shop, "rudder", 2)
    assert rudder["Identified"].fields == {"email": "ann@node.test"}
    assert rudder["Product Viewed"].properties == {"product_id": "7"}
    posthog = await stored(shop, "posthog", 3)
    assert set(posthog) == {"Order Completed", "Identified", "Aliased"}
    assert {one.standing for one in (*segment.values(), *rudder.values(), *posthog.values())} == {1}


async def visit(browser: Browser, files: dict[str, Path], html: str) -> tuple[Page, list[str]]:
    """A page of the shop with the SDK's files; what its scripts and its network complain about."""
    # The shop is made up and the server is on this machine: Chromium asks people about that, on secure pages only.
    page = await browser.new_page(permissions=["local-network-access"])
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("requestfailed", lambda request: problems.append(f"{request.url}: {request.failure}"))

    async def serve(route: Route) -> None:
        path = route.request.url.removeprefix(SHOP).partition("?")[0]
        if path == "/":
            await route.fulfill(body=f"<!doctype html><title>Shop</title>{html}", content_type="text/html")
        elif path.startswith("/umd/"):
            await route.fulfill(path=files["/umd/"] / path.removeprefix("/umd/"), content_type="text/javascript")
        elif path in files:
            await route.fulfill(path=files[path], content_type="text/javascript")
        else:
            await route.fulfill(status=204)

    await page.route(f"{SHOP}/**", serve)
    await page.goto(f"{SHOP}/")
    return page, problems


def is_a_claim(found: dict[str, Stored]) -> None:
    """What a browser sends is claimed: it is stored, and gives nobody an e-mail address."""
    assert {one.standing for one in found.values()} == {0}
    assert {one.channel for one in found.values()} == {"web"}


async def test_segment_in_a_browser(modules: Path, shop: World, browser: Browser) -> None:
    key = await key_of(shop, "write_key", "segment-web")
    umd = modules / "@segment" / "analytics-next" / "dist" / "umd"
    html = f"""<script src="/umd/index.js"></script>
      <script type="module">
        const {{ AnalyticsBrowser }} = window.AnalyticsNext;
        const analytics2 = AnalyticsBrowser.load({{ writeKey: "{key.text}", cdnURL: "{shop.url}" }});
        await analytics2.page();
        await analytics2.track("Product Viewed", {{ product_id: "7" }});
        await analytics2.identify("u1", {{ email: "ann@browser.test" }});
      </script>"""
    page, problems = await visit(browser, {"/umd/": umd}, html)
    found = await stored(shop, "segment-web", 3, problems)
    await page.close()
    assert not problems
    is_a_claim(found)
    assert set(found) == {"Page Viewed", "Product Viewed", "Identified"}
    assert found["Page Viewed"].properties["url"] == f"{SHOP}/"
    assert found["Product Viewed"].record.startswith("cookie:")
    assert (found["Identified"].record, found["Identified"].fields["email"]) == ("u1", "ann@browser.test")


async def test_rudderstack_in_a_browser(modules: Path, shop: World, browser: Browser) -> None:
    key = await key_of(shop, "write_key", "rudder-web")
    bundle = modules / "@rudderstack" / "analytics-js" / "dist" / "npm" / "modern" / "bundled" / "umd" / "index.js"
    html = f"""<script src="/rudder.js"></script>
      <script>
        const {{ RudderAnalytics }} = window.rudderanalytics;
        const analytics2 = new RudderAnalytics();
        analytics2.load("{key.text}", "{shop.url}", {{ configUrl: "{shop.url}" }});
        analytics2.page();
        analytics2.track("Product Viewed", {{ product_id: "7" }});
        analytics2.identify("u1", {{ email: "ann@browser.test" }});
      </script>"""
    page, problems = await visit(browser, {"/rudder.js": bundle}, html)
    found = await stored(shop, "rudder-web", 3, problems)
    await page.close()
    assert not problems
    is_a_claim(found)
    assert set(found) == {"Page Viewed", "Product Viewed", "Identified"}
    assert found["Identified"].record == "u1"


async def test_jitsu_in_a_browser(modules: Path, shop: World, browser: Browser) -> None:
    key = await key_of(shop, "write_key", "jitsu-web")
    module = modules / "@jitsu" / "js" / "dist" / "jitsu.es.js"
    html = f"""<script type="module">
        import {{ jitsuAnalytics }} from "/jitsu.js";
        const jitsu = jitsuAnalytics({{ host: "{shop.url}", writeKey: "{key.text}:any" }});
        await jitsu.page();
        await jitsu.track("Product Viewed", {{ product_id: "7" }});
        await jitsu.identify("u1", {{ email: "ann@browser.test" }});
      </script>"""
    page, problems = await visit(browser, {"/jitsu.js": module}, html)
    found = await stored(shop, "jitsu-web", 3, problems)
    await page.close()
    assert not problems
    is_a_claim(found)
    assert set(found) == {"Page Viewed", "Product Viewed", "Identified"}
    assert found["Identified"].record == "u1"


async def test_snowplow_in_a_browser(modules: Path, shop: World, browser: Browser) -> None:
    key = await key_of(shop, "write_key", "snowplow-web")
    umd = modules / "@snowplow" / "browser-tracker" / "dist" / "index.umd.min.js"
    html = f"""<script src="/snowplow.js"></script>
      <script>
        const tracker = window.snowplow ?? window.browserTracker ?? Object.values(window).find((v) => v?.newTracker);
        tracker.newTracker("sp", "{shop.url}", {{ appId: "{key.text}" }});
        tracker.trackPageView();
        tracker.setUserId("u1");
        tracker.trackSelfDescribingEvent({{
          event: {{ schema: "iglu:com.acme/product_viewed/jsonschema/1-0-0", data: {{ product_id: "7" }} }},
        }});
      </script>"""
    page, problems = await visit(browser, {"/snowplow.js": umd}, html)
    found = await stored(shop, "snowplow-web", 2, problems)
    await page.close()
    assert not problems
    is_a_claim(found)
    assert found["Product Viewed"].properties == {"product_id": "7"}
    assert found["Product Viewed"].record == "u1"
    assert found["Page Viewed"].record.startswith("cookie:")
