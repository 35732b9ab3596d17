"""The same findings of the same facts, by seed: in order, doubled, shuffled within the lateness, cut by restarts.

SEEDS=500 takes as many seeds; without it, as many as a run of all tests has time for.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.detectors.logs import by_recorder, inputs, recording, said, shuffled, with_restarts

SEEDS = int(os.environ.get("SEEDS", "40"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_same_findings(seed: int) -> None:
    lines = recording(seed)
    doubled = [line for one in lines for line in (one, one)]
    expected = by_recorder(said(lines))
    assert expected
    assert by_recorder(said(doubled)) == expected
    assert by_recorder(said(shuffled(lines, seed))) == expected
    assert by_recorder(said(shuffled(lines, seed, ticks_stay=True))) == expected
    draw = random.Random(seed)
    sizes = [draw.randint(1, 250) for _ in range(8)]
    assert by_recorder(with_restarts(inputs(shuffled(doubled, seed + 1)), sizes)) == expected
