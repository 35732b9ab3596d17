"""Literal events and real fragments for the console's tests."""

import hashlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dashboards.hls.mp4 import boxes
from domain.bus import Record
from domain.clock import Instant
from domain.events import Event, Fragment
from domain.findings import Finding, Message
from domain.registry import Registration
from domain.wire import encode

T0 = Instant.parse("2026-05-06T09:00:00.000+08:00")
SHA = "0" * 64


def at(seconds: float) -> Instant:
    """So many seconds after the start of the story."""
    return T0.plus(round(seconds * 1000))


class Log:
    """Numbers records as a log would, one partition a topic."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}

    def __call__(self, what: Event | Finding | Registration) -> Record:
        topic = "findings" if isinstance(what, Finding) else "registry" if isinstance(what, Registration) else "events"
        return self.raw(topic, getattr(what, "recorder_id", None), encode(what))

    def raw(self, topic: str, key: str | None, value: bytes | None) -> Record:
        offset = self._ends.get(topic, 0)
        self._ends[topic] = offset + 1
        return Record(topic, 0, offset, key, value, {}, T0)


def fragment(second: float, *, seq: int | None = None, duration_s: float = 2.0, **fields: Any) -> Fragment:
    """A fragment captured that many seconds after the start, learnt when it was whole."""
    given: dict[str, Any] = {
        "recorder_id": "cam-1",
        "session_id": "s1",
        "feed_id": "f1",
        "bytes": 1000,
        "sha256": SHA,
        "codec": "h264",
        "at": at(second + duration_s),
    }
    given |= fields
    number = round(second / duration_s) if seq is None else seq
    return Fragment(seq=number, captured_at=at(second), duration_s=duration_s, **given)


def finding(number: int, **fields: Any) -> Finding:
    """A finding of its own id."""
    given: dict[str, Any] = {
        "kind": "recording.stalled",
        "status": "opened",
        "severity": "critical",
        "recorder_id": "cam-1",
        "session_id": "s1",
        "began_at": at(10),
        "detected_at": at(15),
        "evidence": {},
        "clauses": ["W-AV-8"],
    }
    given |= fields
    given.setdefault("message", Message(key=given["kind"], params=given["evidence"]))
    return Finding(id=f"{number:032x}", **given)


@dataclass(frozen=True)
class Piece:
    """One self-contained fragment of a real recording."""

    data: bytes
    duration_s: float
    restarts: bool


@cache
def pieces(arguments: Sequence[str], suffix: str = "mp4") -> list[Piece]:
    """Cut what FFmpeg makes of these arguments into one-second fragments that are self-contained."""
    flags = ["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", suffix, "pipe:1"]
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", *arguments, *flags]
    data = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    top = list(boxes(data))
    init = b"".join(data[box.start : box.end] for box in top if box.kind in {b"ftyp", b"moov"})
    parts = [box for box in top if box.kind in {b"moof", b"mdat"}]
    bodies = [data[one.start : two.end] for one, two in zip(parts[::2], parts[1::2], strict=True)]
    return [Piece(init + body, 1.0, index == 0) for index, body in enumerate(bodies)]


def moving_picture(size: str = "640x360", rate: int = 25, seconds: int = 10, audio: str | None = None) -> list[Piece]:
    """A test picture with a running number, a keyframe a second."""
    source = f"testsrc2=size={size}:rate={rate}:duration={seconds}"
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-g", str(rate), "-pix_fmt", "yuv420p")
    tone = ("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}:sample_rate=8000") if audio else ()
    sound = ("-c:a", audio, "-ar", "8000", "-ac", "1") if audio else ()
    return pieces(("-f", "lavfi", "-i", source, *tone, *video, *sound), "mov" if audio else "mp4")


def endless(cut: Sequence[Piece]) -> Iterator[Piece]:
    """Repeat them for ever, as segments of a feed do: decode times restart at 0 with each round."""
    while True:
        yield from cut


def media_event(piece: Piece, seq: int, captured_at: Instant, now: Instant, **fields: Any) -> Fragment:
    """The event of a real fragment."""
    event = fragment(0, seq=seq, duration_s=piece.duration_s, **fields)
    digest = hashlib.sha256(piece.data).hexdigest()
    return msgspec.structs.replace(event, captured_at=captured_at, at=now, bytes=len(piece.data), sha256=digest)


def write_png(folder: Path, name: str, content: bytes) -> Path:
    """Keep a picture of the page."""
    path = folder / f"{name}.png"
    path.write_bytes(content)
    return path
