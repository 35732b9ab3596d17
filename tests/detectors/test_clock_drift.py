"""`clock.drift`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

import pytest

from domain.findings import Finding
from tests.detectors.logs import Line, at, in_order, registered, said, story, telemetry, ticks


def reading(when: float, offset: float, delay: float = 0.2) -> Line:
    """Telemetry that came `delay` after it was sent, by a clock that is `offset` fast."""
    device = at(round(when - delay + offset, 3))
    return telemetry(when, device_at=device, sent_at=device)


def readings(low: int, high: int, offset: float, delay: float = 0.2, every: int = 5) -> list[Line]:
    return [reading(when, offset, delay) for when in range(low, high, every)]


def drifts(*parts: list[Line]) -> list[Finding]:
    return said(in_order([registered()], *parts), "clock.drift")


@pytest.mark.parametrize("offset", [5.1, -5.1, 3600, -86_400])
def test_three_readings(offset: float) -> None:
    found = drifts(readings(0, 60, 0), readings(60, 75, offset))
    assert story(found) == [("opened", 70, 60)]
    assert found[0].evidence == {"offset_s": offset}
    assert drifts(readings(0, 60, 0), readings(60, 70, offset)) == []


def test_five_seconds_are_none() -> None:
    assert drifts(readings(0, 60, 0), readings(60, 200, 5.0), readings(200, 300, -5.0)) == []


def test_three_right_readings_close_it() -> None:
    found = drifts(readings(0, 60, 30), readings(60, 120, 4), readings(120, 200, 2.9))
    assert story(found) == [("opened", 10, 0), ("closed", 130, 120)]
    assert found[0].id == found[1].id


def test_a_slow_link_is_no_slow_clock() -> None:
    assert drifts(readings(0, 100, 0, delay=1.8), readings(100, 200, 0, delay=6.5)) == []


def test_a_clock_always_wrong_is_not_its_own_measure() -> None:
    assert story(drifts(readings(0, 30, -6))) == [("opened", 10, 0)]


def test_a_late_batch_is_no_slow_clock() -> None:
    batch = [telemetry(200 + n / 100, device_at=at(60 + 5 * n), sent_at=at(199.8)) for n in range(20)]
    assert drifts(readings(0, 60, 0), batch) == []


def test_a_late_batch_of_a_device_that_does_not_say_when_it_sent() -> None:
    plain = [telemetry(when, device_at=at(when - 0.2)) for when in range(0, 60, 5)]
    batch = [telemetry(200 + n / 100, device_at=at(60 + 5 * n)) for n in range(20)]
    after = [telemetry(when, device_at=at(when - 0.2)) for when in range(205, 260, 5)]
    assert drifts(plain, batch, after) == []
    slow = [telemetry(when, device_at=at(when - 30)) for when in range(260, 290, 5)]
    assert story(drifts(plain, batch, after, slow)) == [("opened", 270, 260)]


def test_a_single_reading_that_is_off_says_nothing() -> None:
    odd = [reading(when, 900 if when % 15 == 0 else 0) for when in range(0, 300, 5)]
    assert drifts(odd) == []


@pytest.mark.parametrize("phase", [0, 1])
def test_flapping_is_said_once_at_most(phase: int) -> None:
    start = readings(0, 10, 10, every=1)
    flap = [reading(when, 10 if when % 2 == phase else 0) for when in range(10, 610)]
    assert len(drifts(start, flap, ticks(0, 620))) == 1
    assert drifts(flap, ticks(0, 620)) == []
