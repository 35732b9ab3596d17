"""What every object store must do, run on a directory and on a real MinIO."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from domain.clock import Instant, ManualClock, SystemClock
from domain.errors import (
    IntegrityError,
    InvalidInput,
    InvalidSettings,
    NotAuthorized,
    Refused,
    StoreUnavailable,
    StoreUnfit,
)
from domain.settings import Settings
from storage.objects.connect import connect
from storage.objects.file import FileStore
from storage.objects.port import ObjectStore, SourceDamaged, Stored
from tests.services.minio import MinioServer

KEY = "segments/cam-1/2026/05/04/s1/a.mp4"


def settings(minio: MinioServer, bucket: str) -> Settings:
    address = f"s3://{minio.access_key}@{minio.endpoint}/{bucket}?tls=0"
    return Settings(store=address, store_secret=minio.secret_key)


def new_bucket(minio: MinioServer, *, lock: bool = True) -> str:
    bucket = f"b-{uuid.uuid4().hex}"
    minio.client().make_bucket(bucket, object_lock=lock)
    return bucket


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.minio)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "file":
        opened = connect(Settings(store=f"file:{tmp_path}/store"))
    else:
        minio: MinioServer = request.getfixturevalue("minio")
        opened = connect(settings(minio, new_bucket(minio)))
    yield opened
    await opened.close()


def digest(source: bytes | Path) -> str:
    data = source if isinstance(source, bytes) else source.read_bytes()
    return hashlib.sha256(data).hexdigest()


async def put(
    store: ObjectStore, key: str, source: bytes | Path, *, lock_s: float = 3600, sha256: str | None = None
) -> Stored:
    return await store.put(
        key,
        source,
        sha256=sha256 or digest(source),
        retain_until=SystemClock().now().plus(round(lock_s * 1000)),
        tags={"retention": "minimum", "recorder": "cam-1", "session": "s:1"},
        metadata={"first-seq": "7"},
        content_type="video/mp4",
    )


async def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [listed.key async for listed in store.list(prefix)]


async def test_what_is_put_is_read(store: ObjectStore) -> None:
    data = os.urandom(700_000)
    stored = await put(store, KEY, data)
    assert stored.size == len(data)
    assert await store.get(KEY, stored.version_id) == data
    part = b"".join([piece async for piece in store.open_range(KEY, stored.version_id, 1000, 500_000)])
    assert part == data[1000:501_000]
    assert b"".join([piece async for piece in store.open_range(KEY, start=699_990)]) == data[-10:]
    assert [piece async for piece in store.open_range(KEY, length=0)] == []
    assert [piece async for piece in store.open_range(KEY, start=900_000)] == []
    assert (await store.tags(KEY))["session"] == "s:1"


async def test_a_whole_object_is_fed_piece_by_piece(store: ObjectStore) -> None:
    data = os.urandom(2_500_000)
    stored = await put(store, KEY, data)
    digest, lengths = hashlib.sha256(), []

    def take(piece: bytes | memoryview) -> None:
        digest.update(piece)
        lengths.append(len(piece))

    await store.feed(KEY, stored.version_id, take)
    assert digest.digest() == hashlib.sha256(data).digest()
    assert (sum(lengths), max(lengths) <= 1 << 20) == (len(data), True)
    with pytest.raises(IntegrityError, match="not in the store"):
        await store.feed("segments/none.mp4", "", take)


async def test_a_listing_says_when_each_was_written(store: ObjectStore) -> None:
    await put(store, KEY, b"evidence")
    (listed,) = [one async for one in store.list("segments/")]
    assert listed.modified_at is not None
    assert abs(listed.modified_at - SystemClock().now()) < 60_000


async def test_the_head_says_what_was_written(store: ObjectStore) -> None:
    stored = await put(store, KEY, b"evidence", lock_s=7200)
    head = await store.head(KEY, stored.version_id)
    assert head is not None
    assert head.sha256 == hashlib.sha256(b"evidence").hexdigest()
    assert (head.size, head.version_id, dict(head.metadata)) == (8, stored.version_id, {"first-seq": "7"})
    assert head.retain_until is not None
    assert abs(head.retain_until - SystemClock().now() - 7_200_000) < 60_000


async def test_a_file_becomes_the_stores(store: ObjectStore, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    source = tmp_path / "x.part"
    source.write_bytes(data)
    stored = await put(store, KEY, source)
    assert not source.exists()
    assert await store.get(KEY, stored.version_id) == data
    source.write_bytes(data)
    assert await put(store, KEY, source) == stored
    assert not source.exists()


async def test_an_empty_object(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    await put(store, KEY, tmp_path / "empty")
    assert await store.get(KEY) == b""


async def test_the_same_again_is_success_and_the_same_version(store: ObjectStore) -> None:
    first = await put(store, KEY, b"evidence")
    assert await put(store, KEY, b"evidence", lock_s=9000) == first
    assert [v.version_id for v in await store.versions(KEY)] == [first.version_id]


async def test_other_bytes_are_refused_and_change_nothing(store: ObjectStore, tmp_path: Path) -> None:
    first = await put(store, KEY, b"evidence")
    other = tmp_path / "other"
    other.write_bytes(b"forged")
    with pytest.raises(IntegrityError, match="other bytes"):
        await put(store, KEY, other)
    assert other.read_bytes() == b"forged"
    assert await store.get(KEY) == b"evidence"
    assert len(await store.versions(KEY)) == 1
    assert (await store.head(KEY, first.version_id)) is not None


async def test_of_many_writers_one_wins_and_the_equal_agree(store: ObjectStore) -> None:
    contents = [b"one" * 1000, b"two" * 1000] * 6
    results = await asyncio.gather(*(put(store, KEY, data) for data in contents), return_exceptions=True)
    kept = await store.get(KEY)
    for data, result in zip(contents, results, strict=True):
        if data == kept:
            assert result == Stored((await store.versions(KEY))[0].version_id, 3000)
        else:
            assert isinstance(result, IntegrityError)
    assert len(await store.versions(KEY)) == 1


async def test_bytes_that_are_not_those_of_the_hash_are_refused(store: ObjectStore) -> None:
    with pytest.raises(SourceDamaged):
        await put(store, KEY, b"evidence", sha256="0" * 64)
    assert await store.head(KEY) is None
    assert await store.versions(KEY) == []


async def test_a_locked_object_is_not_deleted(store: ObjectStore) -> None:
    stored = await put(store, KEY, b"evidence")
    with pytest.raises(Refused):
        await store.delete(KEY, stored.version_id)
    assert await store.get(KEY, stored.version_id) == b"evidence"


async def test_what_is_not_there(store: ObjectStore) -> None:
    assert await store.head(KEY) is None
    assert await store.versions(KEY) == []
    assert await keys(store, "segments/") == []
    await store.delete(KEY)
    for reading in (store.get(KEY), store.tags(KEY)):
        with pytest.raises(IntegrityError, match=KEY):
            await reading


async def test_listing_is_by_prefix_and_in_order(store: ObjectStore) -> None:
    names = ["a/b/2.mp4", "a/b-1/1.mp4", "a/b.mp4", "a/b/10.mp4", "a/c", "b/x"]
    for name in names:
        await put(store, name, name.encode())
    assert await keys(store, "a/") == sorted(names[:-1])
    assert await keys(store, "a/b") == sorted(n for n in names if n.startswith("a/b"))
    assert await keys(store, "a/b/") == ["a/b/10.mp4", "a/b/2.mp4"]
    assert await keys(store, "") == sorted(names)


async def test_a_key_that_begins_another_is_another(store: ObjectStore) -> None:
    await put(store, "a/b.mp4", b"1")
    await put(store, "a/b.mp4x", b"2")
    assert len(await store.versions("a/b.mp4")) == 1


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", "a/.", "a b", "a\n", "é", "a" * 201, ".hidden"])
async def test_keys_that_could_mean_something_else(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidInput):
        await put(store, key, b"x")


async def test_what_a_killed_process_left_staged_is_swept_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(FileStore(tmp_path))
    await put(store, KEY, b"whole")
    left = tmp_path / "tmp/left"
    left.write_bytes(b"half of it")
    await store.probe()
    assert left.exists(), "it may be another process's"
    monkeypatch.setattr("storage.objects.file.STAGED_FOR_S", 0.0)
    await store.probe()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert await store.get(KEY) == b"whole"
    await store.close()


async def test_a_fit_store_passes_its_probe_again_and_again(store: ObjectStore) -> None:
    await store.probe()
    await store.probe()


# The directory


def test_the_clock_frees_and_the_mode_protects(tmp_path: Path) -> None:
    clock = ManualClock(Instant.parse("2026-05-04T08:00:00+08:00"))
    store = FileStore(tmp_path, clock=clock)
    sha256 = hashlib.sha256(b"x").hexdigest()
    until = clock.now().plus(10_000)
    store.put("a/b", b"x", sha256=sha256, retain_until=until, tags={}, metadata={}, content_type="")
    assert stat.S_IMODE((tmp_path / "objects/a/b").stat().st_mode) == 0o444
    clock.advance(9.999)
    with pytest.raises(Refused, match="locked until"):
        store.delete("a/b", "")
    clock.advance(0.001)
    store.delete("a/b", "")
    assert store.head("a/b", "") is None
    assert not (tmp_path / "meta/a/b.json").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_description_without_bytes_is_no_object(tmp_path: Path) -> None:
    store = ObjectStore(FileStore(tmp_path))
    await put(store, KEY, b"crashed before its link")
    (tmp_path / "objects" / KEY).unlink()
    assert await store.head(KEY) is None
    await put(store, KEY, b"evidence")
    head = await store.head(KEY)
    assert head is not None
    assert head.sha256 == hashlib.sha256(b"evidence").hexdigest()
    await store.close()


@pytest.mark.parametrize("damage", ["cut", "no description", "rubbish"])
async def test_half_an_object_is_never_taken_for_evidence(tmp_path: Path, damage: str) -> None:
    store = ObjectStore(FileStore(tmp_path))
    await put(store, KEY, b"evidence")
    data, meta = tmp_path / "objects" / KEY, tmp_path / "meta" / f"{KEY}.json"
    data.chmod(0o644)
    match damage:
        case "cut":
            data.write_bytes(b"evid")
        case "no description":
            meta.unlink()
        case _:
            meta.write_bytes(b"{")
    with pytest.raises(IntegrityError):
        await store.head(KEY)
    with pytest.raises(IntegrityError):
        await put(store, KEY, b"evidence")
    await store.close()


async def test_a_source_on_another_file_system_is_copied(tmp_path: Path) -> None:
    shared = Path("/dev/shm") / f"liuhen-{uuid.uuid4().hex}"
    data = os.urandom(5_000_000)
    shared.write_bytes(data)
    try:
        store = ObjectStore(FileStore(tmp_path))
        await put(store, KEY, shared)
        assert await store.get(KEY) == data
        assert not shared.exists()
        await store.close()
    finally:
        shared.unlink(missing_ok=True)


async def test_a_failed_fsync_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(FileStore(tmp_path / "store"))
    source = tmp_path / "x.part"
    source.write_bytes(b"evidence")

    def fail(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SourceDamaged, match="not known to be on the disk"):
        await put(store, KEY, source)
    assert await store.head(KEY) is None
    await store.close()


async def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ObjectStore(FileStore(tmp_path / "file"))
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await put(store, KEY, b"x")
    with pytest.raises(StoreUnavailable):
        await store.probe()
    await store.close()


# S3


@pytest.mark.minio
async def test_root_can_hide_a_locked_version_but_not_destroy_it(minio: MinioServer) -> None:
    bucket = new_bucket(minio)
    store, root = connect(settings(minio, bucket)), minio.client()
    first = await put(store, KEY, b"evidence")
    root.put_object(bucket, KEY, io.BytesIO(b"forged"), 6)
    root.remove_object(bucket, KEY)
    versions = await store.versions(KEY)
    assert versions[0].version_id == first.version_id
    assert [v.is_delete_marker for v in versions] == [False, False, True]
    with pytest.raises(S3Error):
        root.remove_object(bucket, KEY, version_id=first.version_id)
    assert await store.get(KEY, first.version_id) == b"evidence"
    # Behind a delete marker the key counts as free: a repeated put makes a further version and loses nothing.
    await put(store, KEY, b"evidence")
    assert (await store.versions(KEY))[0].version_id == first.version_id
    await store.close()


@pytest.mark.minio
async def test_hidden_by_a_second_version_the_first_is_still_the_answer(minio: MinioServer) -> None:
    bucket = new_bucket(minio)
    store = connect(settings(minio, bucket))
    first = await put(store, KEY, b"evidence")
    minio.client().put_object(bucket, KEY, io.BytesIO(b"forged"), 6)
    assert await put(store, KEY, b"evidence") == first
    with pytest.raises(IntegrityError):
        await put(store, KEY, b"forged")
    await store.close()


@pytest.mark.minio
@pytest.mark.parametrize("fault", ["no bucket", "no lock", "no versions"])
async def test_a_bucket_that_cannot_keep_evidence(minio: MinioServer, fault: str) -> None:
    bucket = "not-there" if fault == "no bucket" else new_bucket(minio, lock=False)
    if fault == "no lock":
        _set_versioning(minio.client(), bucket)
    store = connect(settings(minio, bucket))
    with pytest.raises(StoreUnfit, match="object lock"):
        await store.probe()
    with pytest.raises((StoreUnfit, StoreUnavailable)):
        await put(store, KEY, b"x")
    await store.close()


def _set_versioning(client: Minio, bucket: str) -> None:
    from minio.commonconfig import ENABLED
    from minio.versioningconfig import VersioningConfig

    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))


@pytest.mark.minio
async def test_wrong_credentials_are_said_to_be_wrong(minio: MinioServer) -> None:
    wrong = Settings(store=f"s3://nobody@{minio.endpoint}/bucket?tls=0", store_secret="wrong-secret")
    store = connect(wrong)
    with pytest.raises(NotAuthorized):
        await put(store, KEY, b"x")
    with pytest.raises(NotAuthorized):
        await store.probe()
    await store.close()


async def test_nobody_there_is_unavailable() -> None:
    store = connect(Settings(store="s3://k@127.0.0.1:1/bucket?tls=0", store_secret="s"))
    for call in (put(store, KEY, b"x"), store.head(KEY), store.versions(KEY), store.probe(), keys(store, "")):
        with pytest.raises(StoreUnavailable):
            await call
    await store.close()


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("file:", "store"),
        ("ftp://x", "store"),
        ("file:x?immutable=yes", "store"),
        ("file:x?colour=red", "store"),
        ("s3://host:9000/bucket", "store"),
        ("s3://key:secret@host:9000/bucket", "store"),
        ("s3://key@host:9000/", "store"),
        ("s3://key@host:9000/b/c", "store"),
        ("s3://key@host:9000/b", "store"),
        ("s3://key@host:port/bucket", "store"),
        ("s3://key@host:9000/bucket?tls=2", "store"),
        ("s3://key@host:9000/bucket", "store_secret"),
    ],
)
def test_addresses_of_no_use(address: str, field: str) -> None:
    secret = "" if field == "store_secret" else "s"
    with pytest.raises(InvalidSettings) as caught:
        connect(Settings(store=address, store_secret=secret))
    assert caught.value.field == field


def test_the_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    connect(Settings(store="s3://key@host:9000/bucket", store_secret_file=str(tmp_path / "secret")))
    with pytest.raises(InvalidSettings, match="store_secret_file"):
        connect(Settings(store="s3://key@host:9000/bucket", store_secret_file=str(tmp_path / "none")))
