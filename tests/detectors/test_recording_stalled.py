"""`recording.stalled`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

from domain.findings import Finding
from tests.detectors.logs import (
    START,
    Line,
    ended,
    fragment,
    fragments,
    in_order,
    moment,
    opened,
    registered,
    resumed,
    said,
    second,
    stopped,
    ticks,
)


def stalls(*parts: list[Line]) -> list[Finding]:
    return said(in_order(*parts), "recording.stalled")


def story(findings: list[Finding]) -> list[tuple[str, float, float]]:
    """(status, detected at, began or ended at) of each."""
    return [
        (one.status, second(one.detected_at), second(one.ended_at if one.status == "closed" else one.began_at))
        for one in findings
    ]


def test_five_seconds_after_the_end_of_the_last_fragment() -> None:
    found = stalls([registered(), opened()], fragments(0, 10, 0), [fragment(10, 30)], ticks(0, 40))
    assert story(found) == [("opened", 25, 20), ("closed", 32.2, 32.2), ("opened", 37, 32)]
    first = found[0]
    assert first.session_id == "s1"
    assert first.evidence == {"last_media_at": "2026-03-02T09:00:20.000+08:00", "silent_s": 5.0}
    assert first.clauses == ["W-AV 第十八条"]
    assert first.id == found[1].id != found[2].id


def test_one_tick_before_is_no_stall() -> None:
    assert stalls([registered(), opened()], fragments(0, 10, 0), ticks(0, 24)) == []


def test_ten_seconds_after_opening_without_media() -> None:
    found = stalls([registered(), opened(3.5)], ticks(0, 14))
    assert story(found) == [("opened", 14, 3.5)]
    assert stalls([registered(), opened(3.5)], ticks(0, 13)) == []


def test_ten_seconds_after_resuming_and_silence_while_stopped() -> None:
    found = stalls(
        [registered(), opened(), *fragments(0, 5, 0), stopped(10.5, "officer", 10), resumed(100)], ticks(0, 111)
    )
    assert story(found) == [("opened", 110, 100)]


def test_a_resumption_that_stands_before_its_stop_ends_it() -> None:
    """An ingest that was restarted tells of both at once, and processes write side by side."""
    lines = in_order([registered(), opened()], fragments(0, 10, 0), fragments(0, 10, 23, feed="f2"), ticks(0, 60))
    place = next(index for index, line in enumerate(lines) if moment(line) > START + 23_000)
    both = [resumed(22.901), stopped(22.9, "server", 20)]
    found = said([*lines[:place], *both, *lines[place:]], "recording.stalled")
    assert story(found) == [("opened", 48, 43)]


def test_stop_and_end_close_it() -> None:
    start = [registered(), opened(), *fragments(0, 5, 0)]
    assert story(stalls([*start, stopped(20.3, "connection_lost", 10)], ticks(0, 60))) == [
        ("opened", 15, 10),
        ("closed", 20.3, 20.3),
    ]
    assert story(stalls([*start, ended(21, 10)], ticks(0, 60))) == [("opened", 15, 10), ("closed", 21, 21)]


def test_a_recorder_that_always_records_needs_no_session() -> None:
    found = stalls([registered(0, continuous=True)], ticks(0, 12))
    assert story(found) == [("opened", 10, 0)]
    assert found[0].session_id is None
    assert stalls([registered(0)], ticks(0, 60)) == []


def test_said_again_registration_does_not_put_it_off() -> None:
    again = [registered(when, continuous=True) for when in (0, 4, 8)]
    assert story(stalls(again, ticks(0, 12))) == [("opened", 10, 0)]


def test_a_camera_day_that_ends_while_the_next_begins_is_no_stall() -> None:
    day_two = [fragment(n, 20 + 2 * n, feed="f2", session="s2") for n in range(10)]
    found = stalls(
        [registered(0, continuous=True), opened(0.1), *fragments(0, 10, 0), ended(20.5, 20), opened(21, session="s2")],
        day_two,
        ticks(0, 43),
    )
    assert found == []


def test_whole_fragments_of_four_seconds_on_a_slow_link_do_not_stall() -> None:
    """The end of one and the arrival of the next lie 5.5 s apart."""
    healthy = [fragment(n, 4.0 * n, 4.0, delay=1.5) for n in range(20)]
    assert stalls([registered(), opened()], healthy, ticks(0, 81)) == []
    assert story(stalls([registered(), opened()], healthy, ticks(0, 100))) == [("opened", 87, 80)]


def test_uneven_arrivals_of_a_healthy_feed_do_not_stall() -> None:
    delays = [0.2, 1.9, 0.3, 2.0, 0.2, 0.1, 2.1, 0.4] * 4
    healthy = [fragment(n, 4.0 * n, 4.0, delay=delay) for n, delay in enumerate(delays)]
    assert stalls([registered(), opened()], healthy, ticks(0, 128)) == []


def test_media_that_comes_long_after_its_capture_may_be_uneven_too() -> None:
    """A second, and no fragment: as harmless as it is where media comes at once."""
    even = [fragment(n, n, 1.0, delay=20) for n in range(20)]
    late = [fragment(n, n, 1.0, delay=21.4) for n in range(20, 40)]
    (one,) = stalls([registered(), opened(20)], even, late, ticks(0, 80))
    assert story([one]) == [("opened", 67, 40)]


def test_a_late_clock_mapping_is_not_silence() -> None:
    """Capture times half a minute behind arrival, media coming all the time."""
    healthy = [fragment(n, 2.0 * n, 2.0, delay=30) for n in range(30)]
    assert stalls([registered(), opened(30)], healthy, ticks(0, 92)) == []


def test_a_media_clock_that_runs_ahead_does_not_hide_silence() -> None:
    """A fragment said to last 25 s arrives after 2 s: its arrival bounds its end."""
    found = stalls([registered(), opened(), *fragments(0, 3, 0), fragment(3, 6, 25, delay=-23)], ticks(0, 60))
    assert [second(one.began_at) for one in found] == [8]


def test_media_that_comes_and_goes_each_second_is_no_stall() -> None:
    flapping = [fragment(n, 2.0 * n, 1.0) for n in range(300)]
    assert stalls([registered(), opened()], flapping, ticks(0, 601)) == []


def test_a_session_that_stops_and_goes_each_second_is_at_most_two_findings() -> None:
    flapping = [
        line for n in range(300) for line in (stopped(2.0 * n + 1, "device", 2.0 * n + 1), resumed(2.0 * n + 2))
    ]
    assert len({one.id for one in stalls([registered(), opened()], flapping, ticks(0, 620))}) <= 2


def test_two_sessions_are_watched_apart() -> None:
    found = stalls(
        [registered(), opened(0, session="a"), opened(0.1, session="b")],
        [fragment(n, 2.0 * n, feed="fa", session="a") for n in range(20)],
        [fragment(n, 2.0 * n, feed="fb", session="b") for n in range(5)],
        ticks(0, 40),
    )
    assert [(one.session_id, second(one.began_at)) for one in found] == [("b", 10)]


def test_unbroken_sessions_are_critical_and_cite_why() -> None:
    (found,) = stalls([registered(), opened(0, unbroken=True)], ticks(0, 12))
    assert found.severity == "critical"
    assert found.clauses == ["W-AV 第十八条", "W-AV 第十二条"]


def test_a_stall_that_no_tick_saw_is_still_one() -> None:
    """Two fragments half a minute apart, and nobody wrote ticks."""
    found = stalls([registered(), opened(), fragment(0, 0), fragment(1, 30)])
    assert story(found) == [("opened", 32.2, 2), ("closed", 32.2, 32.2)]
