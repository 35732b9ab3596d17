from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.clock import Instant
from streams.ingest.rtp.capture_clock import MAX_BEHIND_ARRIVAL_S, CaptureClock, FeedClock
from streams.ingest.rtp.rtcp import SenderReport
from streams.ingest.rtp.timestamps import TimestampUnwrapper

RATE = 90_000
START = Instant.parse("2026-07-01T09:00:00+08:00")
NTP_1900 = 2_208_988_800


def report(unix_s: float, pts: int) -> SenderReport:
    return SenderReport(1, round((unix_s + NTP_1900) * 2**32), pts & 0xFFFFFFFF, 0, 0)


def wall(monotonic_s: float) -> Instant:
    return START.plus(round(1000 * monotonic_s))


def play(clock: CaptureClock, count: int, delays: list[float], rate: float = 1.0, first: int = 0) -> list[float]:
    """Frames each 40 ms, captured at `index / 25` s; returns capture times given, in seconds from the start."""
    result = []
    latest = 0.0
    for index in range(first, first + count):
        captured_s = index / 25
        latest = max(latest, captured_s + delays[index % len(delays)])
        result.append((clock.captured_at(round(captured_s * rate * RATE), latest, wall(latest)) - START) / 1000)
    return result


def test_jitter_does_not_reach_capture_times_and_the_least_delay_anchors() -> None:
    times = play(CaptureClock(RATE), 1500, [0.12, 0.05, 0.09, 0.08, 0.05])
    assert times[1:] == sorted(times[1:])
    settled = times[50:]
    assert all(abs(time - index / 25 - 0.05) < 0.002 for index, time in enumerate(settled, 50))


@pytest.mark.parametrize("ppm", [-200, -50, 50, 200])
def test_a_device_clock_that_runs_wrong_is_followed(ppm: int) -> None:
    times = play(CaptureClock(RATE), 25 * 1800, [0.05], rate=1 + ppm / 1e6)
    assert abs(times[-1] - (25 * 1800 - 1) / 25 - 0.05) < 0.05


def test_a_stall_of_the_network_does_not_move_capture_times() -> None:
    clock = CaptureClock(RATE)
    before = play(clock, 250, [0.05])
    result = [  # ten seconds come at once, ten seconds late
        (clock.captured_at(round(index / 25 * RATE), 20.0, wall(20.0)) - START) / 1000 for index in range(250, 500)
    ]
    assert before[-1] < result[0]
    assert all(abs(time - index / 25 - 0.05) < 0.02 for index, time in enumerate(result, 250))


@pytest.mark.parametrize(
    "sender_s",
    [0.0, START / 1000, START / 1000 - 3 * 3600, START / 1000 + 86_400],
    ids=["1970", "right", "hours-behind", "a-day-ahead"],
)
def test_the_hour_of_a_sender_report_changes_nothing(sender_s: float) -> None:
    clock = CaptureClock(RATE)
    times: list[float] = []
    for second in range(60):
        clock.on_report(report(sender_s + second, second * RATE), second * RATE)
        times += play(clock, 25, [0.05, 0.09], first=second * 25)
    assert clock.uses_reports
    assert all(abs(time - index / 25 - 0.05) < 0.01 for index, time in enumerate(times))


def test_reports_that_jump_are_refused_and_poison_nothing() -> None:
    clock = CaptureClock(RATE)
    times: list[float] = []
    for second in range(60):
        clock.on_report(report([0.0, 1e9, 5e8][second % 3] + second, second * RATE), second * RATE)
        times += play(clock, 25, [0.05, 0.09], first=second * 25)
    assert clock.reports_refused >= 50
    assert times == sorted(times)
    assert all(abs(time - index / 25 - 0.05) < 0.01 for index, time in enumerate(times))


def test_reports_put_the_tracks_of_a_feed_in_line() -> None:
    feed = FeedClock()
    picture, sound = feed.track(RATE), feed.track(8000)
    last = (0.0, 0.0)
    for index in range(25 * 120):
        now_s = index / 25
        if index % 125 == 0:
            picture.on_report(report(1000 + now_s, round(now_s * RATE)), round(now_s * RATE))
            sound.on_report(report(1000 + now_s, round(now_s * 8000)), round(now_s * 8000))
        # Pictures always come 300 ms after their capture, sound 40 ms.
        first = picture.captured_at(round(now_s * RATE), now_s + 0.3, wall(now_s + 0.3))
        second = sound.captured_at(round(now_s * 8000), now_s + 0.04, wall(now_s + 0.04))
        last = (first - START) / 1000 - now_s, (second - START) / 1000 - now_s
    assert picture.uses_reports
    assert sound.uses_reports
    assert abs(last[0] - last[1]) < 0.01


def test_pictures_shown_before_they_were_sent_lie_between_their_neighbours() -> None:
    clock = CaptureClock(RATE)
    order = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11]
    captured = {
        pts: clock.captured_at(pts * 3600, 0.2 + index / 25, wall(0.2 + index / 25)) for index, pts in enumerate(order)
    }
    assert [captured[pts] for pts in sorted(captured)] == sorted(captured.values())


@given(
    st.lists(
        st.tuples(st.integers(-3, 400), st.floats(0, 3), st.none() | st.floats(-1e9, 4e9)), min_size=2, max_size=60
    )
)
@settings(deadline=None)
def test_bounds_hold_whatever_comes(steps: list[tuple[int, float, float | None]]) -> None:
    clock = CaptureClock(RATE)
    pts, now_s, newest = 10_000, 0.0, None
    for frames, passed_s, sender_s in steps:
        pts += frames * 900
        now_s += passed_s
        if sender_s is not None:
            clock.on_report(report(sender_s % 2e9, pts), pts)
        arrival = wall(now_s)
        captured = clock.captured_at(pts, now_s, arrival)
        assert captured <= arrival
        if newest is None or pts > newest[0]:
            assert arrival - captured <= 1000 * MAX_BEHIND_ARRIVAL_S + 1
            assert newest is None or captured >= newest[1]
            newest = (pts, captured)
        else:
            assert captured <= newest[1]


def test_a_wall_clock_set_back_begins_a_new_run_and_arrival_still_bounds() -> None:
    clock = CaptureClock(RATE)
    clock.captured_at(0, 1.0, wall(1.0))
    back = wall(-3600)
    assert back - 100 <= clock.captured_at(3600, 1.04, back) <= back


def test_timestamps_count_on_over_wraps_and_bridge_jumps() -> None:
    unwrapper = TimestampUnwrapper(RATE)
    first = unwrapper.unwrap(0xFFFFFF00, 0.0)
    assert unwrapper.unwrap(0x100, 0.005) == first + 0x200
    assert unwrapper.unwrap(0xFFFFFFF0, 0.01) == first + 0xF0  # a B-frame back over the wrap
    jumped = unwrapper.unwrap(0x80000000, 1.01)
    assert jumped == first + 0xF0 + RATE
    assert unwrapper.jumps == 1
    paused = unwrapper.unwrap(0x80000000 + 3600 * RATE, 3601.01)  # a pause that the clock agrees with
    assert paused == jumped + 3600 * RATE
    assert unwrapper.jumps == 1


def test_pauses_of_hours_keep_time() -> None:
    clock, unwrapper = CaptureClock(RATE), TimestampUnwrapper(RATE)
    moments = [0.0, 0.04, 7200.04, 7200.08]
    captured = [
        clock.captured_at(unwrapper.unwrap(round(now_s * RATE) & 0xFFFFFFFF, now_s), now_s, wall(now_s))
        for now_s in moments
    ]
    assert [round((b - a) / 10) for a, b in pairwise(captured)] == [4, 720_000, 4]


def test_a_clock_set_back_by_less_than_reordering_reaches_is_found_out_and_bridged() -> None:
    unwrapper = TimestampUnwrapper(RATE)
    clock = CaptureClock(RATE)
    late, jumps = [], 0
    for number in range(500):
        arrival_s = number / 25
        back = number // 100 * 4 * RATE  # 4 s, each 4 s
        pts = unwrapper.unwrap((number * RATE // 25 - back) % 2**32, arrival_s)
        if unwrapper.jumps != jumps:
            jumps = unwrapper.jumps
            clock.restart()
        moment = clock.captured_at(pts, arrival_s, wall(arrival_s))
        late.append((wall(arrival_s) - moment) / 1000)
    assert jumps == 4
    assert max(late[100 * number + 20 + extra] for number in range(5) for extra in range(80)) < 0.1
    assert max(late) <= 4.1


def test_pictures_reordered_as_deep_as_may_be_are_no_jump() -> None:
    unwrapper = TimestampUnwrapper(RATE)
    for group in range(20):
        first = group * 17
        for place in (first + 16, *range(first, first + 16)):
            assert unwrapper.unwrap(place * 3600, first / 25) == place * 3600
    assert unwrapper.jumps == 0
