"""`device.silent`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

from domain.findings import Finding
from tests.detectors.logs import (
    Line,
    ended,
    fragment,
    fragments,
    in_order,
    observations,
    opened,
    registered,
    resumed,
    said,
    stopped,
    story,
    telemetry,
    ticks,
)


def silences(*parts: list[Line]) -> list[Finding]:
    return said(in_order(*parts), "device.silent")


def test_a_minute_after_the_last_word() -> None:
    found = silences([registered(), opened()], fragments(0, 10, 0), [telemetry(25), telemetry(200)], ticks(0, 210))
    assert story(found) == [("opened", 85, 25), ("closed", 200, 200)]
    assert found[0].evidence["silent_s"] == 60.0
    assert found[1].evidence["ended_by"] == "heard"
    assert silences([registered(), opened()], [telemetry(25)], ticks(0, 84)) == []


def test_media_alone_or_telemetry_alone_is_no_silence() -> None:
    start = [registered(), opened()]
    assert silences(start, fragments(0, 150, 0), ticks(0, 300)) == []
    assert silences(start, [telemetry(when) for when in range(0, 300, 30)], ticks(0, 300)) == []


def test_what_others_say_of_it_is_not_heard_from_it() -> None:
    start = [registered(), opened(), telemetry(5)]
    words = observations(10, 100)
    assert story(silences(start, words, [stopped(20, "connection_lost", 5)], ticks(0, 100)))[0] == ("opened", 65, 5)


def test_a_stopped_session_is_still_open() -> None:
    start = [registered(), opened(), stopped(10, "officer", 9)]
    assert story(silences(start, ticks(0, 100))) == [("opened", 70, 10)]
    assert story(silences(start, [resumed(90)], ticks(0, 100)))[1] == ("closed", 90, 90)


def test_only_while_something_is_expected() -> None:
    assert silences([registered(), telemetry(1)], ticks(0, 300)) == []
    assert silences([registered(), opened(), ended(10, 9)], ticks(0, 300)) == []
    assert story(silences([registered(3, continuous=True)], ticks(0, 100))) == [("opened", 63, 3)]
    found = silences([registered(), opened(), ended(100, 9)], ticks(0, 300))
    assert story(found) == [("opened", 60, 0), ("closed", 100, 100)]
    assert found[1].evidence["ended_by"] == "no longer expected"


def test_heard_before_anything_was_expected_counts() -> None:
    assert story(silences([registered(), telemetry(50), opened(55)], ticks(0, 200))) == [("opened", 115, 55)]


def test_it_is_said_though_no_tick_saw_it() -> None:
    found = silences([registered(), opened(), telemetry(5), telemetry(200)])
    assert [(one.status, one.evidence["silent_s"]) for one in found] == [("opened", 195.0), ("closed", 195.0)]


def test_a_late_fragment_is_not_heard_now() -> None:
    late = {**fragment(7, 20), "at": str(telemetry(22)["at"])}
    lines = in_order([registered(), opened()], [telemetry(when) for when in range(1, 6)], ticks(0, 100))
    lines.insert(next(index for index, line in enumerate(lines) if line["at"] == telemetry(60)["at"]), late)
    assert story(said(lines, "device.silent")) == [("opened", 65, 5)]


def test_critical_where_nothing_may_be_missing() -> None:
    assert [one.severity for one in silences([registered(), opened(unbroken=True)], ticks(0, 61))] == ["critical"]


def test_flapping_is_no_silence() -> None:
    words = [telemetry(when) for when in range(0, 600, 2)]
    assert silences([registered(), opened()], words, ticks(0, 600)) == []
    sessions = [line for n in range(0, 600, 2) for line in (opened(n, session=f"s{n}"), ended(n + 1, n, f"s{n}"))]
    assert len(silences([registered()], sessions, ticks(0, 700))) <= 2


def test_nothing_is_expected_of_what_was_taken_out_of_use_until_it_is_back() -> None:
    start = [registered(0.05, continuous=True), opened()]
    out = [registered(20, active=False), stopped(20.5, reason="maintenance", last=19.9)]
    assert silences(start, fragments(0, 10, 0), out, ticks(0, 600)) == []
    back = [registered(300, continuous=True)]
    found = silences(start, fragments(0, 10, 0), out, back, ticks(0, 600))
    assert [finding.status for finding in found] == ["opened"]
    gone = silences(start, fragments(0, 10, 0), [registered(100, active=False)], ticks(0, 200))
    assert story(gone) == [("opened", 81, 20.2), ("closed", 100, 100)]
    assert gone[1].evidence["ended_by"] == "no longer expected"
