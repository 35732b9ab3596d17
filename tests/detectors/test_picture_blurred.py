"""`picture.blurred`, by literal logs. Moments are seconds after 09:00:00."""

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
    return said(in_order(START, *parts), "picture.blurred")


def test_three_running_against_its_own_median() -> None:
    day, blurred = observations(5, 45), observations(45, 57, sharpness=46.0)
    (one,) = found(day, blurred)
    assert story([one]) == [("opened", 53, 40.5)]
    assert one.evidence == {"sharpness": 46.0, "usual_sharpness": 310.0}
    assert found(day, blurred[:2]) == []
    assert found(day, observations(45, 157, sharpness=46.5)) == []


def test_the_median_is_its_own() -> None:
    soft = observations(5, 45, sharpness=20.0)
    assert found(soft, observations(45, 105, sharpness=3.1)) == []
    assert len(found(soft, observations(45, 105, sharpness=2.9))) == 1


def test_sharp_again() -> None:
    blurred = observations(45, 65, sharpness=9.0)
    said_ = found(observations(5, 45), blurred, observations(65, 85, sharpness=60.0), observations(85, 105))
    assert story(said_) == [("opened", 53, 40.5), ("closed", 93, 80.5)]


def test_blur_is_never_learnt() -> None:
    said_ = found(observations(5, 405), observations(405, 20_005, sharpness=9.0), observations(20_005, 20_020))
    assert [one.status for one in said_] == ["opened", "closed"]


def test_a_fixed_camera_that_looks_elsewhere_is_moved_and_not_blurred() -> None:
    day, away = observations(5, 105), observations(105, 145, sharpness=8.0, scene_shift=0.9)
    assert found(day, away) == []
    worn = [registered(), opened()]
    assert len(said(in_order(worn, day, away), "picture.blurred")) == 1


def test_nothing_to_compare_with_yet() -> None:
    assert found(observations(5, 13), observations(13, 160, sharpness=9.0)) == []


def test_a_few_odd_pictures_do_not_move_the_median() -> None:
    day = [observation(when, sharpness=4000.0 if when % 20 == 0 else 300.0) for when in range(8, 400, 4)]
    assert found(day, observations(405, 500, sharpness=60.0)) == []


@pytest.mark.parametrize("dark", [{"luma": 20.0, "contrast": 6.0}, {"luma": 55.0, "contrast": 14.0}])
def test_night_is_no_blur(dark: dict[str, float]) -> None:
    # Light that falls to a third takes nine tenths of the sharpness with it.
    assert found(observations(5, 405), observations(405, 805, sharpness=28.0, **dark)) == []


def test_dirt_in_dim_light_is_blur() -> None:
    assert len(found(observations(5, 405), observations(405, 805, sharpness=5.0, luma=55.0, contrast=14.0))) == 1


def test_a_cover_is_not_blur() -> None:
    assert found(observations(5, 405), observations(405, 805, sharpness=0.2, luma=90.0, contrast=1.0)) == []


def test_the_end_of_the_session_closes_it() -> None:
    assert len(found(observations(5, 45), observations(45, 105, sharpness=9.0), [ended(110, 105)])) == 2


@pytest.mark.parametrize("phase", [0, 1])
def test_flapping_is_said_once_at_most(phase: int) -> None:
    day = observations(5, 65, 1)
    flap = [observation(when, sharpness=9.0 if when % 2 == phase else 310.0) for when in range(75, 675)]
    calm = observations(65, 75, 1, sharpness=9.0)
    assert found(day, flap, ticks(0, 800)) == []
    assert len(found(day, calm, flap, ticks(0, 800))) == 1
