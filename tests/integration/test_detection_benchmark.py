"""A small, seeded part of the detection benchmark: what it demands holds, and it can fail."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.detection import clean, logs, uploads
from benchmarks.detection.clips import SETS, clips
from benchmarks.detection.media import scored
from benchmarks.detection.run import run
from benchmarks.detection.truth import Scores, merged, score

SEEDS = (3, 20, 21)
EXACT = {
    "recording.stalled",
    "recording.gap",
    "recording.unexplained_stop",
    "recording.stop_and_go",
    "power.low_battery",
    "storage.low_space",
    "store.stalled",
    "device.silent",
}


def faults(found: Scores) -> list[str]:
    """What was missed or is false, or has a wrong cause."""
    return [text for one in found.values() for text in (*one.missed, *one.wrong)]


def test_logs_with_known_faults() -> None:
    found = merged(logs.scored(seed) for seed in SEEDS)
    assert faults(found) == []
    assert all(found[kind].instances for kind in EXACT), "every kind is among them"
    assert all(one.closed == one.closes for one in found.values())


def test_sessions_stored_too_late() -> None:
    found = uploads.scored(1, 5, 40, tick_ms=30_000)
    assert faults(found) == []
    assert found["upload.lagging"].instances > 5
    assert found["upload.overdue"].instances > 2


def test_a_clean_morning_says_nothing() -> None:
    found = clean.counted(7, 6, 6.0, 2.0)
    assert found.events > 10_000
    assert found.said == []


def test_explained_stops_are_gaps_and_no_more() -> None:
    lines, truths = clean.log(8, 5, low_h=9.0, hours=1.5, stops=True)
    found = score(truths, run(lines))
    assert faults(found) == []
    assert found["recording.gap"].instances > 0


@pytest.mark.timeout(240)
@pytest.mark.gstreamer  # as those who need FFmpeg and more: not among the tests without services
def test_clips_with_known_faults() -> None:
    """Encoded, cut, decoded in the real child, looked at, listened to and judged."""
    sets = {name: SETS[name] for name in ("covered", "blurred", "moved", "switched", "mute")}
    found, _ = asyncio.run(scored(clips(sets, 0, 1, at_most=1)))
    assert faults(found) == []
    kinds = {"picture.covered": 1, "picture.blurred": 1, "picture.moved": 1, "sound.missing": 1}
    assert {kind: one.instances for kind, one in found.items() if one.instances} == kinds


def test_a_fault_that_is_not_told_of_is_missed_and_one_that_is_none_is_false() -> None:
    """The measure itself: without its truth a finding is false, without its events a fault is missed."""
    lines, truths = logs.log(SEEDS[0], 4)
    heard = run(lines)
    kinds = {one.finding.kind for one in heard}
    assert sum(one.false for one in score([], heard).values()) >= len(kinds)
    silent = score(truths, [])
    assert sum(len(one.missed) for one in silent.values()) == sum(one.required for one in truths)
    assert all(one.recall == 0 for one in silent.values() if one.instances)
