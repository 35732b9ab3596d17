"""In Chromium: an officer asks, the head approves, the officer plays just that, fetches a copy, and it is proved."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import uvicorn
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from storage.office import requests
from tests.dashboards.footage_house import House, at, fill, house
from tests.services.axe import scheme, violations
from tests.services.browser import Browser
from tests.streams.whip_client import until

T = TypeVar("T")


@asynccontextmanager
async def served(filled: Path, folder: Path) -> AsyncIterator[tuple[House, str]]:
    async with house(filled, folder) as here:
        config = uvicorn.Config(here.app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        try:
            yield here, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


@pytest.fixture
def window(tmp_path: Path, downloads: Path) -> Iterator[Browser]:
    downloads.mkdir()
    with Browser(tmp_path, size=(1366, 768)) as browser:
        browser.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
        )
        yield browser


class Clerk:
    """Somebody at the browser, step by step; each step in a thread, so that the console can answer."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.driver, self.url = browser.driver, url
        self.browser = browser

    def come_as(self, name: str, path: str) -> None:
        self.driver.get(f"{self.url}/static/icon.svg")
        self.driver.add_cookie({"name": "x-name", "value": name})
        self.driver.get(f"{self.url}{path}")

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def fill(self, **values: str) -> None:
        for name, value in values.items():
            self.driver.execute_script("arguments[0].value = arguments[1]", self.one(f"[name={name}]"), value)

    def click(self, css: str) -> None:
        """Click what leads to another page, and wait for that."""
        before = self.one("html")
        self.driver.execute_script("arguments[0].click()", self.one(css))
        wait(lambda: not _is_there(before))

    def text(self) -> str:
        return self.one("main").text

    def path(self) -> str:
        return self.driver.current_url.removeprefix(self.url)


def _is_there(element: WebElement) -> bool:
    try:
        return bool(element.is_enabled())
    except WebDriverException as error:  # while a page goes, ChromeDriver says so in several ways
        return "stale" not in str(error).lower()


def wait(check: Callable[[], T]) -> T:
    """Ask until the answer is one; in a thread of its own, so that the console can answer."""
    deadline = time.monotonic() + 60
    while not (found := check()):
        if time.monotonic() > deadline:
            raise TimeoutError("it never came")
        time.sleep(0.1)
    return found


async def test_asked_approved_played_fetched_and_proved(window: Browser, downloads: Path, tmp_path: Path) -> None:
    filled = tmp_path / "filled"
    filled.mkdir()
    await fill(filled)
    async with served(filled, tmp_path / "site") as (here, url):
        clerk = Clerk(window, url)
        for want, title in (("view", "有关负责人"), ("evidence_copy", "本机构负责人")):
            where = await asyncio.to_thread(_ask, clerk, here, want)
            await asyncio.to_thread(_approve, clerk, where, title)
            await asyncio.to_thread(clerk.come_as, "zhang", where)
            if want == "view":
                await _plays(clerk, here, where)
        package = await _fetched(clerk, here, downloads)
        assert await asyncio.to_thread(_verified, package)
        acts = [one.body["what"] for one in await here.acts()]
        asked = ["request.asked", "request.decided"]
        assert acts == [*asked, *asked, "request.delivered"]
        assert [line for line in window.console() if "Refused" in line or "Content Security" in line] == []


async def test_people_who_do_not_see_or_use_a_mouse_can_use_it(window: Browser, tmp_path: Path) -> None:
    filled = tmp_path / "filled"
    filled.mkdir()
    await fill(filled)
    async with served(filled, tmp_path / "site") as (here, url):
        view = (await here.ask("zhang")).headers["location"]
        await here.decide("li", view, acting_as="有关负责人")
        copy = (await here.ask("zhang", want="copy")).headers["location"]
        form = {"check": "wucheng/on_site", "first": "2026-01-01", "last": "2026-06-30", "count": "1"}
        draw = (await here.post("li", "/supervision/draws", form)).headers["location"]
        await here.post("li", "/supervision/leads", {"title": "疑似未戴口罩", "unit": "east", "due": "2026-03-05"})
        register = "/requests/register?from=2026-01-01&to=2026-12-31"
        pages = [("zhang", "/requests"), ("zhang", "/requests/new"), ("zhang", view), ("li", copy), ("li", register)]
        pages += [("li", "/supervision?from=2026-03-01&to=2026-03-31"), ("li", "/supervision/checks")]
        pages += [("li", f"{draw}?item=dev-1/s1"), ("li", "/supervision/leads")]
        found = await asyncio.to_thread(_look, Clerk(window, url), pages)
        assert found == []


def _look(clerk: Clerk, pages: list[tuple[str, str]]) -> list[str]:
    found = []
    for dark in (False, True):
        scheme(clerk.browser, dark)
        for name, path in pages:
            clerk.come_as(name, path)
            found += [f"{path}: {one}" for one in violations(clerk.browser)]
            wide = clerk.driver.execute_script("return document.documentElement.scrollWidth > innerWidth")
            found += [f"{path}: hangs out of the window"] if wide else []
    return found


def _ask(clerk: Clerk, here: House, want: str) -> str:
    clerk.come_as("zhang", f"/requests/new?recorder=dev-1&session=s1&want={want}")
    clerk.fill(**{"from": at(here.start), "to": at(here.end)}, reason="案卷评查", matter="〔2026〕12号")
    Select(clerk.one("#who")).select_by_value("staff")
    clerk.click("form[enctype] button")
    assert "有效" not in clerk.text()
    return clerk.path()


def _approve(clerk: Clerk, where: str, title: str) -> None:
    clerk.come_as("li", "/requests")
    clerk.click(f'a[href="{where}"]')
    assert f"我以“{title}”的身份作出决定" in clerk.text()
    clerk.driver.execute_script("arguments[0].click()", clerk.one("[name=acting_as]"))
    clerk.click("[name=decision][value=yes]")
    assert "有效" in clerk.text()


async def _plays(clerk: Clerk, here: House, where: str) -> None:
    await asyncio.to_thread(lambda: clerk.one("#play").click())
    script = "return document.getElementById('video').currentTime > 0.5"
    await asyncio.to_thread(wait, lambda: clerk.driver.execute_script(script))
    mark = await asyncio.to_thread(lambda: clerk.one("#mark").get_attribute("textContent"))
    assert "张三" in str(mark)
    one = where.rpartition("/")[2]
    lines = await here.ledger.of_kinds(["access"])
    assert lines
    assert all(one.encode() in line for _, line in lines)  # each viewing names the request


async def _fetched(clerk: Clerk, here: House, downloads: Path) -> Path:
    button = "form[action$='/copy'] button"
    await asyncio.to_thread(wait, lambda: clerk.driver.find_elements(By.CSS_SELECTOR, button))
    await asyncio.to_thread(lambda: clerk.one(button).click())
    found = await asyncio.to_thread(wait, lambda: sorted(downloads.glob("*.zip")))
    assert (await requests.newest(here.office, limit=1))[0].request.state == "delivered"
    return found[0]


def _verified(package: Path) -> bool:
    folder = package.with_suffix("")
    zipfile.ZipFile(package).extractall(folder)
    (inside,) = folder.iterdir()
    command = [sys.executable, "-I", "-S", str(inside / "verify.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    return True
