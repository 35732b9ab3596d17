"""Following topics: from the beginning, from a remembered place, through outages of the log."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.bus import Record, TopicPartition
from domain.topics import EVENTS, REGISTRY
from streams.ingest.follow import Follower
from tests.streams.flaky_bus import FlakyBus, flaky


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FlakyBus]:
    bus = flaky(tmp_path / "log")
    await bus.start()
    yield bus
    await bus.close()


async def publish(bus: FlakyBus, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        await bus.publish(EVENTS.name, None, str(number).encode(), partition=number % 2)


async def read_to_the_end(bus: FlakyBus, starts: dict[TopicPartition, int]) -> tuple[Follower, list[int]]:
    seen: list[int] = []
    follower = Follower(bus, {EVENTS.name: lambda record: seen.append(number_of(record))}, starts)
    await follower.start()
    await asyncio.wait_for(follower.caught_up(), 10)
    return follower, seen


def number_of(record: Record) -> int:
    return int(record.value or b"-1")


async def test_reads_everything_that_is_there_and_then_what_comes(bus: FlakyBus) -> None:
    await publish(bus, 10)
    follower, seen = await read_to_the_end(bus, {})
    assert sorted(seen) == list(range(10))
    await publish(bus, 10, 10)
    async with asyncio.timeout(10):
        while len(seen) < 20:  # noqa: ASYNC110 - the follower has nothing to wait for but its function
            await asyncio.sleep(0.02)
    assert [number for number in seen if number % 2] == list(range(1, 20, 2))
    assert follower.next_offsets(EVENTS.name) == {0: 10, 1: 10}
    await follower.stop()


async def test_goes_on_from_a_remembered_place(bus: FlakyBus) -> None:
    await publish(bus, 10)
    follower, seen = await read_to_the_end(bus, {TopicPartition(EVENTS.name, 0): 3, TopicPartition(EVENTS.name, 1): 5})
    assert sorted(seen) == [6, 8]
    await follower.stop()


async def test_a_place_beyond_the_end_is_of_another_log(bus: FlakyBus) -> None:
    await publish(bus, 4)
    follower, seen = await read_to_the_end(bus, {TopicPartition(EVENTS.name, 0): 99})
    assert sorted(seen) == [0, 1, 2, 3]
    await follower.stop()


async def test_an_empty_log_is_caught_up_with_at_once(bus: FlakyBus) -> None:
    follower, seen = await read_to_the_end(bus, {})
    assert seen == []
    await follower.stop()


async def test_one_topic_may_have_been_read_while_another_is_long(bus: FlakyBus) -> None:
    await publish(bus, 10)
    await bus.publish(REGISTRY.name, "cam-1", b"1")
    seen: list[str] = []
    read: list[tuple[bool, bool]] = []

    def take(record: Record) -> None:
        seen.append(record.topic)
        read.append((follower.has_read(REGISTRY.name), follower.has_read(EVENTS.name)))

    follower = Follower(bus, {EVENTS.name: take, REGISTRY.name: take})
    assert not follower.has_read(REGISTRY.name)
    await follower.start()
    await asyncio.wait_for(follower.caught_up(), 10)
    assert follower.has_read(REGISTRY.name)
    assert follower.has_read(EVENTS.name)
    # What each record found: a topic counts as read behind its last record, whatever the other is at.
    assert [one for one, _ in read] == [REGISTRY.name in seen[:at] for at in range(11)]
    assert not any(events for _, events in read[: seen.index(EVENTS.name) + 1])
    await follower.stop()


async def test_a_fault_in_one_record_does_not_end_the_reading(bus: FlakyBus, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []

    def take(record: Record) -> None:
        if record.value == b"2":
            raise ZeroDivisionError
        seen.append(number_of(record))

    await publish(bus, 6)
    follower = Follower(bus, {EVENTS.name: take, REGISTRY.name: take})
    await follower.start()
    await publish(bus, 2, 6)
    async with asyncio.timeout(10):
        while not {6, 7} <= set(seen):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert sorted(seen) == [0, 1, 3, 4, 5, 6, 7]
    assert "ZeroDivisionError" in caplog.text
    await follower.stop()
