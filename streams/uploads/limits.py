"""What one recorder may have on our disk, so that none keeps the others out."""

from __future__ import annotations

import shutil

import msgspec

from domain.settings import Settings
from streams.ingest.api.problems import Problem, unavailable
from streams.uploads.shelf import Shelf
from streams.uploads.upload import Upload


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of uploads.

    Attributes:
        file_bytes: Of one file.
        recorder_bytes: Of all of one recorder's that are coming or waiting for the store, as announced.
        recorder_files: Of one recorder's that are coming.
        free_bytes: Always left free on the disk.
        expires_s: An upload from which nothing came for so long is removed.
    """

    file_bytes: int
    recorder_bytes: int
    recorder_files: int
    free_bytes: int
    expires_s: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Take them from the settings."""
        return cls(
            file_bytes=settings.upload_max_bytes,
            recorder_bytes=settings.upload_recorder_bytes,
            recorder_files=settings.upload_recorder_files,
            free_bytes=settings.upload_free_bytes,
            expires_s=settings.upload_expires_s,
        )


def room_for(upload: Upload, shelf: Shelf, limits: Limits) -> None:
    """See whether one more may begin. Blocking.

    Raises:
        Problem: 413, too large for any; 503, as many as one recorder may have at once; 507, no room for it.
    """
    if upload.length_bytes > limits.file_bytes:
        more = {"limit_bytes": limits.file_bytes}
        raise Problem(413, f"at most {limits.file_bytes} bytes in a file", more=more)
    coming = [one for one in shelf.uploads(shelf.partial) if not one.delivered_ms]
    own = [one for one in coming if one.recorder_id == upload.recorder_id]
    if len(own) >= limits.recorder_files:
        raise unavailable(f"{len(own)} uploads of this recorder are not whole yet; finish or end one of them")
    waiting = [one for one in shelf.uploads(shelf.ready) if one.recorder_id == upload.recorder_id]
    taken = sum(one.length_bytes for one in (*own, *waiting))
    if taken + upload.length_bytes > limits.recorder_bytes:
        msg = f"{taken} bytes of this recorder are here and not in the store yet; at most {limits.recorder_bytes}"
        raise Problem(507, msg, headers={"Retry-After": "60"}, more={"limit_bytes": limits.recorder_bytes})
    owed = sum(one.length_bytes - shelf.offset(one.id) for one in coming)
    if shutil.disk_usage(shelf.root).free - owed - upload.length_bytes < limits.free_bytes:
        raise Problem(507, "the disk has no room for it", headers={"Retry-After": "60"})
