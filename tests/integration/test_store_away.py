"""A real MinIO that answers nothing, then is gone, then is back; and segments of it played by a browser."""

from __future__ import annotations

import asyncio
import hashlib
import io
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.errors import StoreUnavailable
from storage import manifest
from storage.objects import s3_wire
from tests.services.minio import MinioServer
from tests.services.toxiproxy import ToxiproxyServer
from tests.streams.store_media import end_feed, publish_feed, site, until


def new_bucket(minio: MinioServer) -> str:
    bucket = f"away-{uuid.uuid4().hex}"
    minio.client().make_bucket(bucket, object_lock=True)
    return bucket


@pytest.mark.minio
@pytest.mark.faults
async def test_the_backlog_drains_by_itself_when_the_store_is_back(
    tmp_path: Path, minio_factory: Callable[[], MinioServer]
) -> None:
    minio = minio_factory()
    address = f"s3://{minio.access_key}@{minio.endpoint}/{new_bucket(minio)}?tls=0"
    async with site(tmp_path, store=address, store_secret=minio.secret_key) as here:
        async with here.worker(max_waiting_bytes=100_000) as worker:
            await publish_feed(here.bus, "cam-0", "f1", range(6))
            await here.until_stored(1)
            await asyncio.to_thread(minio.kill)
            for number in range(4):
                await publish_feed(here.bus, f"cam-{number}", "f2", range(20))
                await end_feed(here.bus, f"cam-{number}", "f2")
            await until(lambda: bool(held(tmp_path)), "segments wait")
            assert held(tmp_path) < 500_000
            await asyncio.to_thread(minio.start)
            await here.until_stored(17, timeout_s=60)
            await end_feed(here.bus, "cam-0", "f1")
            await here.until_stored(18)
            await here.until_committed(worker)
        for row in (await here.catalog.list_segments()).items:
            data = await here.store.get(row.key, row.version_id)
            assert hashlib.sha256(data).hexdigest() == row.sha256
            manifest.check(io.BytesIO(data))
            assert len(await here.store.versions(row.key)) == 1


def held(folder: Path) -> int:
    return sum(part.stat().st_size for part in (folder / "work/store").glob("*.part"))


@pytest.mark.minio
@pytest.mark.faults
async def test_a_connection_cut_in_the_middle_of_a_put_leaves_nothing_or_all(
    tmp_path: Path, minio: MinioServer, toxiproxy: ToxiproxyServer
) -> None:
    proxy = toxiproxy.add(f"store-{uuid.uuid4().hex}", minio.endpoint)
    address = f"s3://{minio.access_key}@{proxy.address}/{new_bucket(minio)}?tls=0"
    async with site(tmp_path, store=address, store_secret=minio.secret_key) as here:
        proxy.cut_after(20_000, "upstream")
        async with here.worker() as worker:
            await publish_feed(here.bus, "cam-1", "f1", range(5))
            await end_feed(here.bus, "cam-1", "f1")
            await until(lambda: bool(held(tmp_path)), "a segment waits")
            await asyncio.sleep(1)  # a few tries are cut off
            proxy.heal()
            await here.until_stored(1)
            await here.until_committed(worker)
        (row,) = (await here.catalog.list_segments()).items
        assert len(await here.store.versions(row.key)) == 1
        manifest.check(io.BytesIO(await here.store.get(row.key, row.version_id)))
    proxy.remove()


@pytest.mark.minio
@pytest.mark.faults
async def test_a_store_that_answers_nothing_is_given_up_in_time(
    tmp_path: Path, minio: MinioServer, toxiproxy: ToxiproxyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_wire, "READ_TIMEOUT_S", 1)
    proxy = toxiproxy.add(f"store-{uuid.uuid4().hex}", minio.endpoint)
    address = f"s3://{minio.access_key}@{proxy.address}/{new_bucket(minio)}?tls=0"
    async with site(tmp_path, store=address, store_secret=minio.secret_key) as here:
        proxy.black_hole()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(here.store.head("a"), 10)
        proxy.heal()
        assert await here.store.head("a") is None
    proxy.remove()
