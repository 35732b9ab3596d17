"""The pictures of docs/guide that show alerts, explanations and holds: part of `make screenshots`.

python -m tests.screenshots_desks FOLDER
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from domain.registry import Registration
from tests.dashboards.desks import PERSON, Desks, desks
from tests.dashboards.feeds import finding
from tests.screenshots import _reduce as reduce
from tests.services.browser import Browser

SITE = "仁和口腔门诊部"
STEM = "当事人投诉，先留证"


async def main() -> None:
    """Take them all, in both languages."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="liuhen-shots-") as folder:
        async with desks(Path(folder), serve=True) as run:
            pages = await _furnish(run)
            browser = await asyncio.to_thread(Browser(Path(folder) / "browser", fake_camera=False).start)
            try:
                for name, person, path, size in pages:
                    for language in ("zh", "en"):
                        await asyncio.to_thread(_sit_down, browser, f"{run.url}{path}", person, size)
                        await asyncio.to_thread(browser.driver.get, f"{run.url}{path}?lang={language}")
                        await asyncio.sleep(1)
                        raw = browser.screenshot(target / f".{name}-{language}.png")
                        reduce(raw, target / f"{name}-{language}.png", 128)
                        raw.unlink()
            finally:
                browser.stop()


def _sit_down(browser: Browser, address: str, person: str, size: tuple[int, int]) -> None:
    """Sit somebody down before a page."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute("executeCdpCommand", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})
    browser.driver.get(address)
    browser.driver.delete_all_cookies()
    browser.driver.add_cookie({"name": PERSON, "value": person})


async def _furnish(run: Desks) -> list[tuple[str, str, str, tuple[int, int]]]:
    """Let things happen; returns name, person, path and size of each picture."""
    run.handed = {f"rec-{number}": frozenset({"li"}) for number in range(1, 4)}
    first = await run.stopped_session("rec-1")
    second = await run.stopped_session("rec-2", policy="zhanhe", hours_ago=80)
    await run.stopped_session("rec-3", policy="chongqing", hours_ago=20)
    await run.until_found(lambda found: sum(one.kind == "recording.unexplained_stop" for one in found) > 1)
    text = "检查途中当事人突发疾病，先组织抢救；十点零五分停录，十点二十分恢复。"
    path = f"/explanations/rec-1/s1/{int(first)}"
    await run.post("li", path, do="send", method="written", cause="other", text=text)
    now = run.clock.now()
    for number, room in enumerate(("消毒间", "一诊室", "二诊室", "候诊区"), start=1):
        await run.publish(
            Registration(
                recorder_id=f"cam-{number}",
                kind="premises_camera",
                policy="wucheng",
                unit_id="u1",
                site_id="renhe",
                name=f"{SITE} {room}",
            )
        )
    await run.written()
    for number in range(1, 5):
        covered = number == 1
        await run.publish(
            finding(
                number,
                kind="picture.covered" if covered else "device.silent",
                severity="critical" if covered else "warning",
                recorder_id=f"cam-{number}",
                session_id="s1" if covered else None,
                began_at=now.plus(-400_000 if covered else -100_000),
                detected_at=now.plus(-40_000),
                clauses=["W-NS 第十一条", "W-NS 第十三条"] if covered else ["W-NS 第十三条"],
            )
        )
    covered_alert = next(one for one in await run.until_alerts(4) if one.family == "picture")
    await run.post("chief", "/holds", recorder="rec-1", session="s1", reason=STEM, case="婺卫〔2026〕7号")
    await run.retention.follow()
    one = next(hold for hold in await run.retention.register.holds("rec-1") if hold.origin == "case")
    await run.post("deputy", "/holds/release", hold=one.id, reason="投诉已撤回，案件已结")
    alert = f"/alerts/{covered_alert.id}"
    return [
        ("alerts", "chief", "/alerts", (1366, 520)),
        ("alert", "chief", alert, (1366, 768)),
        ("alert-phone", "chief", alert, (390, 844)),
        ("explanations", "chief", "/explanations", (1366, 420)),
        ("explanation", "li", f"/explanations/rec-2/s1/{int(second)}", (1366, 720)),
        ("holds", "chief", "/holds", (1366, 768)),
    ]


if __name__ == "__main__":
    asyncio.run(main())
