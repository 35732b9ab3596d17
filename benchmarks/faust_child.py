"""A Faust worker of `bench_faust`, as a process of its own: `python -m benchmarks.faust_child empty|detect …`.

Both sides run Faust with the same settings. The empty one takes the same batches and acknowledges them: what is left
is what Faust itself costs.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import faust

from detectors.registry import rules
from domain.topics import EVENTS
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings
from streams.runners import faust_app, metrics
from streams.workers.detect import spare_the_collector

PROGRESS_EVERY_S = 0.1


def main(side: str, bootstrap: str, partitions: int, directory: str) -> None:
    threading.Thread(target=_progress, args=(Path(directory) / "progress",), daemon=True).start()
    bus = KafkaBus(KafkaSettings(bootstrap, f"bench-{side}"), partitions=partitions)
    worker = faust_app.FaustDetect(bootstrap, bus, rules(), group=f"bench-{side}", data_dir=directory)
    spare_the_collector()
    if side == "empty":
        faust.Worker(_empty(worker.app.conf), loglevel="WARNING", quiet=True).execute_from_commandline()
    faust_app.run(worker)


def _empty(settings: Any) -> faust.App:
    names: tuple[str, ...] = (
        "broker",
        "broker_commit_interval",
        "broker_heartbeat_interval",
        "broker_session_timeout",
        "datadir",
    )
    names += ("broker_request_timeout", "consumer_auto_offset_reset", "key_serializer", "value_serializer")
    names += ("processing_guarantee", "store", "stream_wait_empty", "topic_allow_declare", "topic_disable_leader")
    app = faust.App("bench-empty", web_enabled=False, **{name: getattr(settings, name) for name in names})
    events = app.topic(EVENTS.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def take(stream: Any) -> None:
        async for batch in stream.noack_take(faust_app.BATCH_RECORDS, within=faust_app.WITHIN_S):
            metrics.EVENTS.labels("all").inc(len(batch))
            for event in batch:
                event.ack()

    app.agent(events, name="take", concurrency=1)(take)
    return app


def _progress(path: Path) -> None:
    """Write what has been counted in by now, and the time and CPU time it took."""
    with path.open("w", buffering=1) as lines:
        while True:
            samples = [one for metric in metrics.EVENTS.collect() for one in metric.samples]
            count = sum(one.value for one in samples if one.name.endswith("_total"))
            lines.write(f"{time.monotonic()} {time.process_time()} {int(count)}\n")
            time.sleep(PROGRESS_EVERY_S)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
