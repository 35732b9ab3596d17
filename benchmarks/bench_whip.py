"""WHIP: our receiving, to access units and to fragments in the log, beside aiortc receiving and decoding, in one run.

aiortc keeps nothing: to access units is the scope to compare, and to the log what recording costs.

python -m benchmarks.bench_whip [--short] [--streams 1 4] [--window 20] [--rounds 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.meter import Reading, measure
from benchmarks.report import parser, publish, spread, table
from benchmarks.systems import PlainAiortc, WhipReceiver, WhipSender, WhipUnits, embedded_ingest, pushing
from tests.services.process import poll_until

MBIT = 1e6 / 8
SIDES = ("log", "units", "aiortc")


def main() -> None:
    arguments = _arguments()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        for number in range(arguments.rounds):
            for streams in arguments.streams:
                for side in SIDES:
                    found = _run(side, Path(name) / f"{side}-{number}-{streams}", streams, arguments)
                    runs.append({"side": side, "streams": streams, **found})
                    print("  ".join(f"{key}={value}" for key, value in runs[-1].items()), flush=True)
    summary = [_summary(runs, streams) for streams in arguments.streams]
    publish("whip", {"window_s": arguments.window, "runs": runs, "summary": summary}, _table(summary), arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--streams", type=int, nargs="+", default=[1, 2])
    options.add_argument("--window", type=float, default=20.0)
    options.add_argument("--settle", type=float, default=8.0)
    options.add_argument("--rounds", type=int, default=2)
    found = options.parse_args()
    if found.short:
        found.streams, found.window, found.settle, found.rounds = [1], 2.0, 0.5, 1
    return found


def _run(side: str, folder: Path, streams: int, arguments: argparse.Namespace) -> dict[str, Any]:
    if side == "log":
        return _to_log(folder, streams, arguments)
    return _to_pictures(WhipUnits if side == "units" else PlainAiortc, folder, streams, arguments)


def _to_log(folder: Path, streams: int, arguments: argparse.Namespace) -> dict[str, Any]:
    with (
        embedded_ingest(folder / "ingest", pushing(streams)) as system,
        WhipSender(folder / "sender", system.port, streams=streams) as sender,
    ):
        poll_until(lambda: system.media_bytes() > 100_000 * streams, "media comes", 60)
        time.sleep(arguments.settle)
        media = system.media_bytes()
        ends: list[float] = []
        families = {"receiver": [system.pid], "sender": [sender.pid]}
        readings = measure(families, arguments.window, lambda: ends.append(system.media_bytes()))
        mbit_s = (ends[0] - media) / MBIT / readings["receiver"].wall_s / streams
        return {**_figures(readings, streams), "mbit_s_per_stream": round(mbit_s, 2)}


def _to_pictures(kind: type[WhipReceiver], folder: Path, streams: int, arguments: argparse.Namespace) -> dict[str, Any]:
    with (
        kind(folder / "receiver") as receiver,
        WhipSender(folder / "sender", receiver.port, streams=streams) as sender,
    ):
        poll_until(lambda: receiver.figures()["pictures"] > 5 * streams, "pictures come", 60)
        time.sleep(arguments.settle)
        pictures = receiver.figures()["pictures"]
        ends: list[float] = []
        families = {"receiver": [receiver.pid], "sender": [sender.pid]}
        readings = measure(families, arguments.window, lambda: ends.append(receiver.figures()["pictures"]))
        fps = (ends[0] - pictures) / readings["receiver"].wall_s / streams
        return {**_figures(readings, streams), "pictures_s_per_stream": round(fps, 1)}


def _figures(readings: dict[str, Reading], streams: int) -> dict[str, Any]:
    return {
        "cpu_s_per_stream_s": round(readings["receiver"].per_stream(streams), 5),
        "pss_mb": round(readings["receiver"].pss_bytes / 1e6, 1),
        "sender_cpu_s_per_stream_s": round(readings["sender"].per_stream(streams), 4),
    }


def _summary(runs: list[dict[str, Any]], streams: int) -> dict[str, Any]:
    row: dict[str, Any] = {"streams": streams}
    for side in SIDES:
        mine = [run for run in runs if run["side"] == side and run["streams"] == streams]
        rate = "mbit_s_per_stream" if side == "log" else "pictures_s_per_stream"
        row[side] = {figure: spread([run[figure] for run in mine]) for figure in ("cpu_s_per_stream_s", "pss_mb", rate)}
    theirs = row["aiortc"]["cpu_s_per_stream_s"]["median"]
    for side in ("log", "units"):
        ours = row[side]["cpu_s_per_stream_s"]["median"]
        row[side]["times_cheaper"] = round(theirs / ours, 1) if ours else None
    return row


_TITLES = {"log": "Liuhen, to the log", "units": "Liuhen, to access units", "aiortc": "aiortc, decoding"}


def _table(summary: list[dict[str, Any]]) -> str:
    rows: list[list[object]] = []
    for row in summary:
        for side in SIDES:
            found = row[side]
            cpu, pss = found["cpu_s_per_stream_s"], found["pss_mb"]["median"]
            times = f"1/{found['times_cheaper']}" if "times_cheaper" in found else ""
            if side == "log":
                kept_up = f"{found['mbit_s_per_stream']['median']} Mb/s"
            else:  # short of 25, it could not keep up and its CPU says nothing
                kept_up = f"{found['pictures_s_per_stream']['median']} pictures/s"
            spent = f"{cpu['median']:.4f} ({cpu['best']:.4f})"
            rows.append([row["streams"], _TITLES[side], spent, f"{pss:.0f} MB", kept_up, times])
    return table(["streams", "", "CPU-s a stream-s (best)", "PSS", "a stream", "CPU ratio"], rows)


if __name__ == "__main__":
    main()
