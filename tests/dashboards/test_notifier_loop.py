"""The notifier's loop on a real log: an office that is away for a while costs time and loses nothing."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from dashboards.alerts import notifier as loop
from dashboards.alerts.book import Book
from dashboards.alerts.notifier import Notifier
from dashboards.alerts.origins import Origins
from dashboards.alerts.signal import Signal
from domain.alerts import Alert
from domain.clock import SystemClock
from domain.errors import OfficeUnavailable
from domain.registry import Registration
from domain.topics import FINDINGS
from domain.wire import encode
from storage.office import alerts as rows
from storage.office.alerts import Filter
from storage.office.office import Office
from streams.bus.embedded import EmbeddedBus
from tests.services import notifying


class Away(Book):
    """Says so many times that the office is away, once before and once after it has written."""

    left = 4

    async def take(self, signals: Sequence[Signal], now: int) -> int:
        self.left -= 1
        if self.left > 2:
            raise OfficeUnavailable("away")
        taken = await super().take(signals, now)
        if self.left > 0:
            raise OfficeUnavailable("away, after it was written")
        return taken


async def test_an_office_that_is_away_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "RETRY_S", 0.05)
    bus = EmbeddedBus(tmp_path / "log", partitions=2)
    await bus.start()
    office = await Office.connect(f"sqlite:///{tmp_path}/office.db")
    said = Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", site_id="canteen", name="后厨")
    await bus.publish("registry", "cam-1", encode(said))
    origins = Origins(bus)
    book = Away(office, origins.name)
    notifier = Notifier(bus, book, origins, SystemClock(), lambda: None)
    tasks = [asyncio.create_task(origins.run()), asyncio.create_task(notifier.run())]
    await bus.publish(FINDINGS.name, "cam-1", b"rubbish")
    for number in range(20):
        await bus.publish(FINDINGS.name, f"cam-{number}", encode(notifying.finding(f"cam-{number}")))
    async with asyncio.timeout(30):
        while book.left > 0 or len(await _alerts(office)) < 20:  # noqa: ASYNC110 - a database rings no bell
            await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    found = await _alerts(office)
    assert sorted(name for alert in found for name in alert.members) == sorted(f"cam-{n}" for n in range(20))
    assert all(alert.findings == 1 for alert in found)
    assert [alert.site_id for alert in found if "cam-1" in alert.members] == ["canteen"]
    assert notifier.unreadable == 1
    await office.close()
    await bus.close()


async def _alerts(office: Office) -> list[Alert]:
    return await office.read(lambda connection: rows.list_newest(connection, Filter()))
