"""From socket to stored object: CPU and memory a stream, beside one FFmpeg a camera, on the same cameras in one run.

python -m benchmarks.bench_rtsp [--short] [--streams 1 10 20] [--window 60] [--rounds 2] [--role up] [--json FILE]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.meter import Reading, measure, threads_cpu_s
from benchmarks.report import parser, publish, spread, table
from benchmarks.systems import RECORDING, Cameras, Ffmpeg, embedded
from tests.services.process import poll_until

MBIT = 1e6 / 8


def main() -> None:
    arguments = _arguments()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name, Cameras(Path(name) / "cameras") as cameras:
        for round_number in range(arguments.rounds):
            for streams in arguments.streams:
                urls = cameras.urls(streams)
                for side, run in (("liuhen", _liuhen), ("ffmpeg", _ffmpeg)):
                    if side not in arguments.only:
                        continue
                    folder = Path(name) / f"{side}-{round_number}-{streams}"
                    found = {"side": side, "streams": streams, **run(folder, urls, cameras, arguments)}
                    runs.append(found)
                    print(_progress(found), flush=True)
    summary = _summary(runs, arguments.streams)
    publish("rtsp", {"window_s": arguments.window, "runs": runs, "summary": summary}, _table(summary), arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--streams", type=int, nargs="+", default=[1, 10, 20])
    options.add_argument("--window", type=float, default=60.0, help="seconds measured; a segment is 60 s long")
    options.add_argument("--settle", type=float, default=10.0, help="seconds before, so that the start does not count")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--role", default=RECORDING, help="roles in our process; up for all, analysis included")
    options.add_argument("--only", nargs="+", default=["liuhen", "ffmpeg"], choices=["liuhen", "ffmpeg"])
    found = options.parse_args()
    if found.short:
        found.streams, found.window, found.settle, found.rounds = [1], 2.0, 1.0, 1
    return found


def _liuhen(folder: Path, urls: list[str], cameras: Cameras, arguments: argparse.Namespace) -> dict[str, Any]:
    with embedded(folder, urls, arguments.role) as system:
        poll_until(lambda: system.media_bytes() > 100_000 * len(urls), "media comes", 60)
        time.sleep(arguments.settle)
        media = system.media_bytes()
        threads = threads_cpu_s(system.pid)
        ends: list[float] = []
        families = {"liuhen": [system.pid], "cameras": [cameras.pid]}
        readings = measure(families, arguments.window, lambda: ends.append(system.media_bytes()))
        wall_s = readings["liuhen"].wall_s
        after = threads_cpu_s(system.pid)
        by_thread = {
            name: round((after[name] - threads.get(name, 0)) / wall_s / len(urls), 5)
            for name in after
            if after[name] - threads.get(name, 0) > 0.005 * wall_s
        }
        stored = sum(path.stat().st_size for path in (folder / "store" / "objects").rglob("*") if path.is_file())
        return {
            **_figures(readings, "liuhen", len(urls), ends[0] - media),
            "stored_bytes": stored,
            "threads": by_thread,
        }


def _ffmpeg(folder: Path, urls: list[str], cameras: Cameras, arguments: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        each = [stack.enter_context(Ffmpeg(folder / str(n), url)) for n, url in enumerate(urls)]
        for one in each:
            one.wait_for_media()
        time.sleep(arguments.settle)
        media = sum(one.written_bytes() for one in each)
        families = {"ffmpeg": [one.pid for one in each], "cameras": [cameras.pid]}
        readings = measure(families, arguments.window)
        return _figures(readings, "ffmpeg", len(urls), sum(one.written_bytes() for one in each) - media)


def _figures(readings: dict[str, Reading], side: str, streams: int, media_bytes: float) -> dict[str, Any]:
    reading = readings[side]
    return {
        "cpu_s_per_stream_s": round(reading.per_stream(streams), 5),
        "pss_mb": round(reading.pss_bytes / 1e6, 1),
        "mbit_s_per_stream": round(media_bytes / MBIT / reading.wall_s / streams, 2),
        "cameras_cpu_s_per_stream_s": round(readings["cameras"].per_stream(streams), 5),
    }


def _summary(runs: list[dict[str, Any]], counts: list[int]) -> list[dict[str, Any]]:
    rows = []
    for streams in counts:
        row: dict[str, Any] = {"streams": streams}
        for side in ("liuhen", "ffmpeg"):
            mine = [run for run in runs if run["side"] == side and run["streams"] == streams]
            if mine:
                row[side] = {
                    "cpu_s_per_stream_s": spread([run["cpu_s_per_stream_s"] for run in mine]),
                    "pss_mb": spread([run["pss_mb"] for run in mine]),
                    "mbit_s_per_stream": spread([run["mbit_s_per_stream"] for run in mine])["median"],
                }
        if "liuhen" in row and "ffmpeg" in row:
            for figure in ("cpu_s_per_stream_s", "pss_mb"):
                row[f"{figure}_ratio"] = round(row["liuhen"][figure]["median"] / row["ffmpeg"][figure]["median"], 2)
        rows.append(row)
    return rows


def _table(summary: list[dict[str, Any]]) -> str:
    head = [
        "streams",
        "",
        "CPU-s a stream-s (best)",
        "PSS, all",
        "PSS a stream",
        "Mb/s a stream",
        "CPU ratio",
        "PSS ratio",
    ]
    rows: list[list[object]] = []
    for row in summary:
        for side in ("liuhen", "ffmpeg"):
            if side not in row:
                continue
            cpu, pss = row[side]["cpu_s_per_stream_s"], row[side]["pss_mb"]["median"]
            ratios = [row.get("cpu_s_per_stream_s_ratio", ""), row.get("pss_mb_ratio", "")] if side == "liuhen" else []
            rows.append(
                [
                    row["streams"],
                    side,
                    f"{cpu['median']:.4f} ({cpu['best']:.4f})",
                    f"{pss:.0f} MB",
                    f"{pss / row['streams']:.1f} MB",
                    row[side]["mbit_s_per_stream"],
                    *(ratios or ["", ""]),
                ]
            )
    ours = [row for row in summary if "liuhen" in row]
    text = table(head, rows)
    if len(ours) > 1:
        first, last = ours[-2], ours[-1]
        more = last["liuhen"]["pss_mb"]["median"] - first["liuhen"]["pss_mb"]["median"]
        each = more / (last["streams"] - first["streams"])
        text += f"\n\neach further stream (from {first['streams']} to {last['streams']}): {each:.1f} MB"
    return text


def _progress(run: dict[str, Any]) -> str:
    return "  ".join(f"{key}={value}" for key, value in run.items())


if __name__ == "__main__":
    main()
