"""The same findings, byte for byte: doubled, shuffled within the lateness, cut by restarts, rubbish between."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.registry import rules
from streams.runners.engine import Input, Partition
from tests.detectors.logs import (
    Line,
    by_recorder,
    fragment,
    fragments,
    in_order,
    inputs,
    opened,
    recording,
    registered,
    said,
    shuffled,
    ticks,
    with_restarts,
)

SEEDS = range(20)


def quiet_start(seed: int) -> list[Line]:
    """A recording before which the log has run for a while: the first disorder cannot be foreseen."""
    return in_order(recording(seed), ticks_before())


def ticks_before() -> list[Line]:
    return [{**tick, "at": str(tick["at"]).replace("T09:", "T08:")} for tick in ticks(3580, 3599)]


@pytest.mark.parametrize("seed", SEEDS)
def test_doubled(seed: int) -> None:
    lines = recording(seed)
    assert said([line for one in lines for line in (one, one)]) == said(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_shuffled_within_the_lateness(seed: int) -> None:
    lines = quiet_start(seed)
    expected = by_recorder(said(lines))
    assert expected
    assert by_recorder(said(shuffled(lines, seed))) == expected
    assert by_recorder(said(shuffled([line for one in lines for line in (one, one)], seed + 1))) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_recorders_do_not_touch_each_other(seed: int) -> None:
    lines = recording(seed, recorders=3)
    together = by_recorder(said(lines))
    for name in ("rec-0", "rec-1", "rec-2"):
        alone = [line for line in lines if line.get("recorder_id", name) == name]
        assert by_recorder(said(alone)).get(name) == together.get(name)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 150), min_size=1, max_size=8), st.booleans())
def test_cut_by_restarts_anywhere(seed: int, sizes: list[int], disordered: bool) -> None:
    lines = recording(seed, recorders=2, length=60)
    lines = shuffled(lines, seed) if disordered else lines
    assert with_restarts(inputs(lines), sizes) == said(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_between_the_states_of_a_batch(seed: int) -> None:
    """Some recorders were saved and some not: what was saved is not said again, what was not is said the same."""
    lines = recording(seed, recorders=4, length=90)
    records, expected = inputs(lines), by_recorder(said(lines))
    cut = len(records) // 2
    dying = Partition(rules())
    first = dying.run(records[:cut])
    dying.fold(first)
    draw = random.Random(seed)
    saved = {name: value for name, value in dying.save().recorders.items() if draw.random() < 0.5}
    partition = Partition(rules())
    partition.restore(saved.items())
    again = partition.run(records)
    partition.fold(again)
    both = by_recorder([one.finding for one in [*first.said, *again.said, *partition.finish()]])
    for name, statements in expected.items():
        assert list(dict.fromkeys(both[name])) == statements
        assert (len(both[name]) == len(statements)) or name not in saved


def test_rubbish_between_changes_nothing() -> None:
    records = inputs(recording(1))
    rubbish = [b"", b"{", b"\xff", b'{"type":"fragment"}', b"[" * 100_000, b'{"type":"tick","at":"yesterday"}']
    mixed = [
        Input(2 * index + odd, rubbish[index % len(rubbish)] if odd else record.value)
        for index, record in enumerate(records)
        for odd in (0, 1)
    ]
    result = Partition(rules()).run(mixed)
    assert [one.finding for one in result.said] == said(recording(1))
    assert len(result.rejected) == len(records)
    assert {bad.offset % 2 for bad in result.rejected} == {1}


def test_one_late_fragment_does_not_make_the_log_wait() -> None:
    """Far behind is late, not disordered: a stall is still said in its second."""
    late = {**fragment(500, 3, feed="old"), "at": "2026-03-02T09:00:05.200+08:00"}
    lines = in_order([registered(), opened()], fragments(0, 20, 0), ticks(0, 60))
    place = next(index for index, line in enumerate(lines) if line.get("seq") == 19)
    with_late = [*lines[:place], late, *lines[place:]]
    assert [one.detected_at for one in said(with_late, "recording.stalled")] == [
        one.detected_at for one in said(lines, "recording.stalled")
    ]


def test_a_state_stays_small_whatever_comes() -> None:
    lines: list[Line] = [registered(), opened()]
    lines += [fragment(7 * n % 5000, 3.0 * n, 1.0, feed=f"f{n % 40}", session=f"s{n % 90}") for n in range(3000)]
    partition = Partition(rules())
    partition.fold(partition.run(inputs(in_order(lines, ticks(0, 9010)))))
    assert max(len(state) for state in partition.save().recorders.values()) < 200_000
