"""A camera is registered in a browser, seen, confirmed, noticed, let into use, recorded, and taken out of use again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi import Request
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.file_detector import UselessFileDetector
from selenium.webdriver.support.ui import Select

from dashboards.people.rights import Duty, Person, Role
from domain.clock import SystemClock
from domain.events import AnyEvent, Explanation
from domain.registry import hash_token
from domain.settings import Settings
from domain.topics import EVENTS
from domain.wire import decode_event
from storage.office import recorders
from streams.ingest.service import IngestService
from streams.probing.networks import networks_of
from streams.probing.prober import Prober
from streams.simulate.rtsp_server import CameraServer
from streams.simulate.script import Device
from streams.simulate.source import Source
from tests.dashboards.serving import Served, served
from tests.services.axe import scheme, violations
from tests.services.browser import Browser
from tests.streams.flaky_bus import everything

CAMERA = "/premises/renhe/cameras/renhe-1"
SHOWN = "return [...document.querySelectorAll('.gaps li')].map(one => one.textContent.trim())"


class Desk:
    """A door at which whoever sits there is changed."""

    def __init__(self) -> None:
        self.role = Role.SITE_OPERATOR

    async def who(self, request: Request) -> Person | None:
        duties = (Duty(role=self.role, unit_id="u1"),)
        return Person(account_id=self.role.value, name=self.role.value, duties=duties, by="token")

    def knock(self, request: Request) -> None:
        pass


@asynccontextmanager
async def camera_in_the_house() -> AsyncIterator[str]:
    clock = SystemClock()
    source = Source(Device(id="cam", kind="premises_camera", name="消毒间"), clock, opus=False)
    server = CameraServer([source], clock)
    await server.start("127.0.0.1", 0)
    source.start()
    try:
        yield server.url("cam")
    finally:
        await server.stop()
        await source.stop()


@asynccontextmanager
async def recording(site: Served, folder: Path) -> AsyncIterator[IngestService]:
    ingest = IngestService(site.bus, Settings(spool=str(folder / "spool"), worker_id="w"), SystemClock())
    await ingest.start()
    try:
        yield ingest
    finally:
        await ingest.stop()


def paper(folder: Path, name: str) -> str:
    path = folder / name
    cv2.imwrite(str(path), np.full((400, 300, 3), 230, np.uint8))
    return str(path)


class Page:
    """What a person does on a page."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.driver, self._url = browser.driver, url
        self.driver.file_detector = UselessFileDetector()  # the browser's files are on this machine

    def open(self, path: str) -> None:
        self.driver.get(self._url + path)

    def fill(self, part: str, fields: dict[str, str]) -> Any:
        """Fill fields of a form within a part of the page, and return the form."""
        form = self.driver.find_element(By.CSS_SELECTOR, f"{part} form")
        for name, value in fields.items():
            field = form.find_element(By.NAME, name)
            if field.tag_name == "select":
                Select(field).select_by_value(value)
            elif field.get_attribute("type") == "date":
                self.driver.execute_script("arguments[0].value = arguments[1]", field, value)
            else:
                if field.get_attribute("type") != "file":
                    field.clear()
                field.send_keys(value)
        return form

    def press(self, form: Any, button: str = "button") -> None:
        """Send the form and wait for the next page."""
        pressed = form.find_element(By.CSS_SELECTOR, button)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", pressed)
        self.driver.execute_script("window.old = true")
        pressed.click()
        deadline = time.monotonic() + 40
        while self.driver.execute_script("return window.old === true || document.readyState !== 'complete'"):
            assert time.monotonic() < deadline, self.driver.page_source
            time.sleep(0.05)

    def state(self) -> str:
        return str(self.driver.find_element(By.ID, "camera-state").text)

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(script)


async def until(done: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(done):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def until_explained(site: Served, reason: str) -> None:
    """Wait until the log says why recording stopped."""
    async with asyncio.timeout(20):
        while reason not in [event.text for event in await told(site) if isinstance(event, Explanation)]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def told(site: Served) -> list[AnyEvent]:
    return [decode_event(record.value or b"") for record in await everything(site.bus, EVENTS.name)]


def enter(page: Page, browser: Browser, url: str, folder: Path) -> None:
    """What the site's operator does."""
    page.open("/premises")
    page.press(page.fill("details", {"name": "仁和口腔门诊部", "site_id": "renhe", "unit_id": "u1"}))
    party = {
        "party_name": "仁和口腔门诊部",
        "address": "婺城区人民路1号",
        "contact_name": "王",
        "contact_phone": "13800000000",
    }
    page.press(page.fill("section:nth-of-type(2)", party))
    assert violations(browser) == []
    page.press(page.fill("section", {"name": "消毒间"}))
    assert page.state() == "草稿"
    assert violations(browser) == []
    assert any("签字的确认书" in line and "W-NS 第十二条" in line for line in page.ask(SHOWN))
    page.press(page.fill("#basics", {"place": "器械清洗消毒", "standard": "GB/T 28181-2022，1080p"}))
    page.press(page.fill("#address", {"url": url}), "#look")
    width = "const p = document.getElementById('first-picture'); return p && p.complete ? p.naturalWidth : 0"
    deadline = time.monotonic() + 20
    while page.ask(width) != 640:
        assert time.monotonic() < deadline, page.driver.page_source
        time.sleep(0.1)
    signed = {"signed_on": "2026-01-05", "agency_signatory": "张三", "party_signatory": "王五"}
    form = page.fill("#confirmation", {**signed, "document": paper(folder, "signed.png")})
    page.press(form, "button[value=confirm]")
    assert page.state() == "草稿", "without the two consents it is no confirmation"
    assert sum("当事人同意" in line for line in page.ask(SHOWN)) >= 2
    form = page.fill("#confirmation", {})
    for box in form.find_elements(By.NAME, "consents"):
        box.click()
    page.press(form, "button[value=confirm]")
    assert page.state() == "已确认"
    posted = {"posted_on": "2026-01-06", "where": "大门右侧", "photo": paper(folder, "notice.jpg")}
    page.press(page.fill("#notice", posted), "button[value=notice]")
    assert page.state() == "已公告"
    assert page.ask("return document.querySelector('#use button')") is None, "the operator does not let it into use"


@pytest.mark.browser
async def test_a_camera_comes_into_use_and_out_of_it(tmp_path: Path, browser: Browser) -> None:
    desk, prober = Desk(), Prober(networks_of("127.0.0.0/8"), within_s=30)
    async with (
        camera_in_the_house() as url,
        served(tmp_path, door=desk, probe=prober) as site,
        recording(site, tmp_path) as ingest,
    ):
        page = Page(browser, site.url)
        await asyncio.to_thread(enter, page, browser, url, tmp_path)
        assert ingest.cameras.pulled == frozenset(), "nothing is recorded before somebody let it into use"

        desk.role = Role.SUPERVISOR
        await asyncio.to_thread(page.open, CAMERA)
        form = page.driver.find_element(By.CSS_SELECTOR, "#use form")
        await asyncio.to_thread(page.press, form, "button[value=activate]")
        assert page.state() == "已启用"
        await until(lambda: ingest.cameras.pulled == {"renhe-1"})

        def is_live() -> bool:
            page.open(CAMERA)
            return bool(page.ask("return document.getElementById('camera-live').dataset.live === '1'"))

        await until(is_live)
        assert await asyncio.to_thread(violations, browser) == []
        recorder = site.console.fleet.recorders["renhe-1"]
        assert (recorder.unit_id, recorder.site_id, recorder.state) == ("u1", "renhe", "active")

        form = page.driver.find_element(By.CSS_SELECTOR, "#use form:has(button[value=suspend])")
        form.find_element(By.NAME, "reason").send_keys("设备维修")
        await asyncio.to_thread(page.press, form, "button[value=suspend]")
        assert page.state() == "已停用"
        await until(lambda: ingest.cameras.pulled == frozenset())
        await until(lambda: site.console.fleet.recorders["renhe-1"].state == "suspended")
        await until_explained(site, "设备维修")
        complaints = [line for line in browser.console() if "SEVERE" in line and site.address in line]
        assert [line for line in complaints if "422" not in line] == []
    await prober.close()


@pytest.mark.browser
async def test_a_recorder_is_entered_and_gets_its_token(tmp_path: Path, browser: Browser) -> None:
    desk = Desk()
    desk.role = Role.ARCHIVE_MANAGER

    def keep(page: Page) -> str:
        page.open("/recorders")
        card = {"recorder_id": "bw-1", "name": "记录仪一号", "unit_id": "u1", "policy": "zhanhe"}
        page.press(page.fill("details", card))
        page.press(page.fill("section[aria-labelledby=token]", {"overlap_days": "0"}))
        token = str(page.driver.find_element(By.ID, "new-token").text)
        for dark in (False, True):
            scheme(browser, dark)
            assert violations(browser) == []
        scheme(browser, False)
        form = page.fill("section[aria-labelledby=check]", {"note": "早班"})
        for box in form.find_elements(By.CSS_SELECTOR, "input[type=checkbox]"):
            box.click()
        page.press(form)
        assert "合格" in page.driver.find_element(By.CSS_SELECTOR, "section[aria-labelledby=check]").text
        return token

    async with served(tmp_path, door=desk) as site:
        token = await asyncio.to_thread(keep, Page(browser, site.url))
        await until(lambda: "bw-1" in site.console.fleet.recorders)
        assert token not in browser.driver.page_source
        held = await recorders.tokens(site.console.parts.office)
        assert held["bw-1"][0].sha256 == hash_token(token)
