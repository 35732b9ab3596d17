"""`recording.gap`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

import pytest

from detectors.gap_cover import MAX_GAPS
from domain.findings import Finding
from tests.detectors.logs import (
    Line,
    at,
    backfilled,
    ended,
    fragment,
    fragments,
    in_order,
    opened,
    registered,
    resumed,
    said,
    second,
    stopped,
    telemetry,
    ticks,
)

START = [registered(), opened()]


def gaps(*parts: list[Line]) -> list[Finding]:
    return said(in_order(START, *parts), "recording.gap")


def span(found: Finding) -> tuple[float, float, object]:
    low, high = str(found.evidence["from"]), str(found.evidence["to"])
    return moments[low], moments[high], found.evidence["seconds"]


moments = {at(tenth / 10): tenth / 10 for tenth in range(30_000)}


def test_said_when_nothing_can_fill_it_any_more() -> None:
    found = gaps(fragments(0, 10, 0), fragments(12, 10, 24), ticks(0, 60))
    (gap,) = found
    assert span(gap) == (20, 24, 4.0)
    assert gap.evidence["fragments_lost"] == 2
    assert second(gap.began_at) == 20
    assert second(gap.detected_at) == 36.2  # ten seconds after 26.2, when the fragment behind it came
    assert gaps(fragments(0, 10, 0), fragments(12, 1, 24), ticks(0, 36)) == []


@pytest.mark.parametrize(("hole", "count"), [(0.9, 0), (1.0, 0), (1.001, 1)])
def test_more_than_a_second(hole: float, count: int) -> None:
    assert len(gaps(fragments(0, 5, 0), fragments(5, 5, 10 + hole), ticks(0, 40))) == count


def test_a_fragment_that_stands_late_fills_it_in_time() -> None:
    lines = in_order(START, fragments(0, 20, 0), ticks(0, 60))
    late = next(line for line in lines if line.get("seq") == 9)
    lines.remove(late)
    lines.insert(next(index for index, line in enumerate(lines) if line["at"] == at(29)), late)
    assert said(lines, "recording.gap") == []


def test_the_old_feed_may_flush_after_the_new_one_has_begun() -> None:
    old = [*fragments(0, 5, 0), *(fragment(5 + n, 10 + 2.0 * n, delay=9 - n) for n in range(3))]
    assert gaps(old, fragments(0, 10, 16, feed="f2"), ticks(0, 60)) == []


def test_a_fragment_after_the_lateness_closes_it() -> None:
    lines = in_order(START, fragments(0, 20, 0), ticks(0, 80))
    late = next(line for line in lines if line.get("seq") == 9)
    lines.remove(late)
    lines.insert(next(index for index, line in enumerate(lines) if line["at"] == at(50)), late)
    found = said(lines, "recording.gap")
    assert [one.status for one in found] == ["opened", "closed"]
    assert second(found[1].ended_at) == 49


def test_footage_delivered_later_shrinks_and_closes_it() -> None:
    lost = [*fragments(0, 10, 0), *fragments(0, 10, 40, feed="f2")]
    found = gaps(lost, [backfilled(80, 15, 30), backfilled(90, 33, 50), backfilled(95, 29, 33.5)], ticks(0, 100))
    assert [(one.status, one.evidence["seconds"]) for one in found] == [
        ("opened", 20.0),
        ("updated", 10.0),
        ("updated", 3.0),
        ("closed", 0.0),
    ]
    assert found[2].evidence["missing"] == [[at(30), at(33)]]
    assert second(found[3].ended_at) == 95
    assert len({one.id for one in found}) == 1
    assert gaps(lost, [backfilled(45, 19, 41)], ticks(0, 100)) == []


def test_a_clock_that_steps_forward_is_no_gap() -> None:
    """Same feed, next number, and the delay falls by what the times jump: the mapping was corrected."""
    before = [fragment(n, 2.0 * n, delay=6) for n in range(10)]
    after = [fragment(10 + n, 26 + 2.0 * n, delay=0) for n in range(10)]
    assert gaps(before, after, ticks(0, 80)) == []


def test_congestion_that_clears_over_a_real_loss_is_one() -> None:
    """The same picture, but the feed has been quicker before: the device dropped what it could not send."""
    before = [fragment(n, 2.0 * n, delay=0.2 if n < 5 else 6) for n in range(10)]
    after = [fragment(10 + n, 26 + 2.0 * n, delay=0.2) for n in range(10)]
    assert [span(one) for one in gaps(before, after, ticks(0, 80))] == [(20, 26, 6.0)]


def test_a_clock_that_steps_back_and_forth_is_no_gap() -> None:
    first = fragments(0, 10, 0)
    back = [fragment(10 + n, 15 + 2.0 * n, delay=5.2) for n in range(10)]
    forth = [fragment(20 + n, 40 + 2.0 * n, delay=0.2) for n in range(10)]
    assert gaps(first, back, forth, ticks(0, 90)) == []


def test_numbers_that_are_missing_where_the_times_run_on() -> None:
    """Three fragments lost while the clock stepped back over them: only the numbers show it."""
    lost = [fragment(8 + n, 10 + 2.0 * n, delay=6.2) for n in range(5)]
    (gap,) = gaps(fragments(0, 5, 0), lost, ticks(0, 60))
    assert (gap.cause, gap.evidence["fragments_lost"]) == ("clock", 3)
    assert span(gap) == (10, 16, 6.0)


def test_a_length_that_cannot_be_makes_no_cover() -> None:
    """Fragments said to last 15 s that arrive every 2 s; then 14 s of nothing."""
    first = [fragment(n, 2.0 * n, 15, delay=-12.8) for n in range(5)]
    second_part = [fragment(5 + n, 24 + 2.0 * n, 2) for n in range(5)]
    found = gaps(first, second_part, ticks(0, 60))
    assert len(found) == 1
    low, high, _ = span(found[0])
    assert low <= 12
    assert high == 24


def test_packets_lost_inside_continuous_media_are_no_gap() -> None:
    assert gaps([fragment(n, 2.0 * n, lost_packets=40) for n in range(10)], ticks(0, 60)) == []


def test_repeated_fragments_change_nothing() -> None:
    lines = in_order(START, fragments(0, 10, 0), fragments(12, 10, 24), ticks(0, 60))
    assert said([line for one in lines for line in (one, one)]) == said(lines)


def test_sessions_have_nothing_to_do_with_each_other() -> None:
    other = [opened(30, session="s2"), *fragments(0, 10, 30, feed="f2", session="s2")]
    assert gaps(fragments(0, 10, 0), [ended(20.5, 20)], other, ticks(0, 80)) == []


def test_a_stop_shows_what_was_captured_and_never_came() -> None:
    """The device recorded until 30, the last that came ends at 20."""
    (gap,) = gaps(fragments(0, 10, 0), [stopped(33, "connection_lost", 30)], ticks(0, 60))
    assert span(gap) == (20, 30, 10.0)
    assert gap.cause == "network"


def test_an_end_shows_what_was_recorded_and_never_came() -> None:
    assert [span(one) for one in gaps(fragments(0, 10, 0), [ended(41, 40)], ticks(0, 60))] == [(20, 40, 20.0)]
    assert gaps(fragments(0, 10, 0), [ended(25, 24)], ticks(0, 60)) == []
    # What was stopped was complete then, whenever it is ended.
    assert gaps(fragments(0, 10, 0), [stopped(20.5, "officer", 20), ended(300, 299)], ticks(0, 320)) == []


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("officer", "officer"),
        ("device", "device_stop"),
        ("battery", "battery"),
        ("storage", "storage"),
        ("connection_lost", "network"),
        ("server", "server"),
        ("maintenance", "maintenance"),
        ("unknown", "network"),  # the connection was made again
    ],
)
def test_a_stop_says_why(reason: str, cause: str) -> None:
    stop = [stopped(20.5, reason, 20), resumed(39)]
    (gap,) = gaps(fragments(0, 10, 0), stop, fragments(0, 10, 40, feed="f2"), ticks(0, 80))
    assert gap.cause == cause


@pytest.mark.parametrize(
    ("cause", "before", "within", "same_feed"),
    [
        ("battery", {"battery_percent": 3.0, "charging": False}, {}, False),
        ("unknown", {"battery_percent": 3.0, "charging": True}, {}, True),
        ("storage", {"storage_free_bytes": 10_000_000, "storage_total_bytes": 64_000_000_000}, {}, False),
        ("network", {"signal_dbm": -112.0}, {}, True),
        ("device_stop", {"recording": True}, {"recording": False}, False),
        ("network", {"recording": True}, {}, False),
        ("unknown", {"recording": True}, {}, True),
    ],
)
def test_what_the_device_said_tells_why(
    cause: str, before: dict[str, object], within: dict[str, object], same_feed: bool
) -> None:
    said_before = [telemetry(19.5, "rec-1", **before)]
    said_within = [telemetry(30, "rec-1", **within)] if within else []
    after = fragments(10, 10, 40) if same_feed else fragments(0, 10, 40, feed="f2")
    (gap,) = gaps(fragments(0, 10, 0), said_before, said_within, after, ticks(0, 80))
    assert gap.cause == cause


def test_a_battery_that_was_falling_fast_tells_why() -> None:
    falling = [telemetry(2.0 * n + 0.1, battery_percent=25.0 - 2.0 * n, charging=False) for n in range(10)]
    (gap,) = gaps(fragments(0, 10, 0), falling, fragments(0, 5, 60, feed="f2"), ticks(0, 90))
    assert gap.cause == "battery"
    slow = [telemetry(2.0 * n + 0.1, battery_percent=90.0 - n / 100, charging=False) for n in range(10)]
    (gap,) = gaps(fragments(0, 10, 0), slow, fragments(0, 5, 60, feed="f2"), ticks(0, 90))
    assert gap.cause == "network"


def test_numbers_lost_on_a_living_feed_are_ours() -> None:
    (gap,) = gaps(fragments(0, 10, 0), fragments(13, 10, 26), ticks(0, 60))
    assert gap.cause == "server"


def test_a_device_that_recorded_on_and_was_heard_of_later_had_no_network() -> None:
    batch = [telemetry(41, device_at=at(25), sent_at=at(41), recording=True)]
    (gap,) = gaps(fragments(0, 10, 0), batch, fragments(10, 10, 40), ticks(0, 80))
    assert gap.cause == "network"


def test_thousands_of_gaps_stay_bounded() -> None:
    flaky = [fragment(n, 4.0 * n, 2.0) for n in range(1500)]
    found = gaps(flaky, ticks(0, 6020))
    assert len(found) == 1499
    closed = gaps(flaky, [backfilled(6015, 0, 6000)], ticks(0, 6020))
    assert sum(one.status == "closed" for one in closed) == MAX_GAPS


def test_clauses_follow_the_policy_of_the_recorder() -> None:
    lines = in_order(
        [registered(policy="zhanhe"), opened(0, unbroken=True)], fragments(0, 5, 0), fragments(0, 5, 30, feed="f2")
    )
    (gap,) = said(in_order(lines, ticks(0, 60)), "recording.gap")
    assert gap.clauses == ["Z-AV 第十二条", "Z-AV 第八条"]
    assert gap.severity == "critical"
