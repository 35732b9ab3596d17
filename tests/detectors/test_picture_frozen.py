"""`picture.frozen`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

import pytest

from domain.findings import Finding
from tests.detectors.logs import (
    Line,
    ended,
    in_order,
    observation,
    observations,
    opened,
    registered,
    said,
    story,
    ticks,
)

START = [registered(kind="premises_camera"), opened()]


def found(*parts: list[Line]) -> list[Finding]:
    return said(in_order(START, *parts), "picture.frozen")


def test_thirty_seconds() -> None:
    day, still = observations(5, 45), observations(45, 85, change=0.0001)
    (one,) = found(day, still)
    assert story([one]) == [("opened", 77, 40.5)]
    assert found(day, still[:8]) == []
    assert found(day, observations(45, 145, change=0.00011)) == []


def test_three_running_even_if_they_are_far_apart() -> None:
    assert story(found(observations(5, 45), observations(45, 145, 20, change=0.0)))[0] == ("opened", 85, 40.5)
    assert found(observations(5, 45), observations(45, 125, 40, change=0.0)) == []


def test_it_moves_again() -> None:
    said_ = found(observations(5, 45), observations(45, 105, change=0.0), observations(105, 125))
    assert story(said_) == [("opened", 77, 40.5), ("closed", 113, 100.5)]


@pytest.mark.parametrize("dark", [{"luma": 20.0, "contrast": 6.0}, {"luma": 90.0, "contrast": 1.0}])
def test_night_and_a_cover_have_nothing_to_stand_still(dark: dict[str, float]) -> None:
    assert found(observations(5, 45), observations(45, 205, change=0.0, **dark)) == []


def test_the_end_of_the_session_closes_it() -> None:
    assert len(found(observations(5, 45), observations(45, 105, change=0.0), [ended(110, 105)])) == 2


@pytest.mark.parametrize("phase", [0, 1])
def test_flapping_is_said_once_at_most(phase: int) -> None:
    day = observations(5, 65, 1)
    flap = [observation(when, change=0.0 if when % 2 == phase else 0.03) for when in range(105, 705)]
    calm = observations(65, 105, 1, change=0.0)
    assert found(day, flap, ticks(0, 800)) == []
    assert len(found(day, calm, flap, ticks(0, 800))) == 1


def test_an_encoder_that_never_quite_repeats_itself_breaks_no_row() -> None:
    """Rate control moves between quantisers: less than this camera's noise, more than nothing."""
    still = [observation(45 + 4 * n, change=0.0 if n % 3 == 0 else 0.0012) for n in range(20)]
    (first, last) = found(observations(5, 45), still, observations(125, 145))
    assert story([first, last]) == [("opened", 81, 40.5), ("closed", 133, 120.5)]


def test_a_view_that_becomes_quiet_is_over_after_a_minute() -> None:
    calm = observations(85, 205, change=0.003)
    assert story(found(observations(5, 45), observations(45, 85, change=0.0), calm))[1:] == [("closed", 153, 140.5)]
    assert found(observations(5, 45), calm) == []
