"""People at their desks, in a real browser: a stop, its alert, its explanation and review, a hold, and its release."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from domain.clock import Instant
from domain.registry import Registration
from tests.dashboards.desks import PERSON, Desks, desks
from tests.dashboards.feeds import finding
from tests.services.axe import violations
from tests.services.browser import Browser


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Desks]:
    async with desks(tmp_path, serve=True) as made:
        yield made


class Desk:
    """One browser, in which people take turns."""

    def __init__(self, run: Desks, browser: Browser) -> None:
        self.run, self.browser, self.driver = run, browser, browser.driver

    async def sit(self, person: str, path: str) -> None:
        """Somebody opens a page."""
        await asyncio.to_thread(self.driver.get, f"{self.run.url}/static/icon.svg")
        self.driver.delete_all_cookies()
        self.driver.add_cookie({"name": PERSON, "value": person})
        await self.go(path)

    async def go(self, path: str) -> None:
        await asyncio.to_thread(self.driver.get, f"{self.run.url}{path}")

    async def ask(self, script: str) -> Any:
        return await asyncio.to_thread(self.driver.execute_script, script)

    async def until(self, script: str, done: Callable[[Any], bool] = bool, timeout_s: float = 20) -> Any:
        """Ask the page until the answer is right."""
        deadline = time.monotonic() + timeout_s
        while not done(answer := await self.ask(script)):
            assert time.monotonic() < deadline, f"the page still says {answer!r}: {self.browser.console()}"
            await asyncio.sleep(0.1)
        return answer

    async def says(self, words: str) -> None:
        """Wait until the page says something."""
        await self.until(f"return document.querySelector('main').innerText.includes({words!r})")

    async def click(self, selector: str) -> None:
        await asyncio.to_thread(self.driver.find_element(By.CSS_SELECTOR, selector).click)

    async def type(self, selector: str, text: str) -> None:
        await asyncio.to_thread(self.driver.find_element(By.CSS_SELECTOR, selector).send_keys, text)

    async def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        for key in keys:
            await asyncio.to_thread(self._press, key)

    def _press(self, key: str) -> None:
        ActionChains(self.driver).send_keys(key).perform()

    async def fits(self) -> None:
        """No part of the page hangs out of the window, and axe finds nothing."""
        wide = await self.ask("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1], await self.ask("return location.pathname")
        assert await asyncio.to_thread(violations, self.browser) == []

    def complaints(self) -> list[str]:
        return [
            line
            for line in self.browser.console()
            if "SEVERE" in line and self.run.url in line and "favicon" not in line
        ]


@pytest.fixture
def desk(run: Desks, browser: Browser) -> Desk:
    return Desk(run, browser)


FOCUS = "return document.activeElement.id || document.activeElement.name"
FIRST = "return [...document.querySelectorAll('.inbox .alert strong')].map(one => one.textContent)"


async def explained_and_reviewed(desk: Desk, stopped: Instant) -> None:
    run = desk.run
    # The officer explains it, with a cause outside the list.
    await desk.sit("li", "/explanations")
    await desk.says("逾期 6 小时")
    await desk.fits()
    await desk.click("#owed a")
    await desk.click("#cause option[value=other]")
    await desk.type("#text", "当事人突发疾病，先行救护")
    await desk.click("button[value=send]")
    await desk.says("等待审核")
    await run.until_found(lambda found: any(one.evidence.get("state") == "awaiting_review" for one in found))
    # The supervisor reviews it; the finding closes.
    await desk.sit("chief", f"/explanations/rec-1/s1/{int(stopped)}")
    await desk.says("当事人突发疾病")
    await desk.fits()
    await desk.click("button[value=approve]")
    await desk.says("审核通过")
    await run.until_found(
        lambda found: all(one.status == "closed" for one in found if one.kind == "recording.unexplained_stop")
    )


async def held_and_released(desk: Desk, alert: str) -> None:
    run = desk.run
    # Its evidence is held from the alert, and released by two.
    await desk.go(f"/alerts/{alert}")
    await desk.says("已恢复")
    await desk.click("#hold-box summary")
    await desk.click("#hold-box button")
    await desk.says("已写入存证台账")
    await run.retention.follow()
    await desk.go("/holds?origin=person")
    await desk.fits()
    await desk.click("table details summary")
    await desk.type("table input[name=reason]", "已结案")
    await desk.click("table form button")
    await desk.says("等另一个人确认")
    assert await desk.ask("return document.querySelectorAll('button[value=confirm]').length") == 0
    await desk.sit("deputy", "/holds?origin=person")
    await desk.click("button[value=confirm]")
    await desk.says("已确认，留存解除")
    await run.retention.follow()
    assert [one.id for one in await run.retention.register.holds("rec-1") if one.origin == "person"] == []


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
async def test_from_a_stop_to_the_release_of_its_evidence_by_two(desk: Desk, size: tuple[int, int]) -> None:
    run = desk.run
    await asyncio.to_thread(desk.driver.set_window_size, *size)
    try:
        await desk.sit("chief", "/alerts")
        await desk.says("没有告警")
        stopped = await run.stopped_session()
        await run.until_found(lambda found: any(one.kind == "recording.unexplained_stop" for one in found))
        # It comes to the open page; the supervisor opens it and acknowledges.
        await desk.until(FIRST, lambda kinds: "中断未说明" in kinds)
        await desk.fits()
        await asyncio.to_thread(desk.driver.find_element(By.PARTIAL_LINK_TEXT, "中断未说明").click)
        await desk.says("再开录时要语音说明原因")
        await desk.fits()
        alert = (await desk.ask("return location.pathname")).rpartition("/")[2]
        await desk.click("#acknowledge button")
        await desk.says("已确认。")
        assert "acknowledged" in {one.state for one in await run.until_alerts() if one.id == alert}
        await explained_and_reviewed(desk, stopped)
        await held_and_released(desk, alert)
        assert desk.complaints() == []
    finally:
        await asyncio.to_thread(desk.driver.set_window_size, 1280, 800)


@pytest.mark.browser
async def test_an_alert_is_handled_by_keys_alone(desk: Desk) -> None:
    run = desk.run
    now = run.clock.now()
    await run.publish(
        Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", unit_id="u1", name="门")
    )
    await run.written()
    kinds = ("picture.covered", "clock.drift")
    for number, (kind, severity) in enumerate(zip(kinds, ("critical", "warning"), strict=True), start=1):
        began = now.plus(-60_000)
        said = finding(number, kind=kind, severity=severity, recorder_id="cam-1", began_at=began, detected_at=now)
        await run.publish(said)
    await run.until_alerts(2)
    await desk.sit("chief", "/alerts")
    await desk.until(FIRST, lambda shown: shown == ["镜头被遮挡", "时钟不准"])
    await desk.press("?")
    assert await desk.ask("return document.getElementById('help').open")
    await desk.press(Keys.ESCAPE)
    await desk.until("return !document.getElementById('help').open")
    await desk.press("j", "j")
    second = await desk.ask("return document.activeElement.closest('.alert').dataset.id")
    await desk.press("k")
    worst = await desk.ask("return document.activeElement.closest('.alert').dataset.id")
    assert worst != second
    await desk.press("a")
    await desk.until(f"return document.querySelector('[data-id=\"{worst}\"]').innerText.includes('已确认')")
    assert await desk.ask("return document.activeElement.closest('.alert').dataset.id") == worst, "the focus stays"
    await desk.press(Keys.ENTER)
    await desk.until(f"return location.pathname === '/alerts/{worst}'")
    await desk.says("先做什么")
    await desk.press("n")
    await desk.until(FOCUS, lambda name: name == "note")
    await desk.press("已联系门诊部", Keys.TAB, Keys.ENTER)
    await desk.says("已记下")
    await desk.press("r")
    await desk.until(FOCUS, lambda name: name == "resolve-note")
    await desk.press("ah?", Keys.ESCAPE)  # letters are letters in a field
    assert not await desk.ask("return document.getElementById('help').open")
    await desk.press("r")
    await desk.press(Keys.TAB, Keys.ENTER)
    await desk.says("已了结。")
    await desk.press("u")
    await desk.until("return location.pathname === '/alerts'")
    await desk.until(FIRST, lambda shown: shown == ["时钟不准"])
    whats = [one.body["what"] for one in await run.entries()]
    assert whats == ["alert.acknowledged", "alert.noted", "alert.resolved"]


@pytest.mark.browser
async def test_a_supervisor_judges_and_acts_on_a_phone(desk: Desk) -> None:
    run = desk.run
    now = run.clock.now()
    name = "金华市婺城区仁和口腔门诊部有限公司二楼消毒供应室"
    await run.publish(
        Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", unit_id="u1", name=name)
    )
    await run.written()
    await run.publish(
        finding(
            1,
            kind="picture.covered",
            recorder_id="cam-1",
            began_at=now.plus(-60_000),
            detected_at=now,
            clauses=["W-NS 第十一条", "W-NS 第十三条"],
        )
    )
    (alert,) = await run.until_alerts()
    await asyncio.to_thread(desk.driver.set_window_size, 390, 844)
    try:
        for language in ("zh", "en"):
            await desk.sit("chief", f"/alerts?lang={language}")
            await desk.until(FIRST)
            await desk.fits()
            await desk.go(f"/alerts/{alert.id}?lang={language}")
            await desk.fits()
        await desk.sit("chief", f"/alerts/{alert.id}")
        # What, where, the way to play it and to acknowledge stand on the first screen.
        seen = """const ends = (selector) => document.querySelector(selector).getBoundingClientRect().bottom;
        return [ends('h1.what'), ends('.lead'), ends('#acknowledge button'), ends('a.play')]"""
        assert max(await desk.ask(seen)) <= 844
        height = await desk.ask("return document.querySelector('#acknowledge button').getBoundingClientRect().height")
        assert height >= 40, "a thumb has to find it"
        await desk.click("#acknowledge button")
        await desk.says("已确认。")
        assert desk.complaints() == []
    finally:
        await asyncio.to_thread(desk.driver.set_window_size, 1280, 800)
