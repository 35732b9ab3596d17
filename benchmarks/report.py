"""How a benchmark speaks: a table for people, JSON beside it for programs, the machine named in both."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def options(text: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments that every benchmark takes: `--short` for a look whether it runs, `--json` for where figures go."""
    return parser(text).parse_args(argv)


def parser(text: str) -> argparse.ArgumentParser:
    """The parser of these arguments, for benchmarks that take more."""
    found = argparse.ArgumentParser(description=text)
    found.add_argument("--short", action="store_true", help="seconds instead of minutes: figures of no worth")
    found.add_argument("--json", type=Path, metavar="FILE", help="where the figures go (default: benchmarks/results)")
    return found


def machine() -> dict[str, str | int]:
    """What the figures were taken on."""
    with open("/proc/cpuinfo") as info:
        models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Best (smallest) and median of several runs."""
    return {"best": min(values), "median": statistics.median(values)}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns set flush: the first to the left, figures to the right."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def publish(name: str, figures: dict[str, Any], text: str, target: Path | None) -> None:
    """Print the table and write the figures."""
    path = target or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmark": name, "machine": machine(), **figures}, indent=2) + "\n")
    host = " · ".join(f"{key} {value}" for key, value in machine().items())
    print(f"\n{name}\n\n{text}\n\n{host}\n{path}", flush=True)
