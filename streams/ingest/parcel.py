"""What waits in the spool: records that go to the log together, in order, and their form on disk. Pure."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from domain.errors import IntegrityError
from domain.events import AnyRecorderEvent, SessionEnded
from domain.topics import (
    DEPENDENT_HEADER,
    DETAIL_HEADER,
    EVENT_HEADER,
    EVENTS,
    FEED_END_HEADER,
    MAX_REJECTED_BYTES,
    MEDIA,
    REASON_HEADER,
    REJECTED,
    SEGMENT_HEADER,
    SOURCE_HEADER,
)
from domain.wire import encode

_MAGIC: Final = b"LHS1"
_HEAD: Final = struct.Struct(">4sI")


class Outgoing(msgspec.Struct, frozen=True):
    """One record for the log.

    Attributes:
        topic: Name of the topic.
        key: Recorder.
        headers: Small named byte strings.
        value: Payload.
    """

    topic: str
    key: str
    headers: dict[str, bytes]
    value: bytes


class _Line(msgspec.Struct, frozen=True, array_like=True):
    topic: str
    key: str
    headers: dict[str, bytes]
    size: int
    sha256: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Line])


def media(event: bytes, recorder_id: str, data: bytes, *, starts_segment: bool, dependent: bool) -> list[Outgoing]:
    """Return the records of a fragment: the media first, so that nobody hears of media that is not there.

    Args:
        event: JSON of its `fragment` event.
        recorder_id: Key.
        data: The fragment.
        starts_segment: It begins a segment.
        dependent: It does not begin with a keyframe.
    """
    headers = {EVENT_HEADER: event}
    if starts_segment:
        headers[SEGMENT_HEADER] = b"1"
    if dependent:
        headers[DEPENDENT_HEADER] = b"1"
    return [Outgoing(MEDIA.name, recorder_id, headers, data), Outgoing(EVENTS.name, recorder_id, {}, event)]


def event_records(event: AnyRecorderEvent) -> list[Outgoing]:
    """Return the records of an event; the end of a session is told to the store too, behind its last fragment."""
    line = encode(event)
    records = [Outgoing(EVENTS.name, event.recorder_id, {}, line)]
    if isinstance(event, SessionEnded):
        records.insert(0, Outgoing(MEDIA.name, event.recorder_id, {EVENT_HEADER: line}, b""))
    return records


def feed_end(recorder_id: str, feed_id: str) -> list[Outgoing]:
    """Return the record that lets the store close the last segment of a feed."""
    return [Outgoing(MEDIA.name, recorder_id, {FEED_END_HEADER: feed_id.encode()}, b"")]


def rejected(recorder_id: str, data: bytes, reason: str, detail: str, source: str) -> list[Outgoing]:
    """Return the record of something that a person should know was not taken."""
    headers = {REASON_HEADER: reason.encode(), DETAIL_HEADER: detail.encode()[:2_000], SOURCE_HEADER: source.encode()}
    return [Outgoing(REJECTED.name, recorder_id, headers, data[:MAX_REJECTED_BYTES])]


def pack(records: Sequence[Outgoing], known_sha256: str = "") -> list[bytes]:
    """Return the file of a parcel, in pieces.

    Args:
        records: In the order in which they go to the log.
        known_sha256: Of the first record's value, where it is known already.
    """
    lines = [
        _Line(
            record.topic,
            record.key,
            record.headers,
            len(record.value),
            known_sha256 if known_sha256 and not place else hashlib.sha256(record.value).hexdigest(),
        )
        for place, record in enumerate(records)
    ]
    head = _encoder.encode(lines)
    return [_HEAD.pack(_MAGIC, len(head)), head, *(record.value for record in records)]


def unpack(data: bytes) -> list[Outgoing]:
    """Read the file of a parcel.

    Raises:
        IntegrityError: It is not what was written.
    """
    if len(data) < _HEAD.size:
        msg = f"parcel of {len(data)} bytes"
        raise IntegrityError(msg)
    magic, size = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        msg = f"parcel begins with {magic!r}"
        raise IntegrityError(msg)
    at = _HEAD.size + size
    try:
        lines = _decoder.decode(data[_HEAD.size : at])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"parcel: {error}"
        raise IntegrityError(msg) from error
    records = []
    for line in lines:
        value = data[at : at + line.size]
        at += line.size
        if hashlib.sha256(value).hexdigest() != line.sha256:
            msg = f"parcel: {len(value)} of {line.size} bytes for {line.topic}, or altered"
            raise IntegrityError(msg)
        records.append(Outgoing(line.topic, line.key, line.headers, value))
    return records
