"""A real browser on the page: recorders, findings as they are published, live pictures."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.hls import live
from domain.events import SessionOpened
from domain.registry import Registration
from tests.dashboards.feeds import finding, moving_picture
from tests.dashboards.serving import Served, served
from tests.services.browser import Browser

EVIL = "<img src=x onerror=\"document.title='owned'\"> 门诊部"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as running:
        for number, name in enumerate(("仁和口腔门诊部 消毒间", EVIL), start=1):
            await running.publish(
                Registration(recorder_id=f"cam-{number}", kind="premises_camera", policy="wucheng", name=name),
                SessionOpened(at=running.clock.now(), recorder_id=f"cam-{number}", session_id="s1"),
            )
        yield running


def complaints(site: Served, browser: Browser) -> list[str]:
    """What the page logged as severe; pages of tests before this one complain that their server is gone."""
    return [line for line in browser.console() if "SEVERE" in line and site.address in line]


async def ask(browser: Browser, script: str) -> Any:
    return await asyncio.to_thread(browser.driver.execute_script, script)


async def until(browser: Browser, script: str, done: Callable[[Any], bool], timeout_s: float = 20) -> Any:
    """Ask the page until the answer is right."""
    deadline = time.monotonic() + timeout_s
    while not done(answer := await ask(browser, script)):
        assert time.monotonic() < deadline, f"the page still says {answer!r}: {browser.console()}"
        await asyncio.sleep(0.1)
    return answer


NAMES = "return [...document.querySelectorAll('#rows .who a')].map(a => a.textContent)"
CONNECTED = "return document.getElementById('link').textContent"
VIDEO = """const v = document.querySelector('#pictures video');
return v && {time: v.currentTime, width: v.videoWidth, height: v.videoHeight, error: v.error && v.error.message}"""
WATCH = "document.getElementById('watch-cam-1').click()"


@pytest.mark.browser
async def test_recorders_and_findings_come_to_an_open_page(site: Served, browser: Browser) -> None:
    await asyncio.to_thread(browser.driver.get, f"{site.url}/?lang=zh")
    assert sorted(await until(browser, NAMES, lambda names: len(names) == 2)) == sorted(["仁和口腔门诊部 消毒间", EVIL])
    assert await ask(browser, "return document.title") == "监看 · 留痕"
    await until(browser, CONNECTED, lambda text: "实时" in text)

    now = site.clock.now()
    gap = {"seconds": 7.5, "from": now.plus(-9000).rfc3339(), "to": now.plus(-1500).rfc3339(), "cause": "network"}
    opened = finding(
        1, kind="recording.gap", recorder_id="cam-2", began_at=now, detected_at=now, evidence=gap, clauses=["W-AV-7"]
    )
    texts = "return [...document.querySelectorAll('#troubles li')].map(li => li.textContent)"
    published = time.monotonic()
    await site.publish(opened)
    (text,) = await until(browser, texts, bool)
    # Half a second on an idle machine; without the stream the page looks again after ten.
    assert time.monotonic() - published < 5, "the stream tells an open page of a finding"
    assert "录像缺失 7.5 秒" in text
    assert "网络中断" in text
    assert "W-AV-7" in text
    assert (await ask(browser, NAMES))[0] == EVIL, "the worst stands first"
    closed = finding(1, kind="recording.gap", recorder_id="cam-2", began_at=now, detected_at=now, status="closed")
    await site.publish(closed)
    await until(browser, texts, lambda left: left == [])

    await asyncio.to_thread(browser.driver.get, f"{site.url}/?lang=en")
    assert await ask(browser, "return document.querySelector('#rows-title').textContent") == "Recorders"
    assert complaints(site, browser) == []


@pytest.mark.browser
@pytest.mark.parametrize("audio", [None, "pcm_alaw"])
async def test_the_live_picture_plays_over_lost_fragments(site: Served, browser: Browser, audio: str | None) -> None:
    feed = asyncio.create_task(site.feed("cam-1", moving_picture("320x240", seconds=4, audio=audio), lost={9, 10}))
    try:
        await asyncio.to_thread(browser.driver.get, f"{site.url}/?lang=zh")
        await ask(browser, WATCH)
        # Beyond the second round of the recording, and beyond what was lost.
        seen = await until(browser, VIDEO, lambda video: video and video["time"] > 12, timeout_s=40)
        assert (seen["width"], seen["height"], seen["error"]) == (320, 240, None)
        playlist = "return fetch('/hls/cam-1/live.m3u8').then(answer => answer.text())"
        assert "#EXT-X-GAP" in await ask(browser, playlist)
        said = await ask(browser, "return document.querySelector('#pictures .delay').textContent")
        assert re.fullmatch(r"延迟 \d+\.\d 秒", said)
        assert complaints(site, browser) == []
    finally:
        feed.cancel()


@pytest.mark.browser
async def test_one_reader_for_all_watchers_that_goes_with_the_last(
    site: Served, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "IDLE_S", 3.0)
    feed = asyncio.create_task(site.feed("cam-1", moving_picture("160x120", seconds=4)))
    try:
        await asyncio.to_thread(browser.driver.get, f"{site.url}/?lang=zh")
        await ask(browser, WATCH)
        await until(browser, VIDEO, lambda video: video and video["time"] > 1)
        await asyncio.gather(*(site.console.pictures.ring("cam-1") for _ in range(5)))
        assert site.console.pictures.readers == 1
        await asyncio.to_thread(browser.driver.get, "about:blank")
        async with asyncio.timeout(15):
            while site.console.pictures.readers:  # noqa: ASYNC110 - nothing rings when a reader ends
                await asyncio.sleep(0.1)
    finally:
        feed.cancel()


@pytest.mark.browser
@pytest.mark.parametrize("path", ["/?lang=en", "/wall"])
@pytest.mark.parametrize("width", [1920, 1366, 390])
async def test_the_page_fits_its_window(site: Served, browser: Browser, width: int, path: str) -> None:
    await asyncio.to_thread(browser.driver.set_window_size, width, 768)
    try:
        await asyncio.to_thread(browser.driver.get, f"{site.url}{path}")
        await until(browser, "return document.querySelectorAll('#rows li').length", bool)
        wide = await ask(browser, "return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1]
    finally:
        await asyncio.to_thread(browser.driver.set_window_size, 1280, 800)


@pytest.mark.browser
async def test_rows_come_move_and_go_without_the_page_being_loaded_again(site: Served, browser: Browser) -> None:
    await asyncio.to_thread(browser.driver.get, f"{site.url}/?lang=en")
    await ask(browser, "window.same = true")
    await site.publish(Registration(recorder_id="cam-3", kind="premises_camera", policy="wucheng", unit_id="二队"))
    await until(browser, NAMES, lambda names: len(names) == 3)
    await ask(browser, "document.querySelector('a[data-filter=unit]').click()")
    shown = "return [...document.querySelectorAll('#rows li')].filter(li => !li.hidden).map(li => li.dataset.recorder)"
    assert await ask(browser, shown) == ["cam-3"]
    assert "unit=" in await ask(browser, "return location.search")
    await ask(browser, "document.querySelector('a[data-filter=unit]').click()")
    await ask(browser, "document.getElementById('open-cam-1').focus()")
    now = site.clock.now()
    await site.publish(finding(2, kind="device.silent", recorder_id="cam-1", began_at=now, detected_at=now))
    await until(browser, shown, lambda names: names[:1] == ["cam-1"])
    assert await ask(browser, "return document.activeElement.id") == "open-cam-1", "the focus goes with its row"
    await site.bus.publish("registry", "cam-3", None)
    await until(browser, NAMES, lambda names: len(names) == 2)
    assert await ask(browser, "return window.same")


@pytest.mark.browser
async def test_the_big_screen_turns_its_pages_and_can_be_held(site: Served, browser: Browser) -> None:
    many = (Registration(recorder_id=f"cam-{n}", kind="premises_camera", policy="wucheng") for n in range(10, 110))
    await site.publish(*many)
    await asyncio.to_thread(browser.driver.get, f"{site.url}/wall?lang=zh")
    tiles = "return [...document.querySelectorAll('#rows li')].filter(li => !li.hidden).map(li => li.dataset.recorder)"
    await until(browser, "return document.querySelectorAll('#rows li').length", lambda count: count == 102)
    first = await ask(browser, tiles)
    press = "document.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))"
    await asyncio.to_thread(browser.driver.execute_script, press, "ArrowRight")
    second = await ask(browser, tiles)
    assert second
    assert not set(first) & set(second)
    await asyncio.to_thread(browser.driver.execute_script, press, " ")
    assert "已停住" in await ask(browser, "return document.getElementById('page-number').textContent")
