"""Playable copies of files that were delivered later, each by itself: their times are what their senders said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from domain.errors import InvalidMedia
from storage.catalog.rows import UploadRow
from storage.export.remux import Copy
from storage.views.remux import PLAYABLE, remux

_BRAND = slice(8, 12)
_QUICKTIME = b"qt  "


async def play(originals: Sequence[tuple[Path, UploadRow]], folder: Path, first: int) -> list[Copy]:
    """Write the playable copies; a file of which nothing can be shown has none.

    Args:
        originals: The files and what is known of them.
        folder: Where the copies go, which is there: `<number>.mp4`; `.mov` where the sound has no place in MP4.
        first: Number of the first.

    Raises:
        Unavailable: There is no room, or no process that takes them apart.
    """
    copies: list[Copy] = []
    for source, row in originals:
        if row.media not in PLAYABLE:
            continue
        made = folder / f"{first + len(copies)}.mp4"
        try:
            await remux(source, made, row.media)
        except InvalidMedia:
            continue
        named = await asyncio.to_thread(_named, made)
        copies.append(Copy(named, row.from_at, row.to_at, []))
    return copies


def _named(path: Path) -> Path:
    with path.open("rb") as file:
        head = file.read(_BRAND.stop)
    return path.rename(path.with_suffix(".mov")) if head[_BRAND] == _QUICKTIME else path
