"""A wall of a thousand recorders and twenty watchers: ours beside a NiceGUI page of the same fleet.

python -m benchmarks.bench_console [--short] [--recorders N] [--watchers N] [--seconds S] [--peer PYTHON] [--json FILE]

Both processes fold the same story (`benchmarks.console_feed`); nothing is stored, nothing recorded. Measured are the
first page, in Chromium until all rows are there; the time from a change to a watcher's hearing of it; and, of the
serving process, CPU and memory with nobody watching and with all. NiceGUI is installed into an environment of its own
that is thrown away, unless `--peer` names one's Python. With `--short` it is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.meter import Reading, measure
from benchmarks.report import parser, publish, table
from tests.services.browser import Browser

ROOT = Path(__file__).resolve().parents[1]
ROWS = {
    "liuhen": "return document.querySelectorAll('#rows > li').length",
    "nicegui": "const g = document.querySelector('.ag-root'); return g ? Number(g.ariaRowCount) - 1 : 0",
}


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--recorders", type=int, default=1000)
    options.add_argument("--watchers", type=int, default=20)
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--peer", type=Path, metavar="PYTHON", help="of an environment that has NiceGUI")
    arguments = options.parse_args()
    if arguments.short:
        arguments.recorders, arguments.watchers, arguments.seconds = 100, 3, 4.0
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as folder:
        found = {"liuhen": _run("liuhen", [sys.executable], arguments, Path(folder))}
        if not arguments.short:
            peer = arguments.peer or _environment(Path(folder) / "peer")
            found["nicegui"] = _run("nicegui", [str(peer)], arguments, Path(folder))
    head = ["", "first page", "seen p50", "p95", "max", "CPU nobody", "CPU a watcher", "PSS nobody", "PSS a watcher"]
    rows = [[name, *_cells(one)] for name, one in found.items()]
    figures = {"recorders": arguments.recorders, "watchers": arguments.watchers, **found}
    publish("console", figures, table(head, rows), arguments.json)


def _cells(one: dict[str, float]) -> list[str]:
    return [
        f"{one['first_page_s']:.2f} s",
        *(f"{one[name]:.2f} s" for name in ("seen_p50_s", "seen_p95_s", "seen_max_s")),
        f"{one['cpu_idle'] * 100:.1f} %",
        f"{one['cpu_watcher'] * 100:.2f} %",
        f"{one['pss_idle_mb']:.0f} MB",
        f"{one['pss_watcher_mb']:.2f} MB",
    ]


def _environment(folder: Path) -> Path:
    """Make an environment with NiceGUI in it, and ours behind."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "nicegui"], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "zz_liuhen.pth").write_text("\n".join(ours))
    return python


def _run(name: str, python: list[str], arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    module = {"liuhen": "benchmarks.console_ours", "nicegui": "benchmarks.console_nicegui"}[name]
    with _Child([*python, "-m", module, str(arguments.recorders)]) as child:
        url = str(child.wait_for("url"))
        first_s = _first_page(name, url, arguments.recorders, folder)
        time.sleep(min(5.0, arguments.seconds))
        idle = measure({name: [child.pid]}, arguments.seconds)[name]
        with _watching(name, python, url, arguments.watchers) as heard:
            time.sleep(min(5.0, arguments.seconds))
            began = time.time()
            busy = measure({name: [child.pid]}, arguments.seconds)[name]
            came = list(heard)
            ended = time.time()
        delays = _delays([one for one in child.said("changed") if began < one["at"] < ended - 2], came)
    return {"first_page_s": first_s, **_seen(delays), **_cost(idle, busy, arguments.watchers)}


def _cost(idle: Reading, busy: Reading, watchers: int) -> dict[str, float]:
    one, other = idle.cpu_s / idle.wall_s, busy.cpu_s / busy.wall_s
    return {
        "cpu_idle": one,
        "cpu_watcher": max(0.0, other - one) / watchers,
        "pss_idle_mb": idle.pss_bytes / 1e6,
        "pss_watcher_mb": max(0, busy.pss_bytes - idle.pss_bytes) / 1e6 / watchers,
    }


def _seen(delays: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(delays, n=20, method="inclusive")
    return {"seen_p50_s": cuts[9], "seen_p95_s": cuts[18], "seen_max_s": max(delays), "seen_count": len(delays)}


def _delays(changes: list[dict[str, Any]], came: list[tuple[str, float]]) -> list[float]:
    """Return, for each change that was heard of, how long that took."""
    delays = []
    for change in changes:
        later = [at - change["at"] for name, at in came if name == change["changed"] and at >= change["at"]]
        if later and min(later) < 30:
            delays.append(min(later))
    return delays


def _first_page(name: str, url: str, recorders: int, folder: Path) -> float:
    """Return the median time of three loads in Chromium until all rows are there, the cache warm."""
    times = []
    with _browser(folder / f"browser-{name}") as browser:
        for _ in range(4):
            browser.driver.get("about:blank")
            began = time.monotonic()
            browser.driver.get(url)
            while browser.driver.execute_script(ROWS[name]) < recorders:
                if time.monotonic() - began > 60:
                    raise SystemExit(f"{name}: the rows did not come")
                time.sleep(0.01)
            times.append(time.monotonic() - began)
        browser.driver.get("about:blank")
    return statistics.median(times[1:])


@contextmanager
def _browser(folder: Path) -> Iterator[Browser]:
    folder.mkdir()
    with Browser(folder, fake_camera=False, size=(1366, 768)) as browser:
        yield browser


@contextmanager
def _watching(name: str, python: list[str], url: str, count: int) -> Iterator[list[tuple[str, float]]]:
    """Let so many watch; gives what one of them heard, and when."""
    heard: list[tuple[str, float]] = []
    if name == "nicegui":
        command = [*python, "-m", "benchmarks.console_nicegui_watch", url, str(count)]
        with _Child(command, lambda line: heard.extend((one, line["at"]) for one in line.get("came", ()))) as child:
            child.wait_for("watching")
            yield heard
        return
    thread = threading.Thread(target=asyncio.run, args=(_watch_all(url, count, heard, stop := threading.Event()),))
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join()


async def _watch_all(url: str, count: int, heard: list[tuple[str, float]], stop: threading.Event) -> None:
    async with httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None)) as http:
        tasks = [asyncio.create_task(_watch(http, url, heard if number == 0 else None)) for number in range(count)]
        while not stop.is_set():  # noqa: ASYNC110 - the event is a thread's
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(http: httpx.AsyncClient, url: str, heard: list[tuple[str, float]] | None) -> None:
    page = (await http.get(f"{url}/")).text
    version = re.search(r"since=([^\"&]+)", page)
    asked = {"look": "row", "events": "wall", "since": version[1] if version else ""}
    async with http.stream("GET", f"{url}/api/v1/stream", params=asked) as answer:
        async for line in answer.aiter_lines():
            if heard is not None and line.startswith("data: "):
                at = time.time()
                rows = json.loads(line[6:])["rows"]
                heard.extend((row["id"], at) for row in rows)


class _Child:
    """A process of ours that says things in lines of JSON."""

    def __init__(self, command: list[str], on_line: Any = None) -> None:
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._lines: list[dict[str, Any]] = []
        self._on_line = on_line
        self._thread = threading.Thread(target=self._read, daemon=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> _Child:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(5)

    def said(self, key: str) -> list[dict[str, Any]]:
        return [line for line in list(self._lines) if key in line]

    def wait_for(self, key: str) -> Any:
        deadline = time.monotonic() + 90
        while not (found := self.said(key)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self._process.args!r}: says no {key}")
            time.sleep(0.05)
        return found[0][key]

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("{"):
                said = json.loads(line)
                self._lines.append(said)
                if self._on_line is not None:
                    self._on_line(said)


if __name__ == "__main__":
    main()
