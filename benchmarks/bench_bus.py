"""What a record costs its client: the embedded log, and Kafka through each of its two clients, by the same port.

python -m benchmarks.bench_bus [--short] [--rounds 3] [--json FILE]

CPU is that of this process alone, all threads; the broker's is apart. Records of 500 kB are fragments, those of 300
bytes are events; 16 are on their way at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks.meter import cpu_s, family
from benchmarks.report import parser, publish, spread, table
from domain.bus import Bus
from domain.topics import Topic
from streams.bus.embedded import EmbeddedBus
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings
from tests.services.kafka import KafkaServer

AT_ONCE = 16
SIDES = ("embedded", "confluent-kafka", "kafka-python")


class Load(NamedTuple):
    """Records of one size."""

    name: str
    size_bytes: int
    records: int


def main() -> None:
    arguments = _arguments()
    loads = [Load("500 kB", 500_000, arguments.large), Load("300 B", 300, arguments.small)]
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name, KafkaServer(Path(name) / "kafka") as broker:
        for _ in range(arguments.rounds):
            for load in loads:
                for side in SIDES:
                    found = uvloop.run(_run(side, load, broker, Path(name)))
                    runs.append({"side": side, "records": load.name, **found})
                    print("  ".join(f"{key}={value}" for key, value in runs[-1].items()), flush=True)
    summary = [_summary(runs, load, side) for load in loads for side in SIDES]
    publish("bus", {"runs": runs, "summary": summary}, _table(summary), arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--large", type=int, default=600, help="records of 500 kB")
    options.add_argument("--small", type=int, default=20_000, help="records of 300 bytes")
    found = options.parse_args()
    if found.short:
        found.rounds, found.large, found.small = 1, 10, 100
    return found


async def _run(side: str, load: Load, broker: KafkaServer, folder: Path) -> dict[str, Any]:
    topic = Topic(f"bench-{uuid.uuid4().hex[:8]}", retention_s=3600)
    bus: Bus
    if side == "embedded":
        bus = EmbeddedBus(folder / topic.name, partitions=1, topics=[topic])
    else:
        large = frozenset({topic.name}) if side == "confluent-kafka" else frozenset[str]()
        settings = KafkaSettings(broker.bootstrap, "bench", publish_timeout_s=60.0)
        bus = KafkaBus(settings, partitions=1, topics=[topic], large=large)
    await bus.start()
    try:
        written = await _timed(lambda: _publish(bus, topic.name, load), broker)
        read = await _timed(lambda: _take(bus, topic.name, load.records), broker)
    finally:
        await bus.close()
    return {f"{way}_{figure}": value for way, one in (("publish", written), ("take", read)) for figure, value in one}


async def _timed(work: Callable[[], Awaitable[None]], broker: KafkaServer) -> list[tuple[str, float]]:
    broker_cpu_s, own_s, began_s = cpu_s(family(broker.pid)), time.process_time(), time.monotonic()
    await work()
    return [
        ("cpu_s", round(time.process_time() - own_s, 4)),
        ("wall_s", round(time.monotonic() - began_s, 3)),
        ("broker_cpu_s", round(cpu_s(family(broker.pid)) - broker_cpu_s, 2)),
    ]


async def _publish(bus: Bus, topic: str, load: Load) -> None:
    value = os.urandom(load.size_bytes)
    left = iter(range(load.records))

    async def lane(numbers: Iterator[int]) -> None:
        for _ in numbers:
            await bus.publish(topic, "rec-1", value)

    await asyncio.gather(*(lane(left) for _ in range(AT_ONCE)))


async def _take(bus: Bus, topic: str, count: int) -> None:
    consumer = await bus.subscribe("bench", [topic])
    while count > 0:
        count -= len(await consumer.take(within_s=1.0))
    await consumer.close()


def _summary(runs: list[dict[str, Any]], load: Load, side: str) -> dict[str, Any]:
    mine = [run for run in runs if run["records"] == load.name and run["side"] == side]
    figures = ("publish_cpu_s", "take_cpu_s", "publish_broker_cpu_s", "take_broker_cpu_s")
    row: dict[str, Any] = {"records": load.name, "side": side}
    for name in figures:
        row[f"{name}_us_per_record"] = {
            kind: round(1e6 * value / load.records, 1) for kind, value in spread([run[name] for run in mine]).items()
        }
    for way in ("publish", "take"):
        spent_s = spread([run[f"{way}_cpu_s"] for run in mine])["median"]
        row[f"{way}_mb_per_cpu_s"] = round(load.size_bytes * load.records / 1e6 / spent_s, 1) if spent_s else None
    return row


def _table(summary: list[dict[str, Any]]) -> str:
    head = ["records", "log", "publish µs (best)", "MB/CPU-s", "take µs (best)", "MB/CPU-s", "broker µs a record"]
    rows: list[list[object]] = []
    for one in summary:
        put, got = one["publish_cpu_s_us_per_record"], one["take_cpu_s_us_per_record"]
        broker = one["publish_broker_cpu_s_us_per_record"]["median"] + one["take_broker_cpu_s_us_per_record"]["median"]
        rows.append(
            [
                one["records"],
                one["side"],
                f"{put['median']} ({put['best']})",
                one["publish_mb_per_cpu_s"],
                f"{got['median']} ({got['best']})",
                one["take_mb_per_cpu_s"],
                round(broker) if one["side"] != "embedded" else "",
            ]
        )
    return table(head, rows)


if __name__ == "__main__":
    main()
