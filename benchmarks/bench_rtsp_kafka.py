"""From socket to stored object through Kafka and MinIO, one process a role; theirs counted apart.

python -m benchmarks.bench_rtsp_kafka [--short] [--streams 20] [--window 60] [--json FILE]

librdkafka's threads carry their own names, so its part of the cost is known: `media` goes through it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.meter import measure, threads_cpu_s
from benchmarks.report import parser, publish, table
from benchmarks.systems import Cameras, Ffmpeg, on_services
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.process import poll_until

MBIT = 1e6 / 8


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name, Cameras(Path(name) / "cameras") as cameras:
        urls = cameras.urls(arguments.streams)
        ours = _liuhen(Path(name), urls, arguments)
        print(ours, flush=True)
        theirs = _ffmpeg(Path(name) / "ffmpeg", urls, arguments)
    ratio = round(ours["all_roles"]["cpu_s_per_stream_s"] / theirs["cpu_s_per_stream_s"], 2)
    figures = {"streams": arguments.streams, "window_s": arguments.window, "liuhen": ours, "ffmpeg": theirs}
    publish("rtsp_kafka", {**figures, "cpu_ratio": ratio}, _table(ours, theirs, ratio), arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--streams", type=int, default=20)
    options.add_argument("--window", type=float, default=60.0)
    options.add_argument("--settle", type=float, default=15.0)
    found = options.parse_args()
    if found.short:
        found.streams, found.window, found.settle = 1, 2.0, 0.5
    return found


def _liuhen(folder: Path, urls: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer(folder / "kafka"))
        minio = stack.enter_context(MinioServer(folder / "minio"))
        roles = {one.role: stack.enter_context(one) for one in on_services(folder / "roles", urls, kafka, minio)}
        ingest = roles["ingest"]
        poll_until(lambda: ingest.media_bytes() > 100_000 * len(urls), "media comes", 90)
        time.sleep(arguments.settle)
        media, client_s = ingest.media_bytes(), _librdkafka_s(roles)
        ends: list[float] = []
        families = {**{role: [one.pid] for role, one in roles.items()}, "kafka": [kafka.pid], "minio": [minio.pid]}
        readings = measure(families, arguments.window, lambda: ends.append(ingest.media_bytes()))
        client_s = _librdkafka_s(roles) - client_s
    streams = len(urls)
    found: dict[str, Any] = {
        name: {"cpu_s_per_stream_s": round(one.per_stream(streams), 5), "pss_mb": round(one.pss_bytes / 1e6, 1)}
        for name, one in readings.items()
    }
    cpu_s = sum(readings[role].cpu_s for role in roles)
    wall_s = readings["ingest"].wall_s
    found["all_roles"] = {
        "cpu_s_per_stream_s": round(cpu_s / wall_s / streams, 5),
        "pss_mb": round(sum(readings[role].pss_bytes for role in roles) / 1e6, 1),
        "mbit_s_per_stream": round((ends[0] - media) / MBIT / wall_s / streams, 2),
        "librdkafka_share": round(client_s / cpu_s, 3) if cpu_s else None,
    }
    return found


def _librdkafka_s(roles: dict[str, Any]) -> float:
    each = [threads_cpu_s(one.pid) for one in roles.values()]
    return sum(spent for threads in each for name, spent in threads.items() if name.startswith("rdk:"))


def _ffmpeg(folder: Path, urls: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        each = [stack.enter_context(Ffmpeg(folder / str(n), url)) for n, url in enumerate(urls)]
        for one in each:
            one.wait_for_media()
        time.sleep(arguments.settle)
        reading = measure({"ffmpeg": [one.pid for one in each]}, arguments.window)["ffmpeg"]
    return {
        "cpu_s_per_stream_s": round(reading.per_stream(len(urls)), 5),
        "pss_mb": round(reading.pss_bytes / 1e6, 1),
    }


def _table(ours: dict[str, Any], theirs: dict[str, Any], ratio: float) -> str:
    rows = [[name, f"{one['cpu_s_per_stream_s']:.5f}", f"{one['pss_mb']:.0f} MB"] for name, one in ours.items()]
    rows.append(["ffmpeg -c copy", f"{theirs['cpu_s_per_stream_s']:.5f}", f"{theirs['pss_mb']:.0f} MB"])
    text = table(["", "CPU-s a stream-s", "PSS"], rows)
    share = ours["all_roles"]["librdkafka_share"]
    return f"{text}\n\nall roles beside FFmpeg: {ratio}; librdkafka's share of our CPU: {share}"


if __name__ == "__main__":
    main()
