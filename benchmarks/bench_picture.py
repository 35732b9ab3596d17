"""How old a live picture is when it is seen: our player beside Chromium's own HLS player, on the same fragments.

python -m benchmarks.bench_picture [--short] [--seconds 40] [--json FILE]

The picture itself is the clock: its brightness says the time within sixteen seconds. Both players run on one page, and
every half second what each shows is read off its picture.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import parser, publish, table
from domain.events import Fragment
from tests.dashboards.feeds import Piece, pieces
from tests.dashboards.serving import Served, served
from tests.services.browser import Browser

PERIOD_S = 16
SETTLE_S = 15.0
"""Both have found their distance by then."""

_THERE = "return document.getElementById('watch-cam-1') !== null"
_START = """document.getElementById('watch-cam-1').click();
const own = document.createElement('video');
Object.assign(own, {id: 'own', muted: true, autoplay: true, width: 160, src: '/hls/cam-1/live.m3u8'});
// Chromium's player gives up on a playlist that is still short: again, as a page would.
own.onerror = () => setTimeout(() => { own.src = '/hls/cam-1/live.m3u8?again=' + Date.now(); own.play(); }, 2000);
document.querySelector('header').after(own);
own.play();"""
_READ = """const canvas = document.createElement('canvas');
canvas.width = canvas.height = 4;
const pen = canvas.getContext('2d', {willReadFrequently: true});
return ['#pictures video', '#own'].map((name) => {
  const video = document.querySelector(name);
  if (!video || !video.videoWidth || !video.currentTime) return null;
  pen.drawImage(video, 0, 0, 4, 4);
  return [pen.getImageData(1, 1, 1, 1).data[1], Date.now()];
});"""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=40.0)
    arguments = options.parse_args()
    lengths = (2,) if arguments.short else (1, 2, 4)
    seconds = 5.0 if arguments.short else arguments.seconds
    found = {f"{length} s": asyncio.run(_measure(length, seconds)) for length in lengths}
    rows = [
        [name, *(f"{one[player][figure]:.2f} s" for player in ("ours", "native") for figure in ("p50", "max"))]
        for name, one in found.items()
    ]
    head = ["fragments", "ours p50", "max", "Chromium's p50", "max"]
    publish("picture", {"fragments": found}, table(head, rows), arguments.json)


async def _measure(length: int, seconds: float) -> dict[str, Any]:
    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def note(event: Fragment) -> None:
        if not first.done():
            first.set_result(int(event.captured_at))

    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        async with served(Path(name) / "site") as site:
            feed = asyncio.create_task(site.feed("cam-1", _clock(length), note=note))
            began = await first
            try:
                readings = await _watch(site, Path(name), seconds)
            finally:
                feed.cancel()
    delays: dict[str, list[float]] = {"ours": [], "native": []}
    for reading in readings:
        for player, seen in zip(delays, reading, strict=True):
            if seen is not None:
                delays[player].append(((seen[1] - began) / 1000 - seen[0] / 255 * PERIOD_S) % PERIOD_S)
    return {
        player: {"p50": statistics.median(some), "max": max(some), "count": len(some)}
        for player, some in delays.items()
    }


async def _watch(site: Served, folder: Path, seconds: float) -> list[list[list[float] | None]]:
    with Browser(folder, fake_camera=False) as browser:
        await asyncio.to_thread(browser.driver.get, f"{site.url}/?lang=en")
        while not await asyncio.to_thread(browser.driver.execute_script, _THERE):  # noqa: ASYNC110 - the page's own pace
            await asyncio.sleep(0.2)
        await asyncio.to_thread(browser.driver.execute_script, _START)
        async with asyncio.timeout(90):
            while None in await asyncio.to_thread(browser.driver.execute_script, _READ):  # noqa: ASYNC110 - its own pace
                await asyncio.sleep(0.5)
        await asyncio.sleep(SETTLE_S)
        readings = []
        for _ in range(round(seconds * 2)):
            readings.append(await asyncio.to_thread(browser.driver.execute_script, _READ))
            await asyncio.sleep(0.5)
        return readings


def _clock(length: int) -> list[Piece]:
    """A grey that grows brighter for sixteen seconds, a keyframe and a fragment each `length`."""
    black = f"color=black:size=320x180:rate=25:duration={PERIOD_S}"
    grey = f"{black},geq=lum='16+219*mod(T\\,{PERIOD_S})/{PERIOD_S}':cb=128:cr=128"
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "10", "-g", str(25 * length), "-pix_fmt", "yuv420p")
    cut = pieces(("-f", "lavfi", "-i", grey, *coding))
    return [Piece(one.data, float(length), one.restarts) for one in cut]


if __name__ == "__main__":
    main()
