"""Progress of who reads the log, as `/metrics` shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client import REGISTRY

from domain.topics import EVENTS, MEDIA
from streams.bus.counted import CountedBus
from streams.bus.embedded import EmbeddedBus


def progress(reader: str) -> float:
    return REGISTRY.get_sample_value("liuhen_progress_total", {"reader": reader}) or 0.0


async def test_readers_of_events_get_on_with_records_and_others_by_asking(tmp_path: Path) -> None:
    bus = CountedBus(EmbeddedBus(tmp_path / "log", partitions=1))
    await bus.start()
    events = await bus.subscribe("counted-console-0123abcd-ef", [EVENTS.name])
    media = await bus.subscribe("counted-store", [MEDIA.name])
    assert await events.take(within_s=0.0) == []
    assert await media.take(within_s=0.0) == []
    assert (progress("counted-console"), progress("counted-store")) == (0, 1)  # nothing came to either
    await bus.publish(EVENTS.name, None, b"tick", partition=0)
    assert len(await events.take(within_s=5)) == 1
    assert progress("counted-console") == 1
    spare = await bus.subscribe("counted-console-0123abcd-ef", [EVENTS.name])  # one partition, two members
    async with asyncio.timeout(20):
        while not (events.settled() and spare.settled() and len(events.assigned() | spare.assigned()) == 1):
            await events.take(within_s=0.01)
            await spare.take(within_s=0.01)
    idle = [one for one in (events, spare) if not one.assigned()]
    before = progress("counted-console")
    await idle[0].take(within_s=0.0)
    assert progress("counted-console") == before + 1  # who holds nothing has nothing to read
    for consumer in (events, spare, media):
        await consumer.close()
    await bus.close()
