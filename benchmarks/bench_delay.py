"""From the moment that a stop counts as a stall to the finding on topic `findings`: real Kafka, Faust and ticker.

python -m benchmarks.bench_delay [--short] [--recorders 200] [--seconds 90] [--json FILE]

Each recorder sends one fragment a second and stops at a random moment, again and again. Measured is the wall-clock
time from 5 s after the end of its last fragment, the detector's own threshold, until the finding is read from Kafka.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bench_faust import PARTITIONS, Worker
from benchmarks.report import parser, publish, table
from domain import wire
from domain.bus import Bus, TopicPartition
from domain.clock import SystemClock
from domain.events import AnyRecorderEvent, Fragment, RecorderRegistered, SessionOpened
from domain.topics import EVENTS, FINDINGS
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings
from streams.workers import tick
from tests.services.kafka import KafkaServer

FRAGMENT_S = 1.0
ARRIVES_AFTER_S = 0.2
THRESHOLD_MS = 5_000
WARM_S = 12.0
"""A recorder must have been heard of a few times, in order, before the detectors speak of it at once."""
STOPS_S = (7.5, 12.0)

_clock = SystemClock()


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--recorders", type=int, default=200)
    options.add_argument("--seconds", type=float, default=90.0)
    arguments = options.parse_args()
    if arguments.short:
        arguments.recorders, arguments.seconds = 10, 22.0
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name, KafkaServer(Path(name) / "kafka") as kafka:
        delays = asyncio.run(_measure(kafka.bootstrap, Path(name), arguments))
    found = _summary(delays)
    rows = [[arguments.recorders, len(delays), *(f"{found[name]:.2f} s" for name in ("p50", "p95", "p99", "max"))]]
    text = table(["recorders", "stalls", "p50", "p95", "p99", "max"], rows)
    publish("delay", {"recorders": arguments.recorders, **found, "delays_s": delays}, text, arguments.json)


def _summary(delays: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(delays, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(delays)}


async def _measure(bootstrap: str, folder: Path, arguments: argparse.Namespace) -> list[float]:
    bus = KafkaBus(KafkaSettings(bootstrap, "bench"), partitions=PARTITIONS)
    await bus.start()
    delays: list[float] = []
    readers = [asyncio.create_task(_read(bus, number, delays)) for number in range(bus.partitions(FINDINGS.name))]
    ticker = asyncio.create_task(tick.run(bus, _clock))
    with Worker(folder / "detect", "detect", bootstrap):
        end = asyncio.get_running_loop().time() + arguments.seconds
        await asyncio.gather(*(_record(bus, number, end) for number in range(arguments.recorders)))
        await asyncio.sleep(STOPS_S[1])
    for task in [*readers, ticker]:
        task.cancel()
    await asyncio.gather(*readers, ticker, return_exceptions=True)
    await bus.close()
    return delays


async def _record(bus: Bus, number: int, end: float) -> None:
    """Record for a while, stop for longer than a stall takes, and again."""
    draw = random.Random(number)
    name, session = f"rec-{number:05}", f"s-{number}"
    loop = asyncio.get_running_loop()
    await asyncio.sleep(draw.uniform(0, FRAGMENT_S))
    await _publish(bus, RecorderRegistered(at=_clock.now(), recorder_id=name, kind="body_worn", policy="wucheng"))
    await _publish(bus, SessionOpened(at=_clock.now(), recorder_id=name, session_id=session))
    turn = 0
    while loop.time() < end:
        await _feed(bus, name, session, f"feed-{number}-{turn}", WARM_S + draw.uniform(0, 5))
        await asyncio.sleep(draw.uniform(*STOPS_S))
        turn += 1


async def _feed(bus: Bus, name: str, session: str, feed: str, length_s: float) -> None:
    for seq in range(int(length_s / FRAGMENT_S)):
        captured = _clock.now()
        await asyncio.sleep(FRAGMENT_S)
        await asyncio.sleep(0 if seq else ARRIVES_AFTER_S)
        ids: dict[str, Any] = {"recorder_id": name, "session_id": session, "feed_id": feed, "seq": seq}
        media: dict[str, Any] = {"duration_s": FRAGMENT_S, "bytes": 500_000, "sha256": "ab" * 32, "codec": "h264"}
        captured = captured.plus(-round(ARRIVES_AFTER_S * 1000))
        await _publish(bus, Fragment(at=_clock.now(), captured_at=captured, **ids, **media))


async def _publish(bus: Bus, event: AnyRecorderEvent) -> None:
    await bus.publish(EVENTS.name, event.recorder_id, wire.encode(event))


async def _read(bus: Bus, number: int, delays: list[float]) -> None:
    async for record in bus.read(TopicPartition(FINDINGS.name, number), 0, follow=True):
        seen = _clock.now()
        finding = wire.decode_finding(record.value or b"")
        if finding.kind == "recording.stalled" and finding.status == "opened":
            delays.append((seen - finding.began_at - THRESHOLD_MS) / 1000)


if __name__ == "__main__":
    main()
