"""`liuhen analyse` on Kafka: media in, observations out; kill -9 of it costs observations and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

from domain.bus import Record, TopicPartition
from domain.clock import Instant, SystemClock
from domain.events import Fragment, Observation
from domain.topics import EVENTS, MEDIA, REJECTED
from domain.wire import decode_event, encode
from streams.bus.kafka import KafkaBus
from tests.integration.test_faust_kills import log_on
from tests.services.kafka import KafkaServer
from tests.services.liuhen import Liuhen
from tests.services.process import poll_until
from tests.streams.footage import Piece, device, footage

PARTITIONS = 4
RECORDERS = ("cam-1", "cam-2", "rec-1")
WITHIN_S = 90.0


@pytest.fixture(scope="module")
def pieces() -> list[Piece]:
    return footage(device(audio=True, fixed=False), 6)


class Camera:
    """Publishes the same film again and again, as three recorders that film it now."""

    def __init__(self, bus: KafkaBus, pieces: list[Piece]) -> None:
        self._bus, self._pieces = bus, pieces
        self.sent: list[Fragment] = []

    async def film(self) -> None:
        """One fragment of each recorder."""
        seq = len(self.sent) // len(RECORDERS)
        event, data = self._pieces[seq % len(self._pieces)]
        now = SystemClock().now()
        for name in RECORDERS:
            start = now.plus(-round(event.duration_s * 1000))
            own = msgspec.structs.replace(
                event, at=now, recorder_id=name, feed_id=f"f-{name}", seq=seq, captured_at=start
            )
            await self._bus.publish(MEDIA.name, name, data, headers={"event": encode(own)})
            self.sent.append(own)

    async def until_seen(self, since: int = 0) -> list[Observation]:
        """Film until each recorder was looked at since then; return all observations."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            await self.film()
            found = await observations(self._bus)
            if {one.recorder_id for one in found if one.at > since} == set(RECORDERS):
                return found
            assert time.monotonic() < deadline, f"{len(found)} observations, not of all since {since}"
            await asyncio.sleep(0.25)


async def records(bus: KafkaBus, topic: str) -> list[Record]:
    places = [TopicPartition(topic, number) for number in range(bus.partitions(topic))]
    return [record for place in places async for record in bus.read(place, 0)]


async def observations(bus: KafkaBus) -> list[Observation]:
    found = [decode_event(record.value) for record in await records(bus, EVENTS.name) if record.value]
    return [event for event in found if isinstance(event, Observation)]


@asynccontextmanager
async def analysing(folder: Path, kafka: KafkaServer) -> AsyncIterator[Liuhen]:
    settings = {
        "LIUHEN_BUS": f"kafka://{kafka.bootstrap}",
        "LIUHEN_PARTITIONS": str(PARTITIONS),
        "LIUHEN_ANALYSE_EVERY_S": "0.5",
        "LIUHEN_WORK": str(folder / "work"),
        "LIUHEN_WORKER_ID": "w1",
    }
    worker = Liuhen(folder, ["analyse"], settings)
    try:
        yield worker.start()
    except BaseException as failure:
        failure.add_note(worker.log_tail())
        raise
    finally:
        worker.kill()


def kill_alone(worker: Liuhen) -> None:
    """kill -9 to the worker and not to what it started, as the kernel does when memory is short."""
    children = psutil.Process(worker.pid).children(recursive=True)
    assert children, "nobody decodes"
    os.kill(worker.pid, signal.SIGKILL)
    poll_until(lambda: not any(child.is_running() for child in children), "its processes have ended too")
    worker.kill()


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_kill_9_costs_observations_and_nothing_else(
    tmp_path: Path, kafka_factory: Callable[..., KafkaServer], pieces: list[Piece]
) -> None:
    kafka = kafka_factory()
    async with log_on(kafka) as bus, analysing(tmp_path / "analyse", kafka) as worker:
        camera = Camera(bus, pieces)
        before = await camera.until_seen()
        kill_alone(worker)
        killed_at = SystemClock().now()
        for _ in range(5):
            await camera.film()  # whoever records notices nothing
        worker.start()
        found = await camera.until_seen(since=killed_at)
        media = [decode_event(record.headers["event"]) for record in await records(bus, MEDIA.name)]
        assert await records(bus, REJECTED.name) == []
    # What was seen before stays, and each is of a fragment that was sent. What was said and not yet committed is said
    # again by the next life, at another time and with the same levels.
    assert set(map(encode, before)) <= set(map(encode, found))
    windows = {(event.recorder_id, event.captured_at): event.duration_s for event in camera.sent}
    assert all(windows[one.recorder_id, one.captured_at] == one.window_s for one in found)
    said: dict[tuple[str, Instant], set[float | None]] = {}
    for one in found:
        said.setdefault((one.recorder_id, one.captured_at), set()).add(one.audio_dbfs)
    assert all(len(levels - {None}) <= 1 for levels in said.values())
    assert any(one.luma is not None for one in found)
    assert any(one.audio_dbfs is not None for one in found)
    assert sorted(map(encode, media)) == sorted(map(encode, camera.sent))
