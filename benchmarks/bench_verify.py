"""How fast evidence is checked: `liuhen verify` beside `sha256sum` on the same files, in the same run.

python -m benchmarks.bench_verify [--short] [--rounds 5] [--json FILE]

A check hashes every byte twice (the whole object, and each fragment with its init part), and compares locks, tags,
versions, ledger and checkpoints besides; `sha256sum` hashes once. Each is run with one thread or process, and with
four, on files that the page cache holds: what is measured is the work, not the disk.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import parser, publish, spread, table
from domain.clock import SystemClock
from domain.settings import Settings
from storage.objects.file import FileStore
from storage.objects.port import ObjectStore
from storage.verify.verifier import Scope, Verifier
from tests.storage.verify_case import Case, case

THREADS = (1, 4)
FRAGMENT_BYTES = 1_000_000
FRAGMENTS = 15


def main() -> None:
    arguments = _arguments()
    segments, rounds = (4, 1) if arguments.short else (arguments.segments, arguments.rounds)
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        figures = asyncio.run(_run(Path(name), segments, rounds))
    publish("verify", figures, _table(figures), arguments.json)


def _arguments() -> Any:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--segments", type=int, default=60)
    options.add_argument("--rounds", type=int, default=5)
    return options.parse_args()


async def _run(folder: Path, segments: int, rounds: int) -> dict[str, Any]:
    async with case(folder, clock=SystemClock()) as one:
        for number in range(segments):
            seqs = range(number * FRAGMENTS, (number + 1) * FRAGMENTS)
            await one.segment(seqs=seqs, size=FRAGMENT_BYTES)
        await one.keeper.turn()
        files = [folder / "store" / "objects" / row.key for row in one.rows]
        size = sum(row.bytes for row in one.rows)
        summary = []
        for threads in THREADS:
            await asyncio.to_thread(_sha256sum, files, threads)  # into the page cache
            ours, theirs = [], []
            for _ in range(rounds):
                theirs.append(await asyncio.to_thread(_sha256sum, files, threads))
                ours.append(await _verify(one, threads))
            summary.append(_row(threads, size, ours, theirs))
    return {"bytes": size, "objects": segments, "rounds": rounds, "summary": summary}


def _sha256sum(files: list[Path], processes: int) -> float:
    """Seconds of `sha256sum` over all files, in so many processes, each with its share."""
    began = time.perf_counter()
    running = [
        subprocess.Popen(["sha256sum", *files[number::processes]], stdout=subprocess.DEVNULL)
        for number in range(processes)
    ]
    assert [one.wait() for one in running] == [0] * len(running)
    return time.perf_counter() - began


async def _verify(one: Case, threads: int) -> float:
    """Seconds of a whole check with so many threads."""
    directory = FileStore(Path(Settings(store=one.settings.store).store.removeprefix("file:")))
    directory.threads = threads
    store = ObjectStore(directory)
    began = time.perf_counter()
    verifier = Verifier(store, one.ledger, one.keys.trusted, one.keeper.copier.places, one.clock)
    faults = [fault async for fault in verifier.run(Scope(), one.folder / "verify.state")]
    took = time.perf_counter() - began
    await store.close()
    assert not faults
    assert verifier.summary.objects == len(one.rows)
    return took


def _row(threads: int, size: int, ours: list[float], theirs: list[float]) -> dict[str, Any]:
    paired = sorted(their / our for our, their in zip(ours, theirs, strict=True))
    return {
        "threads": threads,
        "verify_s": spread(ours),
        "sha256sum_s": spread(theirs),
        "verify_mb_s": round(size / min(ours) / 1e6),
        "sha256sum_mb_s": round(size / min(theirs) / 1e6),
        "ratio": round(paired[len(paired) // 2], 2),
    }


def _table(figures: dict[str, Any]) -> str:
    head = ["threads or processes", "verify MB/s", "sha256sum MB/s", "verify ÷ sha256sum"]
    rows = [[one["threads"], one["verify_mb_s"], one["sha256sum_mb_s"], one["ratio"]] for one in figures["summary"]]
    return table(head, rows)


if __name__ == "__main__":
    main()
