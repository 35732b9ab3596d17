"""Where ingest hands its access units: the one thing RTSP and WHIP know of what comes after them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from domain.media import AccessUnit, TrackParams


class NoteKind(StrEnum):
    """What a note is about."""

    PLAYING = "playing"
    LOSS = "loss"
    REJECTED = "rejected"
    UNSUPPORTED = "unsupported"
    RESTARTED = "restarted"
    TRANSPORT = "transport"
    CLOCK = "clock"
    REDIRECTED = "redirected"


class Sink(Protocol):
    """Takes what a feed gives. Called synchronously from the transport's callback: must be quick and must not raise."""

    def on_tracks(self, tracks: Sequence[TrackParams | None]) -> None:
        """Learn of the tracks, in the order of `AccessUnit.track`; called once, before the first unit.

        An entry is None where the parameters are not known before the first unit, or the track is of a codec that is
        not taken, of which no unit will come (a note says so).
        """
        ...

    def on_unit(self, unit: AccessUnit) -> None:
        """Take one access unit, in decoding order within its track."""
        ...

    def on_note(self, kind: NoteKind, detail: str) -> None:
        """Learn what a person should know; repeating ones at most once a second a kind."""
        ...
