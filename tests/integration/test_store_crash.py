"""kill -9 of the store worker after each of its numbered steps: everything is stored once, as without a crash."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from storage import manifest
from storage.ledger.entry import decode
from storage.ledger.segment import entry_of
from tests.services.minio import MinioServer
from tests.streams.store_media import Site, end_feed, end_session, media, publish_feed, site, stored

CHILD = Path(__file__).with_name("store_child.py")
ROOT = Path(__file__).parents[2]
FEEDS = [("cam-1", "f1", 13), ("cam-2", "f1", 7), ("cam-3", "f9", 10)]
KILLED = -9


def run_child(folder: Path, store: str, secret: str, step: int, nth: int) -> int:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LIUHEN_STORE_SECRET": secret}
    command = [sys.executable, str(CHILD), str(folder), store, str(step), str(nth)]
    return subprocess.run(command, env=environment, timeout=100).returncode


async def fill(here: Site) -> None:
    """Three recorders, interleaved, two on the same partition for sure (there is but one)."""
    for recorder, feed, count in FEEDS:
        await publish_feed(here.bus, recorder, feed, range(count // 2))
    for recorder, feed, count in FEEDS:
        await publish_feed(here.bus, recorder, feed, range(count // 2 - 1, count))
    await end_feed(here.bus, "cam-1", "f1")
    await end_session(here.bus, "cam-2")
    await end_feed(here.bus, "cam-3", "f9")


async def check(here: Site) -> dict[str, str]:
    """Each fragment in exactly one object, each object in one row and one entry, each row announced under one line."""
    rows = (await here.catalog.list_segments(limit=1000)).items
    listed = [one.key async for one in here.store.list("segments/")]
    assert sorted(listed) == sorted(row.key for row in rows)
    seen = []
    for row in rows:
        assert len(await here.store.versions(row.key)) == 1
        data = await here.store.get(row.key, row.version_id)
        assert hashlib.sha256(data).hexdigest() == row.sha256
        found = manifest.check(io.BytesIO(data))
        seen += [(found.recorder_id, found.feed_id, entry.seq) for entry in found.fragments]
        for entry in found.fragments:
            assert entry.sha256 == hashlib.sha256(media(found.recorder_id, found.feed_id, entry.seq)).hexdigest()
    assert sorted(seen) == sorted((recorder, feed, seq) for recorder, feed, count in FEEDS for seq in range(count))
    announced = {(event.key, event.version_id, event.at) for event in await stored(here.bus)}
    assert announced == {(row.key, row.version_id, row.stored_at) for row in rows}
    entries = [decode(line) async for _, line in here.ledger.read()]
    assert sorted(entries, key=lambda entry: str(entry.body["key"])) == [
        entry_of(row) for row in sorted(rows, key=lambda row: row.key)
    ]
    assert parts(here) == []
    return {row.key: row.sha256 for row in rows}


def parts(here: Site) -> list[Path]:
    return list(Path(here.settings.work).rglob("*.part"))


async def crash_and_check(folder: Path, store: str, secret: str, deaths: list[tuple[int, int]]) -> dict[str, str]:
    async with site(folder, store=store, store_secret=secret, partitions=1) as here:
        await fill(here)
    for step, nth in deaths:
        assert run_child(folder, store, secret, step, nth) == KILLED
    assert run_child(folder, store, secret, 0, 0) == 0
    async with site(folder, store=store, store_secret=secret, partitions=1) as here:
        return await check(here)


@pytest.mark.faults
@pytest.mark.parametrize("step", range(1, 9))
async def test_a_crash_after_each_step_changes_nothing(tmp_path: Path, step: int) -> None:
    # The first step and the commit are done for many at once; the others once for each segment.
    deaths = [(step, 1)] if step in {1, 8} else [(step, 1), (step, 3)]
    crashed = await crash_and_check(tmp_path / "crashed", f"file:{tmp_path}/store", "", deaths)
    assert crashed == await crash_and_check(tmp_path / "calm", f"file:{tmp_path}/calm-store", "", [])


@pytest.mark.faults
@pytest.mark.minio
async def test_crashes_on_s3_leave_one_version_of_each(tmp_path: Path, minio: MinioServer) -> None:
    bucket = f"crash-{uuid.uuid4().hex}"
    minio.client().make_bucket(bucket, object_lock=True)
    address = f"s3://{minio.access_key}@{minio.endpoint}/{bucket}?tls=0"
    await crash_and_check(tmp_path, address, minio.secret_key, [(3, 1), (2, 2), (4, 1), (5, 1), (6, 1), (7, 2)])
