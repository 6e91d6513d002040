"""The charts of a model in a browser: no violation that axe-core finds, light and dark, from a phone to a laptop."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser
from tests.acceptance.desk_rig import new_context
from tests.acceptance.test_desk_axe import check
from tests.unit.test_identity_charts import made

from firstring.identity.model.charts import Bin, PairShown, charts


@pytest.mark.parametrize("width", ["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_charts_are_for_everybody(browser: Browser, tmp_path: Path, width: str, dark: bool) -> None:
    pair = PairShown("a1", "b2", 0.7, "household", -2.0, {"given": 3.0, "phone": -0.5})
    bins = [Bin(0.5, 0.6, 0.55, 20, 11), Bin(0.95, 1.0, 0.99, 300, 298)]
    file = tmp_path / "charts.html"
    file.write_text(charts(made(1.0), pair=pair, bins=bins, other=made(0.5, 500)), "utf-8")
    context = await new_context(browser, dark=dark, width=width)
    page = await context.new_page()
    await page.goto(file.as_uri())
    await check(page, f"charts, {width}")
    await page.locator("summary").first.click()
    await check(page, f"charts with a table unfolded, {width}")
    await context.close()
