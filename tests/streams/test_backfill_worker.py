"""The worker that puts whole files into the store: who waits for whom."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from domain.clock import SystemClock
from policies.local import default
from storage.backfill import Backfill, Delivery
from storage.catalog.rows import UploadRow
from storage.catalog.uploads import Uploads
from streams.uploads.shelf import Shelf
from streams.uploads.upload import Upload
from streams.workers.backfill import STORING_AT_ONCE, BackfillWorker
from tests.streams.store_media import T0, Site, site
from tests.streams.uploads_client import files, mp4


class Gated(Backfill):
    """The real one, but the files of some recorders wait at a gate, as if the store took long over them."""

    def __init__(self, here: Site, behind: frozenset[str]) -> None:
        super().__init__(here.store, Uploads(here.catalog), here.ledger, SystemClock(), default())
        self._behind = behind
        self.gate = asyncio.Event()
        self.at_gate: list[str] = []

    async def run(self, one: Delivery, policy: str) -> UploadRow:
        if one.recorder_id in self._behind:
            self.at_gate.append(one.recorder_id)
            await self.gate.wait()
        return await super().run(one, policy)


def ready(shelf: Shelf, recorder_id: str, number: int) -> None:
    """Put a verified file where the worker finds it."""
    data = mp4(number)
    source = shelf.partial / f"{number}.copy"
    source.write_bytes(data)
    shelf.adopt(
        Upload(
            id=f"{number:032x}",
            recorder_id=recorder_id,
            session_id=f"{recorder_id}-s",
            from_ms=int(T0),
            to_ms=int(T0) + 60_000,
            sha256=hashlib.sha256(data).hexdigest(),
            length_bytes=len(data),
            created_ms=number,
            delivered_ms=int(T0) + 3_600_000,
            media="mp4",
        ),
        source,
    )


async def eventually(ask: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + 20
    while not await ask():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def test_a_file_that_takes_long_keeps_only_its_own_recorder_waiting(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "uploads")
    shelf.open()
    async with site(tmp_path / "site") as here:
        backfill, uploads = Gated(here, frozenset({"rec-slow"})), Uploads(here.catalog)
        worker = BackfillWorker(here.bus, backfill, shelf, lambda _: "wucheng", SystemClock(), expires_s=3600)
        ready(shelf, "rec-slow", 1)
        ready(shelf, "rec-slow", 2)
        running = asyncio.create_task(worker.run())

        async def stored(recorder_id: str, count: int) -> bool:
            return len((await uploads.page(recorder_id=recorder_id)).items) == count

        async def at_gate() -> bool:
            return bool(backfill.at_gate)

        await eventually(at_gate, "the slow one began")
        for number in (3, 4):  # both come after it, the second when the first is through
            ready(shelf, "rec-quick", number)
            await eventually(lambda n=number: stored("rec-quick", n - 2), f"number {number} is stored meanwhile")  # type: ignore[misc]
        assert backfill.at_gate == ["rec-slow"], "one at a time of one recorder"
        backfill.gate.set()
        await eventually(lambda: stored("rec-slow", 2), "then its own")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert files(shelf.ready, "*") == []
    assert len(files(shelf.done, "*.json")) == 4


async def test_no_more_at_once_than_the_store_is_asked_for(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "uploads")
    shelf.open()
    names = [f"rec-{number}" for number in range(STORING_AT_ONCE + 2)]
    async with site(tmp_path / "site") as here:
        backfill = Gated(here, frozenset(names))
        worker = BackfillWorker(here.bus, backfill, shelf, lambda _: "wucheng", SystemClock(), expires_s=3600)
        for number, name in enumerate(names):
            ready(shelf, name, number)
        turn = asyncio.create_task(worker.round())

        async def full() -> bool:
            return len(backfill.at_gate) == STORING_AT_ONCE

        await eventually(full, "all slots are taken")
        assert not turn.done()
        backfill.gate.set()
        assert await turn
        assert sorted(backfill.at_gate) == names


def test_the_offset_is_written_in_place_and_read_as_it_was_written_before(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.open()
    shelf.create(Upload(id="a" * 32, recorder_id="r", session_id="s", from_ms=0, to_ms=1, sha256="", length_bytes=9))
    place = shelf.partial / f"{'a' * 32}.offset"
    node, width = place.stat().st_ino, len(place.read_bytes())
    for data in (b"abc", b"defg"):
        writer = shelf.writer("a" * 32)
        writer.write(memoryview(data), [])
        writer.sync()
        writer.write(memoryview(b"lost"), [])
        writer.close()
    assert shelf.offset("a" * 32) == 7
    assert (shelf.partial / f"{'a' * 32}.bin").read_bytes()[:7] == b"abcdefg"
    assert (place.stat().st_ino, len(place.read_bytes())) == (node, width)
    place.write_bytes(b"3")
    assert shelf.offset("a" * 32) == 3
