"""What cameras look at, drawn: still and moving, by day and night, and what may be done to a camera. Before encoding.

A picture is light first (float32, BGR, 0 to 255), to which lens and light are applied; then the sensor adds its noise.
So a lens out of focus blurs the scene and not the noise, as a real one does.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Light = NDArray[np.float32]
Picture = NDArray[np.uint8]
Fault = Callable[[Light], Light]


class View(Protocol):
    """Something to look at: light by second, shape (height, width, 3)."""

    def __call__(self, second: float) -> Light: ...


def texture(draw: random.Random, width: int, height: int, *, slope: float = 1.0) -> Light:
    """Clouds of all sizes, whose spectrum falls like that of natural pictures (1/f); some colour."""
    rng = np.random.default_rng(draw.randrange(1 << 32))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    scale = 1 / np.maximum(np.hypot(fy, fx), 1 / max(width, height)) ** slope
    planes = []
    for _ in range(2):
        spectrum = scale * np.exp(2j * np.pi * rng.random(scale.shape))
        plane = np.fft.irfft2(spectrum, (height, width))
        planes.append(plane / plane.std())
    grey, tint = planes
    base, contrast = draw.uniform(90, 140), draw.uniform(25, 45)
    mixed = np.stack([base + contrast * (grey + k * tint) for k in (0.25, 0.0, -0.2)], axis=2)
    found: Light = np.clip(mixed, 4, 250).astype(np.float32)
    return found


def room(draw: random.Random, width: int, height: int) -> Light:
    """A wall, a floor, shelves, doors, and the texture of things."""
    rng = np.random.default_rng(draw.randrange(1 << 32))
    light = np.empty((height, width, 3), np.float32)
    hue = rng.integers(60, 170, 3)
    light[:] = np.linspace(hue, hue + 60, height)[:, None, :]
    light[int(height * 0.7) :] = hue // 2 + 30
    for _ in range(draw.randint(8, 22)):
        x, y = int(rng.integers(0, width)), int(rng.integers(height // 6, height))
        w, h = int(rng.integers(width // 20, width // 5)), int(rng.integers(height // 20, height // 4))
        colour = tuple(float(c) for c in rng.integers(20, 235, 3))
        cv2.rectangle(light, (x, y), (x + w, y + h), colour, -1)
    return np.clip(light + 0.2 * (texture(draw, width, height, slope=0.7) - 115), 0, 255).astype(np.float32)


@cache
def test_pictures(width: int, height: int) -> list[Picture]:
    """FFmpeg's moving test picture, one a second."""
    source = f"testsrc2=size={width}x{height}:rate=1:duration=40"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return list(np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3))


def fixed_view(draw: random.Random, width: int, height: int, style: str) -> View:
    """What a camera on a wall looks at.

    Args:
        draw: Where chance comes from.
        width: Pixels.
        height: Pixels.
        style: `room` (somebody walks about), `empty`, `facade`, `test`, `passers` (close to the lens), `night`
            (infrared: grey, dim), `dim`.
    """
    base = texture(draw, width, height) if style == "facade" else room(draw, width, height)
    pace, phase = draw.uniform(2, 6), draw.uniform(0, 6)
    if style == "night":
        grey = cv2.cvtColor(base, cv2.COLOR_BGR2GRAY)
        base = np.repeat((grey * draw.uniform(0.35, 0.55) + 12)[:, :, None], 3, axis=2)
    elif style == "dim":
        base = base * np.float32(draw.uniform(0.3, 0.45))

    def look(second: float) -> Light:
        if style == "test":
            frames = test_pictures(width, height)
            return frames[int(second) % len(frames)].astype(np.float32)
        light = base.copy()
        if style in {"room", "night", "dim"}:
            _person(light, second, pace, phase)
        if style == "passers" and (second + 7 * phase) % 23 < 5:
            _close_by(light, second)
        return light

    return look


def worn_view(draw: random.Random, width: int, height: int) -> View:
    """What a camera on a body looks at: it turns and walks."""
    wide = texture(draw, 3 * width, height * 2)
    pace = draw.uniform(4, 15)

    def look(second: float) -> Light:
        x = int((0.5 + 0.5 * np.sin(second / pace)) * 2 * width)
        y = int((0.5 + 0.5 * np.sin(second / pace * 1.7)) * height)
        return wide[y : y + height, x : x + width].copy()

    return look


def _person(light: Light, second: float, pace: float, phase: float) -> None:
    height, width = light.shape[:2]
    x = int((0.5 + 0.45 * np.sin(second / pace + phase)) * width)
    scale = 0.35 if light.mean() < 80 else 1.0
    cv2.ellipse(light, (x, int(height * 0.55)), (width // 25, height // 5), 0, 0, 360, (90 * scale, 60 * scale, 40), -1)
    cv2.circle(light, (x, int(height * 0.3)), height // 14, (150 * scale, 180 * scale, 220 * scale), -1)


def _close_by(light: Light, second: float) -> None:
    """Somebody before the lens: most of the picture, with folds."""
    height, width = light.shape[:2]
    folds = 60 + 25 * np.sin(np.arange(width) / (9 + second % 5))
    low = int(width * (0.1 + 0.05 * (second % 3)))
    light[height // 8 :, low : low + int(width * 0.75)] = folds[None, low : low + int(width * 0.75), None]


def finished(light: Light, draw: np.random.Generator, noise: float, caption: str, *, grey: bool = False) -> Picture:
    """Give light the sensor's noise and the camera's caption."""
    picture = _noisy(light, draw, noise, grey=grey)
    if caption:
        scale = picture.shape[1] / 900
        band = int(40 * scale)
        picture[:band] //= 3
        place = (int(12 * scale), int(29 * scale))
        cv2.putText(picture, caption, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), max(1, int(2 * scale)))
    return picture


@cache
def _grains(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).standard_normal((height + 64, width + 64, 3), np.float32)


def _noisy(light: Light, draw: np.random.Generator, noise: float, *, grey: bool) -> Picture:
    """Shot noise grows with the root of light; the rest is the electronics'. From a stock of noise, shifted."""
    height, width = light.shape[:2]
    y, x = (int(one) for one in draw.integers(0, 64, 2))
    grains = _grains(height, width)[y : y + height, x : x + width] * np.float32(draw.choice((-1, 1)))
    grains = np.roll(grains, int(draw.integers(0, width)), axis=1)
    if grey:
        grains = np.repeat(grains[:, :, :1], 3, axis=2)
    strength = noise * np.sqrt(0.4 + light / 200)
    return np.clip(light + grains * strength, 0, 255).astype(np.uint8)


# What is done to a camera


def cover(draw: random.Random, how: str) -> Fault:
    """Something before the lens.

    Args:
        draw: Where chance comes from.
        how: `tape` (black), `hand` (skin, all but even), `cloth` (of some colour), `bag` (bright), `leak` (dark, light
            comes in at an edge), `part` (half of it stays free).
    """
    colours = {
        "tape": (6.0, 6.0, 6.0),
        "hand": (38.0, 52.0, 96.0),
        "cloth": tuple(draw.uniform(20, 120) for _ in range(3)),
        "bag": (190.0, 205.0, 210.0),
        "leak": (14.0, 16.0, 20.0),
        "part": (30.0, 30.0, 40.0),
    }
    colour, shade, side = colours[how], draw.uniform(0, 4), draw.random() < 0.5

    def change(light: Light) -> Light:
        width = light.shape[1]
        covered = np.empty_like(light)
        covered[:] = colour
        covered += (np.linspace(-shade / 2, shade / 2, width)[None, :, None]).astype(np.float32)
        if how == "leak":
            edge = np.exp(-np.arange(width) / (width * 0.05))[None, :, None] * 180
            covered += (edge if side else edge[:, ::-1]).astype(np.float32)
        if how == "part":
            covered[:, : width // 2] = light[:, : width // 2]
        return covered

    return change


def turn(draw: random.Random, how: str, elsewhere: View) -> Fault:
    """The camera looks elsewhere: `shift`, `rotate`, `zoom`, or `away` at something else altogether."""
    angle, factor = draw.choice((-1, 1)) * draw.uniform(25, 90), draw.uniform(1.6, 2.5)
    part = draw.choice((-1, 1)) * draw.uniform(0.3, 0.6)
    away = elsewhere(0.0)

    def change(light: Light) -> Light:
        height, width = light.shape[:2]
        if how == "away":
            return away.copy()
        if how == "shift":
            beyond = np.concatenate([away, light, away], axis=1)
            low = width + int(part * width)
            return beyond[:, low : low + width].copy()
        turned = cv2.getRotationMatrix2D((width / 2, height / 2), angle if how == "rotate" else 0, 1.0)
        if how == "zoom":
            turned = cv2.getRotationMatrix2D((width * 0.4, height * 0.4), 0, factor)
        found: Any = cv2.warpAffine(light, turned, (width, height), borderMode=cv2.BORDER_REFLECT)
        return np.asarray(found, np.float32)

    return change


def defocus(sigma: float) -> Fault:
    """A lens out of focus; sigma in pixels at a width of 480."""

    def change(light: Light) -> Light:
        found: Any = cv2.GaussianBlur(light, (0, 0), sigma * light.shape[1] / 480)
        return np.asarray(found, np.float32)

    return change


def dimmed(light: Light, part: float, *, infrared: bool) -> Light:
    """Light at some part of the day's, 1 by day and 0 by night."""
    if infrared and part < 0.2:
        grey = cv2.cvtColor(light, cv2.COLOR_BGR2GRAY) * 0.4 + 10
        return np.repeat(grey[:, :, None], 3, axis=2).astype(np.float32)
    return (light * np.float32(part) + np.float32(1.5)).astype(np.float32)
