"""The console's loop when the catalogue is away, or its disk is full."""

import asyncio
from pathlib import Path

import pytest

from dashboards import project
from dashboards.project import Projector
from domain.clock import SystemClock
from domain.errors import CatalogUnavailable
from domain.findings import Finding
from domain.wire import encode
from storage.catalog.catalog import Catalog
from streams.bus.embedded import EmbeddedBus
from tests.dashboards.feeds import finding


class Leaving(Catalog):
    """A real catalogue that is away for as long as it is told."""

    away = True

    async def upsert_finding(self, *statements: Finding) -> None:
        if self.away:
            raise CatalogUnavailable("away, on the test's word")
        await super().upsert_finding(*statements)


async def test_the_fleet_goes_on_while_the_catalogue_is_away_and_the_rows_follow(tmp_path: Path) -> None:
    bus = EmbeddedBus(tmp_path / "log", partitions=1)
    await bus.start()
    catalog = await Leaving.connect(f"sqlite:///{tmp_path}/catalog.db")
    state = tmp_path / "console.state"
    projector = Projector(bus, SystemClock(), state, catalog)
    task = asyncio.create_task(projector.run())

    def seen() -> int:
        found = projector.fleet.recorders.get("cam-1")
        return 0 if found is None else len(found.findings)

    try:
        async with asyncio.timeout(20):
            for number in (1, 2):
                await bus.publish("findings", "cam-1", encode(finding(number)))
                while seen() < number:  # noqa: ASYNC110 - the fleet is a plain fold, it rings no bell
                    await asyncio.sleep(0.02)
            assert projector.waiting == 2
            assert (await catalog.list_findings()).items == []
            assert not state.exists(), "nothing is saved or committed before the catalogue has it"
            catalog.away = False
            while projector.waiting:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        assert {row.id for row in (await catalog.list_findings()).items} == {finding(1).id, finding(2).id}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await catalog.close()
        await bus.close()
    assert state.exists()


async def test_a_disk_that_takes_no_state_blinds_nobody_and_neither_does_a_second_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "SAVE_EVERY_S", 0.05)
    bus = EmbeddedBus(tmp_path / "log", partitions=1)
    await bus.start()
    state = tmp_path / "console.state"
    draft = state.with_suffix(".draft")
    draft.mkdir()  # cannot be written
    projector = Projector(bus, SystemClock(), state)

    def seen() -> int:
        found = projector.fleet.recorders.get("cam-1")
        return 0 if found is None else len(found.findings)

    async def until_seen(number: int) -> None:
        await bus.publish("findings", "cam-1", encode(finding(number)))
        async with asyncio.timeout(10):
            while seen() < number:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)

    task = asyncio.create_task(projector.run())
    try:
        for number in (1, 2, 3):
            await until_seen(number)
            await asyncio.sleep(0.1)  # a time in which it should save
            assert not task.done()
        assert not state.exists()
        draft.rmdir()
        async with asyncio.timeout(10):
            while not state.exists():  # noqa: ASYNC110 - polls the disk
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        task = asyncio.create_task(projector.run())
        await until_seen(4)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()
