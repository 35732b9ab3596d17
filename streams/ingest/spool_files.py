"""The spool's files: a lock, parcels written whole or not at all, blocks held in reserve. All may raise OSError."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from domain.errors import Refused
from streams.ingest.journal import write_all

LARGEST_REJECT_BYTES: Final = 1_000_000
"""Of a damaged parcel, so much goes to topic `rejected`; the whole file is kept in `damaged/`."""


def take_lock(path: Path) -> int:
    """Return the descriptor that holds the lock; it ends with it.

    Raises:
        Refused: Another process has it.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        msg = f"spool {path.parent}: in use by another process; give each ingest worker a worker_id"
        raise Refused(msg) from error
    return file


def write_file(path: Path, pieces: Sequence[bytes], *, fsync: bool) -> None:
    """Write a draft, then give it its name; of what fails nothing is left."""
    draft = path.with_suffix(".part")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(file, pieces)
        if fsync:
            os.fsync(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
    draft.rename(path)
    if fsync:
        _sync_directory(path.parent)


def reserve(path: Path, size_bytes: int) -> None:
    """Make a file of real blocks, to be let go when the file system has no other."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(file, 0, size_bytes)
    finally:
        os.close(file)


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file, none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_REJECT_BYTES)
    except OSError:
        return b""


def _sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
