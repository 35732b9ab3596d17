"""A segment being gathered, on local disk: appended to as fragments come, hashed while it grows.

Nothing here is evidence yet. After a crash part files are thrown away and made again from the log, so they are not
fsynced: a store that needs their bytes on this disk does that itself when it takes them over.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path

from domain.events import Fragment
from storage.manifest import FragmentEntry, Manifest, box


class PartFile:
    """One segment's bytes. Blocking; used by one thread at a time.

    The file stays open while it grows, so that an error of writing back its pages cannot get lost between two opens.

    Attributes:
        path: Where it is.
        size: Bytes so far.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{uuid.uuid4().hex}.part"
        self.size = 0
        self._digest = hashlib.sha256()
        self._entries: list[FragmentEntry] = []
        self._init_bytes = 0
        self._sealed: str | None = None
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def append(self, event: Fragment, init: memoryview, media: memoryview) -> None:
        """Add a fragment; of the first, the init part too.

        Raises:
            OSError: Not written, or only partly; the file is of no use any more.
        """
        if not self._entries:
            self._init_bytes = len(init)
            self._write(init)
        entry = FragmentEntry(event.seq, event.captured_at, event.duration_s, self.size, len(media), event.sha256)
        self._write(media)
        self._entries.append(entry)

    def seal(self, recorder_id: str, session_id: str, feed_id: str, codec: str) -> str:
        """Write the manifest and close the file; the second time, only answer.

        Returns:
            SHA-256 of the whole.

        Raises:
            OSError: As for `append`.
        """
        if self._sealed is None:
            manifest = Manifest(
                recorder_id=recorder_id,
                session_id=session_id,
                feed_id=feed_id,
                codec=codec,
                init_bytes=self._init_bytes,
                fragments=self._entries,
            )
            self._write(memoryview(box(manifest)))
            self._close()
            self._sealed = self._digest.hexdigest()
        return self._sealed

    def drop(self) -> None:
        """Throw the file away."""
        self._close()
        self.path.unlink(missing_ok=True)

    def set_aside(self, folder: Path) -> Path:
        """Keep the file for a person to look at; returns where."""
        self._close()
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / self.path.name
        shutil.move(self.path, kept)
        return kept

    def _write(self, data: memoryview) -> None:
        left = data
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._digest.update(data)
        self.size += len(data)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
