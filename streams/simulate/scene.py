"""Moving pictures with a burnt-in clock, and sound: drawn, encoded once, handed out as access units."""

from __future__ import annotations

import zlib
from fractions import Fraction
from typing import Any

import av
import cv2
import msgspec
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from domain.clock import Instant
from streams.simulate.script import Device
from streams.simulate.voice import speech

Picture = NDArray[np.uint8]

AUDIO_RATE = 8000
AUDIO_FRAME_S = 0.02


class EncodedUnit(msgspec.Struct, frozen=True):
    """One encoded picture or sound frame.

    Attributes:
        video: Picture, or else sound.
        data: H.264 Annex B, or raw sound frame.
        pts_s: Presentation time, seconds from the start of the scene.
        keyframe: IDR picture; True for sound.
    """

    video: bool
    data: bytes
    pts_s: float
    keyframe: bool


class Scene:
    """Draws what a camera would see. Deterministic in the device, the time and the faults that are on."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._rng = np.random.default_rng(zlib.crc32(device.id.encode()))
        self._background = self._paint()
        self._frozen: Picture | None = None

    def draw(self, elapsed_s: float, now: Instant) -> Picture:
        """Return the BGR picture, shape (height, width, 3), at so many seconds into the run."""
        device = self._device
        if device.has("freeze", elapsed_s) and self._frozen is not None:
            return self._frozen
        picture = self._background.copy()
        self._person(picture, elapsed_s)
        picture = self._disturb(picture, elapsed_s)
        if not device.has("cover", elapsed_s):
            self._caption(picture, now)
        self._frozen = picture
        return picture

    def _paint(self) -> Picture:
        """Paint a wall, a floor, shelves and a little texture."""
        height, width = self._device.height, self._device.width
        picture = np.empty((height, width, 3), np.uint8)
        hue = self._rng.integers(60, 170, 3)
        picture[:] = np.linspace(hue, hue + 60, height)[:, None, :]
        picture[int(height * 0.7) :] = hue // 2 + 30
        for _ in range(14):
            x, y = int(self._rng.integers(0, width)), int(self._rng.integers(height // 6, height))
            w, h = int(self._rng.integers(width // 20, width // 5)), int(self._rng.integers(height // 20, height // 5))
            colour = tuple(int(c) for c in self._rng.integers(20, 235, 3))
            cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
        noise = self._rng.normal(0, 4, picture.shape)
        return np.clip(picture + noise, 0, 255).astype(np.uint8)

    def _person(self, picture: Picture, elapsed_s: float) -> None:
        height, width = picture.shape[:2]
        x = int((0.5 + 0.4 * np.sin(elapsed_s / 3)) * width)
        y = int(height * 0.55)
        cv2.ellipse(picture, (x, y), (width // 30, height // 5), 0, 0, 360, (90, 60, 40), -1)
        cv2.circle(picture, (x, y - height // 4), height // 14, (150, 180, 220), -1)

    def _disturb(self, picture: Picture, elapsed_s: float) -> Picture:
        device = self._device
        if device.has("turn", elapsed_s):
            picture = np.ascontiguousarray(np.roll(picture[::-1, ::-1], picture.shape[1] // 3, axis=1))
        if device.has("blur", elapsed_s):
            picture = cv2.GaussianBlur(picture, (0, 0), 12).astype(np.uint8)
        if device.has("night", elapsed_s):
            grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32) * 0.35
            noise = self._rng.normal(0, 6, grey.shape)
            picture = np.repeat(np.clip(grey + noise, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
        if device.has("cover", elapsed_s):
            picture = np.full_like(picture, 9)
        return picture

    def _caption(self, picture: Picture, now: Instant) -> None:
        text = f"{self._device.id}  {now.datetime():%Y-%m-%d %H:%M:%S}.{int(now) % 1000:03d}"
        scale = picture.shape[1] / 900
        height = int(40 * scale)
        picture[:height] //= 3
        origin = (int(12 * scale), int(29 * scale))
        cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), max(1, int(2 * scale)))


class VideoEncoder:
    """H.264, baseline without reordering, parameter sets before every keyframe."""

    def __init__(self, device: Device) -> None:
        codec: Any = av.CodecContext.create("libx264", "w")
        codec.width, codec.height = device.width, device.height
        codec.pix_fmt = "yuv420p"
        codec.time_base = Fraction(1, 90_000)
        codec.framerate = Fraction(device.fps, 1)
        codec.bit_rate = device.bitrate_bps
        codec.thread_count = 1
        codec.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            "x264-params": f"keyint={max(1, round(device.fps * device.gop_s))}:scenecut=0:repeat-headers=1",
        }
        self._codec = codec

    def encode(self, picture: Picture, pts_s: float, *, keyframe: bool = False) -> list[EncodedUnit]:
        """Encode one BGR picture, as a keyframe where wanted; blocking, a few milliseconds."""
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
        frame.pts = round(pts_s * 90_000)
        frame.time_base = Fraction(1, 90_000)
        if keyframe:
            frame.pict_type = PictureType.I
        return [
            EncodedUnit(video=True, data=bytes(packet), pts_s=(packet.pts or 0) / 90_000, keyframe=packet.is_keyframe)
            for packet in self._codec.encode(frame)
        ]


def tone(start_s: float, duration_s: float, rate: int, level: float = 0.1) -> NDArray[np.int16]:
    """Return a short beep at each full second over faint noise, shape (samples,), int16."""
    moments = start_s + np.arange(round(duration_s * rate)) / rate
    beep = np.where(moments % 1.0 < 0.1, np.sin(2 * np.pi * 880 * moments), 0.0)
    hiss = np.random.default_rng(round(start_s * 50)).normal(0, 0.01, moments.shape)
    return ((level * beep + hiss) * 32_000).clip(-32_768, 32_767).astype(np.int16)


def heard(device: Device, elapsed_s: float, rate: int) -> NDArray[np.int16]:
    """Return the 20 ms that a microphone hears so many seconds into the run, shape (samples,), int16."""
    faults = {fault.do: fault for fault in device.faults(elapsed_s)}
    if "mute" in faults:
        return np.zeros(round(AUDIO_FRAME_S * rate), np.int16)
    if "speak" in faults:
        return speech(elapsed_s - faults["speak"].at_s, AUDIO_FRAME_S, rate)
    return tone(elapsed_s, AUDIO_FRAME_S, rate)


class SoundEncoder:
    """G.711 A-law at 8 kHz for cameras, Opus at 48 kHz for recorders."""

    def __init__(self, *, opus: bool) -> None:
        self.rate = 48_000 if opus else AUDIO_RATE
        codec: Any = av.CodecContext.create("libopus" if opus else "pcm_alaw", "w")
        codec.sample_rate = self.rate
        codec.format = "s16"
        codec.layout = "mono"
        codec.time_base = Fraction(1, self.rate)
        if opus:
            codec.bit_rate = 32_000
        self._codec = codec

    def encode(self, samples: NDArray[np.int16], pts_s: float) -> list[EncodedUnit]:
        """Encode one 20 ms frame of mono samples."""
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = self.rate
        frame.pts = round(pts_s * self.rate)
        frame.time_base = Fraction(1, self.rate)
        return [
            EncodedUnit(video=False, data=bytes(packet), pts_s=(packet.pts or 0) / self.rate, keyframe=True)
            for packet in self._codec.encode(frame)
        ]
