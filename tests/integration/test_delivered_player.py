"""A real browser on footage of which a part was delivered later: it plays on through it, whatever tracks it has."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.clock import Instant, SystemClock
from domain.events import SessionEnded, SessionOpened
from domain.registry import Registration
from domain.settings import Settings
from policies.local import default
from storage.backfill import Backfill, Delivery
from storage.catalog.uploads import Uploads
from tests.dashboards.feeds import moving_picture
from tests.dashboards.serving import Served, served
from tests.dashboards.test_delivered_views import SECONDS, recorded
from tests.integration.test_session_page import AT, CARD, LINES, START, TIMES, ask, until
from tests.services.browser import Browser


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    """Seconds 0 to 4 and 10 to 14 came live, of which pictures alone play; 4 to 10 were delivered later, with sound.

    Nobody waits for the view: the player must come again.
    """
    async with served(tmp_path, settings=Settings(work=str(tmp_path / "work"))) as running:
        await running.publish(
            Registration(recorder_id="rec-1", kind="body_worn", policy="wucheng", name="记录仪"),
            SessionOpened(at=START, recorder_id="rec-1", session_id="s1", act="检查"),
            SessionEnded(at=START.plus(14_000), recorder_id="rec-1", session_id="s1", completed_at=START.plus(14_000)),
        )
        cut = moving_picture("320x240", seconds=4, audio="pcm_alaw")
        for second in (0, 10):
            await running.keep("rec-1", cut, START.plus(second * 1000), second)
        await deliver(running, tmp_path, START.plus(4000))
        running.console._views._wait_s = 0.0
        yield running


async def deliver(running: Served, folder: Path, start: Instant) -> None:
    data = recorded(folder, "mp4")
    one = Delivery(
        path=folder / "recorded.mp4",
        recorder_id="rec-1",
        session_id="s1",
        from_at=start,
        to_at=start.plus(SECONDS * 1000),
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        media="mp4",
        via="tus",
        delivered_at=SystemClock().now(),
    )
    parts = running.console.parts
    await Backfill(parts.store, Uploads(parts.catalog), parts.ledger, parts.clock, default()).run(one, "wucheng")


@pytest.mark.browser
async def test_it_plays_on_through_what_was_delivered(site: Served, browser: Browser) -> None:
    await asyncio.to_thread(browser.driver.get, f"{site.url}/sessions/rec-1/s1?lang=zh")
    await until(browser, LINES, lambda found: "stored" in found)
    await ask(browser, f"liuhen.player.seek({int(START.plus(1000))})")
    for second in ("09:00:02", "09:00:05", "09:00:08", "09:00:11"):
        await until(browser, AT, lambda at, wanted=second: at >= wanted)  # type: ignore[misc]
        assert (await ask(browser, CARD)) == "", "nothing is missing"
    await until(browser, TIMES, lambda said: said[2] >= "09:00:13")
    assert (await ask(browser, TIMES))[1] is None
