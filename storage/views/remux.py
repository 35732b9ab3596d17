"""A file remuxed for watching by a process of its own (`storage.views.child`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Final

from domain.errors import InvalidMedia, Unavailable

PLAYABLE: Final = frozenset({"mp4", "ts", "avi"})
"""Containers that can be taken apart."""
WALL_S: Final = 600.0
"""The child's own limit of processor time is shorter, but this stands behind everything else."""
_MORE_BYTES: Final = 64 * 1024 * 1024
"""A view is about as long as its file: containers differ by a few per cent."""


async def remux(source: Path, target: Path, container: str) -> None:
    """Write the view of a file: fragmented MP4, or the same with QuickTime's sample entries where its sound is PCM.

    Args:
        source: The file.
        target: Where the view goes; replaced whole, and not there where this fails.
        container: `mp4`, `ts` or `avi`.

    Raises:
        InvalidMedia: There is nothing in it that can be shown, or it cannot be taken apart.
        Unavailable: No child can be started, or there is no room.
    """
    if container not in PLAYABLE:
        msg = f"a file of container {container!r} cannot be shown"
        raise InvalidMedia(msg)
    draft = target.with_name(target.name + ".draft")
    try:
        with source.open("rb") as reading, draft.open("wb") as writing:
            limit = os.fstat(reading.fileno()).st_size + _MORE_BYTES
            command = (sys.executable, "-I", "-m", "storage.views.child", container, str(limit))
            process = await asyncio.create_subprocess_exec(
                *command, stdin=reading, stdout=writing, stderr=PIPE, env=_environment(), cwd="/"
            )
            await _finished(process)
        draft.rename(target)
    except OSError as error:
        msg = f"no view can be made: {error.strerror or error}"
        raise Unavailable(msg) from error
    finally:
        draft.unlink(missing_ok=True)


async def _finished(process: Process) -> None:
    try:
        async with asyncio.timeout(WALL_S):
            _, said = await process.communicate()
    except TimeoutError as error:
        msg = f"it takes longer than {WALL_S:g} s to take apart"
        raise InvalidMedia(msg) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        why = lines[-1][:500] if lines else f"the process that takes it apart ended with {process.returncode}"
        raise InvalidMedia(why)


def _environment() -> dict[str, str]:
    """Nothing of ours: no keys, no addresses."""
    return {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
