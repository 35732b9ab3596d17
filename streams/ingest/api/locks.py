"""One lock a recorder, so that two requests never both find no session open."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class RecorderLocks:
    """Locks by recorder; those that nobody holds or waits for are gone by themselves."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, recorder_id: str) -> asyncio.Lock:
        """Return the recorder's lock."""
        lock = self._locks.get(recorder_id)
        if lock is None:
            lock = self._locks[recorder_id] = asyncio.Lock()
        return lock
