"""What goes through the pipes between the worker and a child that decodes: MessagePack behind a 4-byte length."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

LENGTH: Final = struct.Struct("!I")
MAX_JOB_BYTES: Final = 9 * 1024 * 1024
"""The largest record of the log, with room."""
MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
PICTURE_WIDTH: Final = 480
MAX_JPEG_BYTES: Final = 1_000_000
MAX_PICTURE_HEIGHT: Final = 1920
"""Of a picture scaled to `PICTURE_WIDTH`; no camera's is four times as high as wide."""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """One fragment to look at or listen to.

    Attributes:
        data: Init segment and fragment.
        look: Decode its first keyframe.
        hear: Measure the level of its sound.
        listen: Find speech in it besides.
        show: Give the keyframe back as a picture for people, too.
    """

    data: bytes
    look: bool
    hear: bool
    listen: bool
    show: bool = False


class Picture(msgspec.Struct, frozen=True, array_like=True):
    """A keyframe.

    Attributes:
        luma: Mean of Y.
        contrast: Standard deviation of Y, without what captions add; see `streams.analysis.decoding.contrast`.
        colour: Mean distance of U and V from grey.
        height: Of `small`.
        small: Y scaled to a width of `PICTURE_WIDTH`, row by row, one byte each.
    """

    luma: float
    contrast: float
    colour: float
    height: int
    small: bytes


class Sound(msgspec.Struct, frozen=True, array_like=True):
    """The sound of a fragment.

    Attributes:
        dbfs: RMS level; a full-scale square wave is 0.
        speech_s: Seconds of speech; None where nobody listened for it.
    """

    dbfs: float
    speech_s: float | None


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a job.

    Attributes:
        picture: None where not asked for, without keyframe, or not decodable.
        sound: None where not asked for, without sound, or not decodable.
        problems: What could not be decoded, and why.
        jpeg: The keyframe for people; empty where not asked for, or not decodable.
    """

    picture: Picture | None = None
    sound: Sound | None = None
    problems: list[str] = []
    jpeg: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_job_decoder = msgspec.msgpack.Decoder(Job)
_seen_decoder = msgspec.msgpack.Decoder(Seen)


def pack(message: Job | Seen) -> bytes:
    """Encode a message with its length before it."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def unpack_job(body: bytes) -> Job:
    """Decode a job.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _job_decoder.decode(body)


def unpack_seen(body: bytes) -> Seen:
    """Decode an answer, which comes from a process that has parsed hostile bytes.

    Raises:
        msgspec.DecodeError: It is none.
        ValueError: A picture of a wrong size.
    """
    seen = _seen_decoder.decode(body)
    if seen.jpeg and (len(seen.jpeg) > MAX_JPEG_BYTES or not seen.jpeg.startswith(b"\xff\xd8\xff")):
        msg = f"{len(seen.jpeg)} bytes that are no picture"
        raise ValueError(msg)
    picture = seen.picture
    if picture is not None:
        size = picture.height * PICTURE_WIDTH
        if not 0 < picture.height <= MAX_PICTURE_HEIGHT or len(picture.small) != size:
            msg = f"a picture of {len(picture.small)} bytes and height {picture.height}"
            raise ValueError(msg)
    return seen
