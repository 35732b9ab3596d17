"""`power.low_battery`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

import pytest

from domain.findings import Finding
from tests.detectors.logs import Line, ended, in_order, opened, registered, said, story, telemetry, ticks


def lows(*parts: list[Line]) -> list[Finding]:
    return said(in_order([registered()], *parts), "power.low_battery")


def falling(low: int, high: int, start: float, per_minute: float, every: int = 5) -> list[Line]:
    """Whole percents, as most devices tell."""
    return [
        telemetry(when, battery_percent=int(max(0, start - per_minute * (when - low) / 60)))
        for when in range(low, high, every)
    ]


def test_at_twenty_percent() -> None:
    found = lows([telemetry(0, battery_percent=21), telemetry(10, battery_percent=20)], ticks(0, 30))
    assert story(found) == [("opened", 10, 10)]
    assert found[0].evidence == {"battery_percent": 20, "left_s": None}
    assert found[0].session_id is None
    assert found[0].clauses == ["W-AV 第十条"]


def test_not_while_charging() -> None:
    assert lows([telemetry(when, battery_percent=8, charging=True) for when in range(0, 60, 5)], ticks(0, 60)) == []


def test_charging_closes_it_and_says_since_when() -> None:
    charging = [telemetry(when, battery_percent=19, charging=True) for when in range(20, 60, 5)]
    found = lows([telemetry(10, battery_percent=19, charging=False)], charging, ticks(0, 60))
    assert story(found) == [("opened", 10, 10), ("closed", 40, 20)]
    assert found[0].id == found[1].id


def test_one_word_of_charging_is_enough() -> None:
    found = lows([telemetry(10, battery_percent=19), telemetry(20, charging=True)], ticks(0, 60))
    assert story(found) == [("opened", 10, 10), ("closed", 40, 20)]


def test_a_forecast_while_a_session_is_open() -> None:
    fast = falling(0, 300, 60, 3)
    (found,) = lows([opened()], fast, ticks(0, 300))
    assert found.status == "opened"
    left_s, percent = found.evidence["left_s"], found.evidence["battery_percent"]
    assert isinstance(left_s, float)
    assert isinstance(percent, int | float)
    assert percent > 25
    assert percent / 3 * 60 == pytest.approx(left_s, rel=0.35)
    assert left_s <= 1800
    assert lows(fast, ticks(0, 300)) == []
    assert lows([opened(), ended(1, 1)], fast, ticks(0, 300)) == []


def test_an_ordinary_day_says_nothing_before_twenty_percent() -> None:
    day = falling(0, 20_000, 100, 0.25, every=10)
    (found,) = lows([opened()], day)
    assert found.evidence["battery_percent"] == 20


def test_a_step_of_the_meter_is_no_fall() -> None:
    meter = [telemetry(when, battery_percent=80 if when < 300 else 75) for when in range(0, 900, 10)]
    assert lows([opened()], meter, ticks(0, 900)) == []


def test_twenty_four_percent_is_not_well_yet_and_a_short_forecast_neither() -> None:
    low = [telemetry(0, battery_percent=20)]
    band = [telemetry(when, battery_percent=24) for when in range(10, 300, 10)]
    assert len(lows(low, band, ticks(0, 300))) == 1
    well = [telemetry(when, battery_percent=25) for when in range(10, 300, 10)]
    assert [one.status for one in lows(low, well, ticks(0, 300))] == ["opened", "closed"]
    # First 20 minutes are left, then 40.
    fast, slower = falling(0, 240, 75, 3), falling(240, 900, 63, 1.5)
    assert [one.status for one in lows([opened()], fast, slower, ticks(0, 900))] == ["opened"]


def test_a_late_batch_is_placed_when_it_was_measured() -> None:
    now = [telemetry(100, battery_percent=50)]
    batch = [
        telemetry(101 + n / 10, device_at=at_device(n), sent_at=at_device(101), battery_percent=15) for n in (1, 2)
    ]
    assert lows(now, batch, ticks(0, 110)) == []


def at_device(when: float) -> str:
    return str(telemetry(when)["at"])


@pytest.mark.parametrize("high", [24, 26, 60])
@pytest.mark.parametrize("phase", [0, 1])
def test_flapping_is_said_once(high: int, phase: int) -> None:
    flap = [telemetry(when, battery_percent=19 if when % 2 == phase else high) for when in range(600)]
    assert 1 <= len(lows([opened()], flap, ticks(0, 700))) <= 2
    plug = [telemetry(when, battery_percent=15, charging=when % 2 == phase) for when in range(600)]
    assert 1 <= len(lows([opened()], plug, ticks(0, 700))) <= 2
