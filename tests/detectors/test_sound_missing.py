"""`sound.missing`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

import pytest

from domain.findings import Finding
from tests.detectors.logs import (
    Line,
    ended,
    fragments,
    in_order,
    observations,
    opened,
    registered,
    resumed,
    said,
    second,
    stopped,
    story,
    ticks,
)

START = [registered(expects_audio=True), opened()]


def missing(*parts: list[Line]) -> list[Finding]:
    return said(in_order(*parts), "sound.missing")


def media(count: int, start: float = 0, first: int = 0, codec: str = "h264,opus") -> list[Line]:
    return fragments(first, count, start, codec=codec)


def test_a_minute_of_silence() -> None:
    found = missing(START, media(50), observations(5, 100, audio_dbfs=-91.0))
    assert story(found) == [("opened", 61, 0.5)]
    assert found[0].session_id == "s1"
    assert found[0].evidence == {"audio_dbfs": -91.0, "found_by": "level"}
    assert missing(START, media(50), observations(5, 61, audio_dbfs=-91.0)) == []


@pytest.mark.parametrize(("level", "count"), [(-70.0, 1), (-69.9, 0)])
def test_minus_seventy(level: float, count: int) -> None:
    assert len(missing(START, media(50), observations(5, 100, audio_dbfs=level))) == count


def test_a_minute_without_a_track() -> None:
    found = missing(START, media(50, codec="h264"))
    assert story(found) == [("opened", 60.2, 0)]
    assert found[0].evidence == {"audio_dbfs": None, "found_by": "no_track"}


def test_sound_again() -> None:
    silent, loud = observations(5, 80, audio_dbfs=-100.0), observations(81, 120, audio_dbfs=-30.0)
    found = missing(START, media(60), silent, loud)
    assert [one.status for one in found] == ["opened", "closed"]
    assert second(found[1].ended_at) == 76.5
    again = missing(START, media(35, codec="h264"), media(20, 70, 35))
    assert story(again) == [("opened", 60.2, 0), ("closed", 80.2, 70)]


def test_only_where_sound_is_expected_and_a_session_is_open() -> None:
    quiet = observations(5, 100, audio_dbfs=-91.0)
    assert missing([registered(), opened()], media(50, codec="h264"), quiet) == []
    assert missing([registered(expects_audio=True)], media(50, codec="h264"), quiet) == []


def test_nobody_listened() -> None:
    assert missing(START, media(60), observations(5, 100)) == []


def test_a_stop_does_not_count() -> None:
    before, after = media(20, codec="h264"), media(20, 75, 20, codec="h264")
    pause = [stopped(40.5, "officer", 40), resumed(75.2)]
    assert missing(START, before, pause, after, ticks(0, 130)) == []
    longer = media(40, 75, 20, codec="h264")
    assert story(missing(START, before, pause, longer, ticks(0, 160))) == [("opened", 135.2, 75)]


def test_the_end_of_the_session_closes_it() -> None:
    found = missing(START, media(40, codec="h264"), [ended(90, 85)])
    assert [one.status for one in found] == ["opened", "closed"]
    assert found[1].evidence == {"ended_by": "session ended"}


@pytest.mark.parametrize("phase", [0, 1])
def test_flapping_is_said_once_at_most(phase: int) -> None:
    def flap(start: int) -> list[Line]:
        return [
            line
            for when in range(start, start + 600)
            for line in observations(when, when + 1, audio_dbfs=-100.0 if when % 2 == phase else -20.0)
        ]

    assert missing(START, media(300), flap(5)) == []
    assert len(missing(START, media(350), observations(5, 80, audio_dbfs=-100.0), flap(80))) == 1
    tracks = [
        line
        for n in range(600)
        for line in fragments(n, 1, float(n), 1.0, codec="h264" if n % 2 == phase else "h264,opus")
    ]
    assert len(missing(START, tracks)) <= 1
