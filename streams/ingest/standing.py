"""What a worker knew and did, on disk, so that after kill -9 it records again before it has heard from the log.

Reading it instead of the log makes a start a second or two faster, and possible at all while the log is away.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from domain import wire
from domain.errors import InvalidEvent
from domain.registry import Registration

SAVE_EVERY_S: Final = 1.0
"""A fleet of 10,000 is some 3 MB: written this often at most, while registrations come in."""
_log = logging.getLogger(__name__)


class Standing(msgspec.Struct, frozen=True):
    """What is remembered.

    Attributes:
        registrations: Every recorder's newest registration.
        pulled: Cameras that this worker pulled.
    """

    registrations: list[Registration] = []
    pulled: list[str] = []

    @property
    def cameras(self) -> list[Registration]:
        """The registrations of the cameras that are to be pulled again at once."""
        pulled = frozenset(self.pulled)
        return [one for one in self.registrations if one.recorder_id in pulled and one.url and one.state == "active"]


class StandingFile:
    """Keeps it in a file, written when something has changed.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: tuple[int, frozenset[str]] | None = None
        self._saved_s = float("-inf")

    def load(self) -> Standing:
        """Read it; where there is none, or none that can be read, nothing is remembered."""
        try:
            return wire.convert(msgspec.json.decode(self._path.read_bytes()), Standing)
        except FileNotFoundError:
            return Standing()
        except (OSError, msgspec.DecodeError, InvalidEvent) as error:
            _log.warning("%s: %s; waiting for the log", self._path, error)
            return Standing()

    def save_if_changed(
        self, version: int, pulled: frozenset[str], registrations: Callable[[], list[Registration]], now_s: float
    ) -> None:
        """Write it where the registrations' version or the cameras are others than those written last."""
        mark = (version, pulled)
        if mark == self._saved or now_s - self._saved_s < SAVE_EVERY_S:
            return
        self._saved_s = now_s
        draft = self._path.with_suffix(".draft")
        try:
            draft.write_bytes(wire.encode(Standing(registrations(), sorted(pulled))))
            os.replace(draft, self._path)
        except OSError as error:
            _log.warning("%s: %s", self._path, error)  # the next start waits for the log
        else:
            self._saved = mark
