"""The pictures of docs/guide, taken of a console that shows a made-up agency: `make screenshots`.

python -m tests.screenshots FOLDER [NAME …]

Taken anew by hand where a page has changed: a picture is never the same bytes twice, so no test compares them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from domain.clock import Instant
from domain.events import Event, Explanation, SessionEnded, SessionOpened, SessionResumed, SessionStopped, Telemetry
from domain.findings import Finding
from domain.registry import Registration
from tests.dashboards.feeds import Piece, finding, pieces
from tests.dashboards.serving import Served, served
from tests.services.axe import scheme
from tests.services.browser import Browser

MAX_BYTES = 150_000
SITES = ("仁和口腔门诊部", "康宁医院", "春晖诊所", "城东社区卫生服务中心", "明德中医馆", "安泰体检中心")
UNITS = ("婺城执法一队", "婺城执法二队", "稽查大队")


class Shot(NamedTuple):
    """One picture.

    Attributes:
        name: Of its file, without the language.
        path: Of the page.
        ready: Script that answers true once there is something to see.
        before: Script that is run then, to show more.
        settle_s: How long it is left alone after that.
        size: Of the window.
        dark: The dark scheme.
    """

    name: str
    path: str
    ready: str
    before: str = ""
    settle_s: float = 1.0
    size: tuple[int, int] = (1366, 768)
    dark: bool = False


SHOTS = (
    Shot("wall", "/", "return document.querySelectorAll('#pictures video').length >= 2", settle_s=9),
    Shot("bigscreen", "/wall", "return document.querySelectorAll('#rows li').length > 9", settle_s=9, dark=True),
    Shot(
        "session",
        "/sessions/rec-0107/task-1",
        "return document.querySelectorAll('#line .stored').length > 0",
        "document.querySelector('button.seek').click()",
        settle_s=2.2,
        size=(1366, 1000),
    ),
)


async def main() -> None:
    """Take them all, or those that are named, in both languages."""
    target, wanted = Path(sys.argv[1]), set(sys.argv[2:])
    with tempfile.TemporaryDirectory(prefix="liuhen-shots-") as folder:
        async with served(Path(folder) / "site") as site:
            await _furnish(site)
            feeds = [asyncio.create_task(site.feed(f"cam-{number}", _room(number))) for number in (1, 2)]
            await asyncio.sleep(6)
            browser = await asyncio.to_thread(Browser(Path(folder), fake_camera=False, size=(1366, 900)).start)
            try:
                for shot in SHOTS:
                    for language in ("zh", "en") if not wanted or shot.name in wanted else ():
                        await asyncio.to_thread(_take, browser, site.url, shot, language, target)
            finally:
                browser.stop()
                for feed in feeds:
                    feed.cancel()


def _take(browser: Browser, url: str, shot: Shot, language: str, target: Path) -> None:
    import time

    scheme(browser, shot.dark)
    metrics = {"width": shot.size[0], "height": shot.size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute("executeCdpCommand", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})
    browser.driver.get(f"{url}{shot.path}?lang={language}")
    deadline = time.monotonic() + 30
    while not browser.driver.execute_script(shot.ready):
        if time.monotonic() > deadline:
            raise SystemExit(f"{shot.name}: nothing to see")
        time.sleep(0.1)
    browser.driver.execute_script(shot.before)
    time.sleep(shot.settle_s)
    raw = browser.screenshot(target / f".{shot.name}-{language}.png")
    path = target / f"{shot.name}-{language}.png"
    for colours in (128, 64, 32, 16):
        _reduce(raw, path, colours)
        if path.stat().st_size < MAX_BYTES:
            break
    raw.unlink()
    sys.stdout.write(f"{path}: {path.stat().st_size} bytes\n")


def _reduce(raw: Path, path: Path, colours: int) -> None:
    """Give a picture a palette of so many colours: text stays sharp, the file becomes small."""
    graph = f"split[a][b];[a]palettegen=max_colors={colours}[p];[b][p]paletteuse=dither=none"
    command = [
        "ffmpeg",
        "-y",
        "-nostdin",
        "-loglevel",
        "error",
        "-i",
        str(raw),
        "-lavfi",
        graph,
        "-frames:v",
        "1",
        str(path),
    ]
    subprocess.run(command, check=True)


def _room(number: int) -> list[Piece]:
    """A quiet picture that can be told from a test card: soft colours that move slowly, two seconds a fragment."""
    source = (
        f"gradients=size=640x360:rate=25:duration=8:speed=0.01:seed={number}:n=3:c0=0x4a6172:c1=0x8fa3ad:c2=0xc9c2b2"
    )
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p")
    return [Piece(one.data, 2.0, one.restarts) for one in pieces(("-f", "lavfi", "-i", source, *coding))]


async def _furnish(site: Served) -> None:
    now = site.clock.now()
    for number in range(1, 25):
        await site.publish(*_recorder(number, now))
    await _session(site, now.plus(-3 * 3_600_000))


def _recorder(number: int, now: Instant) -> Sequence[Event | Finding | Registration]:
    worn = number % 3 == 0
    name = f"rec-{number:04}" if worn else f"cam-{number}"
    site = SITES[number % len(SITES)]
    said: list[Event | Finding | Registration] = [
        Registration(
            recorder_id=name,
            kind="body_worn" if worn else "premises_camera",
            policy="wucheng",
            name=f"执法记录仪 {number:04}" if worn else f"{site} {'消毒间' if number % 2 else '登记大厅'}",
            unit_id=UNITS[number % len(UNITS)],
            site_id=None if worn else site,
        )
    ]
    if worn:
        battery = 11 if number == 9 else 100 - number * 3
        free: dict[str, Any] = {"storage_free_bytes": 60 - number, "storage_total_bytes": 64}
        said.append(Telemetry(at=now, recorder_id=name, device_at=now, battery_percent=battery, **free))
    kinds: dict[int, tuple[str, str, dict[str, Any]]] = {
        4: ("device.silent", "critical", {}),
        7: ("picture.covered", "warning", {}),
        9: ("power.low_battery", "warning", {"battery_percent": 11}),
        14: ("clock.drift", "warning", {"offset_s": 41.0}),
    }
    if number in kinds:
        kind, severity, evidence = kinds[number]
        began = now.plus(-number * 61_000)
        found: dict[str, Any] = {"kind": kind, "severity": severity, "evidence": evidence, "clauses": ["W-NS 第十一条"]}
        said.append(finding(number, recorder_id=name, session_id=None, began_at=began, detected_at=began, **found))
    return said


async def _session(site: Served, start: Instant) -> None:
    """A session with a gap, a stop that is accounted for, and telemetry."""
    ids: dict[str, Any] = {"recorder_id": "rec-0107", "session_id": "task-1"}
    first = start.plus(8000)
    gap = {
        "seconds": 12.0,
        "from": first.plus(40_000).rfc3339(),
        "to": first.plus(52_000).rfc3339(),
        "cause": "network",
    }
    lost: dict[str, Any] = {
        "began_at": first.plus(40_000),
        "ended_at": first.plus(52_000),
        "detected_at": first.plus(53_000),
    }
    where: dict[str, Any] = {"name": "执法记录仪 0107", "unit_id": UNITS[0]}
    await site.publish(
        Registration(recorder_id="rec-0107", kind="body_worn", policy="wucheng", **where),
        SessionOpened(at=start, act="现场检查", **ids),
        finding(
            99,
            kind="recording.gap",
            status="closed",
            cause="network",
            evidence=gap,
            clauses=["W-AV 第十八条"],
            **lost,
            **ids,
        ),
        SessionStopped(at=first.plus(93_000), reason="officer", last_captured_at=first.plus(92_000), **ids),
        SessionResumed(at=first.plus(120_000), **ids),
        Explanation(at=first.plus(121_000), method="voice", cause="other", text="更换电池", by="王执法", **ids),
        SessionEnded(at=first.plus(161_000), completed_at=first.plus(160_000), **ids),
    )
    for minute in range(0, 180, 5):
        at = start.plus(minute * 60_000)
        level: dict[str, Any] = {"battery_percent": 96 - minute / 3, "signal_dbm": -68.0 - minute % 25}
        free: dict[str, Any] = {"storage_free_bytes": 640 - minute, "storage_total_bytes": 1000}
        await site.publish(Telemetry(at=at, recorder_id="rec-0107", device_at=at.plus(300 + minute), **level, **free))
    scene = _room(5)
    for second, seq in ((0, 0), (8, 4), (16, 8), (24, 12), (32, 16), (52, 26), (60, 30), (68, 34), (76, 38), (84, 42)):
        await site.keep("rec-0107", scene, first.plus(second * 1000), seq, session_id="task-1")
    for second, seq in ((120, 60), (128, 64), (136, 68), (144, 72), (152, 76)):
        await site.keep("rec-0107", scene, first.plus(second * 1000), seq, session_id="task-1")
    await asyncio.sleep(3)


if __name__ == "__main__":
    asyncio.run(main())
