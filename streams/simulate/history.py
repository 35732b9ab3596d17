"""What the recorders of a script did in the days before: a story of sessions, each with what went wrong in it.

A demonstration that begins with nothing has nothing to look back on. The story is told in events that stand as far
back as they would have, and in films whose burnt-in clock shows the moment they tell of. Deterministic in the devices
and the day; whoever publishes it (`house.history`) stores the films first.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import msgspec

from domain.clock import Instant
from domain.events import (
    DeviceIndex,
    Event,
    Explanation,
    Fragment,
    HeldRecording,
    RecorderRegistered,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
    Telemetry,
)
from storage.boxes import scan
from streams.simulate.scene import AUDIO_FRAME_S, Scene, heard
from streams.simulate.script import Device

DAY_MS = 86_400_000
GOP_S = 2
SEGMENT_S = 30
SOUND_RATE = 48_000
TELEMETRY_EVERY_S = 10
HEARD_AFTER_MS = 300
"""From the end of a fragment to its event."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One session of the story. Seconds are counted from its opening.

    Attributes:
        days_ago: On which day.
        at: Time of day, `HH:MM`, in China.
        act: Procedure.
        films: (from, to) of what was recorded and came in.
        length_s: When it ended.
        stop: (at, resumed at, reason) of a stop.
        explained: Cause and words of a written explanation, an hour after the end.
        battery: Percent at the start; it falls by 1 a minute.
        held: (from, to) of what the device has not delivered to this day.
    """

    days_ago: int
    at: str
    act: str
    films: tuple[tuple[int, int], ...]
    length_s: int
    stop: tuple[int, int, str] | None = None
    explained: tuple[str, str] | None = None
    battery: float = 90.0
    held: tuple[int, int] | None = None


STORIES: tuple[tuple[Act, ...], ...] = (
    (
        Act(days_ago=6, at="14:05", act="inspection", films=((0, 60),), length_s=100, held=(60, 100)),
        Act(days_ago=2, at="09:30", act="inspection", films=((0, 90),), length_s=92),
        Act(days_ago=1, at="10:10", act="inspection", films=((0, 40), (62, 100)), length_s=102),
    ),
    (
        Act(days_ago=5, at="10:40", act="questioning", films=((0, 60),), length_s=62, battery=20.8),
        Act(
            days_ago=1,
            at="15:20",
            act="inspection",
            films=((0, 30), (60, 90)),
            length_s=92,
            stop=(30, 60, "officer"),
            explained=("site_change", "检查由前厅转到库房，途经更衣室，按当事人要求停录。"),
        ),
        Act(
            days_ago=3,
            at="16:00",
            act="investigation",
            films=((0, 36), (66, 90)),
            length_s=92,
            stop=(36, 66, "officer"),
        ),
    ),
)
"""The story of each body-worn recorder of a script, in its order; further recorders have none."""


class Piece(msgspec.Struct, frozen=True):
    """A fragment that came in, and its event.

    Attributes:
        event: Of topic `events`.
        init: ftyp and moov.
        media: moof and mdat.
    """

    event: Fragment
    init: bytes
    media: bytes


class Told(msgspec.Struct, frozen=True):
    """One session, told.

    Attributes:
        recorder_id: Whose.
        session_id: Which.
        events: All but the fragments' and what follows from storing.
        segments: What is to be stored, in order; the fragments of each in one list.
        begins_at: When it opens.
        ends_at: When it is over.
    """

    recorder_id: str
    session_id: str
    events: list[Event]
    segments: list[list[Piece]]
    begins_at: Instant
    ends_at: Instant


def history(devices: Sequence[Device], now: Instant, days: int) -> Iterator[Told]:
    """Tell the sessions of the last so many days, recorder by recorder; blocking, about a second each."""
    worn = [device for device in devices if device.kind == "body_worn"]
    for device, story in zip(worn, STORIES, strict=False):
        for act in story:
            if act.days_ago <= days:
                yield _tell(msgspec.structs.replace(device, fault=[], fps=4), act, now)


def _tell(device: Device, act: Act, now: Instant) -> Told:
    midnight = Instant(now - (now + 8 * 3_600_000) % DAY_MS - act.days_ago * DAY_MS)
    hours, minutes = act.at.split(":")
    begin = midnight.plus((int(hours) * 60 + int(minutes)) * 60_000)
    session_id = f"{device.id}-{begin.datetime():%Y%m%dT%H%M%S}"
    end = begin.plus(act.length_s * 1000)
    runs = [_run(device, session_id, number, begin, span) for number, span in enumerate(act.films)]
    return Told(
        recorder_id=device.id,
        session_id=session_id,
        events=[*_events(device, act, session_id, begin), *_telemetry(device, act, begin)],
        segments=[segment for run in runs for segment in run],
        begins_at=begin,
        ends_at=end,
    )


def _events(device: Device, act: Act, session_id: str, begin: Instant) -> Iterator[Event]:
    who: dict[str, Any] = {"recorder_id": device.id}
    end = begin.plus(act.length_s * 1000)
    yield RecorderRegistered(
        at=begin.plus(-2000),
        kind=device.kind,
        policy=device.policy,
        site_id=device.site_id,
        expects_audio=device.audio,
        **who,
    )
    who["session_id"] = session_id
    yield SessionOpened(at=begin, act=act.act, **who)
    if act.stop is not None:
        stopped_s, resumed_s, reason = act.stop
        stopped = begin.plus(stopped_s * 1000)
        yield SessionStopped(at=stopped.plus(200), reason=reason, last_captured_at=stopped, **who)  # type: ignore[arg-type]
        yield SessionResumed(at=begin.plus(resumed_s * 1000), **who)
    yield SessionEnded(at=end.plus(500), completed_at=end, **who)
    if act.explained is not None:
        cause, text = act.explained
        by = device.name.split(" ")[0]
        yield Explanation(at=end.plus(3_600_000), method="written", cause=cause, text=text, by=by, **who)
    if act.held is not None:
        start, stop = (begin.plus(second * 1000) for second in act.held)
        size = round((stop - start) / 1000 * device.bitrate_bps / 8)
        held = HeldRecording(session_id=session_id, from_=start, to=stop, bytes=size)
        yield DeviceIndex(at=end.plus(1000), recorder_id=device.id, recordings=[held])


def _telemetry(device: Device, act: Act, begin: Instant) -> Iterator[Event]:
    for second in range(0, act.length_s, TELEMETRY_EVERY_S):
        at = begin.plus(second * 1000 + 100)
        stopped = act.stop is not None and act.stop[0] <= second < act.stop[1]
        yield Telemetry(
            at=at,
            recorder_id=device.id,
            device_at=at.plus(-40),
            sent_at=at.plus(-30),
            battery_percent=round(act.battery - second / 60, 1),
            storage_free_bytes=device.storage_free_bytes - second * 50_000,
            storage_total_bytes=device.storage_total_bytes,
            recording=not stopped,
            signal_dbm=-61.0 - second % 17,
        )


def _run(device: Device, session_id: str, number: int, begin: Instant, span: tuple[int, int]) -> list[list[Piece]]:
    """Film one unbroken run and part it into segments."""
    start_s, end_s = span
    feed_id = hashlib.sha256(f"{session_id}/{number}".encode()).hexdigest()[:16]
    segments: list[list[Piece]] = []
    seq = 0
    for at_s in range(start_s, end_s, SEGMENT_S):
        seconds = min(SEGMENT_S, end_s - at_s)
        init, bodies = _film(device, begin.plus(at_s * 1000), at_s, seconds)
        pieces = []
        for place, body in enumerate(bodies):
            captured = begin.plus((at_s + place * GOP_S) * 1000)
            length_s = min(GOP_S, seconds - place * GOP_S)
            event = Fragment(
                at=captured.plus(length_s * 1000 + HEARD_AFTER_MS),
                recorder_id=device.id,
                session_id=session_id,
                feed_id=feed_id,
                seq=seq,
                captured_at=captured,
                duration_s=float(length_s),
                bytes=len(init) + len(body),
                sha256=hashlib.sha256(init + body).hexdigest(),
                codec="h264,opus",
            )
            pieces.append(Piece(event, init, body))
            seq += 1
        segments.append(pieces)
    return segments


def _film(device: Device, begin: Instant, elapsed_s: float, seconds: int) -> tuple[bytes, list[bytes]]:
    """Return the init part of a film and its fragments, one a group of pictures, sound in them."""
    scene = Scene(device)
    sink = io.BytesIO()
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(sink, "w", format="mp4", options=options) as out:
        video: Any = out.add_stream("libx264", rate=Fraction(device.fps))
        video.width, video.height, video.pix_fmt = device.width, device.height, "yuv420p"
        video.codec_context.thread_count = 1
        keyint = f"keyint={device.fps * GOP_S}:min-keyint={device.fps * GOP_S}:scenecut=0"
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": keyint}
        sound: Any = out.add_stream("libopus", rate=SOUND_RATE)
        sound.codec_context.layout = "mono"
        sound.codec_context.format = "s16"
        frames_a_picture = round(1 / device.fps / AUDIO_FRAME_S)
        for number in range(seconds * device.fps):
            moment_s = elapsed_s + number / device.fps
            picture = scene.draw(moment_s, begin.plus(round(number / device.fps * 1000)))
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts = number
            frame.time_base = Fraction(1, device.fps)
            out.mux(video.encode(frame))
            for part in range(frames_a_picture):
                samples = heard(device, moment_s + part * AUDIO_FRAME_S, SOUND_RATE)
                tone = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
                tone.sample_rate = SOUND_RATE
                tone.pts = (number * frames_a_picture + part) * len(samples)
                tone.time_base = Fraction(1, SOUND_RATE)
                out.mux(sound.encode(tone))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    data = sink.getvalue()
    boxes = list(scan(memoryview(data)))
    init = b"".join(data[box.start : box.end] for box in boxes if box.kind in {b"ftyp", b"moov"})
    parts = [box for box in boxes if box.kind in {b"moof", b"mdat"}]
    return init, [data[one.start : two.end] for one, two in zip(parts[::2], parts[1::2], strict=True)]
