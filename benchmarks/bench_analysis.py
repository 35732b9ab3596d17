"""What looking at keyframes costs, beside decoding everything: the same 1080p25 footage, one run, one thread each.

Ours is the real child process behind its pipes, and the comparison with the camera's memory in the parent; one keyframe
every four seconds. The peer is FFmpeg decoding every picture to nowhere.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.meter import cpu_s
from benchmarks.report import parser, publish, spread, table
from domain.clock import Instant
from domain.events import Fragment
from streams.analysis.children import Child
from streams.analysis.observing import observe
from streams.analysis.scene import Memory
from streams.analysis.wire import Job
from streams.ingest.fragmenter import fragments_of
from streams.ingest.limits import Limits
from tests.streams.units import read_units

EVERY_S = 4


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as folder:
        film = _film(Path(folder) / "film.mp4", arguments.seconds)
        fragments = _fragments(film)
        runs = []
        for turn in range(arguments.rounds):
            runs.append({"ours": asyncio.run(_look(fragments)), "all": _decode_all(film)})
            print(f"round {turn + 1}: {runs[-1]}", flush=True)
    seconds = float(arguments.seconds)
    ours = spread([run["ours"] / seconds for run in runs])
    everything = spread([run["all"] / seconds for run in runs])
    ratio = everything["median"] / ours["median"]
    figures: dict[str, Any] = {
        "film_s": seconds,
        "rounds": arguments.rounds,
        "keyframe_every_s": EVERY_S,
        "looking_cpu_s_per_stream_second": ours,
        "decoding_all_cpu_s_per_stream_second": everything,
        "decoding_all_over_looking": ratio,
    }
    rows = [
        ["a keyframe every 4 s", f"{ours['best']:.4f}", f"{ours['median']:.4f}", "1"],
        ["every picture (FFmpeg)", f"{everything['best']:.4f}", f"{everything['median']:.4f}", f"{ratio:.0f}"],
    ]
    text = table(["CPU-s per stream-second", "best", "median", "ratio"], rows)
    publish("analysis", figures, text, arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__ or "")
    options.add_argument("--seconds", type=int, default=60, help="length of the film")
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    if arguments.short:
        arguments.seconds, arguments.rounds = 12, 1
    return arguments


def _film(path: Path, seconds: int) -> Path:
    """Noisy 1080p25 at 4 Mb/s, a keyframe every 2 s."""
    source = f"testsrc2=s=1920x1080:r=25:d={seconds},noise=alls=10:allf=t"
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "4M"]
    shape = ["-g", "50", "-bf", "0", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *coding, *shape, str(path)], check=True)
    return path


def _fragments(film: Path) -> list[tuple[Fragment, bytes]]:
    """Those that would be looked at."""
    found: list[tuple[Fragment, bytes]] = []
    due = Instant(0)
    for cut in fragments_of(read_units(film), Limits()):
        if cut.captured_at < due or not cut.starts_with_keyframe:
            continue
        due = cut.captured_at.plus(EVERY_S * 1000)
        event = Fragment(
            at=cut.captured_at.plus(cut.duration_ms),
            recorder_id="cam-1",
            session_id="s1",
            feed_id="f1",
            seq=cut.seq,
            captured_at=cut.captured_at,
            duration_s=cut.duration_ms / 1000,
            bytes=len(cut.data),
            sha256=hashlib.sha256(cut.data).hexdigest(),
            codec=cut.codecs,
        )
        found.append((event, cut.data))
    return found


async def _look(fragments: list[tuple[Fragment, bytes]]) -> float:
    """Return the CPU time of looking at them, child and parent."""
    child, memory = Child(), Memory()
    await child.start()
    assert child.pid is not None
    own, other = time.process_time(), cpu_s([child.pid])
    for event, data in fragments:
        seen = await child.ask(Job(data, look=True, hear=True, listen=False))
        if observe(event, seen, memory, event.at) is None:
            raise RuntimeError(f"nothing seen: {seen.problems}")
    taken = time.process_time() - own + cpu_s([child.pid]) - other
    await child.close()
    return taken


def _decode_all(film: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(film), "-f", "null", os.devnull]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
