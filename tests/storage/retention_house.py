"""A store, a catalogue and a ledger with segments in them, for the tests of retention."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from domain.clock import Clock, Instant, ManualClock, SystemClock
from domain.events import Classified, Hold, Integrity, RetentionClass
from domain.findings import Finding, FindingKind, Message
from domain.ids import finding_id
from domain.settings import Settings
from policies.retention import retain_until
from storage.catalog.catalog import Catalog
from storage.catalog.rows import ObjectRow, SegmentRow
from storage.ledger.entry import Entry, decode
from storage.ledger.ledger import Ledger
from storage.objects.connect import connect
from storage.objects.file import FileStore
from storage.objects.port import Head, ObjectStore
from storage.retention import entries
from storage.retention.expiry import Expiry
from storage.retention.retention import Retention
from tests.services.minio import MinioServer

T0 = Instant.parse("2026-05-04T08:00:00+08:00")
DAY_MS = 86_400_000


class RetentionHouse:
    """Everything in one folder, or the objects on a real S3; the clock is the test's own on the folder."""

    def __init__(self, folder: Path, store: ObjectStore, clock: Clock, policy: str) -> None:
        self.folder = folder
        self.store = store
        self.clock = clock
        self.policy = policy
        self.faults: list[Integrity] = []

    @classmethod
    async def on_disk(cls, folder: Path, policy: str = "wucheng", clock: ManualClock | None = None) -> Self:
        """Objects in the folder, under a clock of the test's own, which stands at `T0`."""
        clock = clock or ManualClock(T0)
        house = cls(folder, ObjectStore(FileStore(folder / "store", clock=clock)), clock, policy)
        await house.open()
        return house

    @classmethod
    async def on_minio(cls, folder: Path, minio: MinioServer, policy: str = "wucheng") -> Self:
        """Objects in a bucket with object lock, under the machine's clock."""
        bucket = f"b-{uuid.uuid4().hex}"
        minio.client().make_bucket(bucket, object_lock=True)
        address = f"s3://{minio.access_key}@{minio.endpoint}/{bucket}?tls=0"
        house = cls(folder, connect(Settings(store=address, store_secret=minio.secret_key)), SystemClock(), policy)
        await house.open()
        return house

    async def open(self) -> None:
        """Connect, as a process does when it starts."""
        self.catalog = await Catalog.connect(f"sqlite:///{self.folder}/catalog.db")
        self.ledger = await Ledger.connect(f"sqlite:///{self.folder}/ledger.db")
        self.retention = Retention(
            self.store,
            self.catalog,
            self.ledger,
            clock=self.clock,
            policy_of=lambda _: self.policy,
            on_fault=self._fault,
        )
        self.register = self.retention.register

    async def close(self, *, store: bool = True) -> None:
        """Disconnect."""
        await self.catalog.close()
        await self.ledger.close()
        if store:
            await self.store.close()

    async def expire(self, step_done: Callable[[int], None] = lambda _: None) -> Counter[str]:
        """One run of the expiry, now."""
        return await Expiry(self.retention, step_done).run(self.clock.now())

    def pass_days(self, days: float) -> None:
        """Let time go by; on the test's own clock alone."""
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(days * 86_400)

    async def segment(
        self, minute: int = 0, *, session_id: str = "s1", began: Instant = T0, lock_ms: int | None = None
    ) -> SegmentRow:
        """Store a minute of footage."""
        begin = began.plus(minute * 60_000)
        data = f"{session_id} {minute}".encode()
        key = f"segments/cam-1/{session_id}/{minute + 1000:04}.mp4"
        until = retain_until(begin.plus(60_000), self.policy)
        if lock_ms is not None:
            until = self.clock.now().plus(lock_ms)
        sha256 = hashlib.sha256(data).hexdigest()
        tags = {"retention": "minimum", "session": session_id}
        stored = await self.store.put(
            key, data, sha256=sha256, retain_until=until, tags=tags, metadata={"policy": self.policy}
        )
        head = await self.store.head(key, stored.version_id)
        assert head is not None
        assert head.retain_until is not None
        row = SegmentRow(
            key=key,
            recorder_id="cam-1",
            session_id=session_id,
            feed_id="f1",
            policy=self.policy,
            from_at=begin,
            to_at=begin.plus(60_000),
            bytes=len(data),
            sha256=sha256,
            version_id=stored.version_id,
            codec="h264",
            first_seq=minute,
            last_seq=minute,
            fragments=1,
            retain_until=head.retain_until,
            stored_at=begin.plus(90_000),
        )
        await self.catalog.add_segment(row)
        return row

    async def head(self, row: ObjectRow) -> Head | None:
        """What the store has."""
        return await self.store.head(row.key, row.version_id)

    async def held(self, *rows: ObjectRow) -> list[bool]:
        """Which of them are under legal hold."""
        heads = [await self.head(row) for row in rows]
        return [head.legal_hold for head in heads if head is not None]

    async def classify(self, retention_class: RetentionClass, session_id: str = "s1", **more: object) -> None:
        """A decision, as an event."""
        said = Classified(
            at=self.clock.now(),
            recorder_id="cam-1",
            session_id=session_id,
            class_=retention_class,
            reason="审查",
            by="李四",
        )
        await self.retention.apply(msgspec.structs.replace(said, **more))

    def hold(self, **more: object) -> Hold:
        """A hold, as an event; one that is lifted, by two."""
        if more.get("released"):
            more.setdefault("confirmed_by", "孙七")
        said = Hold(at=self.clock.now(), recorder_id="cam-1", session_id="s1", reason="复核", by="李四", released=False)
        return msgspec.structs.replace(said, **more)

    def finding(self, kind: FindingKind = "picture.covered", **more: object) -> Finding:
        """A finding about `T0`."""
        found = Finding(
            id=finding_id(kind, "cam-1", "s1", "", T0),
            kind=kind,
            status="opened",
            severity="warning",
            recorder_id="cam-1",
            session_id="s1",
            began_at=T0,
            detected_at=T0.plus(10_000),
            evidence={},
            clauses=[],
            message=Message(key="x", params={}),
        )
        return msgspec.structs.replace(found, **more)

    async def decide(self, decision: str, session_id: str = "s1", **more: object) -> None:
        """A person's decision about what has come to its end, written to the ledger by another process."""
        body = entries.ApprovalBody(
            of="deletion",
            decision=decision,  # type: ignore[arg-type]
            listed_until=self.clock.now(),
            by="王五",
            reason="无保存意义",
        )
        said = entries.approval(self.clock.now(), "cam-1", session_id, msgspec.structs.replace(body, **more))
        await self.ledger.append([said])

    async def entries(self, kind: str) -> list[Entry]:
        """What the ledger says of a kind."""
        found = [decode(line) async for _, line in self.ledger.read()]
        return [entry for entry in found if entry.kind == kind]

    async def _fault(self, event: Integrity) -> None:
        self.faults.append(event)
