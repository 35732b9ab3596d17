"""The disk of the log, the work folder, the store and the spool is full, one after the other, and has room again.

Each lies on a small file system of its own in memory, filled by a file that is later removed.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.evidence import check_directory, check_findings, gaps
from tests.faults.house import Embedded, Program, now_ms, write_fleet
from tests.faults.settling import drained, wait_until
from tests.services.process import free_port

pytestmark = pytest.mark.faults

DISKS = ("log", "work", "store", "spool")
SIZE_MB = 160
FULL_S = 8
RECORDERS = ("cam-1", "cam-2", "rec-1", "rec-2")


@pytest.mark.timeout(300)
async def test_a_full_disk_loses_nothing_but_in_the_spool_and_heals_by_itself(tmp_path: Path) -> None:
    device_port, rtsp_port = free_port(), free_port()
    script = write_fleet(tmp_path, device_port, rtsp_port)
    with _small_disks(tmp_path):
        settings = {
            "LIUHEN_BUS": f"embedded:{tmp_path}/disk-log/log",
            "LIUHEN_WORK": f"{tmp_path}/disk-work/work",
            "LIUHEN_STORE": f"file:{tmp_path}/disk-store/store",
            "LIUHEN_SPOOL": f"{tmp_path}/disk-spool/spool",
        }
        up = Embedded(tmp_path, device_port, settings)
        full_at: dict[str, tuple[int, int]] = {}
        with up.program:
            with Program(tmp_path / "sim", ["simulate", "--script", str(script)], {}):
                wait_until(lambda: min(_lags(up), default=0) > 5, "four feeds run")
                for name in DISKS:
                    began = now_ms()
                    with _filled(tmp_path / f"disk-{name}"):
                        time.sleep(FULL_S)
                    full_at[name] = began, now_ms()
                    what = f"all goes on after the disk of the {name} had room again"
                    wait_until(lambda: _is_well(up), what, 60, shown=lambda: f"{_lags(up)}")
                refused = sum(up.program.samples("liuhen_rejected_total", reason="spool_full"))
                time.sleep(24)  # until every gap has been said
                until_ms = now_ms() - 22_000
                assert up.program.alive
            time.sleep(35)  # what is still open is closed after 30 s of silence
        trace = await drained(up.log, lambda trace: check_directory(up.store, trace))
    assert refused >= 4
    start, end = full_at["spool"]
    for recorder in RECORDERS:
        missing = gaps(trace.of(recorder))
        assert missing, f"{recorder}: nothing can be kept without a spool"
        assert all(start - 3_000 <= gap[0] and gap[1] <= end + 3_000 for gap in missing), (recorder, missing, full_at)
        assert trace.reasons(recorder)["spool_full"] >= 1, "what was refused is told"
    check_findings(trace, RECORDERS, until_ms)
    check_findings(trace, RECORDERS[:2], until_ms, cause="server")


def _lags(up: Embedded) -> list[float]:
    return up.program.samples("liuhen_recorder_upload_lag_seconds")


def _is_well(up: Embedded) -> bool:
    """Whether nothing waits in the spool, and what is not stored is young."""
    return sum(up.program.samples("liuhen_spool_bytes")) < 500_000 and 0 < max(_lags(up)) < 25


@contextmanager
def _small_disks(directory: Path) -> Iterator[None]:
    places = [directory / f"disk-{name}" for name in DISKS]
    try:
        for place in places:
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", place], check=True)
        yield
    finally:
        for place in places:
            subprocess.run(["umount", "-l", place], check=False)


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Leave no block free inside the `with`, whatever is given back meanwhile."""
    filler, over = disk / "filler", threading.Event()

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while not over.wait(0.02):
                for size in (1_000_000, 4_096):
                    with suppress(OSError):  # full, which is what is wanted
                        while True:
                            file.write(bytes(size))

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        filler.unlink()
