"""The store worker on the embedded log and a directory: what it stores, refuses, survives."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import pytest

from domain.clock import Instant, SystemClock
from domain.errors import InvalidSettings, StoreUnavailable
from domain.events import Integrity
from domain.settings import Settings
from policies.retention import retain_until
from storage import manifest
from storage.catalog.rows import SegmentRow
from storage.objects.file import FileStore
from storage.objects.port import ObjectStore, Stored
from storage.part import PartFile
from streams.workers.work_folder import own
from tests.streams.store_media import (
    Site,
    end_feed,
    end_session,
    events,
    fragment,
    media,
    publish,
    publish_feed,
    records,
    site,
    until,
)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as opened:
        yield opened


async def rows(here: Site, recorder: str | None = None) -> list[SegmentRow]:
    return (await here.catalog.list_segments(recorder_id=recorder, limit=1000)).items


async def test_a_feed_becomes_segments_that_prove_each_fragment(here: Site) -> None:
    await publish_feed(here.bus, "cam-1", "f1", range(12))
    await end_feed(here.bus, "cam-1", "f1")
    async with here.worker() as worker:
        announced = await here.until_stored(3)
        await here.until_committed(worker)
    found = await rows(here)
    assert [(row.first_seq, row.last_seq, row.fragments) for row in found] == [(0, 4, 5), (5, 9, 5), (10, 11, 2)]
    assert [event.key for event in announced] == [row.key for row in found]
    for row in found:
        data = await here.store.get(row.key)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (row.bytes, row.sha256)
        for entry in manifest.check(io.BytesIO(data)).fragments:
            assert entry.sha256 == hashlib.sha256(media("cam-1", "f1", entry.seq)).hexdigest()
        assert (await here.store.tags(row.key)) == {
            "retention": "minimum",
            "recorder": "cam-1",
            "session": "s1",
            "policy": "wucheng",
        }
        assert row.retain_until == retain_until(row.to_at, "wucheng")
    assert found[0].key.startswith("segments/cam-1/2036/05/04/s1/20360504T080000000-0-")
    assert list((here.folder / "work/store").glob("*.part")) == []


async def test_footage_whose_time_is_over_when_it_comes_is_locked_all_the_same(here: Site) -> None:
    data = media("cam-1", "f1", 0)
    event = fragment("cam-1", "f1", 0, data)
    old = msgspec.structs.replace(event, captured_at=Instant.parse("2019-01-01T00:00:00+08:00"))
    await publish(here.bus, old, data)
    await end_feed(here.bus, "cam-1", "f1")
    async with here.worker():
        await here.until_stored(1)
    (row,) = await rows(here)
    assert row.retain_until > SystemClock().now().plus(80_000_000)


async def test_an_open_segment_holds_the_commit_and_is_made_again(here: Site) -> None:
    await publish_feed(here.bus, "cam-1", "f1", range(8))
    async with here.worker() as worker:
        await here.until_stored(1)
        await here.until_committed(worker, left=3)
    await publish_feed(here.bus, "cam-1", "f1", range(8, 11))
    async with here.worker():
        await here.until_stored(2)
    assert [(row.first_seq, row.last_seq) for row in await rows(here)] == [(0, 4), (5, 9)]


async def test_the_end_of_a_session_closes_it(here: Site) -> None:
    await publish_feed(here.bus, "cam-1", "f1", range(3))
    await end_session(here.bus, "cam-1")
    async with here.worker():
        await here.until_stored(1)


async def test_a_silent_feed_is_ended_on_the_log(here: Site) -> None:
    await publish_feed(here.bus, "cam-1", "f1", range(3))
    async with here.worker(quiet_s=0.2):
        await here.until_stored(1)
    ends = [record for record in await records(here.bus, "media") if "feed_end" in record.headers]
    assert [(record.key, record.headers["feed_end"]) for record in ends] == [("cam-1", b"f1")]


async def test_repetitions_are_stored_once(here: Site) -> None:
    for _ in range(2):
        await publish_feed(here.bus, "cam-1", "f1", range(6))
    await end_feed(here.bus, "cam-1", "f1")
    await publish_feed(here.bus, "cam-1", "f1", range(6))
    async with here.worker():
        await here.until_stored(2)
    assert [(row.first_seq, row.last_seq) for row in await rows(here)] == [(0, 4), (5, 5)]


async def test_what_cannot_be_trusted_is_rejected_and_disturbs_nobody(here: Site) -> None:
    good = media("cam-1", "f1", 0)
    event = fragment("cam-1", "f1", 0, good)
    await publish(here.bus, event, good[:-1] + b"\x00")
    await publish(here.bus, msgspec.structs.replace(event, recorder_id="cam-2"), good, starts=True)
    await here.bus.publish("media", "cam-1", good, headers={})
    await here.bus.publish("media", "cam-1", good, headers={"event": b"{"})
    await here.bus.publish("media", "cam-2", b"", headers={"event": b'{"type":"tick","at":"2026-01-01T00:00:00Z"}'})
    rubbish = b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00rubbish"
    await publish(here.bus, fragment("cam-1", "f1", 1, rubbish), rubbish)
    await publish_feed(here.bus, "cam-1", "f1", range(2, 4))
    await end_feed(here.bus, "cam-1", "f1")
    await end_feed(here.bus, "cam-2", "f1")
    async with here.worker() as worker:
        await here.until_stored(2)
        await here.until_committed(worker)
    rejected = await records(here.bus, "rejected")
    reasons = [(r.key, r.headers["reason"]) for r in rejected]
    assert sorted(reasons) == [
        ("cam-1", b"media_altered"),
        ("cam-1", b"media_damaged"),
        ("cam-1", b"media_event"),
        ("cam-1", b"media_event"),
        ("cam-2", b"media_event"),
    ]
    altered = next(r for r in rejected if r.headers["reason"] == b"media_altered")
    assert altered.value == good[:-1] + b"\x00"
    assert altered.headers["source"].startswith(b"media/")
    alarms = [e for e in await events(here.bus) if isinstance(e, Integrity)]
    assert [(e.recorder_id, e.fault, e.key) for e in alarms] == [
        ("cam-1", "altered", altered.headers["source"].decode())
    ]
    assert [(r.recorder_id, r.first_seq, r.last_seq) for r in await rows(here, "cam-1")] == [("cam-1", 2, 3)]


class Switched(FileStore):
    """A store that is away while `away` is set."""

    away = True
    tries = 0

    def put(self, key: str, source: Path | bytes, **more: object) -> Stored:
        self.tries += 1
        if self.away:
            raise StoreUnavailable("switched off")
        return super().put(key, source, **more)  # type: ignore[arg-type]


async def test_while_the_store_is_away_little_is_held_and_nothing_is_lost(here: Site) -> None:
    blocking = Switched(here.folder / "store")
    store = ObjectStore(blocking)
    for number in range(4):
        await publish_feed(here.bus, f"cam-{number}", "f1", range(20))
        await end_feed(here.bus, f"cam-{number}", "f1")
    async with here.worker(store=store, max_waiting_bytes=100_000) as worker:
        await until(lambda: blocking.tries >= 8, "the store was tried")
        held = sum(part.stat().st_size for part in (here.folder / "work/store").glob("*.part"))
        assert 0 < held < 500_000
        assert await rows(here) == []
        blocking.away = False
        await here.until_stored(16, timeout_s=60)
        await here.until_committed(worker)
    assert [row.first_seq for row in await rows(here, "cam-3")] == [0, 5, 10, 15]
    await store.close()


@pytest.mark.parametrize("quiet_s", [30.0, 0.01])  # the latter: silence is looked for right behind each failure
async def test_a_full_work_folder_loses_nothing(here: Site, monkeypatch: pytest.MonkeyPatch, quiet_s: float) -> None:
    await publish_feed(here.bus, "cam-1", "f1", range(12))
    await end_feed(here.bus, "cam-1", "f1")
    write, failures = os.write, [errno.ENOSPC] * 3
    append = PartFile.append

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 4000 and failures:
            write(descriptor, bytes(data[:1000]))
            raise OSError(failures.pop(), "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr("storage.part.os.write", full)
    async with here.worker(quiet_s=quiet_s):
        await here.until_stored(3)
    assert not failures
    assert append is PartFile.append
    assert [(row.first_seq, row.last_seq) for row in await rows(here)] == [(0, 4), (5, 9), (10, 11)]
    for row in await rows(here):
        manifest.check(io.BytesIO(await here.store.get(row.key)))


class Forging(FileStore):
    """Somebody is always there before us."""

    def put(self, key: str, source: Path | bytes, **more: Mapping[str, str] | str | Instant) -> Stored:
        if "cam-bad" in key:
            forged = b"forged"
            more = {**more, "sha256": hashlib.sha256(forged).hexdigest()}
            super().put(key, forged, **more)  # type: ignore[arg-type]
            more["sha256"] = "0" * 64
        return super().put(key, source, **more)  # type: ignore[arg-type]


async def test_a_segment_that_is_refused_is_kept_aside_and_the_others_go_on(here: Site) -> None:
    for recorder in ("cam-bad", "cam-1"):
        await publish_feed(here.bus, recorder, "f1", range(5))
        await end_feed(here.bus, recorder, "f1")
    store = ObjectStore(Forging(here.folder / "store"))
    async with here.worker(store=store):
        await here.until_stored(1)
        quarantine = here.folder / "work/quarantine"
        await until(lambda: any(quarantine.glob("*.part")), "it is kept aside")
    (aside,) = quarantine.glob("*.part")
    with aside.open("rb") as kept:
        assert [e.seq for e in manifest.check(kept).fragments] == [0, 1, 2, 3, 4]
    (alarm,) = [e for e in await events(here.bus) if isinstance(e, Integrity)]
    assert (alarm.recorder_id, alarm.fault) == ("cam-bad", "altered")
    assert [r.headers["reason"] for r in await records(here.bus, "rejected")] == [b"segment_refused"]
    assert [row.recorder_id for row in await rows(here)] == ["cam-1"]
    await store.close()


async def test_a_work_folder_has_one_owner_and_is_swept(here: Site) -> None:
    folder = Path(here.settings.work) / "store"
    folder.mkdir(parents=True)
    (folder / "old.part").write_bytes(b"x")
    lock = own(folder)
    assert not (folder / "old.part").exists()
    with pytest.raises(InvalidSettings, match="in use"):
        async with here.worker():
            await asyncio.sleep(0.2)
    os.close(lock)


def test_a_work_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSettings, match="work"):
        own(tmp_path / "file/store")
    assert Settings().work
