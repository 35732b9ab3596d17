"""Instants: exact to the millisecond, whatever offset they came in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clock import Instant, ManualClock, ms


@given(st.integers(min_value=0, max_value=4_102_444_800_000))
def test_round_trip(milliseconds: int) -> None:
    assert Instant.parse(Instant(milliseconds).rfc3339()) == milliseconds


def test_offsets_mean_the_same_moment() -> None:
    assert Instant.parse("2026-01-01T08:00:00.001+08:00") == Instant.parse("2026-01-01T00:00:00.001Z")
    assert Instant.parse("2026-01-01T08:00:00.001+08:00").datetime().astimezone(UTC) == datetime(
        2026, 1, 1, 0, 0, 0, 1000, UTC
    )


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        Instant.parse("2026-01-01T08:00:00")


def test_a_manual_clock_steps_wall_time_alone() -> None:
    clock = ManualClock(Instant(0))
    clock.advance(1.5)
    clock.step(-1)
    assert (clock.now(), clock.monotonic()) == (500, 1.5)
    assert ms(0.0015) == 2


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+12:00"]
)
def test_what_could_not_be_written_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Instant.parse(text)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59.999+08:00", "0001-01-01T00:00:00.000+08:00"])
def test_what_is_read_can_be_written(text: str) -> None:
    assert Instant.parse(text).rfc3339() == text
