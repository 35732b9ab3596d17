"""The three runners on real Kafka say the same of the same log; Faust also through kills and rebalances."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from detectors.registry import rules
from domain import wire
from domain.bus import Bus, TopicPartition
from domain.topics import EVENTS, FINDINGS
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings
from streams.runners.changelog import restore
from streams.runners.loop import DetectLoop
from streams.workers.replay import replay
from tests.detectors.logs import Line, recording
from tests.services.kafka import KafkaServer
from tests.services.process import Server

KILLS = int(os.environ.get("FAULT_KILLS", "3"))
PARTITIONS = 4
ROOT = Path(__file__).resolve().parents[2]


class Supervised(Protocol):
    """A process that is started again when it has ended by itself."""

    def supervise(self) -> None: ...


class FaustWorker(Server):
    """One worker process; ready as soon as it runs."""

    name = "faust"

    def __init__(self, directory: Path, bootstrap: str) -> None:
        super().__init__(directory)
        self._bootstrap = bootstrap

    def command(self) -> list[str]:
        module = "tests.integration.faust_worker"
        return [sys.executable, "-m", module, self._bootstrap, str(self.directory), str(PARTITIONS)]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def is_ready(self) -> bool:
        return True

    def supervise(self) -> None:
        """Start it again if it has ended by itself, as any supervisor would."""
        if not self.alive:
            self.kill()
            self.start()


@asynccontextmanager
async def log_on(kafka: KafkaServer) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(KafkaSettings(kafka.bootstrap, "test"), partitions=PARTITIONS)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


async def publish_log(bus: Bus, lines: list[Line], pause_s: float = 0) -> None:
    """Ticks go to every partition, the rest by recorder; in order within each."""
    for start in range(0, len(lines), 50):
        sends = []
        for line in lines[start : start + 50]:
            value, key = json.dumps(line).encode(), line.get("recorder_id")
            if key is None:
                sends += [bus.publish(EVENTS.name, None, value, partition=n) for n in range(PARTITIONS)]
            else:
                sends.append(bus.publish(EVENTS.name, str(key), value))
        await asyncio.gather(*sends)
        await asyncio.sleep(pause_s)


async def is_done(bus: Bus) -> bool:
    for number in range(PARTITIONS):
        _, end = await bus.bounds(TopicPartition(EVENTS.name, number))
        if (await restore(bus, number, rules()))[0].offset + 1 < end:
            return False
    return True


async def progress(bus: Bus) -> list[tuple[int, int]]:
    ends = [(await bus.bounds(TopicPartition(EVENTS.name, number)))[1] for number in range(PARTITIONS)]
    return [((await restore(bus, number, rules()))[0].offset, end) for number, end in enumerate(ends)]


async def statements(bus: Bus) -> tuple[dict[str, list[bytes]], int]:
    """Per recorder and in order, each statement once (a repeated one has the same bytes); and how many stood there."""
    result: dict[str, list[bytes]] = {}
    count = 0
    for number in range(PARTITIONS):
        oldest, end = await bus.bounds(TopicPartition(FINDINGS.name, number))
        async for record in bus.read(TopicPartition(FINDINGS.name, number), oldest, end):
            known = result.setdefault(str(record.key), [])
            count += 1
            if (record.value or b"") not in known:
                known.append(record.value or b"")
    return result, count


def replayed(lines: list[Line]) -> dict[str, list[bytes]]:
    out, err = io.StringIO(), io.StringIO()
    assert replay([json.dumps(line) for line in lines], "wucheng", out, err) == 0, err.getvalue()
    result: dict[str, list[bytes]] = {}
    for line in out.getvalue().splitlines():
        result.setdefault(wire.decode_finding(line).recorder_id, []).append(line.encode())
    return result


async def until_done(bus: Bus, workers: Sequence[Supervised], timeout_s: float = 90) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not await is_done(bus):
                for worker in workers:
                    worker.supervise()
                await asyncio.sleep(0.3)
    except TimeoutError as failure:
        failure.add_note(f"counted in and end: {await progress(bus)}")
        raise


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_the_plain_loop_on_kafka_says_what_replay_says(kafka_factory: Callable[..., KafkaServer]) -> None:
    lines = recording(11, recorders=6, length=60)
    async with log_on(kafka_factory()) as bus:
        await publish_log(bus, lines)
        task = asyncio.create_task(DetectLoop(bus, rules()).run())
        await until_done(bus, [])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found, count = await statements(bus)
    assert found == replayed(lines)
    assert count == sum(len(one) for one in found.values())


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_faust_through_kills_and_a_rebalance(tmp_path: Path, kafka_factory: Callable[..., KafkaServer]) -> None:
    """Two workers, killed in turn at random moments while the log is being written: nothing missed, none changed."""
    draw = random.Random(20260302)
    lines = recording(12, recorders=8, length=120)
    kafka = kafka_factory()
    workers = [FaustWorker(tmp_path / f"worker-{index}", kafka.bootstrap) for index in range(2)]
    async with log_on(kafka) as bus:
        try:
            workers[0].start()
            writing = asyncio.create_task(publish_log(bus, lines, pause_s=0.6))
            await asyncio.sleep(3)
            workers[1].start()  # a rebalance while both work
            for round_ in range(KILLS):
                await asyncio.sleep(draw.uniform(1, 4))
                workers[round_ % 2].kill()
                await asyncio.sleep(draw.uniform(0, 1))
                workers[round_ % 2].start()
            await writing
            await until_done(bus, workers, timeout_s=150)
        except BaseException as failure:
            for worker in workers:
                failure.add_note(worker.log_tail())
            raise
        finally:
            for worker in workers:
                worker.kill()
        found, _ = await statements(bus)
    assert found == replayed(lines)
