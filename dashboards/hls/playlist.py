"""Media playlists (RFC 8216 and its second edition, draft-pantos-hls-rfc8216bis). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain.clock import Instant

VERSION = 8
"""`EXT-X-GAP` needs it."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One media segment of a playlist.

    Attributes:
        uri: Where it is; for a gap, a name that nobody asks for.
        duration_s: `EXTINF`.
        captured_at: Wall-clock time of its start.
        init_uri: Of its init segment.
        discontinuity: Another feed or another init segment begins.
        gap: Nothing is there.
        byte_range: (length, start) in the resource; None for all of it.
        init_range: The same of the init segment.
    """

    uri: str
    duration_s: float
    captured_at: Instant
    init_uri: str
    discontinuity: bool = False
    gap: bool = False
    byte_range: tuple[int, int] | None = None
    init_range: tuple[int, int] | None = None


def render(
    entries: Sequence[Entry], *, target_s: int, first: int, discontinuities: int = 0, ended: bool = False
) -> str:
    """Return the playlist.

    Args:
        entries: In order.
        target_s: `EXT-X-TARGETDURATION`.
        first: Media sequence number of the first entry.
        discontinuities: How many discontinuities have left the playlist.
        ended: Nothing will be added; a recording, not a live feed.
    """
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{VERSION}", f"#EXT-X-TARGETDURATION:{target_s}"]
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
    if discontinuities:
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}")
    if ended:
        lines.append("#EXT-X-PLAYLIST-TYPE:VOD")
    init: tuple[str, tuple[int, int] | None] | None = None
    for entry in entries:
        if entry.discontinuity:
            lines.append("#EXT-X-DISCONTINUITY")
        if init != (entry.init_uri, entry.init_range):
            init = (entry.init_uri, entry.init_range)
            lines.append(f'#EXT-X-MAP:URI="{entry.init_uri}"{_map_range(entry.init_range)}')
        lines += _entry(entry)
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def target_duration(durations_s: Sequence[float]) -> int:
    """Return the smallest whole number of seconds that no rounded duration exceeds, at least 1."""
    return max(1, *(int(duration + 0.5) for duration in durations_s)) if durations_s else 1


def _entry(entry: Entry) -> list[str]:
    lines = [f"#EXT-X-PROGRAM-DATE-TIME:{entry.captured_at.rfc3339()}"]
    if entry.gap:
        lines.append("#EXT-X-GAP")
    lines.append(f"#EXTINF:{entry.duration_s:.5f},")
    if entry.byte_range is not None:
        lines.append(f"#EXT-X-BYTERANGE:{entry.byte_range[0]}@{entry.byte_range[1]}")
    return [*lines, entry.uri]


def _map_range(byte_range: tuple[int, int] | None) -> str:
    return "" if byte_range is None else f',BYTERANGE="{byte_range[0]}@{byte_range[1]}"'
