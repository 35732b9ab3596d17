"""A real browser on a session: its timeline, playback that stands at a hole and says why, what lies over it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from domain.clock import Instant
from domain.events import SessionEnded, SessionOpened, SessionStopped
from domain.registry import Registration
from tests.dashboards.feeds import finding, moving_picture
from tests.dashboards.serving import Served, served
from tests.services.browser import Browser

START = Instant.parse("2026-05-06T09:00:00.000+08:00")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    """Seconds 0 to 4, 10 to 14 and 20 to 24 are stored: a gap that is explained by a finding, and a stop."""
    gap = {"seconds": 6.0, "from": START.plus(4000).rfc3339(), "to": START.plus(10_000).rfc3339(), "cause": "network"}
    lost = finding(
        1,
        kind="recording.gap",
        recorder_id="rec-1",
        began_at=START.plus(4000),
        ended_at=START.plus(10_000),
        detected_at=START,
        status="closed",
        cause="network",
        evidence=gap,
        clauses=["W-AV 第十八条"],
    )
    async with served(tmp_path) as running:
        await running.publish(
            Registration(recorder_id="rec-1", kind="body_worn", policy="wucheng", name="记录仪"),
            SessionOpened(at=START, recorder_id="rec-1", session_id="s1", act="检查"),
            lost,
            SessionStopped(at=START.plus(15_000), recorder_id="rec-1", session_id="s1", reason="battery",
                           last_captured_at=START.plus(14_000)),
            SessionEnded(at=START.plus(24_000), recorder_id="rec-1", session_id="s1", completed_at=START.plus(24_000)),
        )  # fmt: skip
        cut = moving_picture("320x240", seconds=4, audio="pcm_alaw")
        for second in (0, 10, 20):
            await running.keep("rec-1", cut, START.plus(second * 1000), second)
        yield running


async def ask(browser: Browser, script: str) -> Any:
    return await asyncio.to_thread(browser.driver.execute_script, script)


async def until(browser: Browser, script: str, done: Callable[[Any], bool], timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while not done(answer := await ask(browser, script)):
        assert time.monotonic() < deadline, f"the page still says {answer!r}: {browser.console()}"
        await asyncio.sleep(0.1)
    return answer


LINES = "return [...document.querySelectorAll('#line rect')].map(r => r.getAttribute('class'))"
CARD = "const c = document.getElementById('card'); return c.hidden ? '' : c.textContent"
AT = "return document.getElementById('time').textContent"
TIMES = "return [liuhen.player.playing, liuhen.player.video.error, document.getElementById('time').textContent]"


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080), (390, 844)])
async def test_the_timeline_shows_what_is_there_and_what_is_missing(
    site: Served, browser: Browser, size: tuple[int, int]
) -> None:
    await asyncio.to_thread(browser.driver.set_window_size, *size)
    try:
        for path in ("/sessions/rec-1/s1?lang=zh", "/recorders/rec-1/day?date=2026-05-06&lang=en", "/sessions?lang=zh"):
            await asyncio.to_thread(browser.driver.get, f"{site.url}{path}")
            if "/rec-1" in path:
                kinds = await until(browser, LINES, lambda found: "stored" in found)
                assert (kinds.count("hole"), kinds.count("session"), kinds.count("finding critical")) == (2, 1, 1)
            wide = await ask(browser, "return [document.documentElement.scrollWidth, window.innerWidth]")
            assert wide[0] <= wide[1], path
    finally:
        await asyncio.to_thread(browser.driver.set_window_size, 1280, 800)


@pytest.mark.browser
async def test_playback_stands_at_what_is_missing_says_why_and_goes_on(site: Served, browser: Browser) -> None:
    await asyncio.to_thread(browser.driver.get, f"{site.url}/sessions/rec-1/s1?lang=zh")
    await until(browser, LINES, lambda found: "stored" in found)
    await ask(browser, f"liuhen.player.seek({int(START.plus(1500))})")
    await until(browser, AT, lambda at: at == "09:00:02")
    assert (await ask(browser, CARD)) == ""
    text = await until(browser, CARD, bool)
    assert text == "缺失 6.0 秒：网络中断"
    assert (await ask(browser, AT)) == "09:00:04", "the clock stands where the picture stands"
    await until(browser, CARD, lambda text: text == "")
    await until(browser, AT, lambda at: at >= "09:00:11")
    text = await until(browser, CARD, bool)
    assert text == "缺失 6.0 秒：停录：电量耗尽"
    await until(browser, AT, lambda at: at >= "09:00:21")
    await until(browser, TIMES, lambda said: said[2] >= "09:00:23")
    assert (await ask(browser, TIMES))[1] is None
    mark = await ask(browser, "return document.querySelector('#mark span').textContent")
    assert mark.startswith("local 20"), "who watches, and when"
    inside = await ask(
        browser, "const p = document.getElementById('player'); return p.contains(document.getElementById('mark'))"
    )
    assert inside, "full screen is of what holds picture and mark"


@pytest.mark.browser
async def test_a_link_to_a_moment_plays_from_there(site: Served, browser: Browser) -> None:
    at = START.plus(11_000).rfc3339().replace("+", "%2B")
    await asyncio.to_thread(browser.driver.get, f"{site.url}/sessions/rec-1/s1?lang=zh&at={at}")
    await until(browser, AT, lambda at: at == "09:00:12")
    await asyncio.to_thread(browser.driver.get, f"{site.url}/?recorder=rec-1&lang=zh")
    shown = "return [...document.querySelectorAll('#pictures figure')].map(f => f.dataset.recorder)"
    assert await until(browser, shown, bool) == ["rec-1"]


@pytest.mark.browser
async def test_the_player_by_keyboard(site: Served, browser: Browser) -> None:
    await asyncio.to_thread(browser.driver.get, f"{site.url}/sessions/rec-1/s1?lang=zh")
    await until(browser, LINES, lambda found: "stored" in found)
    await ask(browser, f"liuhen.player.seek({int(START.plus(11_000))}, false)")
    await until(browser, "return liuhen.player.started", bool)

    async def press(key: str) -> float:
        script = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))"
        await asyncio.to_thread(browser.driver.execute_script, script, key)
        return float(await ask(browser, "return liuhen.player.at"))

    before = float(await ask(browser, "return liuhen.player.at"))
    assert await press(".") == pytest.approx(before + 40, abs=2)
    assert await press(",") == pytest.approx(before, abs=2)
    await press("ArrowUp")
    assert await ask(browser, "return document.getElementById('video').playbackRate") == 2
    await press(" ")
    await until(browser, "return !document.getElementById('video').paused", bool)
    await press(" ")
    assert await ask(browser, "return document.getElementById('video').paused")
    line = "document.getElementById('line')"
    key = f"{line}.focus(); {line}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'End', bubbles: true}}))"
    await ask(browser, key)
    assert await ask(browser, f"return {line}.getAttribute('aria-valuetext')") == "09:01:24"
