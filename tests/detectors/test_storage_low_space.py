"""`storage.low_space`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

import pytest

from domain.findings import Finding
from tests.detectors.logs import Line, in_order, registered, said, story, telemetry, ticks

TOTAL = 32_000_000_000


def lows(*parts: list[Line]) -> list[Finding]:
    return said(in_order([registered()], *parts), "storage.low_space")


def free(when: float, percent: float) -> Line:
    return telemetry(when, storage_free_bytes=round(TOTAL * percent / 100), storage_total_bytes=TOTAL)


def test_at_ten_percent() -> None:
    found = lows([free(0, 10.1), free(10, 10.0)], ticks(0, 20))
    assert story(found) == [("opened", 10, 10)]
    assert found[0].evidence == {"free_percent": 10.0, "left_s": None}


def test_full_within_half_an_hour_at_the_present_rate() -> None:
    # 60 % of 32 GB at 12 MB/s: full in 26.7 min.
    fast = [free(when, 60 - 12e6 * when / TOTAL * 100) for when in range(0, 300, 5)]
    (found,) = lows(fast, ticks(0, 300))
    left_s = found.evidence["left_s"]
    assert isinstance(left_s, float)
    assert 1400 < left_s < 1800
    slow = [free(when, 60 - 8e6 * when / TOTAL * 100) for when in range(0, 300, 5)]
    assert lows(slow, ticks(0, 300)) == []


def test_the_rate_alone_where_the_size_is_not_known() -> None:
    fast = [telemetry(when, storage_free_bytes=10_000_000_000 - 12_000_000 * when) for when in range(0, 120, 5)]
    (found,) = lows(fast, ticks(0, 120))
    assert found.evidence["free_percent"] is None


def test_well_again_at_fifteen_percent() -> None:
    low = [free(0, 9)]
    assert len(lows(low, [free(when, 14.9) for when in range(10, 300, 10)], ticks(0, 300))) == 1
    found = lows(low, [free(when, 15) for when in range(10, 300, 10)], ticks(0, 300))
    assert [one.status for one in found] == ["opened", "closed"]


def test_an_emptied_card_is_no_rate() -> None:
    emptied = [free(when, 30 if when < 200 else 95) for when in range(0, 600, 5)]
    assert lows(emptied, ticks(0, 600)) == []


@pytest.mark.parametrize("high", [12, 16, 60])
@pytest.mark.parametrize("phase", [0, 1])
def test_flapping_is_said_once(high: int, phase: int) -> None:
    flap = [free(when, 9 if when % 2 == phase else high) for when in range(600)]
    assert 1 <= len(lows(flap, ticks(0, 700))) <= 2
