"""Events a second through the detectors under Faust, beside an empty Faust agent on the same topic, in turn.

python -m benchmarks.bench_faust [--short] [--events 60000] [--recorders 1000] [--rounds 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bench_detectors import log_of
from benchmarks.report import parser, publish, table
from domain import wire
from domain.bus import Bus
from domain.events import Tick
from domain.topics import EVENTS
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings
from tests.services.kafka import KafkaServer
from tests.services.process import Server, poll_until

PARTITIONS = 4
SIDES = ("empty", "detect")


def main() -> None:
    arguments = _arguments()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        for turn in range(arguments.rounds):
            runs += _round(Path(name) / str(turn), turn, arguments)
    publish("faust", {"runs": runs, "summary": _summary(runs)}, _table(runs), arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--events", type=int, default=60_000)
    options.add_argument("--recorders", type=int, default=1_000)
    options.add_argument("--rounds", type=int, default=2)
    found = options.parse_args()
    if found.short:
        found.events, found.recorders, found.rounds = 2_000, 100, 1
    return found


class Worker(Server):
    """A worker process of either side."""

    name = "faust"

    def __init__(self, directory: Path, side: str, bootstrap: str) -> None:
        super().__init__(directory)
        self._arguments = [side, bootstrap, str(PARTITIONS), str(directory)]

    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.faust_child", *self._arguments]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}

    def is_ready(self) -> bool:
        return True


def _round(folder: Path, turn: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One broker with one log, read by one side after the other; the first of them changes from turn to turn."""
    runs = []
    with KafkaServer(folder / "kafka") as kafka:
        written = asyncio.run(_write_all(kafka.bootstrap, arguments))
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            with Worker(folder / side, side, kafka.bootstrap) as worker:
                runs.append({"side": side, "turn": turn, **_timed(worker, written)})
            print(runs[-1], flush=True)
    return runs


async def _write_all(bootstrap: str, arguments: argparse.Namespace) -> int:
    bus = KafkaBus(KafkaSettings(bootstrap, "bench"), partitions=PARTITIONS)
    await bus.start()
    try:
        return await _write(bus, arguments)
    finally:
        await bus.close()


async def _write(bus: Bus, arguments: argparse.Namespace) -> int:
    """Put the log on the topic, ticks on every partition; return how many records that made."""
    seconds = max(10, arguments.events // arguments.recorders)
    count = 0
    sends: list[Any] = []
    for line in log_of(arguments.recorders, 0, seconds)[: arguments.events]:
        event = wire.decode_event(line)
        if isinstance(event, Tick):
            sends += [bus.publish(EVENTS.name, None, line, partition=number) for number in range(PARTITIONS)]
        else:
            sends.append(bus.publish(EVENTS.name, event.recorder_id, line))
        if len(sends) >= 2_000:
            count += len(await asyncio.gather(*sends))
            sends = []
    return count + len(await asyncio.gather(*sends))


def _timed(worker: Worker, total: int) -> dict[str, float]:
    """From the first events counted in to the last; the start of the process does not count."""
    path = worker.directory / "progress"
    poll_until(lambda: bool(_readings(path)) and _readings(path)[-1][2] >= total, "all is counted in", 600, 0.2)
    readings = [one for one in _readings(path) if one[2] > 0]
    first, last = readings[0], next(one for one in readings if one[2] >= total)
    events = last[2] - first[2]
    wall, cpu = last[0] - first[0], last[1] - first[1]
    return {"events": events, "s": wall, "cpu_s": cpu, "events_per_s": events / wall, "events_per_cpu_s": events / cpu}


def _readings(path: Path) -> list[tuple[float, float, int]]:
    if not path.exists():
        return []
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(float(one[0]), float(one[1]), int(one[2])) for one in lines if len(one) == 3]


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    figures = ("events_per_s", "events_per_cpu_s")
    found = {side: {name: [one[name] for one in runs if one["side"] == side] for name in figures} for side in SIDES}
    medians = {side: {name: statistics.median(values) for name, values in found[side].items()} for side in SIDES}
    ratio = {name: medians["detect"][name] / medians["empty"][name] for name in figures}
    return {**medians, "ratio": ratio}


def _table(runs: list[dict[str, Any]]) -> str:
    found = _summary(runs)
    rows = [[side, f"{found[side]['events_per_s']:,.0f}", f"{found[side]['events_per_cpu_s']:,.0f}"] for side in SIDES]
    rows.append(["detect ÷ empty", *(f"{found['ratio'][name]:.2f}" for name in ("events_per_s", "events_per_cpu_s"))])
    return table(["agent", "events/s", "events per CPU-s"], rows)


if __name__ == "__main__":
    main()
