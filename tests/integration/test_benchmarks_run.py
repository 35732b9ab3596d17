"""The benchmarks run to their end and write figures; how good they are is not looked at here.

Those that need a broker, a browser or feeds in real time take half a minute each: `BENCH_ALL=1` runs them too.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_ON_KAFKA = {"bench_bus", "bench_delay", "bench_faust", "bench_rtsp_kafka"}
_IN_REAL_TIME = {"bench_console", "bench_detection", "bench_notify", "bench_picture", "bench_rtsp", "bench_whip"}
_ALL = {path.stem for path in (ROOT / "benchmarks").glob("bench_*.py")}
_NAMES = sorted(_ALL if os.environ.get("BENCH_ALL") else _ALL - _ON_KAFKA - _IN_REAL_TIME)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in _numbers(one)]
    if isinstance(value, list):
        return [number for one in value for number in _numbers(one)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.timeout(240)
@pytest.mark.gstreamer  # as those who need FFmpeg and more: not among the tests without services
@pytest.mark.parametrize("name", _NAMES)
def test_it_completes_and_gives_figures(name: str, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--short", "--json", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    figures = json.loads(target.read_text())
    assert figures["machine"]["cores"] >= 1
    del figures["machine"]
    assert any(number > 0 for number in _numbers(figures))
    assert "  " in done.stdout, "no table"
