"""How well faults are found: recall, precision, delay and cause of every kind, against faults that are known.

python -m benchmarks.bench_detection [--short] [--only logs uploads clean media] [--seeds 120] [--json FILE]

Logs with faults drawn by seeds, sessions stored late over weeks and holidays, a clean day of 50 recorders, and clips of
picture and sound that are encoded, cut and analysed for real. What is true is known from whoever made the faults, never
from the detectors. See docs/reference/detection.md.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.detection import clean, logs, uploads
from benchmarks.detection.clips import BEYOND, SETS, clips
from benchmarks.detection.media import scored
from benchmarks.detection.run import run
from benchmarks.detection.truth import Score, Scores, merged, score
from benchmarks.report import parser, publish, table

PARTS = ("logs", "uploads", "clean", "media")
PROCESSES = 2
CLEAN_RECORDERS = 10
"""Of one partition of the clean day; five of them are the 50."""


def main() -> None:
    """Run what is asked for, print and publish."""
    arguments = _arguments()
    figures: dict[str, Any] = {}
    text = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        for part in arguments.only:
            began = time.monotonic()
            shown, found = _PARTS[part](pool, arguments)
            took = time.monotonic() - began
            figures[part] = {**found, "took_s": took}
            text.append(f"{part} ({took:.0f} s)\n{shown}")
            print(text[-1], flush=True)
    publish("detection", figures, "\n\n".join(text), arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options.add_argument("--seeds", type=int, default=120, help=f"logs, each of {logs.RECORDERS} recorders")
    options.add_argument("--hours", type=float, default=24.0, help="length of the clean day")
    options.add_argument("--clips", type=int, default=1 << 30, help="at most so many of each set")
    options.add_argument("--sets", nargs="+", choices=[*SETS, *BEYOND], default=[*SETS, *BEYOND])
    options.add_argument("--show", action="store_true", help="print every miss and every false finding")
    found = options.parse_args()
    found.sessions, found.tick_ms = uploads.SESSIONS, 1_000
    if found.short:
        found.seeds, found.hours, found.clips, found.sessions, found.tick_ms = 2, 0.25, 1, 20, 30_000
        found.sets = ["covered", "moved", "mute", "spoken"]
    return found


def _logs(pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return _shown(merged(pool.map(logs.scored, range(arguments.seeds))), arguments)


def _uploads(pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    weeks = range(1 if arguments.short else len(uploads.WEEKS))
    jobs = [pool.submit(uploads.scored, week, 0, arguments.sessions, arguments.tick_ms) for week in weeks]
    return _shown(merged(job.result() for job in jobs), arguments)


def _clean(pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    partitions = 1 if arguments.short else 5
    low_h = 0.0 if arguments.hours >= 24 else 16.0
    jobs = [pool.submit(clean.counted, part, CLEAN_RECORDERS, low_h, arguments.hours) for part in range(partitions)]
    stops = pool.submit(_explained, min(arguments.hours, 3.0))
    counts = []
    for job in jobs:
        counts.append(job.result())
        print(
            f"  {CLEAN_RECORDERS} recorders: {counts[-1].events:,} events, {len(counts[-1].said)} findings", flush=True
        )
    events, said = sum(one.events for one in counts), [text for one in counts for text in one.said]
    found = {"recorders": partitions * CLEAN_RECORDERS, "hours": arguments.hours, "events": events, "findings": said}
    rows = [[found["recorders"], f"{arguments.hours:g} h", f"{events:,}", len(said)]]
    shown = table(["recorders", "length", "events", "findings"], rows)
    more, figures = _shown(stops.result(), arguments)
    return f"{shown}\n\nwith explained stops\n{more}", {**found, "explained_stops": figures}


def _explained(hours: float) -> Scores:
    lines, truths = clean.log(99, CLEAN_RECORDERS, low_h=9.0, hours=hours, stops=True)
    return score(truths, run(lines))


def _media(pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Set by set, so that each is told of by itself; half of each in each process."""
    parts, figures = [], {}
    whole: list[Scores] = []
    for sets, demanded in ((SETS, True), (BEYOND, False)):
        for name, (_, count) in sets.items():
            if name not in arguments.sets:
                continue
            found = merged(pool.map(_clips, [(name, part, arguments.clips) for part in range(PROCESSES)]))
            said = ", ".join(f"{kind} {one.found}/{one.instances}, false {one.false}" for kind, one in found.items())
            parts.append(f"  {name}: {min(count, arguments.clips)} clips: {said or 'nothing said'}")
            print(parts[-1], flush=True)
            figures[name] = {"clips": min(count, arguments.clips), **_figures(found)}
            if demanded:
                whole.append(found)
            if arguments.show:
                _show(found)
    shown, total = _shown(merged(whole), arguments, listed=False)
    return f"{shown}\n\nby set\n" + "\n".join(parts), {"total": total, "sets": figures}


def _clips(job: tuple[str, int, int]) -> Scores:
    name, part, at_most = job
    sets = SETS if name in SETS else BEYOND
    return asyncio.run(scored(clips({name: sets[name]}, part, PROCESSES, at_most)))[0]


def _shown(found: Scores, arguments: argparse.Namespace, *, listed: bool = True) -> tuple[str, dict[str, Any]]:
    if arguments.show and listed:
        _show(found)
    head = ["kind", "instances", "recall", "precision", "median", "p95", "max", "cause", "closed"]
    rows = [_row(kind, one) for kind, one in sorted(found.items()) if one.instances or one.false]
    return table(head, rows), _figures(found)


def _row(kind: str, one: Score) -> list[str]:
    delay = one.figures().get("delay_s", {})
    times = [f"{delay[name]:.1f} s" if delay else "–" for name in ("median", "p95", "max")]
    right = "–" if one.cause_accuracy is None else f"{one.cause_right}/{one.cause_asked}"
    closed = f"{one.closed}/{one.closes}" if one.closes else "–"
    return [kind, str(one.instances), f"{one.recall:.4f}", f"{one.precision:.4f}", *times, right, closed]


def _figures(found: Scores) -> dict[str, Any]:
    return {kind: one.figures() for kind, one in sorted(found.items()) if one.instances or one.false}


def _show(found: Scores) -> None:
    for kind, one in sorted(found.items()):
        for line in (*(f"missed {text}" for text in one.missed), *one.wrong):
            print(f"{kind}: {line}", flush=True)


_PARTS: dict[str, Callable[[ProcessPoolExecutor, argparse.Namespace], tuple[str, dict[str, Any]]]] = {
    "logs": _logs,
    "uploads": _uploads,
    "clean": _clean,
    "media": _media,
}


if __name__ == "__main__":
    main()
