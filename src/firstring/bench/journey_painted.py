"""From an event in a page to the action painted in it: event, pattern, decision, delivery, dialog, in a real Chromium.

Each time it is a new visitor. Times are the browser's own: from the call of `firstring.track` to the frame after the one
with the dialog; and of that what the server took: from the event's request to the message that something is decided, and the
answer to the question whether it may be shown. Both contain the way over the loopback interface.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from rich.console import Console

from firstring.bench import programs
from firstring.bench.browser import chromium
from firstring.bench.journey import shown
from firstring.bench.measures import Measure, quantile

GOAL_SERVER_P50_MS: Final = 10.0
GOAL_PAINTED_P99_MS: Final = 50.0
WAIT_MS: Final = 5_000
WARM_UP: Final = 5
_PATTERN: Final = """
id: bench_asks_twice
title: Asks twice
match: {seq: ["Help Viewed", "Help Viewed"]}
within: 1h
valence: negative
"""
_ACTION: Final = """
id: bench_help
kind: service
title: Help at once
route: web
form: popup
trigger: {patterns: [bench_asks_twice]}
chance: 0.5
value: 50
cost: 0.1
expires: 10m
content:
  en: {title: "May we help?", text: "Somebody is there.", accept: "Yes", dismiss: "No"}
"""
_TIMES: Final = """
window.bench = {};
const send = window.fetch;
window.fetch = (address, options) => {
  const path = new URL(address).pathname, at = performance.now(), answer = send(address, options);
  if (path === "/v1/batch") window.bench.event = at;
  if (path === "/web/show") { window.bench.told = at; answer.then(() => { window.bench.allowed = performance.now(); }); }
  return answer;
};
addEventListener("firstring", (event) => {
  if (event.detail.what === "shown")
    requestAnimationFrame(() => requestAnimationFrame(() => { window.bench.painted = performance.now(); }));
});
"""


async def run_bench(*, visitors: int, as_json: bool) -> None:
    """Runs it and prints the figures. visitors: how many, one after the other."""
    path = chromium()
    if path is None:
        note = "Chromium is not installed"
        nothing = Measure("event to action painted, p99", "ms", None, GOAL_PAINTED_P99_MS, "lower", note)
        shown([nothing], "painted", as_json=as_json)
        return
    async with programs.rig() as rig:
        for name, text in (("patterns", _PATTERN), ("actions", _ACTION)):
            file = rig.home / f"{name}.yaml"
            file.write_text(text, "utf-8")
            await rig.run(name, "load", str(file), *(["--on"] if name == "patterns" else []))
        key = (await rig.run("token", "--role", "write_key", "--source", "shop", "--name", "bench")).split()[0]
        async with programs.serving(rig, {"FIRSTRING_LOG_LEVEL": "warning"}) as (_, port):
            times = await _visits(path, port, key, visitors)
    painted = [one["painted"] - one["called"] for one in times]
    server = [(one["told"] - one["event"]) + (one["allowed"] - one["told"]) for one in times]
    note = f"{len(times)} visitors, load {os.getloadavg()[0]:.1f}"
    shown(
        [
            Measure("event to action, in the server, p50", "ms", quantile(server, 0.5), GOAL_SERVER_P50_MS, "lower", note),
            Measure("event to action, in the server, p99", "ms", quantile(server, 0.99), None, "lower", note),
            Measure("event to action painted, p50", "ms", quantile(painted, 0.5), None, "lower", note),
            Measure("event to action painted, p99", "ms", quantile(painted, 0.99), GOAL_PAINTED_P99_MS, "lower", note),
        ],
        "painted",
        as_json=as_json,
    )


async def _visits(path: str, port: int, key: str, visitors: int) -> list[dict[str, float]]:
    from playwright.async_api import async_playwright

    err = Console(stderr=True)
    page_of = f"<!doctype html><title>Shop</title><script>{_TIMES}</script>"
    page_of += f'<script src="http://127.0.0.1:{port}/web/firstring.js" data-key="{key}"></script><h1>Shop</h1>'

    async def site(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n{page_of}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(site, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    found: list[dict[str, float]] = []
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            for number in range(visitors + WARM_UP):
                page = await browser.new_page()
                times = await _visit(page, address)
                if number >= WARM_UP:
                    found.append(times)
                await page.close()
                if number % 20 == 0:
                    err.print(f"{number} visitors", style="dim")
        finally:
            await browser.close()
            server.close()
    return found


async def _visit(page: Any, address: str) -> dict[str, float]:
    """One visitor who looks at the help twice; the second time something is decided."""
    await page.goto(address)
    await page.wait_for_function("window.bench.event")
    await asyncio.sleep(0.3)  # the page's own first events are through, and it listens
    await page.evaluate("firstring.track('Help Viewed')")
    await asyncio.sleep(0.3)
    await page.evaluate("window.bench.called = performance.now(), firstring.track('Help Viewed'), 0")
    await page.wait_for_function("window.bench.painted", timeout=WAIT_MS, polling="raf")
    times: dict[str, float] = await page.evaluate("window.bench")
    return times
