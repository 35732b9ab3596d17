"""What microphones hear: speech of a synthesiser, noise, hum, sirens, quiet rooms, and nothing. Float, −1 to 1."""

from __future__ import annotations

import random
import shutil
import subprocess
from functools import cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from streams.simulate.voice import speech as sentence

Sound = NDArray[np.float64]
VOICES = (
    ("cmn", "设备电量不足，更换电池以后继续记录，现在说明情况。"),
    ("cmn", "检查场所变化，刚才停止了拍摄，现在重新开始记录。"),
    ("en", "The battery was low and had to be changed, we go on recording now."),
    ("en", "Recording stopped because of the rain. We resume at the second room."),
)


def level(sound: Sound, dbfs: float) -> Sound:
    """Scale to an RMS level."""
    rms = float(np.sqrt(np.mean(sound**2))) if len(sound) else 0.0
    return sound if rms == 0 else sound * (10 ** (dbfs / 20) / rms)


def noise(draw: random.Random, seconds: float, rate: int, colour: str) -> Sound:
    """White or pink noise."""
    rng = np.random.default_rng(draw.randrange(1 << 32))
    samples = rng.standard_normal(round(seconds * rate))
    if colour == "white":
        return samples
    spectrum = np.fft.rfft(samples)
    found: Sound = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(samples))
    return found


def hum(draw: random.Random, seconds: float, rate: int) -> Sound:
    """Mains, and its harmonics."""
    moments = np.arange(round(seconds * rate)) / rate
    parts = [np.sin(2 * np.pi * 50 * n * moments + draw.random()) / n for n in (1, 2, 3, 5)]
    whole: Sound = np.sum(parts, axis=0)
    return whole


def siren(_: random.Random, seconds: float, rate: int) -> Sound:
    """Up and down between 500 and 1500 Hz."""
    moments = np.arange(round(seconds * rate)) / rate
    return np.sin(2 * np.pi * np.cumsum(1000 + 500 * np.sin(2 * np.pi * moments / 4)) / rate)


def beeps(_: random.Random, seconds: float, rate: int) -> Sound:
    """A device that beeps each second."""
    moments = np.arange(round(seconds * rate)) / rate
    return np.where(moments % 1 < 0.15, np.sin(2 * np.pi * 880 * moments), 0.0)


def chords(draw: random.Random, seconds: float, rate: int) -> Sound:
    """Something like music: a chord a second."""
    moments = np.arange(round(seconds * rate)) / rate
    roots = np.array([draw.choice((220.0, 247.0, 262.0, 294.0, 330.0)) for _ in range(int(seconds) + 1)])
    root = roots[moments.astype(int)]
    tones = [np.sin(2 * np.pi * root * ratio * moments) for ratio in (1, 1.25, 1.5)]
    whole: Sound = np.sum(tones, axis=0) * np.exp(-2 * (moments % 1))
    return whole


def speech(voice: int, seconds: float, rate: int) -> Sound:
    """Somebody speaking, again and again; espeak-ng where it is installed, else the sentence that is shipped."""
    said = _spoken(voice, rate) if shutil.which("espeak-ng") else sentence(0, 12, rate) / 32_768
    return np.resize(said, round(seconds * rate))


@cache
def _spoken(voice: int, rate: int) -> Sound:
    language, words = VOICES[voice % len(VOICES)]
    pitch, speed = 30 + 13 * (voice % 4), 130 + 17 * (voice % 5)
    command = ["espeak-ng", "-v", language, "-p", str(pitch), "-s", str(speed), "--stdout", words]
    wave = subprocess.run(command, check=True, capture_output=True).stdout
    # Of unknown length where it is written to a pipe; the header is 44 bytes, 22,050 Hz, mono.
    samples = np.frombuffer(wave[44 : len(wave) - len(wave) % 2], np.int16)
    resampler: Any = av.AudioResampler(format="s16", layout="mono", rate=rate)
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.sample_rate = 22_050
    pieces = [one.to_ndarray().reshape(-1) for one in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate([*pieces, np.zeros(rate // 2)]) / 32_768
