"""Whole logs drawn by a seed: recorders of all kinds and policies, each with a story, on a log as logs are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TypeVar

from benchmarks.detection.device import CLOCKS, TROUBLE
from benchmarks.detection.faults import ANYONE, BODY_WORN, CLOCK, IN_SESSIONS, RESERVES, Fault
from benchmarks.detection.run import Line, Placed, in_place, on_its_way, run, ticks
from benchmarks.detection.seen import SIGHTS
from benchmarks.detection.story import POLICIES, RecorderKind, Story
from benchmarks.detection.truth import Scores, Truth, score
from domain.clock import Instant

START = Instant.parse("2026-03-02T09:00:00+08:00")
RECORDERS = 14
KINDS: tuple[RecorderKind, ...] = ("body_worn", "premises_camera", "room_camera")
AFTER_MS = 25 * 3_600_000
"""Ticks go on for so long: some explanations are due a day after the end."""
Drawn = TypeVar("Drawn")


def log(seed: int, recorders: int = RECORDERS) -> tuple[list[bytes], list[Truth]]:
    """Return a log and what is true of it."""
    draw = random.Random(seed)
    parts: list[Iterator[Placed]] = []
    truths: list[Truth] = []
    last = 0
    for number in range(recorders):
        story = tell(draw, f"r{seed}-{number}")
        lines = story.lines()
        last = max(last, *(line.at for line in lines))
        parts.append(_placed(draw, lines))
        truths += story.truths
    end = last + 60_000
    parts += [ticks(START - 30_000, end), ticks(end, end + AFTER_MS, 30_000)]
    return list(in_place(parts)), truths


def _placed(draw: random.Random, lines: list[Line]) -> Iterator[Placed]:
    disordered = draw.random() < 0.3
    return on_its_way(random.Random(draw.random()), lines, disordered=disordered, doubled=0.02)


def tell(draw: random.Random, name: str) -> Story:
    """Tell the story of one recorder: something seen or heard, two faults, and what its device said all the while."""
    kind: RecorderKind = draw.choices(KINDS, (7, 2, 1))[0]
    story = Story(draw, name, int(START) + draw.randrange(0, 20_000), kind, draw.choice(POLICIES))
    fixed = kind != "body_worn"
    story.continuous = fixed and draw.random() < 0.4
    story.register()
    story.open()
    story.record(draw.uniform(40, 70))
    pick(draw, SIGHTS)(story)
    faults = _faults(draw, story)
    for fault in faults:
        fault(story)
        story.record(draw.uniform(15, 30))
    if story.kind == "body_worn":
        pick(draw, CLOCKS if faults[0] in RESERVES else TROUBLE)(story)
    end = story.end()
    if story.continuous:  # it goes on being expected, and the log does not go on with it
        for silence in ("recording.stalled", "device.silent"):
            story.true(silence, end, slack_ms=20_000, required=False, fault="after the end")
    return story


def _faults(draw: random.Random, story: Story) -> list[Fault]:
    first = dict(ANYONE) if story.continuous else {**ANYONE, **IN_SESSIONS}
    if story.kind == "body_worn":
        first |= BODY_WORN
    one = pick(draw, first | RESERVES if story.kind == "body_worn" else first)
    first.pop(one, None)
    return [one, pick(draw, first | CLOCK)]


def pick(draw: random.Random, weights: dict[Drawn, int]) -> Drawn:
    """Draw one by its weight."""
    return draw.choices(list(weights), list(weights.values()))[0]


def scored(seed: int, recorders: int = RECORDERS) -> Scores:
    """Run one log and hold what was said against what is true."""
    lines, truths = log(seed, recorders)
    return score(truths, run(lines))
