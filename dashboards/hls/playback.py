"""Stored footage for watching: a playlist over what is stored of a span, fragments read by byte range.

Every fragment is one entry; where no live footage is stored, files that were delivered later are shown, by their views
(`dashboards.hls.views`); where there is nothing there are `EXT-X-GAP` entries, so that the playlist is as long as the
span. As with live pictures the copies carry shifted decode times (see `dashboards.hls.ring`): the shift stands in the
address, so an address always gives the same bytes.

Each fragment is hashed before it is shown; of a file that was delivered, the whole file before its view is made. What
is not what was stored is refused, and told of.
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
from typing import NamedTuple

from dashboards.hls.mp4 import Media, retime
from dashboards.hls.playable import playable
from dashboards.hls.playlist import Entry, render, target_duration
from dashboards.hls.ring import GAP_MIN_S
from dashboards.hls.views import Shot, View, Views
from dashboards.problem import Missing
from domain.clock import Instant, ms
from domain.errors import IntegrityError, InvalidInput, InvalidMedia
from domain.events import IntegrityFault
from storage.catalog.catalog import Catalog
from storage.catalog.objects import Objects
from storage.catalog.rows import ObjectRow, SegmentRow, UploadRow
from storage.catalog.uploads import Uploads
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


class Piece(NamedTuple):
    """A fragment of a stored object."""

    row: ObjectRow
    seq: int
    captured_at: Instant
    duration_s: float

    @property
    def end_at(self) -> Instant:
        """Its end."""
        return self.captured_at.plus(ms(self.duration_s))


class Recordings:
    """Reads stored footage.

    Args:
        catalog: Which there is.
        store: Its bytes.
        on_fault: Told, once for each object, of one that is not what was stored.
        views: Shows files that were delivered later; they are left out where absent.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: ObjectStore,
        on_fault: FaultListener = no_listener,
        views: Views | None = None,
    ) -> None:
        self._catalog, self._store = catalog, store
        self._objects, self._uploads = Objects(catalog), Uploads(catalog)
        self._on_fault, self._views = on_fault, views
        self._told: OrderedDict[tuple[str, IntegrityFault], None] = OrderedDict()
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()

    async def playlist(self, recorder_id: str, start: Instant, end: Instant) -> str:
        """Return the playlist of a span.

        Raises:
            InvalidInput: The span is empty or too long.
            Missing: Nothing of it is stored.
            Unavailable: A file that was delivered is being prepared; ask again.
        """
        if not start < end <= start.plus(MAX_SPAN_S * 1000):
            raise InvalidInput(f"to: must be after from, by at most {MAX_SPAN_S} s", "to")
        rows = await self._rows(recorder_id, start, end)
        pieces = [piece for row in rows for piece in await self._pieces(row, start, end)]
        pieces += await self._delivered(recorder_id, pieces, start, end)
        pieces.sort(key=lambda piece: piece.captured_at)
        if not pieces:
            raise Missing(f"nothing of {recorder_id} is stored from {start} to {end}")
        base = min(start, *(piece.row.from_at for piece in pieces))
        target_s = target_duration([piece.duration_s for piece in pieces])
        entries = list(_listed(pieces, base, start, end, target_s))
        return render(entries, target_s=target_s, first=0, ended=True)

    async def segment(self, recorder_id: str, token: str) -> ObjectRow:
        """Return the object that an address means.

        Raises:
            Missing: There is no such object of this recorder.
        """
        try:
            key = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii")
        except (binascii.Error, ValueError) as error:
            raise Missing("no such segment") from error
        row = await self._objects.get(key)
        if row is None or row.recorder_id != recorder_id or row.deleted_at is not None:
            raise Missing("no such segment")
        return row

    async def init(self, row: ObjectRow) -> bytes:
        """Return the init segment of a stored object.

        Raises:
            Missing: It cannot be read.
            IntegrityError: Its first fragment, or the file, is not what was stored.
            Unavailable: Its view is being prepared; ask again.
        """
        if isinstance(row, UploadRow):
            return (await self._shown(row, 0)).init
        segment = _segment(row)
        return (await self._media(segment, (await self._manifest(segment)).fragments[0])).init

    async def fragment(self, row: ObjectRow, seq: int, shift_ms: int) -> bytes:
        """Return a fragment, its decode times later by `shift_ms`.

        Raises:
            Missing: There is no such fragment, or it cannot be read.
            IntegrityError: Its bytes are not those that were stored.
            Unavailable: Its view is being prepared; ask again.
        """
        if isinstance(row, UploadRow):
            return retime(await self._shown(row, seq), shift_ms / 1000)
        segment = _segment(row)
        return retime(await self._media(segment, await self._entry(segment, seq)), shift_ms / 1000)

    async def span(self, row: ObjectRow, seq: int) -> tuple[Instant, Instant]:
        """Return from when to when a fragment was captured.

        Raises:
            Missing: There is no such fragment.
            IntegrityError: The manifest, or the file, is not what was stored.
            Unavailable: Its view is being prepared; ask again.
        """
        if isinstance(row, UploadRow):
            piece = _piece(row, await self._shot(row, seq))
        else:
            piece = _piece_of(row, await self._entry(_segment(row), seq))
        return piece.captured_at, piece.end_at

    async def _entry(self, row: SegmentRow, seq: int) -> FragmentEntry:
        entry = next((one for one in (await self._manifest(row)).fragments if one.seq == seq), None)
        if entry is None:
            raise Missing(f"{row.key} holds no fragment {seq}")
        return entry

    # Delivered later

    async def _delivered(self, recorder_id: str, live: list[Piece], start: Instant, end: Instant) -> list[Piece]:
        """Return fragments of files that were delivered later, where no live footage is."""
        covered = sorted((piece.captured_at, piece.end_at) for piece in live)
        found: list[Piece] = []
        for row in await self._files(recorder_id, start, end):
            if not _missing_ms(covered, max(start, row.from_at), min(end, row.to_at), ms(GAP_MIN_S)):
                continue
            try:
                shots = (await self._view(row)).shots
            except Missing:  # a viewer sees a gap
                continue
            except IntegrityError:  # has been told
                continue
            pieces = [_piece(row, shot) for shot in shots]
            found += [one for one in pieces if one.captured_at < end and one.end_at > start and _is_new(one, covered)]
            covered = sorted([*covered, *((piece.captured_at, piece.end_at) for piece in found)])
        return found

    async def _files(self, recorder_id: str, start: Instant, end: Instant) -> list[UploadRow]:
        if self._views is None:
            return []
        rows: list[UploadRow] = []
        cursor: str | None = None
        while True:
            page = await self._uploads.page(recorder_id=recorder_id, from_at=start, to_at=end, cursor=cursor)
            rows += page.items
            cursor = page.cursor
            if cursor is None:
                return rows

    async def _view(self, row: UploadRow) -> View:
        if self._views is None:
            raise Missing(f"{row.key} is not shown here")
        try:
            return await self._views.of(row)
        except InvalidMedia as error:
            raise Missing(f"{row.key} cannot be shown: {error}") from error
        except IntegrityError as error:
            raise await self._refuse(row, error) from error

    async def _shot(self, row: UploadRow, seq: int) -> Shot:
        shots = (await self._view(row)).shots
        if seq >= len(shots):
            raise Missing(f"{row.key} holds no fragment {seq}")
        return shots[seq]

    async def _shown(self, row: UploadRow, seq: int) -> Media:
        shot = await self._shot(row, seq)
        if self._views is None:
            raise Missing(f"{row.key} is not shown here")
        try:
            return playable(await self._views.shot(row, shot))
        except InvalidMedia as error:
            raise Missing(f"{row.key} cannot be read") from error

    # Live footage

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

    async def _pieces(self, row: SegmentRow, start: Instant, end: Instant) -> list[Piece]:
        """Return the fragments of a segment that lie in a span; none of a segment that cannot be read."""
        try:
            manifest = await self._manifest(row)
        except IntegrityError:  # has been told; a viewer sees a gap
            return []
        pieces = [_piece_of(row, entry) for entry in manifest.fragments]
        return [piece for piece in pieces if piece.captured_at < end and piece.end_at > start]

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

    async def _refuse(self, row: ObjectRow, error: IntegrityError) -> IntegrityError:
        """Tell of an object that is not what was stored; return what its viewer is told."""
        fault: IntegrityFault = "altered" if await self._is_there(row) else "missing"
        if (row.key, fault) not in self._told:
            log.error("playback: %s: %s", row.key, error)
            await self._on_fault(row.recorder_id, row.key, fault)
            self._told[row.key, fault] = None
            if len(self._told) > MAX_TOLD:
                self._told.popitem(last=False)
        return error

    async def _is_there(self, row: ObjectRow) -> bool:
        return any(one.version_id == row.version_id for one in await self._store.versions(row.key))

    async def _range(self, row: SegmentRow, start: int, length: int) -> bytes:
        return b"".join([piece async for piece in self._store.open_range(row.key, row.version_id, start, length)])


def _listed(pieces: list[Piece], base: Instant, start: Instant, end: Instant, target_s: int) -> Iterator[Entry]:
    at = start
    last: Piece | None = None
    inits: str | None = None
    for piece in pieces:
        if last is not None and piece.captured_at < at - OVERLAP_MS and not _breaks(last, piece, 0):
            continue
        token = base64.urlsafe_b64encode(piece.row.key.encode()).decode()
        init_uri = f"playback/{token}/init.mp4"
        yield from _gap(at, piece.captured_at, inits or init_uri, target_s)
        yield Entry(
            uri=f"playback/{token}/{piece.seq}-{piece.row.from_at - base}.m4s",
            duration_s=piece.duration_s,
            captured_at=piece.captured_at,
            init_uri=init_uri,
            discontinuity=last is not None and _breaks(last, piece, piece.captured_at - at),
        )
        at, last, inits = piece.end_at, piece, init_uri
    yield from _gap(at, end, inits or "", target_s)


def _breaks(last: Piece, piece: Piece, missing_ms: int) -> bool:
    """Tell whether a player must begin anew: media is missing, or another recording of the scene goes on."""
    delivered = isinstance(last.row, UploadRow) or isinstance(piece.row, UploadRow)
    return missing_ms > ms(GAP_MIN_S) or (delivered and last.row.key != piece.row.key)


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


def _segment(row: ObjectRow) -> SegmentRow:
    if not isinstance(row, SegmentRow):
        raise Missing(f"{row.key} is no live footage")
    return row


def _piece_of(row: ObjectRow, entry: FragmentEntry) -> Piece:
    return Piece(row, entry.seq, entry.captured_at, entry.duration_s)


def _piece(row: UploadRow, shot: Shot) -> Piece:
    """Place a fragment of a view in time: the file begins when its sender says."""
    return Piece(row, shot.seq, row.from_at.plus(shot.at_ms), shot.duration_ms / 1000)


def _is_new(piece: Piece, covered: list[tuple[Instant, Instant]]) -> bool:
    """Tell whether most of a fragment lies where nothing is yet."""
    return 2 * _missing_ms(covered, piece.captured_at, piece.end_at, 0) > piece.end_at - piece.captured_at


def _missing_ms(covered: list[tuple[Instant, Instant]], start: Instant, end: Instant, at_least_ms: int) -> int:
    """Return how much of a span is not covered, by holes longer than this alone."""
    at, missing = start, 0
    for begin, until in [*covered, (end, end)]:
        hole = min(begin, end) - at
        missing += hole if hole > at_least_ms else 0
        at = max(at, until)
    return missing
