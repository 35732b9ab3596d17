"""Every call that stores a segment is broken: the process killed there, the power cut, or the call made to fail.

A seeded sample of them; `CRASH_POINTS=0` takes all, another number so many, `CRASH_SEED` others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.services.cache import installed

pytestmark = pytest.mark.faults

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SAMPLE = int(os.environ.get("CRASH_POINTS", "24"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
LONG = pytest.mark.timeout(600 if SAMPLE else 7200)


def shim(folder: Path) -> Path:
    built = folder / "crash_shim.so"
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(built)]
    subprocess.run([installed("a C compiler", "gcc", "cc"), *options, str(HERE / "crash_shim.c"), "-ldl"], check=True)
    return built


def break_calls(folder: Path, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Lead the lives of a plan (see `crash_life.py`); all that it says, the head first."""
    built, lives = shim(folder), folder / "lives"
    lives.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(built)}
    command = [sys.executable, "-P", str(HERE / "crash_life.py"), str(lives), str(built), json.dumps(plan)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(said: list[dict[str, Any]]) -> None:
    head, *points = said
    assert len(points) == head["chosen"]
    assert [point for point in points if not point["held"]] == []
    # Threads take turns as they like, so that a call late in one life may not come in another.
    assert sum(point["hit"] for point in points) > 0.8 * len(points)


@LONG
def test_whatever_call_breaks_each_fragment_is_in_one_object_once(tmp_path: Path) -> None:
    said = break_calls(tmp_path, {"sample": SAMPLE, "seed": SEED})
    check(said)
    assert said[0]["points"] > 200
    ended = {(point["fault"], point["ended"]) for point in said[1:] if point["hit"]}
    assert {("kill", "killed"), ("power", "killed"), ("EIO", "went on"), ("ENOSPC", "went on")} <= ended
