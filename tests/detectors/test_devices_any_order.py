"""Detectors of devices, pictures and sound say the same, byte for byte: doubled, shuffled, cut by restarts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detectors.devices import KINDS, device_log
from tests.detectors.logs import Line, by_recorder, in_order, inputs, said, shuffled, ticks, with_restarts

SEEDS = range(12)


def quiet_start(seed: int) -> list[Line]:
    """The log has run for a while: the first disorder cannot be foreseen."""
    before = [{**tick, "at": str(tick["at"]).replace("T09:", "T08:")} for tick in ticks(3580, 3599)]
    return in_order(device_log(seed), before)


def test_the_logs_hold_every_kind() -> None:
    found = {one.kind for seed in SEEDS for one in said(device_log(seed))}
    assert found >= set(KINDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_doubled(seed: int) -> None:
    lines = device_log(seed)
    assert said([line for one in lines for line in (one, one)]) == said(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_shuffled_within_the_lateness(seed: int) -> None:
    lines = quiet_start(seed)
    expected = by_recorder(said(lines))
    assert by_recorder(said(shuffled(lines, seed))) == expected
    assert by_recorder(said(shuffled([line for one in lines for line in (one, one)], seed + 1))) == expected


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 200), min_size=1, max_size=8), st.booleans())
def test_cut_by_restarts_anywhere(seed: int, sizes: list[int], disordered: bool) -> None:
    lines = device_log(seed, recorders=2, length=150)
    lines = shuffled(lines, seed) if disordered else lines
    assert with_restarts(inputs(lines), sizes) == said(lines)
