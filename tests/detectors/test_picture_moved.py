"""`picture.moved`, by literal logs. Moments are seconds after 09:00:00."""

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
    return said(in_order(START, *parts), "picture.moved")


def test_three_running() -> None:
    day, turned = observations(5, 45), observations(45, 57, scene_shift=0.51)
    (one,) = found(day, turned)
    assert story([one]) == [("opened", 53, 40.5)]
    assert one.evidence == {"scene_shift": 0.51}
    assert found(day, turned[:2]) == []
    assert found(day, observations(45, 157, scene_shift=0.5)) == []


def test_turned_back() -> None:
    turned = observations(45, 65, scene_shift=0.97)
    said_ = found(observations(5, 45), turned, observations(65, 85, scene_shift=0.45), observations(85, 105))
    assert story(said_) == [("opened", 53, 40.5), ("closed", 93, 80.5)]


def test_a_camera_on_a_body_may_look_anywhere() -> None:
    lines = in_order([registered(), opened()], observations(5, 100, scene_shift=0.95))
    assert said(lines, "picture.moved") == []
    unknown = in_order([opened()], observations(5, 100, scene_shift=0.95))
    assert said(unknown, "picture.moved") == []


@pytest.mark.parametrize("dark", [{"luma": 20.0, "contrast": 6.0}, {"luma": 90.0, "contrast": 1.0}])
def test_night_and_a_cover_look_nowhere(dark: dict[str, float]) -> None:
    assert found(observations(5, 45), observations(45, 205, scene_shift=0.9, **dark)) == []


def test_the_end_of_the_session_closes_it() -> None:
    assert len(found(observations(5, 45), observations(45, 105, scene_shift=0.9), [ended(110, 105)])) == 2


@pytest.mark.parametrize("phase", [0, 1])
def test_flapping_is_said_once_at_most(phase: int) -> None:
    day = observations(5, 65, 1)
    flap = [observation(when, scene_shift=0.9 if when % 2 == phase else 0.04) for when in range(75, 675)]
    calm = observations(65, 75, 1, scene_shift=0.9)
    assert found(day, flap, ticks(0, 800)) == []
    assert len(found(day, calm, flap, ticks(0, 800))) == 1
