"""One part file of a partition as readers see it: how far it may be read, and where its offsets stand."""

from __future__ import annotations

import errno
import os
from array import array
from bisect import bisect_right
from pathlib import Path

from domain.errors import IntegrityError
from streams.bus.framing import FRAME_MIN_BYTES, HEADER_BYTES, Mark, frame_bytes, frame_offset

INDEX_EVERY_BYTES = 65_536
_SCAN_BYTES = 1 << 20


class Descriptor:
    """An open file that closes itself with the last reader that holds it, in whatever thread that is."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        number = getattr(self, "number", None)
        if number is not None:
            os.close(number)

    def read(self, position: int, size: int, *, wait: bool) -> memoryview:
        """Return up to `size` bytes; without `wait` only what the page cache holds.

        Raises:
            BlockingIOError: Nothing of it is in memory.
        """
        buffer = bytearray(size)
        got = os.preadv(self.number, [buffer], position) if wait else _read_cached(self.number, buffer, position)
        return memoryview(buffer)[:got]

    def read_value(self, position: int, size: int, *, wait: bool) -> bytes:
        """Return `size` bytes without copying them once more.

        Raises:
            BlockingIOError: Without `wait`, and the last of it is not in memory.
        """
        if not wait and size:
            _read_cached(self.number, bytearray(1), position + size - 1)
        return os.pread(self.number, size, position)


def _read_cached(number: int, buffer: bytearray, position: int) -> int:
    """Read what is in memory; a file system that cannot tell (tmpfs) has everything there, or is asked to wait.

    Raises:
        BlockingIOError: Nothing of it is in memory.
    """
    try:
        return os.preadv(number, [buffer], position, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return os.preadv(number, [buffer], position)


class Part:
    """A part file.

    `synced` is replaced as a whole by the writer once data are on the disk, and is all that readers may see.

    Attributes:
        path: The file.
        base_offset: Offset of the first record it may hold.
        created: When it was begun.
        synced: What may be read.
        compacted: Made by compaction: its offsets may have holes.
        damage: What is wrong in the middle of it, empty where nothing is known.
    """

    __slots__ = ("_offsets", "_positions", "base_offset", "compacted", "created", "damage", "path", "synced")

    def __init__(
        self, path: Path, base_offset: int, created: int, synced: Mark, *, compacted: bool = False, damage: str = ""
    ) -> None:
        self.path = path
        self.base_offset = base_offset
        self.created = created
        self.synced = synced
        self.compacted = compacted
        self.damage = damage
        self._offsets: array[int] | None = None
        self._positions: array[int] = array("Q")

    @property
    def end_offset(self) -> int:
        """Offset of the first record that is in a later part, or not yet written."""
        return self.synced.next_offset

    def start_index(self) -> None:
        """Begin an index that `note` fills while the part is written."""
        self._positions = array("Q", [HEADER_BYTES])
        self._offsets = array("Q", [self.base_offset])

    def note(self, offset: int, position: int) -> None:
        """Tell the index where a record begins. Only the part's writer calls this, in order."""
        if self._offsets is not None and position - self._positions[-1] >= INDEX_EVERY_BYTES:
            self._positions.append(position)  # first: readers go by the length of the other
            self._offsets.append(offset)

    def forget_after_synced(self) -> None:
        """Take back what `note` was told of records that did not come to be."""
        while self._offsets is not None and len(self._offsets) > 1 and self._positions[-1] >= self.synced.position:
            self._offsets.pop()  # first: readers go by its length
            self._positions.pop()

    @property
    def indexed(self) -> bool:
        """Whether `position_before` answers from memory."""
        return self._offsets is not None

    def position_before(self, offset: int) -> int:
        """Return where a record begins that is not after `offset`, at most `INDEX_EVERY_BYTES` and one record away."""
        if self._offsets is None:
            self._build_index()
        offsets = self._offsets or array("Q", [0])
        return self._positions[max(0, bisect_right(offsets, offset) - 1)]

    def _build_index(self) -> None:
        """Hop from frame to frame; what the frames hold is checked when they are read."""
        source = Descriptor(self.path)
        end = self.synced.position
        offsets, positions = array("Q", [self.base_offset]), array("Q", [HEADER_BYTES])
        at = HEADER_BYTES
        view, view_at = memoryview(b""), 0
        while at + FRAME_MIN_BYTES <= end:
            if not view_at <= at <= view_at + len(view) - FRAME_MIN_BYTES:
                view, view_at = source.read(at, min(_SCAN_BYTES, end - at), wait=True), at
            if len(view) < FRAME_MIN_BYTES:
                break
            if at - positions[-1] >= INDEX_EVERY_BYTES:
                positions.append(at)
                offsets.append(frame_offset(view, at - view_at))
            at += frame_bytes(view, at - view_at)
        if list(offsets) != sorted(offsets):
            # Damaged lengths send the hops astray: readers then go from the beginning, up to the damage.
            offsets, positions = offsets[:1], positions[:1]
        self._positions = positions
        self._offsets = offsets

    def broken(self, topic: str, partition: int, offset: int, position: int, why: str) -> IntegrityError:
        """Return the error that says where this part is damaged."""
        return IntegrityError(
            f"{topic}-{partition}: the record at offset {offset}, byte {position} of {self.path}, is damaged: {why}"
        )
