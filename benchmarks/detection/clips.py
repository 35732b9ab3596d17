"""The catalogue of clips: faults of picture and sound, and what is none but nearly looks so."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.detection import sounds
from benchmarks.detection.media import Clip, Coding, Take, drawn, moment
from benchmarks.detection.scenes import (
    Fault,
    Light,
    Picture,
    View,
    cover,
    defocus,
    dimmed,
    finished,
    fixed_view,
    turn,
    worn_view,
)
from benchmarks.detection.truth import Truth
from domain.clock import Instant
from domain.events import SessionResumed, SessionStopped
from domain.findings import FindingKind

GOOD_S, BACK_S = 44.0, 32.0
STYLES = ("room", "empty", "facade", "test", "passers", "night")
SIZES = ((480, 270), (480, 270), (480, 270), (480, 270), (640, 360), (352, 288), (352, 288), (960, 540))
SOUND_CODECS = ("aac", "libopus", "pcm_alaw", "pcm_mulaw")


def coding(draw: random.Random, **fields: Any) -> Coding:
    """Draw how a clip is encoded."""
    width, height = draw.choice(SIZES)
    small = width <= 480
    codec = draw.choice(("libx264", "libx264", "libx264", "libx265")) if small else "libx264"
    preset = draw.choice(("ultrafast", "veryfast", "medium")) if small and codec == "libx264" else "ultrafast"
    gop_s = draw.choice((1.0, 2.0, 4.0))
    return Coding(
        width=width,
        height=height,
        fps=draw.choice((1.0, 1.0, 2.0)) if small and gop_s > 1 else 2.0 if gop_s == 1 else 1.0,
        codec=codec,
        preset=preset,
        gop_s=gop_s,
        bits=draw.choice((0, 0, 200_000, 600_000)) * (2 if width > 640 else 1),
    )._replace(**fields)


class Camera:
    """A camera, and what is done to it between two seconds.

    Args:
        draw: Where chance comes from.
        look: What it looks at.
        noise: Of its sensor, levels.
        named: It burns a caption with a running clock into the picture.
        grey: It sees in grey.
    """

    def __init__(self, draw: random.Random, look: View, noise: float, *, named: bool, grey: bool = False) -> None:
        self._look, self._noise, self._named, self._grey = look, noise, named, grey
        self._rng = np.random.default_rng(draw.randrange(1 << 32))
        self._fault: Fault | None = None
        self._low = self._high = -1.0
        self._light: Callable[[Light, float], Light] = lambda light, _second: light
        self._frozen: dict[str, Any] = {}
        self._freezes = ""

    def suffer(self, fault: Fault, low: float, high: float) -> None:
        """Put something between it and the world, or turn it."""
        self._fault, self._low, self._high = fault, low, high

    def freeze(self, low: float, high: float, *, clock_runs: bool = False) -> None:
        """Give the same picture again and again; the caption's clock may run on."""
        self._freezes, self._low, self._high = ("clock runs" if clock_runs else "whole"), low, high

    def light(self, change: Callable[[Light, float], Light]) -> None:
        """Let the light change by second."""
        self._light = change

    def __call__(self, second: float) -> Picture:
        """Take a picture."""
        wrong = self._low <= second < self._high
        if wrong and self._freezes == "whole" and "whole" in self._frozen:
            return self._frozen["whole"]  # type: ignore[no-any-return]
        light = self._light(self._look(second), second)
        if wrong and self._fault is not None:
            light = self._fault(light)
        if wrong and self._freezes == "clock runs":
            light = self._frozen.setdefault("light", finished(light, self._rng, self._noise, "").astype(np.float32))
        caption = f"CAM  2026-03-02 09:{int(second) // 60:02}:{int(second) % 60:02}" if self._named else ""
        noise = 0.0 if wrong and self._freezes else self._noise
        picture = finished(light, self._rng, noise, caption, grey=self._grey)
        self._frozen["whole"] = picture
        return picture


def _camera(draw: random.Random, code: Coding, style: str) -> Camera:
    noise = draw.choice((1.0, 1.5, 2.5, 4.0)) if style != "night" else draw.uniform(3, 6)
    look = fixed_view(draw, code.width, code.height, style)
    return Camera(draw, look, noise, named=draw.random() < 0.6, grey=style == "night")


def _clip(name: str, code: Coding, camera: Camera, seconds: float, truths: list[Truth], **fields: Any) -> Clip:
    takes = [Take(0.0, seconds, camera)]
    given = {"kind": "premises_camera", **fields}
    return Clip(name=name, coding=code, takes=takes, seconds=seconds, truths=truths, **given)


def _truth(
    kind: FindingKind, name: str, low: float, hold_s: float, fault: str, *, required: bool = True, reach_s: float = 8.2
) -> Truth:
    """What must be said: from three looks at 4 s on, or from when it has held so long; pieces are up to 4 s long."""
    began = moment(low)
    due = began + round(hold_s * 1000)
    high = began + round(reach_s * 1000)
    return Truth(
        kind=kind, recorder=name, low=began - 4_100, high=high, due=due, ends=True, required=required, fault=fault
    )


def covered(number: int) -> Clip:
    name = f"covered-{number}"
    draw, how = drawn(name), ("tape", "hand", "cloth", "bag")[number % 4]
    code = coding(draw)
    camera, length = _camera(draw, code, STYLES[number % 5]), draw.uniform(24, 45)
    camera.suffer(cover(draw, how), GOOD_S, GOOD_S + length)
    truth = _truth("picture.covered", name, GOOD_S, 8, how)
    return _clip(name, code, camera, GOOD_S + length + BACK_S, [truth])


def leaky(number: int) -> Clip:
    name = f"leaky-{number}"
    draw, how = drawn(name), ("leak", "part")[number % 2]
    code = coding(draw)
    camera = _camera(draw, code, STYLES[number % 5])
    camera.suffer(cover(draw, how), GOOD_S, GOOD_S + 40)
    return _clip(name, code, camera, GOOD_S + 40 + BACK_S, [_truth("picture.covered", name, GOOD_S, 8, how)])


def frozen(number: int, *, clock_runs: bool = False) -> Clip:
    name = f"frozen-{number}{'-clock' if clock_runs else ''}"
    draw = drawn(name)
    code = coding(draw)
    if code.bits:  # so that rate control comes to an end, as it does where many pictures are all the same
        code = code._replace(fps=5.0)
    style = STYLES[number % 6]
    camera, length = _camera(draw, code, style), draw.uniform(100, 140) if code.bits else draw.uniform(60, 90)
    if clock_runs:
        camera._named = True
    camera.freeze(GOOD_S, GOOD_S + length, clock_runs=clock_runs)
    # The encoder may take a while until it repeats itself.
    truths = [_truth("picture.frozen", name, GOOD_S, 30, style, reach_s=length - 30)]
    if style == "passers":  # somebody stands before the lens for all that is to be seen
        truths.append(_truth("picture.moved", name, GOOD_S - 10, 8, style, required=False, reach_s=30))
    return _clip(name, code, camera, GOOD_S + length + BACK_S, truths)


def moved(number: int) -> Clip:
    name = f"moved-{number}"
    draw, how = drawn(name), ("shift", "rotate", "zoom", "away")[number % 4]
    code = coding(draw)
    camera, length = _camera(draw, code, STYLES[number % 3]), draw.uniform(24, 50)
    elsewhere = fixed_view(draw, code.width, code.height, draw.choice(("room", "facade")))
    camera.suffer(turn(draw, how, elsewhere), GOOD_S, GOOD_S + length)
    truths = [_truth("picture.moved", name, GOOD_S, 8, how)]
    if how == "zoom":  # enlarged, with no more detail than before
        truths.append(_truth("picture.blurred", name, GOOD_S, 8, how, required=False))
    return _clip(name, code, camera, GOOD_S + length + BACK_S, truths)


def blurred(number: int, *, sigma: float | None = None) -> Clip:
    name = f"blurred-{number}{'-soft' if sigma else ''}"
    draw = drawn(name)
    code = coding(draw)
    camera, length = _camera(draw, code, STYLES[number % 5]), draw.uniform(24, 50)
    sigma = sigma or (4.0, 6.0, 9.0, 14.0)[number % 4]
    camera.suffer(defocus(sigma), GOOD_S, GOOD_S + length)
    truth = _truth("picture.blurred", name, GOOD_S, 8, f"sigma {sigma:g}")
    return _clip(name, code, camera, GOOD_S + length + BACK_S, [truth])


def clean(number: int) -> Clip:
    """A fixed camera on which all is well, whatever it looks at."""
    name = f"clean-{number}"
    draw = drawn(name)
    code = coding(draw)
    style = (*STYLES, "dim")[number % 7]
    return _clip(name, code, _camera(draw, code, style), 110, [])


def worn(number: int) -> Clip:
    """A recorder on a body, turning and walking."""
    name = f"worn-{number}"
    draw = drawn(name)
    code = coding(draw)
    camera = Camera(draw, worn_view(draw, code.width, code.height), draw.uniform(1, 4), named=number % 2 == 0)
    return _clip(name, code, camera, 110, [], kind="body_worn")


def dusk(number: int) -> Clip:
    """Day to night within twelve minutes: with infrared, or next to black."""
    name = f"dusk-{number}"
    draw, infrared = drawn(name), number % 2 == 0
    code = coding(draw, fps=1.0, gop_s=4.0, width=480, height=270, preset="ultrafast", codec="libx264")
    camera = _camera(draw, code, STYLES[number % 3])
    deep = draw.uniform(0.0, 0.06)

    def light(picture: Light, second: float) -> Light:
        part = max(deep, min(1.0, 1 - (second - 60) / 700))
        return dimmed(picture, part**1.2, infrared=infrared)

    camera.light(light)
    return _clip(name, code, camera, 870, [])


def switched(number: int) -> Clip:
    """Lights off and on at a stroke; the emergency light stays."""
    name = f"switched-{number}"
    draw = drawn(name)
    code = coding(draw)
    camera = _camera(draw, code, STYLES[number % 3])
    left = draw.uniform(0.22, 0.4)
    camera.light(lambda picture, second: dimmed(picture, left if 44 <= second < 90 else 1.0, infrared=False))
    return _clip(name, code, camera, 125, [])


def _sound(draw: random.Random, rate: int, seconds: float, how: str) -> sounds.Sound:
    colour = "pink" if draw.random() < 0.5 else "white"
    if how == "speech":
        return sounds.level(sounds.speech(draw.randrange(20), seconds, rate), draw.uniform(-38, -20))
    if how == "hum":
        return sounds.level(sounds.hum(draw, seconds, rate), draw.uniform(-55, -30))
    if how in {"siren", "beeps", "chords"}:
        made = {"siren": sounds.siren, "beeps": sounds.beeps, "chords": sounds.chords}[how](draw, seconds, rate)
        return sounds.level(made, draw.uniform(-35, -20))
    low, high = {"noise": (-50, -25), "quiet": (-66, -58), "low": (-95, -78), "silence": (-300, -300)}[how]
    return sounds.level(sounds.noise(draw, seconds, rate, colour), draw.uniform(low, high))


def _small(draw: random.Random, codec: str) -> tuple[Coding, Camera]:
    code = Coding(width=240, height=136, sound=codec)
    look = fixed_view(draw, 240, 136, "room")
    return code, Camera(draw, look, 2.0, named=False)


def mute(number: int) -> Clip:
    """The microphone is dead, next to dead, or gone."""
    name = f"mute-{number}"
    draw, how = drawn(name), ("silence", "low", "cut")[number % 3]
    code, camera = _small(draw, SOUND_CODECS[number // 3 % 4])
    before = _sound(draw, code.rate, 30, draw.choice(("speech", "noise", "hum")))
    after = _sound(draw, code.rate, 40, draw.choice(("speech", "noise", "hum")))
    if how == "cut":
        takes = [Take(0, 30, camera, before), Take(30, 85, camera), Take(115, 40, camera, after)]
    else:
        whole = np.concatenate([before, _sound(draw, code.rate, 85, how), after])
        takes = [Take(0, 155, camera, whole)]
    truth = _truth("sound.missing", name, 30, 60, f"{how}, {code.sound}")
    return Clip(name=name, kind="premises_camera", coding=code, takes=takes, seconds=155, truths=[truth], audio=True)


def sounding(number: int) -> Clip:
    """All is well with the sound: loud, quiet, or silent for less than a minute."""
    name = f"sounding-{number}"
    draw, how = drawn(name), ("speech", "noise", "hum", "quiet", "quiet", "pause")[number % 6]
    code, camera = _small(draw, SOUND_CODECS[number // 6 % 4])
    if how == "pause":
        parts = [_sound(draw, code.rate, 40, "speech"), _sound(draw, code.rate, 45, "silence")]
        whole = np.concatenate([*parts, _sound(draw, code.rate, 35, "noise")])
    else:
        whole = _sound(draw, code.rate, 120, how)
    return Clip(
        name=name, kind="premises_camera", coding=code, takes=[Take(0, 120, camera, whole)], seconds=120, audio=True
    )


def explained(number: int, *, spoken: bool) -> Clip:
    """An officer stops, goes on, and says why, or only other things are heard."""
    name = f"{'spoken' if spoken else 'unspoken'}-{number}"
    draw = drawn(name)
    code, camera = _small(draw, SOUND_CODECS[number % 4])
    around = (
        draw.choice(("noise", "hum", "quiet"))
        if spoken
        else ("noise", "hum", "quiet", "siren", "beeps", "chords")[number % 6]
    )
    stop, back, length = 16.0, 30.0, 74.0
    sound = _sound(draw, code.rate, length, around)
    if spoken:
        sound = sounds.level(sound, draw.uniform(-60, -42))
        first, said = draw.uniform(2, 40), draw.uniform(6, 12)
        low = round(first * code.rate)
        words = sounds.level(sounds.speech(number, said, code.rate), draw.uniform(-34, -20))
        sound[low : low + len(words)] += words
    ids: dict[str, Any] = {"recorder_id": name, "session_id": f"s-{name}"}
    last = Instant(moment(stop))
    events = [
        SessionStopped(at=last.plus(300), reason="officer", last_captured_at=last, **ids),
        SessionResumed(at=Instant(moment(back)), **ids),
    ]
    gap = Truth(
        kind="recording.gap", recorder=name, low=moment(stop) - 700, high=moment(stop) + 700, causes=("officer",)
    )
    stopped = Truth(
        kind="recording.unexplained_stop",
        recorder=name,
        low=moment(stop) - 700,
        high=moment(stop) + 700,
        due=moment(back + 60),
        causes=("officer",),
        fault=around,
    )
    takes = [Take(0, stop, camera, _sound(draw, code.rate, stop, "noise")), Take(back, length, camera, sound)]
    return Clip(
        name=name,
        kind="body_worn",
        coding=code,
        takes=takes,
        seconds=back + length,
        truths=[gap] if spoken else [gap, stopped],
        events=events,  # type: ignore[arg-type]
        audio=True,
        listens=True,
    )


SETS: dict[str, tuple[Callable[[int], Clip], int]] = {
    "covered": (covered, 24),
    "frozen": (frozen, 24),
    "moved": (moved, 24),
    "blurred": (blurred, 24),
    "clean": (clean, 28),
    "worn": (worn, 12),
    "dusk": (dusk, 12),
    "switched": (switched, 18),
    "mute": (mute, 24),
    "sounding": (sounding, 24),
    "spoken": (partial(explained, spoken=True), 20),
    "unspoken": (partial(explained, spoken=False), 20),
}
"""What the demand is about: how to make each clip of a set, and how many there are."""
BEYOND: dict[str, tuple[Callable[[int], Clip], int]] = {
    "leaky": (leaky, 6),
    "frozen beneath a running clock": (partial(frozen, clock_runs=True), 6),
    "soft, sigma 2": (partial(blurred, sigma=2.0), 6),
}
"""What the thresholds of the interface do not reach, or may not: shown, not demanded."""


def clips(
    sets: dict[str, tuple[Callable[[int], Clip], int]], part: int, parts: int, at_most: int = 1 << 30
) -> Iterator[Clip]:
    """Every clip of the sets whose number falls to this part."""
    for make, count in sets.values():
        for number in range(min(count, at_most)):
            if number % parts == part:
                yield make(number)
