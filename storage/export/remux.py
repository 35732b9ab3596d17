"""A playable copy: the stored pictures and sound, not decoded, on one time line. Gaps stay gaps.

Between two recordings the time that is missing is missing in the copy too: the last picture stands still for as long.
Nothing is cut, joined or moved by an edit list. Where the coding changes, or two feeds overlap, another file begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import msgspec
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Stream

from domain.clock import Instant
from domain.errors import InvalidMedia

PAUSE_MIN_MS = 250
_PCM = {"pcm_alaw", "pcm_mulaw"}


class Source(msgspec.Struct, frozen=True):
    """One recording.

    Attributes:
        path: The original.
        from_at: Capture time of its first access unit.
        to_at: Of its end.
    """

    path: Path
    from_at: Instant
    to_at: Instant


class Pause(msgspec.Struct, frozen=True):
    """A place in the copy where the picture stands still because nothing was recorded.

    Attributes:
        at_s: Seconds from the beginning of the file.
        seconds: For how long.
    """

    at_s: float
    seconds: float


class Copy(msgspec.Struct, frozen=True):
    """One playable file.

    Attributes:
        path: The file.
        from_at: Capture time of its beginning.
        to_at: Of its end.
        pauses: In order.
    """

    path: Path
    from_at: Instant
    to_at: Instant
    pauses: list[Pause]


def remux(sources: Sequence[Source], folder: Path) -> list[Copy]:
    """Write the playable copies of recordings that are in order of capture.

    Args:
        sources: The originals.
        folder: Where the copies go: `1.mp4`, `2.mp4` …; `.mov` where the sound is G.711, which MP4 has no place for.

    Raises:
        InvalidMedia: A recording cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return [_copy(run, folder, number) for number, run in enumerate(_runs(sources), 1)]
    except FFmpegError as error:
        msg = f"play: a recording cannot be copied: {error}"
        raise InvalidMedia(msg) from error


def _runs(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """Split where the coding changes or times overlap by more than rounding."""
    run: list[Source] = []
    form: object = None
    for source in sources:
        now = _form(source.path)
        if run and (now != form or run[-1].to_at - source.from_at > PAUSE_MIN_MS):
            yield run
            run = []
        run.append(source)
        form = now
    if run:
        yield run


def _form(path: Path) -> object:
    with av.open(str(path)) as container:
        return [
            (stream.type, stream.codec_context.name, bytes(stream.codec_context.extradata or b""))
            for stream in _kept(container)
        ]


def _kept(container: InputContainer) -> list[Stream]:
    return [stream for stream in container.streams if stream.type in {"video", "audio"}]


def _copy(run: Sequence[Source], folder: Path, number: int) -> Copy:
    with av.open(str(run[0].path)) as first:
        names = [stream.codec_context.name for stream in _kept(first)]
        suffix = "mov" if _PCM & set(names) else "mp4"
        path = folder / f"{number}.{suffix}"
        with av.open(str(path), "w", format=suffix, options={"movflags": "faststart", "use_editlist": "0"}) as target:
            writer = _Writer(target, [target.add_stream_from_template(stream) for stream in _kept(first)])
            for source in run:
                writer.add(source, source.from_at - run[0].from_at)
    pauses = [
        Pause((before.to_at - run[0].from_at) / 1000, (after.from_at - before.to_at) / 1000)
        for before, after in pairwise(run)
        if after.from_at - before.to_at > PAUSE_MIN_MS
    ]
    return Copy(path, run[0].from_at, run[-1].to_at, pauses)


class _Writer:
    """Puts recordings behind one another; decode times never go back, by a tick where rounding would have them."""

    def __init__(self, target: OutputContainer, streams: Sequence[Stream]) -> None:
        self._target = target
        self._streams = streams
        self._last: dict[int, Fraction] = {}

    def add(self, source: Source, at_ms: int) -> None:
        with av.open(str(source.path)) as container:
            kept = _kept(container)
            later = Fraction(at_ms, 1000) - Fraction(container.start_time or 0, av.time_base)
            for packet in container.demux(kept):
                if packet.dts is None or packet.pts is None:
                    continue
                number = kept.index(packet.stream)
                base = packet.time_base
                shift = round(later / base)
                packet.pts += shift
                packet.dts += shift
                tick = self._last.get(number)
                if tick is not None and packet.dts * base <= tick:
                    packet.dts = int(tick / base) + 1
                    packet.pts = max(packet.pts, packet.dts)
                self._last[number] = packet.dts * base
                packet.stream = self._streams[number]
                self._target.mux(packet)
