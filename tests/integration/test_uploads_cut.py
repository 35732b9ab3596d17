"""Uploads cut at random bytes, and their process killed at random moments: every file whole, none twice.

`UPLOAD_CUTS` and `UPLOAD_KILLS` set how often.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from domain.clock import SystemClock
from domain.events import Backfilled
from policies.local import default
from storage.backfill import Backfill
from storage.catalog.uploads import Uploads
from streams.uploads.shelf import Shelf
from streams.workers.backfill import BackfillWorker
from tests.streams.store_media import events, site
from tests.streams.uploads_client import announced, bearer, cut_patch, mp4, patch

CUTS = int(os.environ.get("UPLOAD_CUTS", "50"))
KILLS = int(os.environ.get("UPLOAD_KILLS", "10"))
_ROOT = Path(__file__).resolve().parents[2]


class Doors:
    """The child process, and its address, which stays the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        command = [
            sys.executable,
            str(_ROOT / "tests/integration/uploads_child.py"),
            str(self._folder),
            str(self._port),
        ]
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(_ROOT)})
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.options(f"{self.address}/uploads/", timeout=5)
            except httpx.TransportError:
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


@contextmanager
def doors(folder: Path) -> Iterator[Doors]:
    opened = Doors(folder)
    opened.open()
    try:
        yield opened
    finally:
        opened.kill()


def offset_of(address: str, place: str) -> int:
    answer = httpx.head(address + place, headers=bearer(), timeout=60)
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["Upload-Offset"])


def announce(address: str, data: bytes) -> str:
    created = httpx.post(f"{address}/uploads/", headers=announced(data), timeout=60)
    assert created.status_code == 201, created.text
    return str(created.headers["Location"])


def finish(address: str, place: str, data: bytes) -> None:
    offset = offset_of(address, place)
    if offset < len(data):
        answer = httpx.patch(address + place, headers=patch(offset), content=data[offset:], timeout=60)
        assert answer.status_code == 204, answer.text
    assert offset_of(address, place) == len(data)


async def check_store(tmp_path: Path, folder: Path, sent: list[bytes]) -> None:
    """Put what came into a real store twice over, and see each file there once, byte for byte."""
    async with site(tmp_path / "site") as here:
        uploads = Uploads(here.catalog)
        backfill = Backfill(here.store, uploads, here.ledger, SystemClock(), default())
        for _ in range(2):
            shelf = Shelf(folder)
            shelf.open()
            worker = BackfillWorker(here.bus, backfill, shelf, lambda _: "wucheng", SystemClock(), expires_s=3600)
            assert await worker.round()
        rows = (await uploads.page(recorder_id="rec-1")).items
        assert sorted(row.sha256 for row in rows) == sorted(hashlib.sha256(data).hexdigest() for data in sent)
        assert len([one async for one in here.store.list("uploads/")]) == len(sent)
        for row in rows:
            assert hashlib.sha256(await here.store.get(row.key, row.version_id)).hexdigest() == row.sha256
        told = [event.sha256 for event in await events(here.bus) if isinstance(event, Backfilled)]
        assert sorted(told) == sorted(row.sha256 for row in rows)
        assert await here.ledger.size() == len(sent)


async def test_cut_at_random_every_file_is_whole_and_none_twice(tmp_path: Path) -> None:
    chance = random.Random(20260302)
    sent = [mp4(number, size=chance.randrange(200_000, 3_000_000)) for number in range(5)]
    with doors(tmp_path / "uploads") as opened:
        places = [announce(opened.address, data) for data in sent]
        for _ in range(CUTS):
            number = chance.randrange(len(sent))
            data, place = sent[number], places[number]
            offset = await asyncio.to_thread(offset_of, opened.address, place)
            cut_after = chance.randrange(0, max(1, (len(data) - offset) // 3))
            await asyncio.to_thread(cut_patch, opened.address, place, data, offset, cut_after)
        for data, place in zip(sent, places, strict=True):
            await asyncio.to_thread(finish, opened.address, place, data)
    await check_store(tmp_path, tmp_path / "uploads", sent)


async def test_killed_at_random_every_file_is_whole_and_none_twice(tmp_path: Path) -> None:
    chance = random.Random(20260303)
    sent = [mp4(100 + number, size=40_000_000) for number in range(4)]
    with doors(tmp_path / "uploads") as opened:
        places = [announce(opened.address, data) for data in sent]
        safe = [0] * len(sent)
        for kill in range(KILLS):
            number = kill * len(sent) // KILLS
            data, place = sent[number], places[number]
            offset = await asyncio.to_thread(offset_of, opened.address, place)
            assert offset >= safe[number], "what was answered is safe"
            safe[number] = offset
            writing = asyncio.create_task(asyncio.to_thread(try_patch, opened.address, place, data, offset))
            await asyncio.sleep(chance.uniform(0.0, 0.15))  # the moment is what is random
            opened.kill()
            await writing
            await asyncio.to_thread(opened.open)
        for data, place in zip(sent, places, strict=True):
            await asyncio.to_thread(finish, opened.address, place, data)
    await check_store(tmp_path, tmp_path / "uploads", sent)


def try_patch(address: str, place: str, data: bytes, offset: int) -> None:
    """Send what is missing, or as much as the server lives to take."""
    if offset == len(data):
        return
    try:
        httpx.patch(address + place, headers=patch(offset), content=data[offset:], timeout=60)
    except httpx.TransportError:
        return
