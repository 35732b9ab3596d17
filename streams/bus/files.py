"""The few calls to the file system that the embedded log makes, and a stand-in that fails by script."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

_MOST_BUFFERS = os.sysconf("SC_IOV_MAX")


class Files:
    """The real file system. Every call raises OSError as the kernel gave it."""

    def open(self, path: Path, *, create: bool = False) -> int:
        """Open for reading and writing; with `create`, the file must not exist."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0), 0o640)

    def write(self, descriptor: int, buffers: Sequence[bytes], position: int) -> int:
        """Write all buffers one after the other at `position`; return the position behind them."""
        waiting: list[bytes | memoryview] = [buffer for buffer in buffers if buffer]
        first = 0
        while first < len(waiting):
            written = os.pwritev(descriptor, waiting[first : first + _MOST_BUFFERS], position)
            position += written
            while first < len(waiting) and written >= len(waiting[first]):
                written -= len(waiting[first])
                first += 1
            if written:
                waiting[first] = memoryview(waiting[first])[written:]
        return position

    def sync(self, descriptor: int) -> None:
        """Return when the file's data, and its length, are on the disk."""
        os.fdatasync(descriptor)

    def forget(self, descriptor: int, start: int, stop: int) -> None:
        """Let the kernel drop synced bytes from memory; who reads them gets them from the disk."""
        os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_DONTNEED)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file off."""
        os.ftruncate(descriptor, length)

    def close(self, descriptor: int) -> None:
        """Let go of a descriptor."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`."""
        source.replace(target)

    def delete(self, path: Path) -> None:
        """Remove a file; one that is gone already is fine."""
        path.unlink(missing_ok=True)

    def sync_directory(self, directory: Path) -> None:
        """Return when the names in the directory are on the disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FaultyFiles(Files):
    """The real file system, but what the script says fails.

    `fail("sync", errno.EIO, times=2)` makes the next two syncs raise; `fill_after(n)` lets `n` more bytes be written,
    then writes stop short and raise ENOSPC until `heal()`.
    """

    def __init__(self) -> None:
        self._faults: dict[str, list[int]] = {}
        self._room_bytes: int | None = None

    def fail(self, call: str, number: int, times: int = 1) -> None:
        """Let the next `times` calls of that name raise OSError with that errno."""
        self._faults.setdefault(call, []).extend([number] * times)

    def fill_after(self, room_bytes: int) -> None:
        """Let the disk be full after so many more bytes."""
        self._room_bytes = room_bytes

    def heal(self) -> None:
        """Take all faults away."""
        self._faults.clear()
        self._room_bytes = None

    def _check(self, call: str) -> None:
        waiting = self._faults.get(call)
        if waiting:
            number = waiting.pop(0)
            raise OSError(number, os.strerror(number))

    def open(self, path: Path, *, create: bool = False) -> int:
        """Open, or fail."""
        self._check("open")
        return super().open(path, create=create)

    def write(self, descriptor: int, buffers: Sequence[bytes], position: int) -> int:
        """Write as much as there is room for, then fail."""
        self._check("write")
        if self._room_bytes is None:
            return super().write(descriptor, buffers, position)
        data = b"".join(buffers)
        fits = data[: self._room_bytes]
        self._room_bytes -= len(fits)
        end = super().write(descriptor, [fits], position)
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return end

    def sync(self, descriptor: int) -> None:
        """Sync, or fail."""
        self._check("sync")
        super().sync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        """Truncate, or fail."""
        self._check("truncate")
        super().truncate(descriptor, length)
