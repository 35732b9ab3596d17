"""The process that remuxes: a file on standard input, fragmented MP4 on standard output, why it failed on the third.

python -I -m storage.views.child CONTAINER MAX_BYTES

FFmpeg takes apart what a stranger may have sent. So this process gets no environment, no keys and no file but these
two; once its libraries are loaded it may open no file and no socket any more, and use only so much memory, time and
room. Coded pictures and sound are copied, and of tracks whose coding is not on the list nothing.
"""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import resource
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import av
from av.bitstream import BitStreamFilterContext

FORMATS: Final = {"mp4": "mov", "ts": "mpegts", "avi": "avi"}
"""Demuxer of each container; no other may run."""
CODECS: Final = frozenset(
    {"h264", "hevc", "aac", "mp3", "mp3float", "opus", "libopus", "pcm_alaw", "pcm_mulaw", "pcm_s16le"}
)
"""What is copied, and what may be decoded a little to find out what a transport stream or AVI does not say."""
_QUICKTIME: Final = frozenset({"pcm_alaw", "pcm_mulaw", "pcm_s16le"})
"""What MP4 has no place for."""
MEMORY_BYTES: Final = 512 * 1024 * 1024
"""On top of what the libraries take; a fragment is held whole before it is written."""
CPU_S: Final = 120
FRAGMENT_BYTES: Final = 8 * 1024 * 1024
FRAGMENT_US: Final = 10_000_000
"""A fragment begins at a keyframe, or after so much without one."""
NICE: Final = 10


class Unplayable(Exception):
    """There is nothing in it that could be shown."""


def confine(max_bytes: int) -> None:
    """Give up what copying does not need. For good: the hard limits go down too."""
    os.nice(NICE)
    with open("/proc/self/statm", encoding="ascii") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, mapped + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # what is open stays open; nothing more is opened


def load() -> None:
    """Load what PyAV loads when it first needs it: it could not be opened later."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def main() -> None:
    """Copy one file."""
    load()
    container, max_bytes = sys.argv[1], int(sys.argv[2])
    source, target = io.FileIO(0, "rb", closefd=False), io.FileIO(1, "wb", closefd=False)
    confine(max_bytes)
    try:
        copy(source, target, FORMATS[container])
    except (av.FFmpegError, Unplayable, ValueError, IndexError, MemoryError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}"[:500])


def copy(source: Any, target: Any, form: str) -> None:
    """Copy what is on the list.

    Raises:
        Unplayable: Nothing is.
        av.FFmpegError: It cannot be taken apart.
    """
    probing = "none" if form == "mov" else ",".join(sorted(CODECS))
    options = {"format_whitelist": form, "protocol_whitelist": "", "codec_whitelist": probing, "fflags": "+genpts"}
    with av.open(source, "r", format=form, options=options) as container:
        kept = _kept(container)
        quicktime = any(stream.codec_context.name in _QUICKTIME for stream in kept)
        # The description waits for the first fragment: only then is it known when each track begins.
        flags = "frag_keyframe+delay_moov+default_base_moof+negative_cts_offsets"
        muxing = {"movflags": flags, "use_editlist": "0", "frag_size": str(FRAGMENT_BYTES)}
        if all(stream.type == "audio" for stream in kept):
            muxing["frag_duration"] = str(FRAGMENT_US)
        with av.open(target, "w", format="mov" if quicktime else "mp4", options=muxing) as view:
            _Writer(view, kept).write(container)


def _kept(container: Any) -> list[Any]:
    """Return the first picture and the first sound whose coding is on the list."""
    found: dict[str, Any] = {}
    for stream in container.streams:
        codec = stream.codec_context
        if stream.type in {"video", "audio"} and codec is not None and codec.name in CODECS:
            found.setdefault(stream.type, stream)
    if not found:
        names = ", ".join(sorted({_name(stream) for stream in container.streams})) or "no tracks"
        raise Unplayable(f"nothing in it can be shown: {names}")
    return list(found.values())


def _name(stream: Any) -> str:
    return stream.codec_context.name if stream.codec_context is not None else str(stream.type)


class _Writer:
    """Decode times begin at 0 with the earliest track, and never go back."""

    def __init__(self, view: Any, kept: list[Any]) -> None:
        self._view, self._kept = view, kept
        self._targets = {stream.index: view.add_stream_from_template(stream, opaque=True) for stream in kept}
        self._filters = {stream.index: _filter(stream) for stream in kept}
        self._last: dict[int, int] = {}
        self._begin: Fraction | None = None

    def write(self, container: Any) -> None:
        """Copy all packets; a file that is cut off is copied as far as it goes."""
        for packet in self._packets(container):
            index, base = packet.stream.index, packet.time_base
            through = self._filters[index]
            for part in [packet] if through is None else through.filter(packet):
                self._take(part, index, base)

    def _packets(self, container: Any) -> Iterator[Any]:
        try:
            for packet in container.demux(self._kept):
                if packet.dts is not None and packet.size:
                    yield packet
        except av.InvalidDataError:
            if self._begin is None:
                raise

    def _take(self, packet: Any, index: int, base: Fraction) -> None:
        if self._begin is None:
            self._begin = packet.dts * base
        shift = round(self._begin / base)
        dts = max(packet.dts - shift, self._last.get(index, -1) + 1)
        pts = dts if packet.pts is None else packet.pts - shift
        packet.dts, packet.pts, packet.time_base = dts, max(pts, dts), base
        self._last[index] = dts
        packet.stream = self._targets[index]
        self._view.mux(packet)


def _filter(stream: Any) -> Any:
    """MPEG-2 puts a header before each frame of AAC that MP4 has once, in the description (ISO/IEC 13818-7, ADTS)."""
    if stream.codec_context.name != "aac" or stream.codec_context.extradata:
        return None
    return BitStreamFilterContext("aac_adtstoasc", stream)


if __name__ == "__main__":
    main()
