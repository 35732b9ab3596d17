"""Footage of simulated devices, encoded and cut as a camera's would be, without waiting for it to happen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import av
import numpy as np

from domain.clock import Instant
from domain.events import Fragment
from domain.media import AccessUnit, Codec, TrackParams
from streams.ingest.fragmenter import fragments_of
from streams.ingest.limits import Limits
from streams.ingest.muxer import CutFragment
from streams.ingest.rtp.sps import avcc
from streams.simulate.rtp import nal_units
from streams.simulate.scene import AUDIO_FRAME_S, Scene, SoundEncoder, VideoEncoder, heard
from streams.simulate.script import Device, Do, Fault
from tests.streams.units import dops

START = Instant.parse("2026-03-02T09:00:00.000+08:00")
DELAY_MS = 300

Piece = tuple[Fragment, bytes]


def device(*faults: tuple[Do, float], fixed: bool = True, audio: bool = False, **fields: object) -> Device:
    """A device with faults that begin at a second and last for 75 s."""
    scripted = [Fault(do=do, at_s=at_s, for_s=75) for do, at_s in faults]
    kind = "premises_camera" if fixed else "body_worn"
    usual: dict[str, object] = {"id": "dev-1", "fps": 2, "width": 480, "height": 270, "bitrate_bps": 400_000}
    return Device(**{**usual, "kind": kind, "fault": scripted, "audio": audio, **fields})  # type: ignore[arg-type]


def footage(of: Device, seconds: float, start: Instant = START) -> list[Piece]:
    """Its fragments and their events, in order."""
    units = [*_pictures(of, seconds, start), *(_sounds(of, seconds, start) if of.audio else ())]
    units.sort(key=lambda unit: (unit.captured_at, unit.track))
    return [_piece(of, cut) for cut in fragments_of(units, Limits())]


def _pictures(of: Device, seconds: float, start: Instant) -> Iterator[AccessUnit]:
    scene, encoder, params = Scene(of), VideoEncoder(of), None
    for number in range(round(seconds * of.fps)):
        at_s = number / of.fps
        for unit in encoder.encode(scene.draw(at_s, start.plus(round(at_s * 1000))), at_s):
            nals = list(nal_units(unit.data))
            sets = {nal[0] & 31: nal for nal in nals if nal[0] & 31 in (7, 8)}
            if params is None:
                params = TrackParams(Codec.H264, 90_000, avcc([sets[7]], [sets[8]]), of.width, of.height)
            data = b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)
            yield _unit(0, params, unit.pts_s, data, unit.keyframe, start)


def _sounds(of: Device, seconds: float, start: Instant) -> Iterator[AccessUnit]:
    encoder = SoundEncoder(opus=of.pushes)
    params = TrackParams(Codec.PCMA, 8_000, channels=1)
    if of.pushes:
        params = TrackParams(Codec.OPUS, 48_000, _opus_box(), channels=1)
    for number in range(round(seconds / AUDIO_FRAME_S)):
        at_s = number * AUDIO_FRAME_S
        for unit in encoder.encode(heard(of, at_s, encoder.rate), at_s):
            yield _unit(1, params, max(0.0, unit.pts_s), unit.data, True, start)


def _opus_box() -> bytes:
    codec = av.CodecContext.create("libopus", "w")
    assert isinstance(codec, av.AudioCodecContext)
    codec.sample_rate, codec.format, codec.layout = 48_000, "s16", "mono"
    silence = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), format="s16", layout="mono")
    silence.sample_rate = 48_000
    codec.encode(silence)
    assert codec.extradata
    return dops(codec.extradata)


def _unit(track: int, params: TrackParams, pts_s: float, data: bytes, keyframe: bool, start: Instant) -> AccessUnit:  # noqa: PLR0917
    at = start.plus(round(pts_s * 1000))
    return AccessUnit(track, params, round(pts_s * params.clock_rate), data, keyframe, at, at.plus(50))


def _piece(of: Device, cut: CutFragment) -> Piece:
    event = Fragment(
        at=cut.captured_at.plus(cut.duration_ms + DELAY_MS),
        recorder_id=of.id,
        session_id="s1",
        feed_id="f1",
        seq=cut.seq,
        captured_at=cut.captured_at,
        duration_s=cut.duration_ms / 1000,
        bytes=len(cut.data),
        sha256=hashlib.sha256(cut.data).hexdigest(),
        codec=cut.codecs,
    )
    return event, cut.data
