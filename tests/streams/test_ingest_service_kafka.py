"""The ingest role on real Kafka: registered, pulled, spooled, acknowledged."""

import asyncio
from pathlib import Path
from uuid import uuid4

from domain import wire
from domain.bus import Bus, Record, TopicPartition
from domain.clock import Clock, SystemClock
from domain.events import Fragment
from domain.registry import Registration
from domain.settings import Settings
from domain.topics import EVENTS, MEDIA, REGISTRY
from streams.bus.connect import connect
from streams.ingest.rtsp.options import RtspOptions
from streams.ingest.service import IngestService
from streams.ingest.sink import Sink
from tests.services.kafka import KafkaServer
from tests.streams.units import VIDEO, picture


async def records_of(bus: Bus, topic: str, recorder_id: str) -> list[Record]:
    found: list[Record] = []
    for number in range(bus.partitions(topic)):
        found += [record async for record in bus.read(TopicPartition(topic, number), 0)]
    return [record for record in found if record.key == recorder_id]


async def test_a_camera_registered_on_kafka_is_recorded(kafka: KafkaServer, tmp_path: Path) -> None:
    recorder_id = f"cam-{uuid4().hex[:8]}"
    done = asyncio.Event()

    async def pull(url: str, sink: Sink, options: RtspOptions, clock: Clock) -> None:
        if recorder_id in url:
            sink.on_tracks([VIDEO])
            for index in range(100):
                sink.on_unit(picture(index, index * 40, index % 25 == 0, 5_000))
            done.set()
        await asyncio.Event().wait()

    bus = connect(f"kafka://{kafka.bootstrap}", partitions=2, client_id="ingest-test")
    await bus.start()
    ingest = IngestService(bus, Settings(spool=str(tmp_path / "spool")), SystemClock(), pull=pull)
    await ingest.start()
    camera = Registration(
        recorder_id=recorder_id, kind="room_camera", policy="wucheng", url=f"rtsp://host/{recorder_id}"
    )
    await bus.publish(REGISTRY.name, recorder_id, wire.encode(camera))
    await asyncio.wait_for(done.wait(), 60)
    await ingest.stop(20)
    events = [wire.decode_event(record.value or b"") for record in await records_of(bus, EVENTS.name, recorder_id)]
    assert [type(event).__name__ for event in events[:3]] == ["RecorderRegistered", "SessionOpened", "Fragment"]
    assert [event.seq for event in events if isinstance(event, Fragment)] == [0, 1, 2, 3]
    media = await records_of(bus, MEDIA.name, recorder_id)
    assert [bool(record.value) for record in media] == [True] * 4 + [False]
    await bus.close()
