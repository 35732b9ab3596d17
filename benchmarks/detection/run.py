"""A log with all that happens to logs on their way, through the engine that `liuhen replay` runs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from benchmarks.detection.truth import Heard
from detectors.contract import Thresholds
from detectors.registry import rules
from domain.clock import Instant
from streams.runners.engine import Input, Partition

LATENESS_MS = 9_900
"""Events stand out of order by less than the 10 s that the interface allows."""
PROMPT_MS = 300
BATCH = 500
TICK = b'{"type":"tick","at":"'

Placed = tuple[int, bytes]
"""An event and its place in the log, ms since 1970."""


class Line(NamedTuple):
    """An event before it is on its way.

    Attributes:
        at: Its `at`.
        value: Its JSON.
        behind_ms: How much too late it stands, by a fault.
    """

    at: int
    value: bytes
    behind_ms: int = 0


def on_its_way(draw: random.Random, lines: Iterable[Line], *, disordered: bool, doubled: float) -> Iterator[Placed]:
    """Give a recorder's events their places in the log: (place, event), not sorted.

    Args:
        draw: Where chance comes from.
        lines: Its events.
        disordered: They stand up to the lateness out of order; else as processes write side by side.
        doubled: Part of them that comes twice, the second time up to half a minute later.
    """
    reach = LATENESS_MS if disordered else PROMPT_MS
    for at, line, behind in lines:
        place = at + (behind or draw.randrange(reach))
        yield place, line
        if draw.random() < doubled:
            yield place + draw.randrange(30_000), line


def ticks(low: int, high: int, every_ms: int = 1_000) -> Iterator[Placed]:
    """Ticks on whole seconds."""
    for at in range(low - low % 1_000, high, every_ms):
        yield at, TICK + b'%s"}' % Instant(at).rfc3339().encode()


def run(lines: Iterable[bytes], policy: str = "wucheng") -> list[Heard]:
    """Run the detectors over a log; what was said, and when.

    Raises:
        RuntimeError: An event was refused.
    """
    partition = Partition(rules(Thresholds(policy=policy)))
    heard: list[Heard] = []
    newest = 0
    inputs = (Input(offset, line) for offset, line in enumerate(lines))
    while batch := list(islice(inputs, BATCH)):
        outcome = partition.run(batch)
        if outcome.rejected:
            raise RuntimeError(outcome.rejected[0])
        partition.fold(outcome)
        clock = []
        for one in batch:
            if one.value is not None and one.value.startswith(TICK):
                newest = max(newest, int(Instant.parse(one.value[len(TICK) : -2].decode())))
            clock.append(newest)
        first = batch[0].offset
        heard += [
            Heard(one.finding, max(clock[one.offset - first], int(one.finding.detected_at))) for one in outcome.said
        ]
    return heard + [Heard(one.finding, max(newest, int(one.finding.detected_at))) for one in partition.finish()]


def in_place(parts: Sequence[Iterable[Placed]]) -> Iterator[bytes]:
    """One log of several parts, by place."""
    return (line for _, line in sorted((line for part in parts for line in part), key=lambda pair: pair[0]))
