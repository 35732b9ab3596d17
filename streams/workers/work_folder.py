"""The folder of a worker's part files: one process's alone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from domain.errors import InvalidSettings


def own(folder: Path) -> int:
    """Take the work folder for this process alone, and throw away what a former one left in it.

    Returns:
        A file descriptor; the folder is free again when it is closed.

    Raises:
        InvalidSettings: In use by another process, or not usable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"work: {folder} cannot be used: {error.strerror}"
        raise InvalidSettings(msg, "work") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        msg = f"work: {folder} is in use by another process"
        raise InvalidSettings(msg, "work") from error
    for part in folder.glob("*.part"):
        part.unlink()
    return lock
