"""The analysis worker on a log: observations out, rubbish survived, a backlog passed over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

from domain.clock import SystemClock
from domain.events import Fragment, Observation
from domain.settings import Settings
from domain.wire import encode
from streams.analysis.children import Child
from streams.bus.embedded import EmbeddedBus
from streams.workers import analyse
from tests.streams.footage import Piece, device, footage
from tests.streams.store_media import events


@pytest.fixture(scope="module")
def pieces() -> list[Piece]:
    return footage(device(audio=True, fixed=False), 6)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[EmbeddedBus]:
    one = EmbeddedBus(tmp_path / "log", partitions=2)
    await one.start()
    yield one
    await one.close()


@asynccontextmanager
async def working(bus: EmbeddedBus, tmp_path: Path, **more: float) -> AsyncIterator[list[Child]]:
    children = [Child(job_s=30)]
    settings = Settings(work=str(tmp_path / "work"), analyse_every_s=more.get("every_s", 0.5))
    worker = analyse.AnalyseWorker(bus, settings, SystemClock(), children)
    task = asyncio.create_task(worker.run())
    try:
        await until(lambda: children[0].pid is not None or task.done())
        yield children
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert all(child.pid is None for child in children)


async def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def put(bus: EmbeddedBus, event: Fragment, data: bytes) -> None:
    await bus.publish("media", event.recorder_id, data, headers={"event": encode(event)})


async def observations(bus: EmbeddedBus) -> list[Observation]:
    return [event for event in await events(bus) if isinstance(event, Observation)]


async def until_observed(bus: EmbeddedBus, count: int, timeout_s: float = 60) -> list[Observation]:
    deadline = time.monotonic() + timeout_s
    while len(found := await observations(bus)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count}"
        await asyncio.sleep(0.05)
    return found


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_observations_of_what_comes(bus: EmbeddedBus, tmp_path: Path, pieces: list[Piece]) -> None:
    before = counted("liuhen_analysis_keyframes_total")
    async with working(bus, tmp_path):
        for event, data in pieces:
            await put(bus, event, data)
        found = await until_observed(bus, len(pieces))
    by_window = {one.captured_at: one for one in found}
    assert set(by_window) == {event.captured_at for event, _ in pieces}
    first = by_window[pieces[0][0].captured_at]
    assert (first.recorder_id, first.session_id, first.window_s) == ("dev-1", "s1", pieces[0][0].duration_s)
    assert first.luma is not None
    assert first.contrast is not None
    assert first.sharpness is not None
    assert all(one.audio_dbfs is not None and one.speech_s is not None for one in found)
    assert counted("liuhen_analysis_keyframes_total") > before


async def test_rubbish_and_a_dead_process_stop_nothing(bus: EmbeddedBus, tmp_path: Path, pieces: list[Piece]) -> None:
    media = counted("liuhen_analysis_undecodable_total", reason="media")
    event, data = pieces[0]
    async with working(bus, tmp_path) as children:
        await bus.publish("media", "dev-1", b"no fragment", headers={"event": b"{"})
        await bus.publish("media", "dev-1", b"no header")
        await bus.publish("media", "dev-1", b"", headers={"feed_end": b"f1"})
        await put(bus, msgspec.structs.replace(event, recorder_id="bad-1"), b"\0" * 1000)
        await put(bus, msgspec.structs.replace(event, recorder_id="bad-2"), data[: len(data) // 3])
        await put(bus, event, data)
        await until_observed(bus, 1)
        await children[0].close()  # as if it had crashed
        await put(bus, msgspec.structs.replace(event, recorder_id="dev-2"), data)
        found = await until_observed(bus, 2)
    assert {one.recorder_id for one in found} >= {"dev-1", "dev-2"}
    assert counted("liuhen_analysis_undecodable_total", reason="media") >= media + 1


async def test_a_backlog_is_passed_over(
    bus: EmbeddedBus, tmp_path: Path, pieces: list[Piece], monkeypatch: pytest.MonkeyPatch
) -> None:
    event, data = pieces[0]
    for number in range(40):
        await put(bus, msgspec.structs.replace(event, recorder_id=f"old-{number}"), data)
    await asyncio.sleep(0.3)
    monkeypatch.setattr(analyse, "BEHIND_MS", 250)
    before = counted("liuhen_analysis_skipped_total", reason="backlog")
    async with working(bus, tmp_path):
        await until(lambda: counted("liuhen_analysis_skipped_total", reason="backlog") >= before + 40)
        monkeypatch.setattr(analyse, "BEHIND_MS", 60_000)
        await put(bus, msgspec.structs.replace(event, recorder_id="new-1"), data)
        found = await until_observed(bus, 1)
    assert {one.recorder_id for one in found} == {"new-1"}
    assert counted("liuhen_analysis_skipped_total", reason="backlog") == before + 40


async def test_with_too_much_to_do_the_newest_are_looked_at(
    bus: EmbeddedBus, tmp_path: Path, pieces: list[Piece]
) -> None:
    """More comes than can be looked at: no queue grows, and the last is seen."""
    event, data = pieces[0]
    before = counted("liuhen_analysis_skipped_total", reason="load")
    silent = msgspec.structs.replace(event, codec="h264")
    async with working(bus, tmp_path, every_s=0.5):
        for number in range(300):
            await put(
                bus, msgspec.structs.replace(silent, seq=number, captured_at=event.captured_at.plus(number)), data
            )
        deadline = time.monotonic() + 60
        while not any(one.captured_at == event.captured_at.plus(299) for one in await observations(bus)):
            assert time.monotonic() < deadline
            await put(bus, msgspec.structs.replace(silent, seq=299, captured_at=event.captured_at.plus(299)), data)
            await asyncio.sleep(0.1)
        found = await observations(bus)
    assert len(found) < 300
    assert counted("liuhen_analysis_skipped_total", reason="load") >= before
