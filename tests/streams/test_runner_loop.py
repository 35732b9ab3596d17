"""The plain loop on the embedded log: a crash at any step repeats work and changes nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from detectors.registry import rules
from domain import wire
from domain.bus import Bus, TopicPartition, partition_for
from domain.topics import EVENTS, FINDINGS, REJECTED
from streams.bus.embedded import EmbeddedBus
from streams.runners.changelog import restore
from streams.runners.loop import DetectLoop
from tests.detectors.logs import Line, by_recorder, recording, said

PARTITIONS = 2


class CrashError(Exception):
    """The process is gone."""


async def publish_log(bus: Bus, lines: list[Line]) -> None:
    """Ticks go to every partition, the rest by recorder."""
    for line in lines:
        value = json.dumps(line).encode()
        key = line.get("recorder_id")
        if key is None:
            await asyncio.gather(
                *(bus.publish(EVENTS.name, None, value, partition=n) for n in range(bus.partitions(EVENTS.name)))
            )
        else:
            await bus.publish(EVENTS.name, str(key), value)


async def read_all(bus: Bus, topic: str) -> list[tuple[str | None, bytes]]:
    found = []
    for number in range(bus.partitions(topic)):
        oldest, end = await bus.bounds(TopicPartition(topic, number))
        found += [
            (record.key, record.value or b"") async for record in bus.read(TopicPartition(topic, number), oldest, end)
        ]
    return found


def deduplicated(records: list[tuple[str | None, bytes]]) -> dict[str, list[bytes]]:
    """Per recorder and in order, each statement once. A repeated one has the same bytes, so bytes tell."""
    result: dict[str, list[bytes]] = {}
    for key, value in records:
        assert key == wire.decode_finding(value).recorder_id
        known = result.setdefault(str(key), [])
        if value not in known:
            known.append(value)
    return result


async def is_done(bus: Bus) -> bool:
    """Tell whether the saved states count every event in."""
    for number in range(bus.partitions(EVENTS.name)):
        _, end = await bus.bounds(TopicPartition(EVENTS.name, number))
        if (await restore(bus, number, rules()))[0].offset + 1 < end:
            return False
    return True


async def work_until_done(bus: Bus) -> None:
    """Run a loop until everything is counted in."""
    task = asyncio.create_task(DetectLoop(bus, rules(), batch_records=40, save_every_s=0).run())
    async with asyncio.timeout(60):
        while not task.done() and not await is_done(bus):  # noqa: ASYNC110 - the log itself is polled
            await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def work_until_crash(bus: Bus, step: int, times: int) -> None:
    """Run a loop that dies when it has done a step so many times."""
    count = 0

    async def on_step(done: int) -> None:
        nonlocal count
        count += done == step
        if count == times:
            raise CrashError

    async with asyncio.timeout(60):
        with pytest.raises(CrashError):
            await DetectLoop(bus, rules(), batch_records=40, save_every_s=0, on_step=on_step).run()


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6])
async def test_a_crash_at_any_step_changes_nothing(tmp_path: Path, step: int) -> None:
    lines = recording(7, recorders=3, length=60)
    expected = by_recorder(said(lines))
    assert len(expected) == 3
    bus = EmbeddedBus(tmp_path, partitions=PARTITIONS)
    await bus.start()
    await publish_log(bus, lines)
    await bus.close()
    for times in (1, 2, 1, 0):
        bus = EmbeddedBus(tmp_path, partitions=PARTITIONS)
        await bus.start()
        await (work_until_crash(bus, step, times) if times else work_until_done(bus))
        found = await read_all(bus, FINDINGS.name)
        await bus.close()
    assert deduplicated(found) == expected
    if step not in {3, 4}:  # states are saved after the findings: only a crash between the two says anything twice
        assert len(found) == sum(len(one) for one in expected.values())


async def test_what_cannot_be_read_is_rejected_alone(tmp_path: Path) -> None:
    lines = recording(3, recorders=2, length=60)
    bus = EmbeddedBus(tmp_path, partitions=PARTITIONS)
    await bus.start()
    await bus.publish(EVENTS.name, "rec-0", b"\xff rubbish")
    await bus.publish(EVENTS.name, "rec-0", b'{"type":"from_the_future","at":"2026-03-02T09:00:00+08:00"}')
    await publish_log(bus, lines)
    await work_until_done(bus)
    assert deduplicated(await read_all(bus, FINDINGS.name)) == by_recorder(said(lines))
    number = partition_for("rec-0", PARTITIONS)
    place = TopicPartition(REJECTED.name, number)
    refused = [record async for record in bus.read(place, 0)]
    await bus.close()
    assert refused[0].value == b"\xff rubbish"
    assert [record.headers["reason"] for record in refused] == [b"invalid_event", b"invalid_event"]
    assert [record.headers["source"] for record in refused] == [
        f"events/{number}/0".encode(),
        f"events/{number}/1".encode(),
    ]
    assert b"from_the_future" in refused[1].headers["detail"]


async def test_a_lost_changelog_is_made_again_from_the_log(tmp_path: Path) -> None:
    """The committed offset alone would pass over what made the states."""
    lines = recording(5, recorders=2, length=60)
    bus = EmbeddedBus(tmp_path, partitions=PARTITIONS)
    await bus.start()
    await publish_log(bus, lines)
    consumer = await bus.subscribe("detect", [EVENTS.name])
    while not consumer.assigned():
        await consumer.take(1)
    await consumer.commit({place: (await bus.bounds(place))[1] - 5 for place in consumer.assigned()})
    await consumer.close()
    await work_until_done(bus)
    assert deduplicated(await read_all(bus, FINDINGS.name)) == by_recorder(said(lines))
    await bus.close()
