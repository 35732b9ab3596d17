"""Metric values by literal events and a clock that moves when told."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from dashboards.metrics import GAUGES, FleetCollector
from dashboards.projection import Fleet
from domain.clock import ManualClock
from domain.events import SegmentStored, Telemetry
from domain.registry import Registration
from tests.dashboards.feeds import SHA, Log, at, finding, fragment

LABELS = {"recorder": "cam-1", "site": "site-9", "policy": "wucheng"}


class Scrape:
    """A fleet, its log and its clock."""

    def __init__(self) -> None:
        self.log, self.fleet, self.clock = Log(), Fleet(), ManualClock(at(0))
        self.registry = CollectorRegistry()
        self.ready = True
        self.registry.register(FleetCollector(self.fleet, self.clock, lambda: self.ready))
        self.tell(Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", site_id="site-9"))

    def tell(self, *what: object) -> None:
        for each in what:
            self.fleet.apply(self.log(each))  # type: ignore[arg-type]

    def __call__(self, name: str, labels: dict[str, str] | None = None) -> float | None:
        return self.registry.get_sample_value(name, LABELS if labels is None else labels)


def segment(start: float, end: float) -> SegmentStored:
    return SegmentStored(
        at=at(end),
        recorder_id="cam-1",
        session_id="s1",
        from_=at(start),
        to=at(end),
        key="k",
        version_id="",
        sha256=SHA,
        bytes=1,
    )


def test_lag_grows_with_the_clock_and_falls_with_each_segment() -> None:
    scrape = Scrape()
    lag = "liuhen_recorder_upload_lag_seconds"
    assert scrape(lag) == 0
    scrape.tell(fragment(0), fragment(2))
    scrape.clock.advance(4.5)
    assert scrape(lag) == 4.5
    scrape.clock.advance(1)
    assert scrape(lag) == 5.5
    scrape.tell(segment(0, 2))
    assert scrape(lag) == 3.5
    scrape.tell(segment(2, 4))
    assert scrape(lag) == 0
    scrape.clock.advance(100)
    assert scrape(lag) == 0


@given(count=st.integers(1, 8), stored=st.sets(st.integers(0, 7)))
def test_lag_is_0_if_and_only_if_all_is_stored(count: int, stored: set[int]) -> None:
    scrape = Scrape()
    scrape.tell(*(fragment(2 * number) for number in range(count)))
    scrape.tell(*(segment(2 * number, 2 * number + 2) for number in sorted(stored) if number < count))
    scrape.clock.advance(60)
    left = sorted(set(range(count)) - stored)
    assert scrape("liuhen_recorder_upload_lag_seconds") == (60 - 2 * left[0] if left else 0)
    assert scrape("liuhen_recorder_pending_bytes") == 1000 * len(left)


def test_backlog_eta_is_pending_over_drain_rate() -> None:
    scrape = Scrape()
    eta = "liuhen_recorder_backlog_eta_seconds"
    assert scrape(eta) == 0
    scrape.tell(*(fragment(2 * number) for number in range(100)))
    scrape.clock.advance(200)
    assert scrape(eta) == math.inf
    scrape.tell(segment(0, 40))
    # First media came in at 2 s; 20 kB stored in the 198 s since; 80 kB to go.
    assert scrape(eta) == 80_000 / (20_000 / 198)
    scrape.clock.advance(200)
    assert scrape(eta) == math.inf, "nothing was stored in the last five minutes"


def test_telemetry_and_times() -> None:
    scrape = Scrape()
    for name in ("battery_ratio", "storage_free_ratio", "clock_offset_seconds", "last_telemetry_timestamp_seconds"):
        assert scrape(f"liuhen_recorder_{name}") is None
    reading = Telemetry(
        at=at(3),
        recorder_id="cam-1",
        device_at=at(1),
        battery_percent=55,
        storage_free_bytes=1,
        storage_total_bytes=8,
    )
    scrape.tell(reading, fragment(4))
    assert scrape("liuhen_recorder_battery_ratio") == 0.55
    assert scrape("liuhen_recorder_storage_free_ratio") == 0.125
    assert scrape("liuhen_recorder_clock_offset_seconds") == -2
    assert scrape("liuhen_recorder_last_telemetry_timestamp_seconds") == at(3) / 1000
    assert scrape("liuhen_recorder_last_media_timestamp_seconds") == at(6) / 1000
    assert scrape("liuhen_recorder_completeness_ratio") == 0
    scrape.tell(segment(4, 6))
    assert scrape("liuhen_recorder_completeness_ratio") == 1


def test_findings() -> None:
    scrape = Scrape()
    gap = {"kind": "recording.gap", "severity": "warning"}
    scrape.tell(finding(1), finding(2), finding(3, kind="recording.gap", severity="warning"))
    assert scrape("liuhen_findings_open", {"kind": "recording.stalled", "severity": "critical"}) == 2
    assert scrape("liuhen_findings_open", gap) == 1
    scrape.tell(finding(3, kind="recording.gap", severity="warning", status="closed", ended_at=at(30)))
    assert scrape("liuhen_findings_open", gap) is None
    assert scrape("liuhen_findings_total", {"kind": "recording.gap"}) == 1


def test_no_series_of_a_retired_recorder_and_none_before_the_log_is_read() -> None:
    scrape = Scrape()
    assert b'recorder="cam-1"' in generate_latest(scrape.registry)
    retired = Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", state="retired")
    scrape.tell(retired)
    assert b'recorder="cam-1"' not in generate_latest(scrape.registry)
    scrape = Scrape()
    scrape.ready = False
    text = generate_latest(scrape.registry)
    assert b"liuhen_console_ready 0.0" in text
    assert b"liuhen_recorder" not in text


def test_label_sets_are_bounded_to_recorder_site_and_policy() -> None:
    scrape = Scrape()
    scrape.tell(fragment(0), finding(1))
    families = {family.name: family for family in scrape.registry.collect()}
    for name in GAUGES:
        for sample in families[name].samples:
            assert set(sample.labels) == {"recorder", "site", "policy"}
