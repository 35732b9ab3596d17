"""Decoding of a fragment's first keyframe and of its sound, by FFmpeg through PyAV. Runs in a child process only."""

from __future__ import annotations

import io
from typing import Any, Final, NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidMedia
from streams.analysis.tiles import tiles_of
from streams.analysis.wire import MAX_JPEG_BYTES, MAX_PICTURE_HEIGHT, PICTURE_WIDTH, Picture

CODECS: Final = frozenset({"h264", "hevc", "aac", "pcm_alaw", "pcm_mulaw", "opus", "libopus"})
"""Decoders that may run, whatever a file asks for."""
SOUND_RATE: Final = 16_000
MAX_SOUND_S: Final = 60
SHOWN_WIDTH: Final = 1280
"""Of a picture for people."""
MAX_PIXELS: Final = 8192 * 4352
_PLANAR: Final = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"})
_OPTIONS: Final = {"codec_whitelist": "none", "format_whitelist": "mov", "protocol_whitelist": ""}
"""Probing may run no decoder at all: what must be known stands in the boxes. It would decode pictures to find out their
format, three quarters of the whole cost."""


class Decoded(NamedTuple):
    """What was in a fragment.

    Attributes:
        picture: Its first keyframe.
        samples: Sound, mono, 16 kHz, float32 from −1 to 1, shape (samples,).
        problems: What could not be decoded, and why.
        jpeg: The keyframe for people, where asked for.
    """

    picture: Picture | None
    samples: NDArray[np.float32] | None
    problems: list[str]
    jpeg: bytes = b""


def decode(data: bytes, *, look: bool, hear: bool, show: bool = False) -> Decoded:
    """Decode a fragment as far as asked; `show` only where it is looked at.

    Raises:
        InvalidMedia: It is no MP4, or what is in it is not on the list of codecs.
    """
    try:
        with av.open(io.BytesIO(data), "r", format="mov", options=dict(_OPTIONS)) as container:
            return _decoded(container, look=look, hear=hear, show=show)
    except (av.FFmpegError, ValueError, IndexError) as error:
        msg = f"{type(error).__name__}: {error}"
        raise InvalidMedia(msg) from error


def _decoded(container: Any, *, look: bool, hear: bool, show: bool) -> Decoded:
    eye = _Eye(container.streams.video[0], show=show) if look and container.streams.video else None
    ear = _Ear(container.streams.audio[0]) if hear and container.streams.audio else None
    organs = {organ.stream.index: organ for organ in (eye, ear) if organ is not None}
    if not organs:
        return Decoded(None, None, [])
    for packet in container.demux([organ.stream for organ in organs.values()]):
        organs[packet.stream.index].take(packet)
        if ear is None and eye is not None and eye.done:
            break
    problems = [organ.problem for organ in organs.values() if organ.problem]
    jpeg = eye.jpeg if eye else b""
    return Decoded(eye.picture if eye else None, ear.samples() if ear else None, problems, jpeg)


def _admitted(stream: Any) -> Any:
    """Return a stream whose codec is on the list, with one thread to decode it."""
    codec = stream.codec_context
    if codec is None or codec.name not in CODECS:
        msg = f"codec {codec.name if codec is not None else 'unknown'} is not on the list"
        raise InvalidMedia(msg)
    codec.thread_count = 1
    return stream


class _Eye:
    """Takes the first keyframe and nothing else."""

    def __init__(self, stream: Any, *, show: bool) -> None:
        self.stream = _admitted(stream)
        self.picture: Picture | None = None
        self.jpeg = b""
        self._show = show
        self.problem = ""
        self.done = False
        if not 0 < stream.width * stream.height <= MAX_PIXELS:
            msg = f"pictures of {stream.width}x{stream.height}"
            raise InvalidMedia(msg)

    def take(self, packet: Any) -> None:
        if self.done or not packet.is_keyframe or not packet.size:
            return
        self.done = True
        codec = self.stream.codec_context
        try:
            frames = codec.decode(packet) or codec.decode(None)
        except av.FFmpegError as error:
            self.problem = f"picture: {error}"
            return
        if frames:
            self.picture = measure(frames[0])
            self.jpeg = drawn(frames[0]) if self._show else b""
        else:
            self.problem = "picture: a keyframe without a picture"


class _Ear:
    """Takes all the sound there is."""

    def __init__(self, stream: Any) -> None:
        self.stream = _admitted(stream)
        self.problem = ""
        self._resampler: Any = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE)
        self._pieces: list[NDArray[np.float32]] = []
        self._left = MAX_SOUND_S * SOUND_RATE

    def take(self, packet: Any) -> None:
        if self._left <= 0 or not packet.size:
            return
        try:
            for frame in self.stream.codec_context.decode(packet):
                self._keep(self._resampler.resample(frame))
        except (av.FFmpegError, ValueError) as error:
            self.problem = f"sound: {error}"

    def samples(self) -> NDArray[np.float32] | None:
        return np.concatenate(self._pieces) if self._pieces else None

    def _keep(self, frames: Any) -> None:
        for frame in frames:
            piece = frame.to_ndarray().reshape(-1).astype(np.float32, copy=False)
            self._pieces.append(piece)
            self._left -= len(piece)


def measure(frame: Any) -> Picture:
    """Measure a decoded picture, and scale it down for what is compared between pictures.

    Raises:
        ValueError: Much higher than wide.
    """
    if frame.format.name not in _PLANAR:
        frame = frame.reformat(format="yuv420p")
    luma = _plane(frame.planes[0])
    height = max(1, round(frame.height * PICTURE_WIDTH / frame.width))
    if height > MAX_PICTURE_HEIGHT:
        msg = f"a picture of {frame.width}x{frame.height}"
        raise ValueError(msg)
    small = np.asarray(cv2.resize(luma, (PICTURE_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
    colour = sum(float(np.abs(_plane(plane)[::4, ::4].astype(np.int16) - 128).mean()) for plane in frame.planes[1:3])
    return Picture(float(cv2.mean(luma)[0]), contrast(small), colour / 2, height, small.tobytes())


def drawn(frame: Any) -> bytes:
    """Return a decoded picture as JPEG, at most `SHOWN_WIDTH` wide; nothing where it comes out too large."""
    width = min(frame.width, SHOWN_WIDTH) // 2 * 2
    height = max(2, round(frame.height * width / frame.width) // 2 * 2)
    picture = frame.to_ndarray(format="bgr24", width=width, height=height)
    encoded, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    jpeg = data.tobytes() if encoded else b""
    return jpeg if len(jpeg) <= MAX_JPEG_BYTES else b""


def contrast(small: NDArray[np.uint8]) -> float:
    """Return the standard deviation of Y over the three quarters of the tiles that have the least in themselves.

    A caption that the camera burns in, or a chink of light at an edge, must not make a covered lens look like a view.
    """
    tiles = [cv2.meanStdDev(tile) for tile in tiles_of(small) if tile.size]
    found = sorted((float(deviation[0][0]) ** 2, float(mean[0][0])) for mean, deviation in tiles)
    kept = np.array(found[: len(found) - len(found) // 4])
    return float(np.sqrt(kept[:, 0].mean() + kept[:, 1].var()))


def _plane(plane: Any) -> NDArray[np.uint8]:
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]
