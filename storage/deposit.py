"""A closed segment on its way into the store: steps 2 to 6 of docs/design/storage.md.

Each step may be repeated from the beginning by another process (key and bytes are functions of the segment), and a
deposit that failed goes on where it stopped when `run` is called again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from domain.clock import Clock, Instant
from domain.errors import IntegrityError
from domain.events import Integrity, SegmentStored
from policies.local import Rulebook, default
from policies.retention import retain_until
from storage.catalog.catalog import Catalog
from storage.catalog.rows import SegmentRow
from storage.layout import segment_key
from storage.ledger.entry import decode
from storage.ledger.ledger import Ledger
from storage.ledger.segment import entry_of, row_of
from storage.objects.port import ObjectStore, Stored
from storage.part import PartFile
from storage.segmenter import Segment

RETENTION_CLASS = "minimum"
SHORTEST_LOCK_MS = 86_400_000
"""Footage that comes when its time is over already is locked for a day, as no store locks until the past."""
CONTENT_TYPE = "video/mp4"

StepHook = Callable[[int], None]
"""Called with a step's number when that step is done: the tests kill the process there."""


class Depot:
    """Where deposits go.

    Args:
        store: The object store.
        catalog: The catalogue.
        ledger: The custody ledger.
        clock: For `stored_at`.
        policy_of: A recorder's policy.
        step_done: See `StepHook`.
        book: The policies in force; those of the package alone where not given.
    """

    def __init__(
        self,
        store: ObjectStore,
        catalog: Catalog,
        ledger: Ledger,
        clock: Clock,
        *,
        policy_of: Callable[[str], str],
        step_done: StepHook,
        book: Rulebook | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.ledger = ledger
        self.clock = clock
        self.policy_of = policy_of
        self.step_done = step_done
        self.book = book or default()


class Deposit:
    """One segment, once it is closed.

    Attributes:
        segment: What it holds.
        part: Its bytes until the store has them.
        hidden: Something newer stands under its key.
        unattested: Why the ledger did not take its entry; empty where it did.
    """

    def __init__(self, segment: Segment, part: PartFile) -> None:
        self.segment = segment
        self.part = part
        self.hidden = False
        self.unattested = ""
        self._sha256 = ""
        self._stored: Stored | None = None
        self._row: SegmentRow | None = None
        self._is_attested = False

    async def run(self, depot: Depot) -> SegmentRow:
        """Do what is not done yet of steps 2 to 6.

        Raises:
            Unavailable: The store, the ledger or the catalogue is away; call again later.
            SourceDamaged: The part file must be made again from the log.
            OSError: The same, for want of space.
            IntegrityError: Other bytes stand where these belong; calling again does not help.
        """
        if not self._sha256:
            await asyncio.to_thread(self._finish)
            depot.step_done(2)
        if self._stored is None:
            self._stored = await self._put(depot)
            depot.step_done(3)
        if self._row is None:
            self._row = await self._confirm(depot, self._stored)
            depot.step_done(4)
        if not self._is_attested:
            self._row = await self._attest(depot.ledger, self._row)
            self._is_attested = True
            depot.step_done(5)
        if not await depot.catalog.add_segment(self._row):
            known = await depot.catalog.get_segment(self._row.key)
            self._row = known or self._row
        depot.step_done(6)
        return self._row

    @property
    def key(self) -> str:
        """Object key; known once step 2 is done."""
        one = self.segment
        return segment_key(one.recorder_id, one.session_id, Instant(one.from_ms), one.first_seq, self._sha256)

    def _finish(self) -> None:
        """Step 2: the manifest, and with it the hash of the whole."""
        one = self.segment
        self._sha256 = self.part.seal(one.recorder_id, one.session_id, one.feed_id, one.codec)

    async def _put(self, depot: Depot) -> Stored:
        """Step 3: PUT, create-only, locked and tagged."""
        one = self.segment
        policy = depot.policy_of(one.recorder_id)
        owed = retain_until(Instant(one.to_ms), depot.book.find(policy) or policy)
        return await depot.store.put(
            self.key,
            self.part.path,
            sha256=self._sha256,
            retain_until=max(owed, depot.clock.now().plus(SHORTEST_LOCK_MS)),
            tags={
                "retention": RETENTION_CLASS,
                "recorder": one.recorder_id,
                "session": one.session_id,
                "policy": policy,
            },
            metadata={"policy": policy},
            content_type=CONTENT_TYPE,
        )

    async def _confirm(self, depot: Depot, stored: Stored) -> SegmentRow:
        """Step 4: ask the store what it has: the version written first, its hash, its lock."""
        key, one = self.key, self.segment
        versions = await depot.store.versions(key)
        if not versions:
            msg = f"{key}: gone right after it was written"
            raise IntegrityError(msg)
        self.hidden = len(versions) > 1
        first = versions[0].version_id
        head = await depot.store.head(key, first)
        if head is None or (head.sha256, head.size) != (self._sha256, stored.size):
            msg = f"{key}: the store's first version is not what was written"
            raise IntegrityError(msg)
        # By the policy it was written under: the recorder may have got another one since.
        policy = head.metadata.get("policy", depot.policy_of(one.recorder_id))
        # An agency's own time is only ever longer, and may have come since.
        wanted = retain_until(Instant(one.to_ms), policy)
        if head.retain_until is None or head.retain_until < wanted - 1000:  # S3 keeps whole seconds
            msg = f"{key}: locked until {head.retain_until}, not {wanted}"
            raise IntegrityError(msg)
        return SegmentRow(
            key=key,
            recorder_id=one.recorder_id,
            session_id=one.session_id,
            feed_id=one.feed_id,
            policy=policy,
            from_at=Instant(one.from_ms),
            to_at=Instant(one.to_ms),
            bytes=head.size,
            sha256=head.sha256,
            version_id=first,
            codec=one.codec,
            first_seq=one.first_seq,
            last_seq=one.last_seq,
            fragments=one.last_seq - one.first_seq + 1,
            retain_until=head.retain_until,
            stored_at=depot.clock.now(),
        )

    async def _attest(self, ledger: Ledger, row: SegmentRow) -> SegmentRow:
        """Step 5: the ledger says so. What it said in a life before counts: when the segment was stored.

        A ledger that somebody has changed takes nothing more until a person has looked at it. The footage is locked
        in the store by now and goes its way; the custody worker appends the entry when the ledger takes it.
        """
        try:
            (index,) = await ledger.append([entry_of(row)])
            async for _, line in ledger.read(index, index + 1):
                return row_of(decode(line))
        except IntegrityError as error:
            self.unattested = str(error)
        return row


def announcement(row: SegmentRow) -> SegmentStored:
    """Return the event of a stored segment; the same however often it is said."""
    return SegmentStored(
        at=row.stored_at,
        recorder_id=row.recorder_id,
        session_id=row.session_id,
        from_=row.from_at,
        to=row.to_at,
        key=row.key,
        version_id=row.version_id,
        sha256=row.sha256,
        bytes=row.bytes,
    )


def alarm(row: SegmentRow) -> Integrity:
    """Return the event of a segment that something newer hides."""
    return Integrity(at=row.stored_at, recorder_id=row.recorder_id, key=row.key, fault="hidden")
