"""Keyframes often enough for a recording: browsers send one at the start, and then only when asked. Pure."""

from __future__ import annotations

from typing import Final

from streams.ingest.rtp.rtcp import picture_loss, receiver_report, source_description

WITHIN_S: Final = 3.5
"""A fragment begins at a keyframe and lasts at most 4 s: time for the request and for the encoder."""
_ASK_EVERY_S: Final = 1.0


class KeyframeRefresh:
    """Asks for a keyframe when the last one is old. Senders with a short group of pictures are never asked.

    Args:
        ssrc: Ours.
        cname: Our canonical name.
    """

    def __init__(self, ssrc: int, cname: str = "liuhen") -> None:
        self._ssrc = ssrc
        self._cname = cname
        self._last_s: float | None = None
        self._asked_s = float("-inf")

    def keyframe(self, now_s: float) -> None:
        """Learn that one came."""
        self._last_s = now_s

    def due(self, now_s: float, media_ssrc: int) -> bytes:
        """Return a request if one is due, else nothing. The first keyframe is the RTP core's to ask for."""
        if self._last_s is None or now_s - self._last_s < WITHIN_S or now_s - self._asked_s < _ASK_EVERY_S:
            return b""
        self._asked_s = now_s
        head = receiver_report(self._ssrc, []) + source_description(self._ssrc, self._cname)
        return head + picture_loss(self._ssrc, media_ssrc)
