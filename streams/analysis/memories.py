"""What is remembered of all recorders of a worker, and the file that keeps the references over a restart.

Without the file a camera that was turned would count as well placed after a restart: its first picture would be the
reference. A worker that takes a camera over from another begins with a new reference; the file stays with its machine.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from streams.analysis.scene import THUMB, Memory, Reference

MAX_RECORDERS: Final = 4_096
"""The one unused for longest is forgotten; 0.2 MB each."""
VIEW_BYTES: Final = 4 * THUMB[0] * THUMB[1]

_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, array_like=True):
    """What stands in the file of one recorder: grey, then (grey, reference), then (grey, since, reference)."""

    grey: bool
    references: list[tuple[bool, Reference]]
    others: list[tuple[bool, int, Reference]]


class Memories:
    """Memories by recorder.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Memory] = {}
        self._changed = False

    def of(self, recorder_id: str) -> Memory:
        """Return what is remembered of a recorder, to be changed."""
        memory = self._known.pop(recorder_id, None) or Memory()
        self._known[recorder_id] = memory  # now the most recently used
        if len(self._known) > MAX_RECORDERS:
            del self._known[next(iter(self._known))]
        self._changed = True
        return memory

    def load(self) -> None:
        """Read the file; one that is missing or damaged is as none, and said."""
        try:
            kept = msgspec.msgpack.decode(self._path.read_bytes(), type=dict[str, Kept])
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("%s: reference pictures begin anew: %s", self._path, error)
            return
        for recorder_id, one in kept.items():
            self._known[recorder_id] = Memory(
                grey=one.grey,
                references={grey: reference for grey, reference in one.references if _is_whole(reference)},
                others={grey: (since, reference) for grey, since, reference in one.others if _is_whole(reference)},
            )

    def save(self) -> None:
        """Write the file anew, whole or not at all; blocking. A disk that is full is said, and no more."""
        if not self._changed:
            return
        kept = {name: _kept(memory) for name, memory in list(self._known.items()) if memory.references}
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(msgspec.msgpack.encode(kept))
            os.replace(fresh, self._path)
        except OSError as error:
            _log.warning("%s: reference pictures are not kept: %s", self._path, error)
            return
        self._changed = False


def _kept(memory: Memory) -> Kept:
    references = [(grey, reference) for grey, reference in memory.references.items()]
    return Kept(memory.grey, references, [(grey, since, one) for grey, (since, one) in memory.others.items()])


def _is_whole(reference: Reference) -> bool:
    return len(reference.view) == VIEW_BYTES
