"""One object against its entry in the ledger: there, the same bytes, not hidden, locked, held and tagged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from domain.clock import Clock, Instant
from domain.errors import IntegrityError, InvalidInput, StoreUnavailable
from policies.local import Rulebook
from storage.catalog.rows import ObjectRow, SegmentRow
from storage.manifest import Manifest
from storage.objects.port import Head, ObjectStore, Version
from storage.verify.fault import Fault, FaultName
from storage.verify.owed import GRACE_MS, Held, SessionFacts, owed
from storage.verify.scan import Scan, manifest_of

T = TypeVar("T")

TRIES = 3
RETRY_S = 0.5
_WHOLE_SECOND_MS = 1000
"""S3 keeps locks in whole seconds."""


class ObjectCheck:
    """Checks objects, several at once.

    Args:
        store: Where they are.
        book: The policies in force.
        clock: For locks.
        held: Holds on footage.
    """

    def __init__(self, store: ObjectStore, book: Rulebook, clock: Clock, held: Held) -> None:
        self._store = store
        self._book = book
        self._clock = clock
        self._held = held

    async def run(self, row: ObjectRow, session: SessionFacts) -> list[Fault]:
        """Check one object.

        Raises:
            StoreUnavailable: The store does not answer at all.
        """
        try:
            return _one_each(await self._patiently(lambda: self._check(row, session)))
        except StoreUnavailable as error:
            if not await self._answers():
                raise
            return [_fault("unreadable", row, f"the store answers, and cannot give it: {error}")]
        except InvalidInput as error:
            return [_fault("missing", row, f"nothing can be stored under what the ledger names: {error}")]

    async def _check(self, row: ObjectRow, session: SessionFacts) -> list[Fault]:
        versions = await self._store.versions(row.key)
        found = _hidden(row, versions)
        is_there = any(one.version_id == row.version_id and not one.is_delete_marker for one in versions)
        if session.deleted(row).done is not None:
            return [_fault("undeleted", row, "the ledger has a receipt of its deletion")] if is_there else []
        if not is_there:
            return [*found, *self._missing(row, session)]
        try:
            head = await self._store.head(row.key, row.version_id)
            if head is None:
                return [*found, *self._missing(row, session)]
            found += _differs(row, head)
            found += await self._protection(row, session, head)
            found += await self._content(row)
        except IntegrityError as error:
            found.append(_fault("altered", row, str(error)))
        return found

    def _missing(self, row: ObjectRow, session: SessionFacts) -> list[Fault]:
        intent = session.deleted(row).intent
        if intent is None:
            return [_fault("missing", row, f"version {row.version_id or 'of this key'} is not in the store")]
        if self._clock.now() < intent.plus(GRACE_MS):
            return []  # its receipt is on the way
        return [_fault("missing", row, f"its deletion began at {intent}, and has no receipt")]

    async def _protection(self, row: ObjectRow, session: SessionFacts, head: Head) -> list[Fault]:
        wanted = owed(row, session, self._held, self._book, self._clock.now())
        found = []
        locked = head.retain_until or Instant(0)
        if locked <= wanted.retain_until - _WHOLE_SECOND_MS:
            until = f"locked until {head.retain_until}" if head.retain_until else "not locked"
            found.append(_fault("unlocked", row, f"{until}, must be until {wanted.retain_until}"))
        elif wanted.legal_hold and not head.legal_hold:
            found.append(_fault("unlocked", row, "no legal hold, and a hold stands on it"))
        tags = await self._store.tags(row.key, row.version_id)
        wrong = [
            f"{name} is {tags.get(name)!r}, not {value!r}"
            for name, value in wanted.tags.items()
            if tags.get(name) != value
        ]
        if wrong:
            found.append(_fault("mistagged", row, "; ".join(wrong)))
        return found

    async def _content(self, row: ObjectRow) -> list[Fault]:
        """Read it once. Only a segment says what it is made of; a file that was delivered is its bytes."""
        manifest, why = await self._manifest(row) if isinstance(row, SegmentRow) else (None, "")
        scan = Scan(manifest)
        await self._store.feed(row.key, row.version_id, scan.take)
        scan.finish()
        details = [why] if why else []
        if scan.sha256 != row.sha256:
            details.append(f"{scan.size} bytes with SHA-256 {scan.sha256}, not {row.bytes} with {row.sha256}")
        if isinstance(row, SegmentRow) and manifest is not None and not (details or scan.broken):
            return [] if _is_of(manifest, row) else [_fault("altered", row, "its manifest is of other footage")]
        if scan.broken:
            details.append(f"not as they were: fragments {_listed(scan.broken)}")
        return [_fault("altered", row, "; ".join(details))] if details else []

    async def _manifest(self, row: ObjectRow) -> tuple[Manifest | None, str]:
        try:
            return await manifest_of(self._store, row.key, row.version_id, row.bytes), ""
        except IntegrityError as error:
            return None, str(error)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        for wait in range(1, TRIES):
            try:
                return await work()
            except StoreUnavailable:
                await asyncio.sleep(wait * RETRY_S)
        return await work()

    async def _answers(self) -> bool:
        try:
            await self._store.head("probe/answers")
        except StoreUnavailable:
            return False
        return True


def _one_each(found: list[Fault]) -> list[Fault]:
    """Put the details of faults of one name together."""
    merged: dict[FaultName, Fault] = {}
    for one in found:
        before = merged.get(one.fault)
        detail = one.detail if before is None else f"{before.detail}; {one.detail}"
        merged[one.fault] = msgspec.structs.replace(one, detail=detail)
    return list(merged.values())


def _hidden(row: ObjectRow, versions: list[Version]) -> list[Fault]:
    others = [one for one in versions if one.version_id != row.version_id]
    if not others:
        return []
    kinds = sorted({"a delete marker" if one.is_delete_marker else f"version {one.version_id}" for one in others})
    return [_fault("hidden", row, f"beside version {row.version_id} stands {', '.join(kinds)}")]


def _differs(row: ObjectRow, head: Head) -> list[Fault]:
    if (head.size, head.sha256) == (row.bytes, row.sha256):
        return []
    return [_fault("altered", row, f"the store says {head.size} bytes with SHA-256 {head.sha256}")]


def _is_of(manifest: Manifest, row: SegmentRow) -> bool:
    sequence = [entry.seq for entry in manifest.fragments]
    return (manifest.recorder_id, manifest.session_id, manifest.feed_id) == (
        row.recorder_id,
        row.session_id,
        row.feed_id,
    ) and sequence == list(range(row.first_seq, row.last_seq + 1))


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return shown if len(numbers) <= 10 else f"{shown} and {len(numbers) - 10} more"


def _fault(name: FaultName, row: ObjectRow, detail: str) -> Fault:
    return Fault(name, row.key, detail, row.recorder_id)
