"""A day on which nothing goes wrong: cameras that record around the clock, officers with several recordings each.

All that is no fault is there: dusk, night and dawn, infrared, people close to the lens, quiet rooms, recordings in
pieces, batteries that are used and charged, new connections, small clock errors, repetitions and disorder.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.detection.run import Placed, in_place, on_its_way, run, ticks
from benchmarks.detection.story import POLICIES, Figures, RecorderKind, Says, Story
from benchmarks.detection.truth import Truth
from domain.clock import Instant

MIDNIGHT = Instant.parse("2026-03-02T00:00:00+08:00")
HOUR_MS = 3_600_000
DAWN_H, DUSK_H, TWILIGHT_H = 6.2, 18.3, 0.6
"""Begin of each, and how long it takes."""


def log(
    part: int, recorders: int, *, low_h: float = 0.0, hours: float = 24.0, stops: bool = False
) -> tuple[Iterator[bytes], list[Truth]]:
    """Return a log, and what must be said of it: nothing, unless officers stop, and explain it.

    Args:
        part: Which recorders; seeds them.
        recorders: How many; two in five are cameras.
        low_h: When it begins, hours after midnight.
        hours: How long it is.
        stops: Officers stop now and then within a recording and explain it; each leaves a gap, and no more.
    """
    draw = random.Random(part)
    low = int(MIDNIGHT) + round(low_h * HOUR_MS)
    high = low + round(hours * HOUR_MS)
    parts: list[Iterator[Placed]] = []
    truths: list[Truth] = []
    for number in range(recorders):
        name = f"c{part}-{number}"
        story = _camera(draw, name, low, high) if number % 5 < 2 else _officer(draw, name, low, high, stops=stops)
        lines = [line for line in story.lines() if line.at < high]
        parts.append(on_its_way(draw, lines, disordered=draw.random() < 0.2, doubled=0.01))
        truths += story.truths
    return in_place([*parts, ticks(low - 30_000, high)]), truths


class Counted(NamedTuple):
    """What came of a clean log: how long it was, and every finding, which should be none."""

    events: int
    said: list[str]


def counted(part: int, recorders: int, low_h: float, hours: float) -> Counted:
    """Run a log without stops; tell what was said of it."""
    lines = list(log(part, recorders, low_h=low_h, hours=hours)[0])
    return Counted(len(lines), [str(one.finding) for one in run(lines)])


def _camera(draw: random.Random, name: str, low: int, high: int) -> Story:
    kind: RecorderKind = "room_camera" if draw.random() < 0.3 else "premises_camera"
    story = Story(draw, name, low + draw.randrange(2_000), kind, draw.choice(POLICIES))
    story.fragment_ms, story.look_ms, story.continuous = 4_000, 8_000, True
    audio = draw.random() < 0.5
    story.soundless = [] if audio else [(0, 1 << 62)]
    story.register(audio=audio)
    story.open()
    story.looks = _camera_sees(draw, story.day)
    while story.now < high:
        story.record(min(draw.uniform(600, 14_000), (high - story.now) / 1000))
        story.now += draw.randrange(0, 400)
        if draw.random() < 0.5:
            story.connect()
    return story


def _camera_sees(draw: random.Random, day: Figures) -> Callable[[int, Figures], None]:
    infrared = draw.random() < 0.5
    dark = draw.uniform(1.5, 12)
    quiet = draw.uniform(-66, -40)
    still = draw.uniform(0.0012, 0.004)

    def looks(at: int, figures: Figures) -> None:
        hour = ((at - MIDNIGHT) / HOUR_MS) % 24
        light = _daylight(hour)
        figures.change = still + 0.01 * light * draw.random()
        figures.audio_dbfs = quiet + 15 * light * draw.random()
        if infrared and light < 0.3:
            figures.luma, figures.contrast = 55, 16
            figures.sharpness = 0.5 * day.sharpness
        else:
            figures.luma = 17 + (day.luma - 17) * light
            figures.contrast = dark + max(0.0, day.contrast - dark) * light
            figures.sharpness = max(1.0, day.sharpness * (figures.contrast / day.contrast) ** 2)
        if draw.random() < 0.02:  # somebody passes close by
            figures.contrast *= 0.6
            figures.scene_shift, figures.sharpness = draw.uniform(0.3, 0.7), 0.5 * figures.sharpness

    return looks


def _daylight(hour: float) -> float:
    """0 by night, 1 by day."""
    rising = (hour - DAWN_H) / TWILIGHT_H
    setting = (DUSK_H + TWILIGHT_H - hour) / TWILIGHT_H
    return math.sin(min(1.0, max(0.0, min(rising, setting))) * math.pi / 2)


def _officer(draw: random.Random, name: str, low: int, high: int, *, stops: bool) -> Story:
    story = Story(draw, name, low + draw.randrange(60_000), "body_worn", draw.choice(POLICIES))
    story.fragment_ms, story.look_ms, story.telemetry_ms = 2_000, 8_000, 10_000
    story.says = _used_and_charged(draw)
    story.looks = _body_sees(draw)
    story.register()
    _rest(story, draw.uniform(0, 1 if high - low < 4 * HOUR_MS else 4))
    while story.now < high - HOUR_MS // 2:
        story.open(act=draw.choice(("inspection", "questioning", "hearing")))
        for turn in range(draw.randint(1, 3)):
            story.record(min(draw.uniform(300, 2_000), max(120.0, (high - story.now) / 1000 - 300)))
            if stops and turn < 2 and draw.random() < 0.6:  # three would be stop-and-go
                _explained_stop(story)
                story.record(120)
            elif draw.random() < 0.3:
                story.now += draw.randrange(0, 700)
                story.connect()
        story.end()
        _rest(story, draw.choice((draw.uniform(0.003, 0.05), draw.uniform(0.2, 2.5))))
    return story


def _rest(story: Story, hours: float) -> None:
    low = story.now
    story.skip(hours * 3600)
    story.idle.append((low - 200, story.now + 500))


def _used_and_charged(draw: random.Random) -> Callable[[int, Says], None]:
    full, free = draw.uniform(85, 100), draw.uniform(0.6, 0.98)

    def says(at: int, words: Says) -> None:
        hours = (at - MIDNIGHT) / HOUR_MS
        turn = hours % 6  # five hours of use, one in the dock
        words.charging = turn >= 5
        words.battery = full - 9 * turn if turn < 5 else full - 45 * (6 - turn)
        words.free = free - 0.015 * hours
        words.device_off_ms += 40 * hours

    return says


def _body_sees(draw: random.Random) -> Callable[[int, Figures], None]:
    def looks(_: int, figures: Figures) -> None:
        figures.change, figures.scene_shift = draw.uniform(0.02, 0.12), draw.uniform(0.3, 1.0)
        figures.luma, figures.contrast = draw.uniform(45, 190), draw.uniform(14, 70)
        figures.sharpness *= draw.uniform(0.4, 2.0)

    return looks


def _explained_stop(story: Story) -> None:
    low = story.now
    story.stop("officer")
    story.skip(story.draw.uniform(10, 50))
    story.idle.append((low, story.now))
    story.resume()
    story.connect()
    story.gap(low, story.now, "officer", "explained stop", came=story.now + story.fragment_ms)
    story.explain(story.draw.uniform(7, 40), "work_record", "low_battery", text="电量不足", approved_by="chief-1")
