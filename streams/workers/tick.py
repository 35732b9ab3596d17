"""The ticker: writes a `tick` to every partition of `events` once a second, so that silence is a fact of the log.

One ticker acts at a time: tickers form a consumer group on the small topic `registry`, and the one that holds its
partition 0 writes. When it dies the group moves that partition, and another goes on. While the group makes up its mind
two may write for a moment, or none. Both are harmless: a repeated `at` changes nothing for a detector, and seconds
that nobody wrote are not made up afterwards: at the next tick, the time has passed.

`at` is the whole second of the wall clock, and never goes back. Stepped forward, the clock is followed at once; stepped
back, the ticker is silent until it has caught up.
"""

from __future__ import annotations

import asyncio
import logging

from domain import wire
from domain.bus import Bus, Consumer, TopicPartition
from domain.clock import Clock, Instant
from domain.errors import BusUnavailable
from domain.events import Tick
from domain.topics import EVENTS, REGISTRY

GROUP = "tick"
PERIOD_MS = 1_000
GIVE_UP_S = 5.0
RETRY_S = 1.0
_PLACE = TopicPartition(REGISTRY.name, 0)

_log = logging.getLogger(__name__)


class Beat:
    """When to tick next, and with which `at`.

    Args:
        clock: Wall time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = Instant(0)

    def due(self) -> Instant | None:
        """Return the `at` of the tick that is due, or None where this second has been ticked."""
        now = self._clock.now()
        second = Instant(now - now % PERIOD_MS)
        if second <= self._last:
            return None
        self._last = second
        return second

    def wait_s(self) -> float:
        """Return how long until the wall clock's next whole second."""
        return (PERIOD_MS - self._clock.now() % PERIOD_MS) / 1000


async def run(bus: Bus, clock: Clock) -> None:
    """Tick until cancelled. A tick that the log does not take is given up.

    Args:
        bus: The log, started.
        clock: Wall time.
    """
    consumer = await _join(bus)
    beat = Beat(clock)
    try:
        while True:
            # The pause is spent in the group: whoever does not ask for records has left it.
            await _pause(consumer, beat.wait_s())
            at = beat.due()
            if at is not None and _PLACE in consumer.assigned():
                await _tick(bus, at)
    finally:
        await consumer.close()


async def _join(bus: Bus) -> Consumer:
    while True:
        try:
            return await bus.subscribe(GROUP, [REGISTRY.name])
        except BusUnavailable as error:
            _log.warning("the log is away, no ticks: %s", error)
        await asyncio.sleep(RETRY_S)


async def _pause(consumer: Consumer, pause_s: float) -> None:
    """Let time pass; what stands in the registry is of no interest here."""
    clock = asyncio.get_running_loop().time
    until = clock() + pause_s
    while (left_s := until - clock()) > 0:
        try:
            await consumer.take(100, left_s)
        except BusUnavailable as error:
            _log.warning("the log is away: %s", error)
            await asyncio.sleep(max(0.0, until - clock()))


async def _tick(bus: Bus, at: Instant) -> None:
    """Write one tick to all partitions; those that do not take it go without."""
    value = wire.encode(Tick(at=at))
    sends = [bus.publish(EVENTS.name, None, value, partition=number) for number in range(bus.partitions(EVENTS.name))]
    try:
        async with asyncio.timeout(GIVE_UP_S):
            results = await asyncio.gather(*sends, return_exceptions=True)
    except TimeoutError:
        _log.warning("tick %s was not acknowledged within %.0f s", at, GIVE_UP_S)
        return
    for failed in (result for result in results if isinstance(result, BaseException)):
        if not isinstance(failed, BusUnavailable):
            raise failed
        _log.warning("tick %s was not taken: %s", at, failed)
