"""Clips with known faults, encoded, cut, analysed by the real children and judged by the real detectors."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import msgspec
import numpy as np

from benchmarks.detection.run import TICK, run
from benchmarks.detection.scenes import Picture
from benchmarks.detection.sounds import Sound
from benchmarks.detection.truth import Scores, Truth, score
from domain import wire
from domain.clock import Instant
from domain.events import AnyRecorderEvent, Fragment, RecorderRegistered, SegmentStored, SessionOpened
from streams.analysis.agenda import Agenda
from streams.analysis.children import Child
from streams.analysis.observing import observe
from streams.analysis.scene import Memory
from streams.analysis.wire import Job
from streams.ingest.fragmenter import fragments_of
from streams.ingest.limits import Limits
from tests.streams.units import read_units

START = Instant.parse("2026-03-02T09:00:00.000+08:00")
ARRIVES_MS = 300
SEEN_MS = 300
STORED_MS = 900
EVERY_MS = 4_000
RATES = {"aac": 16_000, "libopus": 48_000, "pcm_alaw": 8_000, "pcm_mulaw": 8_000}


class Coding(NamedTuple):
    """How a clip is encoded.

    Attributes:
        width: Pixels.
        height: Pixels.
        fps: Pictures a second.
        codec: libx264 or libx265.
        preset: Of the encoder.
        gop_s: Seconds from keyframe to keyframe.
        bits: Per second, or 0 for constant quality.
        sound: Encoder of the sound.
    """

    width: int = 480
    height: int = 270
    fps: float = 1.0
    codec: str = "libx264"
    preset: str = "ultrafast"
    gop_s: float = 2.0
    bits: int = 0
    sound: str = "aac"

    @property
    def rate(self) -> int:
        """Samples a second."""
        return RATES[self.sound]


class Take(NamedTuple):
    """What one connection brings.

    Attributes:
        at_s: When it begins, from the beginning of the clip.
        seconds: How long it lasts.
        pictures: By second of the clip.
        sound: By sample, from the beginning of the take; None for none.
    """

    at_s: float
    seconds: float
    pictures: Callable[[float], Picture]
    sound: Sound | None = None


class Clip(msgspec.Struct, kw_only=True):
    """A recording with what is true of it.

    Attributes:
        name: Its recorder.
        kind: What that is.
        coding: How it is encoded.
        takes: In order.
        truths: What must be found.
        events: What the log holds besides.
        audio: Sound is expected.
        listens: Speech matters; without, the costly search for it is left out.
        seconds: Of the whole.
    """

    name: str
    kind: str
    coding: Coding
    takes: list[Take]
    seconds: float
    truths: list[Truth] = []
    events: list[AnyRecorderEvent] = []
    audio: bool = False
    listens: bool = False
    policy: str = "wucheng"


def moment(second: float) -> int:
    """A moment of a clip, milliseconds since 1970."""
    return int(START) + round(second * 1000)


def film(take: Take, coding: Coding, path: Path) -> None:
    """Encode a take into a file, as a device would."""
    with av.open(str(path), "w", format="mov" if coding.sound.startswith("pcm") else "mp4") as movie:
        video: Any = movie.add_stream(coding.codec, rate=Fraction(coding.fps).limit_denominator(1000))
        video.width, video.height, video.pix_fmt = coding.width, coding.height, "yuv420p"
        video.codec_context.thread_count = 1
        keyint = max(1, round(coding.fps * coding.gop_s))
        private = "x265-params" if coding.codec == "libx265" else "x264-params"
        shape = f"keyint={keyint}:min-keyint={keyint}:scenecut=0:bframes=0"
        shape += ":log-level=none:pools=1" if coding.codec == "libx265" else ""
        video.codec_context.options = {"preset": coding.preset, private: shape}
        if coding.bits:
            video.codec_context.bit_rate = coding.bits
        sound: Any = None
        if take.sound is not None:
            sound = movie.add_stream(coding.sound, rate=coding.rate, layout="mono")
        for number in range(round(take.seconds * coding.fps)):
            picture = take.pictures(take.at_s + number / coding.fps)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, 1 / Fraction(coding.fps).limit_denominator(1000)
            movie.mux(video.encode(frame))
        movie.mux(video.encode(None))
        if sound is not None and take.sound is not None:
            _write_sound(movie, sound, take.sound, coding.rate)


def _write_sound(movie: Any, stream: Any, sound: Sound, rate: int) -> None:
    samples = np.clip(sound * 32_767, -32_768, 32_767).astype(np.int16)
    size = stream.codec_context.frame_size or rate // 50
    target = "fltp" if stream.codec_context.name == "aac" else "s16"
    for low in range(0, len(samples) - size + 1, size):
        frame: Any = av.AudioFrame.from_ndarray(samples[None, low : low + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, low, Fraction(1, rate)
        if target != "s16":
            frame = av.AudioFrame.from_ndarray(
                (samples[None, low : low + size] / 32_768).astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, low, Fraction(1, rate)
        movie.mux(stream.encode(frame))
    movie.mux(stream.encode(None))


def fragments(clip: Clip) -> list[tuple[Fragment, bytes]]:
    """Encode a clip and cut it as ingest would."""
    found = []
    for number, take in enumerate(clip.takes):
        with tempfile.TemporaryDirectory(prefix="liuhen-clip-") as folder:
            path = Path(folder) / "take.mp4"
            film(take, clip.coding, path)
            start = START.plus(round(take.at_s * 1000))
            for cut in fragments_of(read_units(path, start), Limits()):
                event = Fragment(
                    at=cut.captured_at.plus(cut.duration_ms + ARRIVES_MS),
                    recorder_id=clip.name,
                    session_id=f"s-{clip.name}",
                    feed_id=f"f-{clip.name}-{number}",
                    seq=cut.seq,
                    captured_at=cut.captured_at,
                    duration_s=cut.duration_ms / 1000,
                    bytes=len(cut.data),
                    sha256=hashlib.sha256(cut.data).hexdigest(),
                    codec=cut.codecs,
                )
                found.append((event, cut.data))
    return found


async def analysed(clip: Clip, child: Child) -> list[AnyRecorderEvent]:
    """All events of a clip: what it says, its fragments, and what the analysis sees and hears in them.

    Raises:
        RuntimeError: Something could not be decoded.
    """
    agenda, memory = Agenda(EVERY_MS), Memory()
    who: dict[str, Any] = {"recorder_id": clip.name}
    events: list[AnyRecorderEvent] = [
        RecorderRegistered(at=START, kind=clip.kind, policy=clip.policy, expects_audio=clip.audio, **who),  # type: ignore[arg-type]
        SessionOpened(at=START.plus(100), session_id=f"s-{clip.name}", **who),
        *clip.events,
    ]
    for event, data in fragments(clip):
        events += [event, _stored(event)]
        agenda.offer(event, data, int(event.at))
        while (task := agenda.take(int(event.at))) is not None:
            listens = task.listen and clip.listens
            if not (task.look or listens):
                continue
            seen = await child.ask(Job(task.data, task.look, task.hear, listens))
            if seen.problems:
                raise RuntimeError(f"{clip.name}: {seen.problems}")
            observation = observe(task.event, seen, memory, task.event.at.plus(SEEN_MS))
            if observation is not None:
                events.append(observation)
    return events


def _stored(event: Fragment) -> SegmentStored:
    """The store is well, and takes each fragment at once."""
    end = event.captured_at.plus(round(1000 * event.duration_s))
    return SegmentStored(
        at=event.at.plus(STORED_MS),
        recorder_id=event.recorder_id,
        session_id=event.session_id,
        from_=event.captured_at,
        to=end,
        key=f"{event.feed_id}/{event.seq}",
        version_id="1",
        sha256=event.sha256,
        bytes=event.bytes,
    )


async def scored(clips: Iterable[Clip]) -> tuple[Scores, dict[str, list[AnyRecorderEvent]]]:
    """Put clips through analysis and detectors; score them, and give the events for whoever wants to look."""
    child = Child()
    truths: list[Truth] = []
    kept: dict[str, list[AnyRecorderEvent]] = {}
    lines: list[tuple[int, bytes]] = []
    last = 0.0
    cv2.setNumThreads(1)
    try:
        for clip in clips:
            kept[clip.name] = await analysed(clip, child)
            lines += [(int(event.at), wire.encode(event)) for event in kept[clip.name]]
            truths += clip.truths
            last = max(last, clip.seconds)
    finally:
        await child.close()
    lines += [(at, TICK + b'%s"}' % Instant(at).rfc3339().encode()) for at in range(int(START), moment(last + 1), 1000)]
    lines.sort(key=lambda pair: pair[0])
    heard = run(line for _, line in lines)
    # The clips are of different lengths: what is said of one after its end is not of its making.
    ends = {clip_name: max(int(event.at) for event in events) for clip_name, events in kept.items()}
    return score(truths, [one for one in heard if one.at <= ends[one.finding.recorder_id] + 1_500]), kept


def drawn(seed: str) -> random.Random:
    """Chance of its own for one clip."""
    return random.Random(seed)
