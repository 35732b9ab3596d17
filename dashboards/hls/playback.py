"""Stored footage for watching: a playlist over the segments of a span, fragments read by byte range.

Every fragment is one entry; where none is stored there are `EXT-X-GAP` entries, so that the playlist is as long as the
span. As with live pictures the copies carry shifted decode times (see `dashboards.hls.ring`): the shift stands in the
address, so an address always gives the same bytes.

Each fragment is hashed before it is shown. One that is not what was stored is refused, and told of.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO

from dashboards.hls.mp4 import Media, retime
from dashboards.hls.playable import playable
from dashboards.hls.playlist import Entry, render, target_duration
from dashboards.hls.ring import GAP_MIN_S
from dashboards.problem import Missing
from domain.clock import Instant, ms
from domain.errors import IntegrityError, InvalidInput, InvalidMedia
from domain.events import IntegrityFault
from storage.catalog.catalog import Catalog
from storage.catalog.rows import SegmentRow
from storage.manifest import MAX_MANIFEST_BYTES, FragmentEntry, Manifest, read
from storage.objects.port import ObjectStore

MAX_SPAN_S = 7200
"""Longest span of one playlist: its manifests are read one by one."""
MAX_MANIFESTS = 256
"""Manifests kept in memory; the one asked for longest ago goes."""
TAIL_BYTES = 65_536
"""Enough for the manifest of a minute; a larger one takes a second read."""
OVERLAP_MS = 500
"""Fragments that begin so far inside the one before belong to a second connection at the same time; one is shown."""

MAX_TOLD = 1024
"""Faults that are remembered as told; beyond it the oldest is forgotten, and would be told anew."""

log = logging.getLogger(__name__)

FaultListener = Callable[[str, str, IntegrityFault], Awaitable[None]]
"""Told of a recorder, an object's key, and what is wrong with it."""


async def no_listener(_recorder_id: str, _key: str, _fault: IntegrityFault) -> None:
    """Nobody wants to know."""


class Recordings:
    """Reads stored segments.

    Args:
        catalog: Which there are.
        store: Their bytes.
        on_fault: Told, once for each object, of one that is not what was stored.
    """

    def __init__(self, catalog: Catalog, store: ObjectStore, on_fault: FaultListener = no_listener) -> None:
        self._catalog, self._store = catalog, store
        self._on_fault = on_fault
        self._told: OrderedDict[tuple[str, IntegrityFault], None] = OrderedDict()
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()

    async def playlist(self, recorder_id: str, start: Instant, end: Instant) -> str:
        """Return the playlist of a span.

        Raises:
            InvalidInput: The span is empty or too long.
            Missing: Nothing of it is stored.
        """
        if not start < end <= start.plus(MAX_SPAN_S * 1000):
            raise InvalidInput(f"to: must be after from, by at most {MAX_SPAN_S} s", "to")
        rows = await self._rows(recorder_id, start, end)
        pieces = [(row, entry) for row in rows for entry in await self._entries(row, start, end)]
        if not pieces:
            raise Missing(f"nothing of {recorder_id} is stored from {start} to {end}")
        base = min(start, pieces[0][0].from_at)
        target_s = target_duration([entry.duration_s for _, entry in pieces])
        entries = list(_listed(pieces, base, start, end, target_s))
        return render(entries, target_s=target_s, first=0, ended=True)

    async def segment(self, recorder_id: str, token: str) -> SegmentRow:
        """Return the segment that an address means.

        Raises:
            Missing: There is no such segment of this recorder.
        """
        try:
            key = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii")
        except (binascii.Error, ValueError) as error:
            raise Missing("no such segment") from error
        row = await self._catalog.get_segment(key)
        if row is None or row.recorder_id != recorder_id or row.deleted_at is not None:
            raise Missing("no such segment")
        return row

    async def init(self, row: SegmentRow) -> bytes:
        """Return the init segment of a stored segment.

        Raises:
            IntegrityError: Its first fragment is not what was stored.
        """
        return (await self._media(row, (await self._manifest(row)).fragments[0])).init

    async def fragment(self, row: SegmentRow, seq: int, shift_ms: int) -> bytes:
        """Return a fragment, its decode times later by `shift_ms`.

        Raises:
            Missing: There is no such fragment.
            IntegrityError: Its bytes are not those that were stored.
        """
        return retime(await self._media(row, await self._entry(row, seq)), shift_ms / 1000)

    async def span(self, row: SegmentRow, seq: int) -> tuple[Instant, Instant]:
        """Return from when to when a fragment was captured.

        Raises:
            Missing: There is no such fragment.
            IntegrityError: The manifest is not what was stored.
        """
        entry = await self._entry(row, seq)
        return entry.captured_at, _end(entry)

    async def _entry(self, row: SegmentRow, seq: int) -> FragmentEntry:
        entry = next((one for one in (await self._manifest(row)).fragments if one.seq == seq), None)
        if entry is None:
            raise Missing(f"{row.key} holds no fragment {seq}")
        return entry

    async def _rows(self, recorder_id: str, start: Instant, end: Instant) -> list[SegmentRow]:
        rows: list[SegmentRow] = []
        cursor: str | None = None
        while True:
            page = await self._catalog.list_segments(
                recorder_id=recorder_id, from_at=start, to_at=end, cursor=cursor, limit=1000
            )
            rows += page.items
            cursor = page.cursor
            if cursor is None:
                return rows

    async def _entries(self, row: SegmentRow, start: Instant, end: Instant) -> list[FragmentEntry]:
        """Return the fragments of a segment that lie in a span; none of a segment that cannot be read."""
        try:
            manifest = await self._manifest(row)
        except IntegrityError:  # has been told; a viewer sees a gap
            return []
        return [f for f in manifest.fragments if f.captured_at < end and _end(f) > start]

    async def _manifest(self, row: SegmentRow) -> Manifest:
        found = self._manifests.pop(row.key, None)
        if found is None:
            try:
                found = await self._read_manifest(row)
            except IntegrityError as error:
                raise await self._refuse(row, error) from error
        self._manifests[row.key] = found
        if len(self._manifests) > MAX_MANIFESTS:
            self._manifests.popitem(last=False)
        return found

    async def _read_manifest(self, row: SegmentRow) -> Manifest:
        tail = await self._range(row, max(0, row.bytes - TAIL_BYTES), TAIL_BYTES)
        if int.from_bytes(tail[-4:], "big") > len(tail):
            tail = await self._range(row, max(0, row.bytes - MAX_MANIFEST_BYTES), MAX_MANIFEST_BYTES)
        return read(BytesIO(tail))

    async def _media(self, row: SegmentRow, entry: FragmentEntry) -> Media:
        manifest = await self._manifest(row)
        try:
            data = await self._range(row, 0, manifest.init_bytes) + await self._range(row, entry.offset, entry.bytes)
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise IntegrityError(f"fragment {entry.seq} is not what was stored, and is not shown")
        except IntegrityError as error:
            raise await self._refuse(row, error) from error
        try:
            return playable(data)
        except InvalidMedia as error:
            log.warning("playback: %s: %s", row.key, error)
            raise Missing(f"{row.key} cannot be read") from error

    async def _refuse(self, row: SegmentRow, error: IntegrityError) -> IntegrityError:
        """Tell of an object that is not what was stored; return what its viewer is told."""
        fault: IntegrityFault = "altered" if await self._is_there(row) else "missing"
        if (row.key, fault) not in self._told:
            log.error("playback: %s: %s", row.key, error)
            await self._on_fault(row.recorder_id, row.key, fault)
            self._told[row.key, fault] = None
            if len(self._told) > MAX_TOLD:
                self._told.popitem(last=False)
        return error

    async def _is_there(self, row: SegmentRow) -> bool:
        return any(one.version_id == row.version_id for one in await self._store.versions(row.key))

    async def _range(self, row: SegmentRow, start: int, length: int) -> bytes:
        return b"".join([piece async for piece in self._store.open_range(row.key, row.version_id, start, length)])


def _listed(
    pieces: list[tuple[SegmentRow, FragmentEntry]], base: Instant, start: Instant, end: Instant, target_s: int
) -> Iterator[Entry]:
    at = start
    inits: str | None = None
    for row, entry in pieces:
        if inits is not None and entry.captured_at < at - OVERLAP_MS:
            continue
        token = base64.urlsafe_b64encode(row.key.encode()).decode()
        init_uri = f"playback/{token}/init.mp4"
        yield from _gap(at, entry.captured_at, inits or init_uri, target_s)
        yield Entry(
            uri=f"playback/{token}/{entry.seq}-{row.from_at - base}.m4s",
            duration_s=entry.duration_s,
            captured_at=entry.captured_at,
            init_uri=init_uri,
            discontinuity=inits is not None and entry.captured_at - at > ms(GAP_MIN_S),
        )
        at, inits = _end(entry), init_uri
    yield from _gap(at, end, inits or "", target_s)


def _gap(start: Instant, end: Instant, init_uri: str, target_s: int) -> Iterator[Entry]:
    missing_s = (end - start) / 1000
    if missing_s <= GAP_MIN_S:
        return
    count = math.ceil(missing_s / target_s)
    for index in range(count):
        at = start.plus(round(index * (end - start) / count))
        yield Entry(
            uri=f"playback/gap-{int(at)}.m4s", duration_s=missing_s / count, captured_at=at, init_uri=init_uri, gap=True
        )


def _end(entry: FragmentEntry) -> Instant:
    return entry.captured_at.plus(ms(entry.duration_s))
