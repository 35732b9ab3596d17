"""Objects in any S3 that has versioning, object lock and conditional writes (checked by `probe`).

A second PUT or a DELETE under a locked key does not destroy it but hides it behind a newer version, so everything
is read by version id and `versions` is asked after every write. Locks are COMPLIANCE: GOVERNANCE can be undone by root.
One object is one PUT, at most 5 GiB (the limit of S3), so that the server checks one hash over the whole of it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from minio.commonconfig import COMPLIANCE
from minio.datatypes import Object
from minio.error import S3Error
from minio.retention import Retention
from urllib3.response import BaseHTTPResponse

from domain.clock import Clock, Instant, SystemClock
from domain.errors import IntegrityError, InvalidInput, NotAuthorized, Refused, StoreUnfit
from storage.objects.port import CHUNK_BYTES, SCAN_BYTES, Head, Listed, Stored, Version, missing
from storage.objects.s3_wire import CONNECTIONS, PreconditionFailed, S3Client, checksum_hex, object_tags, translated

MAX_OBJECT_BYTES = 5 * 1024**3
_ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
_META = "x-amz-meta-"
_PROBES = "probe/"
_PROBE_LOCK_MS = 60_000
"""Long enough that a server whose clock is ahead by less than a minute still takes it."""


class S3Store:
    """See the module."""

    threads = CONNECTIONS

    def __init__(self, client: S3Client, clock: Clock | None = None) -> None:
        self._client = client
        self._library = client.library
        self._bucket = client.bucket
        self._clock = clock or SystemClock()

    def put(
        self,
        key: str,
        source: Path | bytes,
        *,
        sha256: str,
        retain_until: Instant,
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        content_type: str,
    ) -> Stored:
        """See `ObjectStore.put`."""
        with translated(key):
            size = _size(key, source)
            try:
                version_id = self._client.create(
                    key,
                    source,
                    sha256=sha256,
                    retain_until=retain_until,
                    tags=tags,
                    metadata={**metadata, "sha256": sha256},
                    content_type=content_type,
                )
            except PreconditionFailed:
                version_id = self._known(key, sha256)
        if isinstance(source, Path):
            source.unlink(missing_ok=True)
        return Stored(version_id, size)

    def head(self, key: str, version_id: str) -> Head | None:
        """See `ObjectStore.head`."""
        with translated(key):
            try:
                found = self._library.stat_object(
                    self._bucket,
                    key,
                    version_id=version_id or None,
                    extra_headers={"x-amz-checksum-mode": "ENABLED"},
                )
            except S3Error as error:
                if error.code in _ABSENT or error.response.status in {400, 404, 405}:
                    return None
                raise
        headers = found.metadata or {}
        metadata = {k.lower().removeprefix(_META): v for k, v in headers.items() if k.lower().startswith(_META)}
        sha256 = checksum_hex(headers.get("x-amz-checksum-sha256")) or metadata.get("sha256", "")
        metadata.pop("sha256", None)
        locked = headers.get("x-amz-object-lock-retain-until-date")
        holds = headers.get("x-amz-object-lock-mode") == COMPLIANCE
        until = Instant.parse(locked) if holds and locked else None
        held = headers.get("x-amz-object-lock-legal-hold") == "ON"
        return Head(key, found.version_id or "", found.size or 0, sha256, until, metadata, held)

    def tags(self, key: str, version_id: str) -> dict[str, str]:
        """See `ObjectStore.tags`."""
        with translated(key):
            try:
                found = self._library.get_object_tags(self._bucket, key, version_id=version_id or None)
            except S3Error as error:
                _raise_missing(key, error)
        return dict(found or {})

    def read(self, key: str, version_id: str, start: int, length: int | None) -> Iterator[bytes]:
        """See `ObjectStore.open_range`."""
        if length == 0:
            return iter(())
        with translated(key):
            try:
                answer = self._library.get_object(
                    self._bucket, key, offset=start, length=length or 0, version_id=version_id or None
                )
            except S3Error as error:
                if error.code == "InvalidRange":
                    return iter(())
                _raise_missing(key, error)
        return _pieces(key, answer)

    def scan(self, key: str, version_id: str) -> Iterator[bytes | memoryview]:
        """See `BlockingStore.scan`."""
        with translated(key):
            try:
                answer = self._library.get_object(self._bucket, key, version_id=version_id or None)
            except S3Error as error:
                _raise_missing(key, error)
        return _pieces(key, answer, SCAN_BYTES)

    def versions(self, key: str) -> list[Version]:
        """See `ObjectStore.versions`."""
        with translated(key):
            listed = self._library.list_objects(self._bucket, prefix=key, recursive=True, include_version=True)
            found = [one for one in listed if one.object_name == key]
        # The library gives delete markers apart, so the order of the listing is lost.
        found.sort(key=_written_at)
        return [Version(one.version_id or "", one.size or 0, bool(one.is_delete_marker)) for one in found]

    def list(self, prefix: str) -> Iterator[Listed]:
        """See `ObjectStore.list`."""
        with translated(prefix):
            for one in self._library.list_objects(self._bucket, prefix=prefix or None, recursive=True):
                written_at = Instant.of(one.last_modified) if one.last_modified else None
                yield Listed(one.object_name or "", one.size or 0, written_at)

    def retain(self, key: str, version_id: str, until: Instant) -> None:
        """See `BlockingStore.retain`. COMPLIANCE refuses an earlier time by itself."""
        try:
            with self._there(key):
                lock = Retention(COMPLIANCE, until.datetime())
                self._library.set_object_retention(self._bucket, key, lock, version_id=version_id or None)
        except (NotAuthorized, StoreUnfit) as error:
            msg = f"{key}: the store keeps its lock: {error}"
            raise Refused(msg) from error

    def hold(self, key: str, version_id: str, on: bool) -> None:
        """See `ObjectStore.hold`."""
        change = self._library.enable_object_legal_hold if on else self._library.disable_object_legal_hold
        with self._there(key):
            change(self._bucket, key, version_id=version_id or None)

    def set_tags(self, key: str, version_id: str, tags: Mapping[str, str]) -> None:
        """See `ObjectStore.set_tags`."""
        with self._there(key):
            self._library.set_object_tags(self._bucket, key, object_tags(tags), version_id=version_id or None)

    def delete(self, key: str, version_id: str) -> None:
        """See `ObjectStore.delete`."""
        version = version_id or next((v.version_id for v in self.versions(key)), "")
        if not version:
            return
        try:
            with translated(key):
                self._library.remove_object(self._bucket, key, version_id=version)
        except (NotAuthorized, StoreUnfit) as error:
            msg = f"{key}: the store keeps it: {error}"
            raise Refused(msg) from error

    def probe(self) -> None:
        """See `ObjectStore.probe`."""
        self._probe_bucket()
        self._drop_old_probes()
        key, first = f"{_PROBES}{secrets.token_hex(8)}", b"first"
        version = self._put_probe(key, first)
        self._probe_create_only(key)
        self._probe_lock(key, version)
        self._probe_hold(key, version)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    @contextmanager
    def _there(self, key: str) -> Iterator[None]:
        """Translate errors; a version that is not there is an `IntegrityError`."""
        with translated(key):
            try:
                yield
            except S3Error as error:
                _raise_missing(key, error)

    def _known(self, key: str, sha256: str) -> str:
        """Return the version written first, if it has these bytes."""
        for version in self.versions(key):
            if version.is_delete_marker:
                continue
            found = self.head(key, version.version_id)
            if found is not None and found.sha256 == sha256:
                return version.version_id
            break
        msg = f"{key}: stands in the store with other bytes"
        raise IntegrityError(msg)

    def _probe_bucket(self) -> None:
        bucket = self._bucket
        with translated(bucket):
            if not self._library.bucket_exists(bucket):
                msg = f"bucket {bucket} is not there: make it with object lock (mc mb --with-lock ALIAS/{bucket})"
                raise StoreUnfit(msg)
            if self._library.get_bucket_versioning(bucket).status != "Enabled":
                msg = f"bucket {bucket} keeps no versions: make a new bucket with object lock"
                raise StoreUnfit(msg)
            try:
                self._library.get_object_lock_config(bucket)
            except S3Error as error:
                if error.code != "ObjectLockConfigurationNotFoundError":
                    raise
                msg = f"bucket {bucket} has no object lock: make a new one with it (mc mb --with-lock ALIAS/BUCKET)"
                raise StoreUnfit(msg) from error

    def _put_probe(self, key: str, data: bytes) -> str:
        stored = self.put(
            key,
            data,
            sha256=hashlib.sha256(data).hexdigest(),
            retain_until=self._clock.now().plus(_PROBE_LOCK_MS),
            tags={"purpose": "probe"},
            metadata={},
            content_type="text/plain",
        )
        return stored.version_id

    def _probe_create_only(self, key: str) -> None:
        try:
            self._put_probe(key, b"second")
        except IntegrityError:
            return
        msg = f"bucket {self._bucket}: the server overwrites in spite of If-None-Match: *; it needs a newer one"
        raise StoreUnfit(msg)

    def _probe_lock(self, key: str, version: str) -> None:
        found = self.head(key, version)
        if not version or found is None or found.retain_until is None:
            msg = f"bucket {self._bucket}: an object put with a COMPLIANCE lock does not have one"
            raise StoreUnfit(msg)
        try:
            self.delete(key, version)
        except Refused:
            return
        msg = f"bucket {self._bucket}: a locked object could be deleted"
        raise StoreUnfit(msg)

    def _probe_hold(self, key: str, version: str) -> None:
        for on in (True, False):
            self.hold(key, version, on)
            found = self.head(key, version)
            if found is None or found.legal_hold is not on:
                msg = (
                    f"bucket {self._bucket}: a legal hold cannot be set and lifted; the server needs object lock whole"
                )
                raise StoreUnfit(msg)

    def _drop_old_probes(self) -> None:
        for old in list(self.list(_PROBES)):
            for version in self.versions(old.key):
                try:
                    self.delete(old.key, version.version_id)
                except Refused:
                    break  # still locked: the next probe will do it


def _written_at(one: Object) -> float:
    return one.last_modified.timestamp() if one.last_modified else 0.0


def _size(key: str, source: Path | bytes) -> int:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MAX_OBJECT_BYTES:
        msg = f"{key}: {size} bytes are more than one object takes ({MAX_OBJECT_BYTES})"
        raise InvalidInput(msg, "source")
    return size


def _raise_missing(key: str, error: S3Error) -> NoReturn:
    if error.code in _ABSENT:
        raise missing(key) from error
    raise error


def _pieces(key: str, answer: BaseHTTPResponse, length: int = CHUNK_BYTES) -> Iterator[bytes]:
    with translated(key):
        try:
            yield from answer.stream(length)
        finally:
            answer.close()
            answer.release_conn()
