"""Pops in a real Chromium: from the moment of the decision until the browser has painted it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from typing import Any

from firstring.bench.callers import Call
from firstring.bench.http import Client, expect

SHOWN_S = 0.12
"""How long a call stays on the desk before it ends and the next one comes."""


def chromium() -> str | None:
    """Where Chromium is, if it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


async def pops(port: int, client: Client, calls: Sequence[Call], *, login: str, password: str) -> list[float]:
    """Milliseconds from each decision's time to its paint, for calls that reach the one agent who is ready.

    The painted time is the browser's own clock, after the frame that shows the pop; the same machine's clock as the
    server's. It starts at the beginning of the decision, so it includes deciding.
    """
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            page = await browser.new_page()
            await page.goto(f"http://127.0.0.1:{port}/signin")
            await page.fill("#login", login)
            await page.fill("#password", password)
            await page.click("button.main")
            await page.wait_for_function("window.firstringPops !== undefined")
            await asyncio.sleep(1.0)
            for number, call in enumerate(calls):
                await _one(client, call, f"pop-{number}-{os.getpid()}")
            await asyncio.sleep(0.5)
            painted: list[dict[str, Any]] = await page.evaluate("window.firstringPops")
        finally:
            await browser.close()
    return [pop["painted_at"] - pop["decided_at"] for pop in painted]


async def _one(client: Client, call: Call, call_id: str) -> None:
    offer = {"call_id": call_id, "from": call.number or "anonymous", "to": "+18005550100", "deadline_ms": 800}
    expect(await client.post("/v1/decide", offer), "decide")
    await asyncio.sleep(SHOWN_S)
    for kind in ("call.answered", "call.ended"):
        expect(await client.post("/v1/calls/events", {"type": kind, "call_id": call_id}), kind)
    await asyncio.sleep(0.05)
