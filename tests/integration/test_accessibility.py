"""Every page that can be reached, in both languages and colour schemes: axe finds nothing, the keyboard gets on.

Pages join by themselves: every GET route of the console that takes no parameter and answers HTML, beside samples of
those that do.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from dashboards.people.guard import declared
from domain.clock import Instant
from domain.events import SessionEnded, SessionOpened, SessionStopped, Telemetry
from domain.registry import Registration
from tests.dashboards.feeds import finding, moving_picture
from tests.dashboards.serving import Served, served
from tests.services.axe import scheme, violations
from tests.services.browser import Browser

START = Instant.parse("2026-05-06T09:00:00.000+08:00")
SAMPLES = (
    "/sessions/rec-1/s1",
    "/recorders/rec-1/day?date=2026-05-06",
    "/?unit=%E4%B8%80%E9%98%9F&state=low",
)
"""Pages with parameters."""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    gap = {"seconds": 6.0, "from": START.plus(4000).rfc3339(), "to": START.plus(10_000).rfc3339(), "cause": "network"}
    ids: dict[str, Any] = {"recorder_id": "rec-1", "session_id": "s1"}
    async with served(tmp_path) as running:
        now = running.clock.now()
        await running.publish(
            Registration(recorder_id="rec-1", kind="body_worn", policy="wucheng", name="记录仪", unit_id="一队"),
            Registration(recorder_id="cam-1", kind="premises_camera", policy="gansu", site_id="门诊部"),
            SessionOpened(at=START, act="检查", **ids),
            Telemetry(at=now, recorder_id="rec-1", device_at=now, battery_percent=10),
            Telemetry(at=START, recorder_id="rec-1", device_at=START, battery_percent=80, signal_dbm=-70),
            finding(1, kind="recording.gap", began_at=START.plus(4000), evidence=gap, clauses=["W-AV 第十八条"], **ids),
            finding(2, kind="clock.drift", severity="warning", recorder_id="cam-1", evidence={"offset_s": 9.0}),
            finding(3, kind="picture.blurred", severity="info", recorder_id="cam-1"),
            SessionStopped(at=START.plus(15_000), reason="battery", last_captured_at=START.plus(14_000), **ids),
            SessionEnded(at=START.plus(24_000), completed_at=START.plus(24_000), **ids),
        )
        cut = moving_picture("320x240", seconds=4)
        for second in (0, 10):
            await running.keep("rec-1", cut, START.plus(second * 1000), second)
        yield running


async def pages(site: Served) -> list[str]:
    """All addresses that answer a page."""
    found = [
        route.path
        for router in site.console.routers()
        for route in router.routes
        if isinstance(route, APIRoute)
        and "GET" in (route.methods or ())
        and "{" not in route.path
        and declared(route.endpoint)
    ]
    shown = []
    async with httpx.AsyncClient(base_url=site.url, follow_redirects=False) as http:
        for path in dict.fromkeys((*found, *SAMPLES)):
            if path.startswith("/api/"):
                continue
            answer = await http.get(path, headers={"Accept": "text/html"})
            assert answer.status_code != 500, f"{path}: {answer.text}"
            whole = answer.text.lower().startswith("<!doctype html>")
            if answer.status_code == 200 and whole and "text/html" in answer.headers["content-type"]:
                shown.append(path)
    return shown


@pytest.mark.browser
@pytest.mark.timeout(300)
async def test_axe_finds_nothing(site: Served, browser: Browser) -> None:
    shown = await pages(site)
    assert {"/", "/wall", "/sessions", *SAMPLES} <= set(shown)
    wrong: list[str] = []
    try:
        for path, (language, dark) in product(shown, (("zh", False), ("en", True))):
            await asyncio.to_thread(scheme, browser, dark)
            address = f"{site.url}{path}{'&' if '?' in path else '?'}lang={language}"
            await asyncio.to_thread(browser.driver.get, address)
            where = f"{path} {language} {'dark' if dark else 'light'}: "
            wrong += [where + one for one in await asyncio.to_thread(violations, browser)]
        spoil = (
            "document.querySelector('main').insertAdjacentHTML('beforeend', '<p><img src=\"/static/icon.svg\"></p>')"
        )
        await asyncio.to_thread(browser.driver.execute_script, spoil)
        found = await asyncio.to_thread(violations, browser)
        assert [one.split(":")[0] for one in found] == ["image-alt"], "axe looks"
    finally:
        await asyncio.to_thread(scheme, browser, False)
    assert wrong == []


@pytest.mark.browser
async def test_the_keyboard_goes_through_in_order_and_is_seen(site: Served, browser: Browser) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def tab() -> dict[str, Any]:
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        seen: dict[str, Any] = browser.driver.execute_script(
            """const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
            return {href: e.getAttribute('href'), id: e.id, name: e.tagName, outline: s.outlineStyle,
                    inside: r.left >= 0 && r.width > 0}"""
        )
        return seen

    for path in ("/", "/sessions/rec-1/s1"):
        await asyncio.to_thread(browser.driver.get, f"{site.url}{path}?lang=zh")
        first = await asyncio.to_thread(tab)
        assert (first["href"], first["inside"]) == ("#main", True), "the way past the navigation comes first"
        reached = [await asyncio.to_thread(tab) for _ in range(24)]
        assert [one for one in reached if one["name"] != "BODY" and one["outline"] == "none"] == []
        assert any(one["id"] == "language" for one in reached)
        assert any(one["id"] in {"filter-state", "line"} for one in reached)
