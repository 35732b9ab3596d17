"""The ticker: a tick in every partition once a second, by one of several, and never back in time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from domain import wire
from domain.bus import Bus, TopicPartition
from domain.clock import Instant, ManualClock, SystemClock
from domain.events import Tick
from domain.topics import EVENTS
from streams.bus.embedded import EmbeddedBus
from streams.workers import tick
from streams.workers.tick import Beat

START = Instant.parse("2026-03-02T09:00:00.300+08:00")


def test_once_a_second_on_the_second() -> None:
    clock = ManualClock(START)
    beat = Beat(clock)
    assert beat.due() == START.plus(-300)
    assert beat.due() is None
    assert beat.wait_s() == 0.7
    clock.advance(0.7)
    assert beat.due() == START.plus(700)


def test_missed_seconds_are_not_made_up() -> None:
    clock = ManualClock(START)
    beat = Beat(clock)
    beat.due()
    clock.advance(30)
    assert beat.due() == START.plus(29_700)
    assert beat.due() is None


def test_a_clock_stepped_back_is_waited_for() -> None:
    clock = ManualClock(START)
    beat = Beat(clock)
    beat.due()
    clock.step(-5)
    for _ in range(5):
        assert beat.due() is None
        clock.advance(1)
    assert beat.due() is None
    clock.advance(1)
    assert beat.due() == START.plus(700)


async def _ticks(bus: Bus, number: int) -> list[Tick]:
    records = [record async for record in bus.read(TopicPartition(EVENTS.name, number), 0)]
    events = [wire.decode_event(record.value or b"") for record in records]
    assert all(isinstance(event, Tick) for event in events)
    return [event for event in events if isinstance(event, Tick)]


async def test_one_of_two_ticks_and_the_other_takes_over(tmp_path: Path) -> None:
    bus = EmbeddedBus(tmp_path, partitions=3)
    await bus.start()
    tickers = [asyncio.create_task(tick.run(bus, SystemClock())) for _ in range(2)]

    async def until(count: int) -> list[list[Tick]]:
        async with asyncio.timeout(20):
            while True:
                found = [await _ticks(bus, number) for number in range(3)]
                if min(len(one) for one in found) >= count:
                    return found
                await asyncio.sleep(0.1)

    try:
        before = await until(2)
        assert before[0][:2] == before[1][:2] == before[2][:2]
        for ticker in tickers:  # whichever of them holds the partition, one is left in the end
            count = len((await until(1))[0])
            if ticker is tickers[0]:
                ticker.cancel()
                await asyncio.gather(ticker, return_exceptions=True)
                await until(count + 2)
        moments = [one.at for one in (await until(3))[0]]
        assert moments == sorted(set(moments))
        assert all(moment % 1000 == 0 for moment in moments)
    finally:
        for ticker in tickers:
            ticker.cancel()
        await asyncio.gather(*tickers, return_exceptions=True)
        await bus.close()
