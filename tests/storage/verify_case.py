"""A small site with everything that a check looks at: objects, ledger, checkpoints and their copies."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from domain.clock import Clock, Instant, ManualClock, SystemClock
from domain.events import Fragment
from domain.settings import Settings
from policies.retention import retain_until
from storage.boxes import split_fragment
from storage.catalog.rows import SegmentRow
from storage.layout import segment_key
from storage.ledger.entry import Entry
from storage.ledger.keeper import Keeper, keeper
from storage.ledger.keys import Keys, load_keys
from storage.ledger.ledger import Ledger
from storage.ledger.segment import entry_of
from storage.objects.connect import connect
from storage.objects.port import ObjectStore
from storage.part import PartFile
from storage.verify.fault import Fault
from storage.verify.verifier import Scope, Verifier
from tests.services.minio import MinioServer
from tests.streams.store_media import media

HOUR_MS = 3_600_000
FRAGMENT_MS = 2000
GRACE_S = 700.0
"""Longer than what may still be on its way."""


class Case:
    """One site in a folder."""

    def __init__(self, folder: Path, settings: Settings, store: ObjectStore, ledger: Ledger, clock: Clock) -> None:
        self.folder, self.settings, self.store, self.ledger, self.clock = folder, settings, store, ledger, clock
        self.keys: Keys = load_keys(folder / "ledger.key", settings.ledger_origin)
        self.keeper: Keeper = keeper(settings, ledger, self.keys, store, clock)
        self.rows: list[SegmentRow] = []
        self.bucket = settings.store.rpartition("/")[2].partition("?")[0]

    async def segment(
        self,
        recorder: str = "cam-1",
        session: str = "s1",
        feed: str = "f1",
        seqs: Sequence[int] = (0, 1, 2),
        *,
        size: int = 3000,
        listed: bool = True,
        lock_ms: int | None = None,
        policy: str = "wucheng",
    ) -> SegmentRow:
        """Store a segment, and say so in the ledger."""
        start = self.clock.now().plus(-HOUR_MS)
        part = PartFile(self.folder)
        for seq in seqs:
            data = media(recorder, feed, seq, size)
            split = split_fragment(memoryview(data))
            event = Fragment(
                at=start, recorder_id=recorder, session_id=session, feed_id=feed, seq=seq,
                captured_at=start.plus(seq * FRAGMENT_MS), duration_s=FRAGMENT_MS / 1000, bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(), codec="h264",
            )  # fmt: skip
            part.append(event, memoryview(data)[:split], memoryview(data)[split:])
        sha256 = part.seal(recorder, session, feed, "h264")
        begin, end = start.plus(seqs[0] * FRAGMENT_MS), start.plus((seqs[-1] + 1) * FRAGMENT_MS)
        key = segment_key(recorder, session, begin, seqs[0], sha256)
        until = self.clock.now().plus(lock_ms) if lock_ms else retain_until(end, policy)
        until = Instant(-(-until // 1000) * 1000)
        stored = await self.store.put(
            key, part.path, sha256=sha256, retain_until=until, metadata={"policy": policy},
            tags={"retention": "minimum", "recorder": recorder, "session": session, "policy": policy},
        )  # fmt: skip
        row = SegmentRow(
            key=key, recorder_id=recorder, session_id=session, feed_id=feed, policy=policy, from_at=begin, to_at=end,
            bytes=stored.size, sha256=sha256, version_id=stored.version_id, codec="h264", first_seq=seqs[0],
            last_seq=seqs[-1], fragments=len(seqs), retain_until=until, stored_at=self.clock.now(),
        )  # fmt: skip
        if listed:
            await self.ledger.append([entry_of(row)])
            self.rows.append(row)
        return row

    async def say(self, kind: str, session: str | None = "s1", recorder: str = "cam-1", **body: object) -> None:
        """Append any other entry."""
        entry = Entry(kind=kind, at=self.clock.now(), recorder_id=recorder, session_id=session, body=dict(body))
        await self.ledger.append([entry])

    async def fill(self) -> None:
        """Two recorders, three sessions, several checkpoints."""
        for first in (0, 3):
            await self.segment(seqs=range(first, first + 3))
        await self.keeper.turn()
        await self.segment("cam-2", "s7", seqs=range(4))
        await self.say("access", by="somebody", what="playback")
        await self.keeper.turn()
        await self.segment("cam-1", "s2", "f2", seqs=range(2))
        await self.keeper.turn()

    def verifier(self) -> Verifier:
        places = self.keeper.copier.places
        return Verifier(self.store, self.ledger, self.keys.trusted, places, self.clock)

    async def check(self, scope: Scope | None = None) -> list[Fault]:
        """Run a whole check."""
        return [fault async for fault in self.verifier().run(scope or Scope())]

    async def names(self) -> set[str]:
        """Return the names of the faults that a check finds."""
        return {fault.fault for fault in await self.check()}

    def sql(self, statement: str, *values: object) -> None:
        """Change the ledger's database behind its back."""
        with sqlite3.connect(self.folder / "ledger.db") as connection:
            connection.execute(statement, values)
        connection.close()

    def wait(self, seconds: float = GRACE_S) -> None:
        """Let time pass; only with a clock of our own."""
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)


@asynccontextmanager
async def case(folder: Path, minio: MinioServer | None = None, clock: Clock | None = None) -> AsyncIterator[Case]:
    """Open a site on a directory, or on a bucket of its own."""
    store, secret = f"file:{folder}/store", ""
    if minio is not None:
        bucket = f"b-{uuid.uuid4().hex}"
        minio.client().make_bucket(bucket, object_lock=True)
        store, secret = f"s3://{minio.access_key}@{minio.endpoint}/{bucket}?tls=0", minio.secret_key
    settings = Settings(
        store=store,
        store_secret=secret,
        ledger=f"sqlite:///{folder}/ledger.db",
        checkpoint_copies=f"store,file:{folder}/copies",
    )
    opened = connect(settings)
    ledger = await Ledger.connect(settings.ledger)
    one = Case(folder, settings, opened, ledger, clock or SystemClock())
    try:
        yield one
    finally:
        await one.keeper.close()
        await ledger.close()
        await opened.close()
