"""Files and folders on a local disk: durable, linked rather than copied, immutable where that can be had."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from domain.errors import StoreUnfit
from storage.objects.port import SourceDamaged

_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_IMMUTABLE_FL of linux/fs.h."""


def linked(source: Path, staged: Path) -> bool:
    """Link instead of copying, where the file system lets us."""
    try:
        staged.hardlink_to(source)
    except OSError as error:
        if error.errno in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}:
            return False
        raise
    return True


def copy(source: Path | bytes, target: Path, *, sync: bool = False) -> None:
    """Write bytes or a file's content to a new file, fsynced where wanted."""
    with target.open("xb") as out:
        if isinstance(source, bytes):
            out.write(source)
        else:
            _copy_file(source, out.fileno())
        out.flush()
        if sync:
            os.fsync(out.fileno())


def _copy_file(source: Path, out: int) -> None:
    with source.open("rb") as data:
        left = os.fstat(data.fileno()).st_size
        while left > 0:
            sent = os.sendfile(out, data.fileno(), None, left)
            if not sent:
                msg = f"{source}: became shorter while it was copied"
                raise SourceDamaged(msg)
            left -= sent


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files(folder: Path) -> Iterator[Path]:
    """Files below a folder, in the order of their keys' bytes: a folder sorts as its name and a slash."""
    try:
        entries = [(f"{entry.name}/" if entry.is_dir() else entry.name, entry.path) for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, path in sorted(entries):
        if name.endswith("/"):
            yield from files(Path(path))
        else:
            yield Path(path)


def set_immutable(path: Path, wanted: bool) -> None:
    """Set or clear the immutable attribute; clearing it where there is none is no error."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags: int = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("i", 0)))[0]
        changed = flags | _IMMUTABLE if wanted else flags & ~_IMMUTABLE
        if changed != flags:
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", changed))
    except OSError as error:
        if wanted or error.errno not in {errno.ENOTTY, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(descriptor)


def probe_link(staged: Path, linked: Path) -> None:
    """Show that a link makes a name, and never replaces one; raises `StoreUnfit`."""
    try:
        linked.hardlink_to(staged)
    except OSError as error:
        msg = f"{staged.parent}: hard links do not work here ({error.strerror}); use a local file system or S3"
        raise StoreUnfit(msg) from error
    try:
        linked.hardlink_to(staged)
    except FileExistsError:
        return
    msg = f"{staged.parent}: a file may be replaced by a link to another; use a local file system or S3"
    raise StoreUnfit(msg)


def probe_immutable(path: Path) -> None:
    """Show that the immutable attribute can be set; raises `StoreUnfit`."""
    try:
        set_immutable(path, True)
    except OSError as error:
        msg = (
            f"{path.parent}: the immutable attribute cannot be set ({error.strerror}); "
            "run with CAP_LINUX_IMMUTABLE on ext4 or XFS, or without ?immutable=1"
        )
        raise StoreUnfit(msg) from error
    set_immutable(path, False)
