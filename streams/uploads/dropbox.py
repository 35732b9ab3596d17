"""A watched folder, for docking stations that copy files instead of speaking to us.

Layout: ``<recorder>/<session>/<from>_<to>.<ext>``, times as ISO 8601 (`20260131T080910+0800` does without colons;
without an offset they are China's), and beside it, where the station can, ``<from>_<to>.<ext>.json`` with `sha256`. The
file is copied, never moved, into our own folder: whoever still had it open could otherwise write into evidence. What
cannot be taken goes to ``_rejected/`` with a reason beside it; nothing is ever deleted that was not copied whole.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from domain.clock import CHINA, Clock, Instant
from domain.errors import InvalidInput
from streams.uploads.limits import Limits
from streams.uploads.shelf import Shelf, digest_of, sync
from streams.uploads.upload import Upload, described, media_of

REJECTED: Final = "_rejected"
_MAX_SIDECAR_BYTES: Final = 65_536
MAX_FILES: Final = 10_000
"""Looked at in one round; the rest has its turn when these are gone."""

_log = logging.getLogger(__name__)


class _Seen(NamedTuple):
    size: int
    mtime_ns: int
    since_s: float


class Dropbox:
    """The folder. Blocking; used by one thread at a time.

    Args:
        root: Watched folder.
        shelf: Where whole files go.
        limits: Largest file, and what stays free on the disk.
        clock: For stability and for the time of delivery.
        is_registered: Whether a recorder is known.
        stable_s: See `domain.settings`.
    """

    def __init__(
        self,
        root: Path,
        shelf: Shelf,
        limits: Limits,
        clock: Clock,
        is_registered: Callable[[str], bool],
        *,
        stable_s: float,
    ) -> None:
        self._root, self._shelf, self._limits, self._clock = root, shelf, limits, clock
        self._is_registered, self._stable_s = is_registered, stable_s
        self._seen: dict[Path, _Seen] = {}

    def look(self) -> int:
        """Take what is whole; returns how many files were taken.

        Raises:
            OSError: The folder cannot be read.
        """
        taken = 0
        present: dict[Path, _Seen] = {}
        for path in self._files():
            about = path.lstat()
            now_s = self._clock.monotonic()
            seen = self._seen.get(path)
            if seen is None or (seen.size, seen.mtime_ns) != (about.st_size, about.st_mtime_ns):
                seen = _Seen(about.st_size, about.st_mtime_ns, now_s)
            if now_s - seen.since_s >= self._stable_s:
                taken += self._settle(path, about)
            present[path] = seen
        self._seen = present
        return taken

    def _files(self) -> Iterator[Path]:
        count = 0
        for path in sorted(self._root.glob("*/*/*")):
            if path.suffix == ".json" or REJECTED in path.parts or not stat.S_ISREG(path.lstat().st_mode):
                continue
            count += 1
            if count > MAX_FILES:
                return
            yield path

    def _settle(self, path: Path, about: os.stat_result) -> int:
        try:
            self._take(path, about)
        except InvalidInput as error:
            self._reject(path, str(error))
            return 0
        except OSError as error:
            _log.warning("%s: not taken yet: %s", path.name, error)
            return 0
        return 1

    def _take(self, path: Path, about: os.stat_result) -> None:
        """Copy, hash the copy, hand it on, and only then remove the source."""
        if about.st_size == 0 or about.st_size > self._limits.file_bytes:
            msg = f"{about.st_size} bytes: must be 1 to {self._limits.file_bytes}"
            raise InvalidInput(msg, "bytes")
        recorder_id, session_id = path.parts[-3:-1]
        sidecar = _sidecar(path)
        start, end = _times(path)
        said = {"recorder_id": recorder_id, "session_id": session_id, "from": start, "to": end, "sha256": "0" * 64}
        now = self._clock.now()
        upload = described(secrets.token_hex(16), said, length_bytes=about.st_size, now=now, via="folder")
        if not self._is_registered(recorder_id):
            msg = f"recorder_id: {recorder_id} is not registered"
            raise InvalidInput(msg, "recorder_id")
        if shutil.disk_usage(self._shelf.root).free - about.st_size < self._limits.free_bytes:
            _log.warning("%s: waits for room on the disk", path.name)
            return
        draft = self._shelf.partial / f"{upload.id}.copy"
        try:
            self._copied(path, draft, upload, sidecar.get("sha256"), about)
        finally:
            draft.unlink(missing_ok=True)
        path.unlink()
        path.with_name(path.name + ".json").unlink(missing_ok=True)

    def _copied(self, path: Path, draft: Path, upload: Upload, expected: Any, about: os.stat_result) -> None:
        shutil.copyfile(path, draft, follow_symlinks=False)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        after = path.lstat()
        if (after.st_size, after.st_mtime_ns) != (about.st_size, about.st_mtime_ns):
            msg = "it is still being written"
            raise OSError(msg)
        sha256 = digest_of(draft)
        if expected is not None and str(expected).lower() != sha256:
            msg = f"sha256: the file's is {sha256}, not the {str(expected)[:64]} of its sidecar"
            raise InvalidInput(msg, "sha256")
        now = int(self._clock.now())
        self._shelf.adopt(
            msgspec.structs.replace(upload, sha256=sha256, delivered_ms=now, media=media_of(draft)), draft
        )
        sync(self._shelf.partial)

    def _reject(self, path: Path, reason: str) -> None:
        place = self._root / REJECTED / path.relative_to(self._root)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.with_name(place.name + ".reason").write_text(reason + "\n")
            for one, target in (
                (path.with_name(path.name + ".json"), place.with_name(place.name + ".json")),
                (path, place),
            ):
                if one.exists():
                    one.rename(target)
        except OSError as error:
            _log.error("%s: %s; and it cannot be moved aside: %s", path.name, reason, error)
            return
        _log.warning("%s: %s", path.name, reason)


def _sidecar(path: Path) -> dict[str, Any]:
    beside = path.with_name(path.name + ".json")
    if not beside.is_file():
        return {}
    try:
        with beside.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_SIDECAR_BYTES), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{beside.name}: {error}"
        raise InvalidInput(msg, "sidecar") from error


def _times(path: Path) -> tuple[str, str]:
    start, separator, end = path.name.removesuffix(path.suffix).partition("_")
    if not separator:
        msg = "name: not <from>_<to>.<ext>"
        raise InvalidInput(msg, "from")
    return _time(start, "from"), _time(end, "to")


def _time(text: str, name: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{name}: {text[:40]!r} is no time"
        raise InvalidInput(msg, name) from error
    return Instant.of(moment if moment.tzinfo else moment.replace(tzinfo=CHINA)).rfc3339()
