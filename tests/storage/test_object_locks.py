"""Locks that only grow, legal holds and tags, on both stores; and what root can and cannot do on a real S3."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.commonconfig import COMPLIANCE, GOVERNANCE
from minio.error import S3Error
from minio.helpers import md5sum_hash
from minio.retention import Retention
from minio.versioningconfig import SUSPENDED, VersioningConfig
from minio.xml import marshal

from domain.clock import Instant, ManualClock, SystemClock
from domain.errors import IntegrityError, Refused, StoreUnavailable, StoreUnfit
from domain.settings import Settings
from storage.objects.connect import connect
from storage.objects.file import FileStore
from storage.objects.port import Head, ObjectStore
from tests.services.minio import MinioServer
from tests.services.process import poll_until
from tests.services.s3_middlebox import Middlebox

KEY = "segments/cam-1/2026/05/04/s1/a.mp4"
HOUR_MS = 3_600_000


class Shelf:
    """A store, and what root needs to go behind its back."""

    def __init__(self, store: ObjectStore, bucket: str = "") -> None:
        self.store = store
        self.bucket = bucket
        self.version = ""

    async def put(self, *, hours: int = 1) -> Instant:
        """One object, locked for so long."""
        until = SystemClock().now().plus(hours * HOUR_MS)
        stored = await self.store.put(
            KEY,
            b"evidence",
            sha256=hashlib.sha256(b"evidence").hexdigest(),
            retain_until=until,
            tags={"retention": "minimum", "session": "s:1"},
            metadata={"policy": "wucheng"},
        )
        self.version = stored.version_id
        return until

    async def head(self) -> Head:
        found = await self.store.head(KEY, self.version)
        assert found is not None
        return found


def on_minio(minio: MinioServer) -> Shelf:
    bucket = f"b-{uuid.uuid4().hex}"
    minio.client().make_bucket(bucket, object_lock=True)
    address = f"s3://{minio.access_key}@{minio.endpoint}/{bucket}?tls=0"
    return Shelf(connect(Settings(store=address, store_secret=minio.secret_key)), bucket)


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.minio)])
async def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shelf]:
    if request.param == "file":
        opened = Shelf(connect(Settings(store=f"file:{tmp_path}/store")))
    else:
        opened = on_minio(request.getfixturevalue("minio"))
    yield opened
    await opened.store.close()


async def test_a_lock_is_lengthened_and_read_back(shelf: Shelf) -> None:
    until = await shelf.put()
    longer = until.plus(5 * HOUR_MS + 1)
    locked = await shelf.store.retain(KEY, shelf.version, longer)
    assert 0 <= locked - longer < 1000
    assert (await shelf.head()).retain_until == locked
    assert await shelf.store.retain(KEY, shelf.version, longer) == locked
    assert (await shelf.head()).retain_until == locked


async def test_a_lock_is_never_shortened(shelf: Shelf) -> None:
    await shelf.put(hours=2)
    before = (await shelf.head()).retain_until
    for earlier in (SystemClock().now().plus(HOUR_MS), Instant(0)):
        with pytest.raises(Refused, match="never shortened"):
            await shelf.store.retain(KEY, shelf.version, earlier)
    assert (await shelf.head()).retain_until == before


async def test_the_store_itself_refuses_to_shorten(shelf: Shelf) -> None:
    """Past our own check, as another client or another process would come."""
    await shelf.put(hours=2)
    before = (await shelf.head()).retain_until
    with pytest.raises(Refused):
        shelf.store.blocking.retain(KEY, shelf.version, SystemClock().now().plus(HOUR_MS))
    assert (await shelf.head()).retain_until == before


async def test_a_hold_keeps_what_its_lock_would_not_and_can_be_lifted(shelf: Shelf) -> None:
    await shelf.put()
    assert not (await shelf.head()).legal_hold
    for on in (True, True, False, False, True):
        await shelf.store.hold(KEY, shelf.version, on)
        assert (await shelf.head()).legal_hold is on
    with pytest.raises(Refused):
        await shelf.store.delete(KEY, shelf.version)


async def test_tags_are_replaced_and_nothing_else_is(shelf: Shelf) -> None:
    await shelf.put()
    before = await shelf.head()
    await shelf.store.set_tags(KEY, shelf.version, {"retention": "evidence", "session": "s:1"})
    assert await shelf.store.tags(KEY, shelf.version) == {"retention": "evidence", "session": "s:1"}
    assert await shelf.head() == before
    assert await shelf.store.get(KEY, shelf.version) == b"evidence"


async def test_what_is_not_there_takes_no_lock(shelf: Shelf) -> None:
    until = SystemClock().now().plus(HOUR_MS)
    for call in (
        shelf.store.retain(KEY, "", until),
        shelf.store.hold(KEY, "", True),
        shelf.store.set_tags(KEY, "", {"a": "b"}),
    ):
        with pytest.raises(IntegrityError, match=KEY):
            await call


# The directory


def _file_store(root: Path, clock: ManualClock) -> FileStore:
    store = FileStore(root, clock=clock)
    sha256 = hashlib.sha256(b"x").hexdigest()
    until = clock.now().plus(10_000)
    store.put("a/b", b"x", sha256=sha256, retain_until=until, tags={}, metadata={}, content_type="")
    return store


def test_a_held_file_outlives_its_lock(tmp_path: Path) -> None:
    clock = ManualClock(Instant.parse("2026-05-04T08:00:00+08:00"))
    store = _file_store(tmp_path, clock)
    store.hold("a/b", "", True)
    clock.advance(3600)
    again = FileStore(tmp_path, clock=clock)
    with pytest.raises(Refused, match="legal hold"):
        again.delete("a/b", "")
    again.hold("a/b", "", False)
    again.delete("a/b", "")
    assert again.head("a/b", "") is None


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_lock_that_could_not_be_written_is_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    clock = ManualClock(Instant.parse("2026-05-04T08:00:00+08:00"))
    store = _file_store(tmp_path, clock)
    before = store.head("a/b", "")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(*((os, "fsync", fail) if call == "fsync" else (Path, "rename", fail)))
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            store.retain("a/b", "", clock.now().plus(HOUR_MS))
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            store.hold("a/b", "", True)
    assert store.head("a/b", "") == before
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_older_description_has_no_hold(tmp_path: Path) -> None:
    store = _file_store(tmp_path, ManualClock(Instant(0)))
    path = tmp_path / "meta/a/b.json"
    text = path.read_text().replace(',"legal_hold":false', "")
    assert "legal_hold" not in text
    path.write_text(text)
    head = store.head("a/b", "")
    assert head is not None
    assert not head.legal_hold


# A real S3, with the root key


@pytest.fixture
async def s3(minio: MinioServer) -> AsyncIterator[tuple[Shelf, Minio]]:
    shelf = on_minio(minio)
    yield shelf, minio.client()
    await shelf.store.close()


def _set_lock(root: Minio, shelf: Shelf, mode: str, until: datetime, *, bypass: bool) -> None:
    body = marshal(Retention(mode, until))
    headers: dict[str, str | list[str] | tuple[str]] = {"Content-MD5": str(md5sum_hash(body))}
    if bypass:
        headers["x-amz-bypass-governance-retention"] = "true"
    query: dict[str, str | list[str] | tuple[str]] = {"versionId": shelf.version, "retention": ""}
    root._execute("PUT", shelf.bucket, object_name=KEY, body=body, headers=headers, query_params=query)


@pytest.mark.minio
@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("mode", [COMPLIANCE, GOVERNANCE])
async def test_root_cannot_shorten_a_lock(s3: tuple[Shelf, Minio], mode: str, bypass: bool) -> None:
    shelf, root = s3
    until = await shelf.put(hours=48)
    for earlier in (datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) + timedelta(seconds=2)):
        with pytest.raises(S3Error):
            _set_lock(root, shelf, mode, earlier, bypass=bypass)
    head = await shelf.head()
    assert head.retain_until is not None
    assert abs(head.retain_until - until) < 1000


@pytest.mark.minio
@pytest.mark.parametrize("bypass", [False, True])
async def test_root_cannot_delete_a_version_before_its_time(s3: tuple[Shelf, Minio], bypass: bool) -> None:
    shelf, root = s3
    await shelf.put()
    headers: dict[str, str | list[str] | tuple[str]] = {"x-amz-bypass-governance-retention": "true"} if bypass else {}
    with pytest.raises(S3Error):
        root._execute(
            "DELETE", shelf.bucket, object_name=KEY, headers=headers, query_params={"versionId": shelf.version}
        )
    assert await shelf.store.get(KEY, shelf.version) == b"evidence"


@pytest.mark.minio
async def test_root_cannot_take_object_lock_or_versions_from_the_bucket(s3: tuple[Shelf, Minio]) -> None:
    shelf, root = s3
    await shelf.put()
    with pytest.raises(S3Error):
        root.set_bucket_versioning(shelf.bucket, VersioningConfig(SUSPENDED))
    with pytest.raises(S3Error):
        root.remove_bucket(shelf.bucket)
    with pytest.raises(S3Error):  # an extension of MinIO that empties a bucket
        root._execute("DELETE", shelf.bucket, headers={"x-minio-force-delete": "true"})
    await shelf.store.probe()
    assert await shelf.store.get(KEY, shelf.version) == b"evidence"


@pytest.mark.minio
async def test_a_lock_ends_by_itself_and_a_hold_does_not(s3: tuple[Shelf, Minio]) -> None:
    """The lock of a second is over; the version then goes only once the hold is lifted."""
    shelf, _root = s3
    clock = SystemClock()
    until = clock.now().plus(1500)
    stored = await shelf.store.put(
        KEY,
        b"short",
        sha256=hashlib.sha256(b"short").hexdigest(),
        retain_until=until,
        tags={},
        metadata={},
    )
    await shelf.store.hold(KEY, stored.version_id, True)
    poll_until(lambda: clock.now() > until.plus(100), "the lock is over")
    with pytest.raises(Refused):
        await shelf.store.delete(KEY, stored.version_id)
    await shelf.store.hold(KEY, stored.version_id, False)
    await shelf.store.delete(KEY, stored.version_id)
    assert await shelf.store.versions(KEY) == []


# Endpoints that ignore what they are told; the gateway leaves a header out and signs anew


@pytest.mark.minio
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"drop": frozenset({"if-none-match"})}, "overwrites in spite of If-None-Match"),
        (
            {"drop": frozenset({"x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"})},
            "put with a COMPLIANCE lock does not",
        ),
        ({"replace": {"x-amz-object-lock-mode": GOVERNANCE}}, "put with a COMPLIANCE lock does not"),
        ({"swallow": "legal-hold"}, "a legal hold cannot be set"),
    ],
    ids=["overwrites", "does not lock", "locks so that root can undo it", "does not hold"],
)
async def test_an_endpoint_that_ignores_what_keeps_evidence_is_refused(
    minio: MinioServer, fault: dict[str, Any], said: str
) -> None:
    bucket = f"b-{uuid.uuid4().hex}"
    minio.client().make_bucket(bucket, object_lock=True)
    with Middlebox(minio, **fault) as gateway:
        address = f"s3://{minio.access_key}@{gateway.endpoint}/{bucket}?tls=0"
        store = connect(Settings(store=address, store_secret=minio.secret_key))
        with pytest.raises(StoreUnfit, match=said) as caught:
            await store.probe()
        assert bucket in str(caught.value)
        await store.close()
    with Middlebox(minio) as gateway:  # the gateway itself is not what is refused
        address = f"s3://{minio.access_key}@{gateway.endpoint}/{bucket}?tls=0"
        store = connect(Settings(store=address, store_secret=minio.secret_key))
        await store.probe()
        await store.close()
