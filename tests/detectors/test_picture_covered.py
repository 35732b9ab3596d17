"""`picture.covered`, by literal logs. Moments are seconds after 09:00:00."""

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
    return said(in_order(START, *parts), "picture.covered")


def test_three_running() -> None:
    day, covered = observations(5, 45), observations(45, 57, contrast=1.0, luma=20.0)
    (one,) = found(day, covered)
    assert story([one]) == [("opened", 53, 40.5)]
    assert one.session_id == "s1"
    assert one.evidence == {"contrast": 1.0, "luma": 20.0}
    assert found(day, covered[:2]) == []
    assert found(day, covered[:2], observations(53, 57), observations(57, 65, contrast=1.0)) == []


def test_three_good_ones_close_it() -> None:
    day, covered = observations(5, 45), observations(45, 65, contrast=3.9, luma=90.0)
    said_ = found(day, covered, observations(65, 77))
    assert story(said_) == [("opened", 53, 40.5), ("closed", 73, 60.5)]
    assert said_[0].id == said_[1].id
    assert len(found(day, covered, observations(65, 73), observations(73, 77, contrast=1), observations(77, 85))) == 1


def test_from_the_very_beginning() -> None:
    assert story(found(observations(5, 20, contrast=0.5, luma=17.0))) == [("opened", 13, 0.5)]


def test_first_heard_of_in_the_dark() -> None:
    """By night that is night; what shows nothing by day either is covered."""
    night = observations(43_200, 43_400, contrast=0.5, luma=17.0)  # from 21:00 on
    assert found(night) == []
    assert story(found(night, observations(86_410, 86_430, contrast=0.5, luma=17.0))) == [("opened", 86_418, 86_405.5)]
    flickering = [observation(43_400 + 4 * n, contrast=3.8 + n % 3 / 5, luma=17.0) for n in range(60)]
    assert found(night, flickering) == []
    assert len(found(observations(43_000, 43_100), night)) == 1, "it was not dark before"


def dusk(low: int, minutes: int) -> list[Line]:
    """Light that halves every five minutes."""
    return [
        observation(when, contrast=46 * 0.5 ** ((when - low) / 300), luma=16 + 102 * 0.5 ** ((when - low) / 300))
        for when in range(low, low + minutes * 60, 4)
    ]


def test_night_is_no_cover() -> None:
    night = observations(3605, 7205, contrast=0.6, luma=16.5)
    dawn = [observation(when, contrast=0.6 * 1.01 ** (when - 7205), luma=17.0) for when in range(7205, 7640, 4)]
    assert found(observations(5, 405), dusk(405, 53), night, dawn, observations(7640, 7700)) == []


def test_a_cover_that_stays_through_the_night_stays_said() -> None:
    covered = observations(405, 4000, contrast=0.6, luma=17.0)
    assert len(found(observations(5, 405), covered)) == 1


def test_bright_and_without_contrast_is_a_cover_however_slowly_it_came() -> None:
    mist = [observation(when, contrast=46 * 0.5 ** ((when - 405) / 300), luma=150) for when in range(405, 2405, 4)]
    assert len(found(observations(5, 405), mist)) == 1


def test_one_that_comes_again_or_behind_changes_nothing() -> None:
    covered = observations(45, 53, contrast=1.0)
    again = [{**line, "at": str(observation(54 + n)["at"])} for n, line in enumerate(covered)]
    assert found(observations(5, 45), covered, again) == []


def test_the_end_of_the_session_closes_it() -> None:
    covered = observations(45, 60, contrast=1.0)
    after = observations(62, 90, contrast=1.0)
    said_ = found(observations(5, 45), covered, [ended(61, 60)], after)
    assert [one.status for one in said_] == ["opened", "closed"]
    assert said_[1].evidence == {"ended_by": "session ended"}


def test_what_was_not_measured_is_not_judged() -> None:
    assert found([observation(when, contrast=None) for when in range(5, 60, 4)]) == []


@pytest.mark.parametrize("phase", [0, 1])
def test_flapping_is_said_once_at_most(phase: int) -> None:
    day = observations(5, 65, 1)
    flap = [observation(when, contrast=1.0 if when % 2 == phase else 46.0) for when in range(75, 675)]
    calm = observations(65, 75, 1, contrast=1.0)
    assert found(day, flap, ticks(0, 800)) == []
    assert len(found(day, calm, flap, ticks(0, 800))) == 1
