"""Recorders out of reach for three days, under each policy, against the tables of `docs/reference/deadlines.md`.

The tables are worked out by hand there. Here the events of the story go over the wire through `replay`'s detectors, and
with the findings into the console's projection; the metrics are what Prometheus would scrape at each moment.
"""

import io
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from dashboards.metrics import LABELS, FleetCollector
from dashboards.projection import Fleet
from domain import wire
from domain.clock import CHINA, Instant, ManualClock
from domain.events import (
    AnyEvent,
    Backfilled,
    DeviceIndex,
    Fragment,
    HeldRecording,
    RecorderRegistered,
    Returned,
    SegmentStored,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
    Tick,
)
from domain.findings import Finding
from policies import names
from streams.workers.replay import replay
from tests.dashboards.feeds import SHA, Log

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/deadlines.md"
POLICIES = sorted(names())
RECORDERS = ("on-site", "remote", "silent", "premises")
DAYS = {"National Day": "2026-09-30", "Weekend": "2026-03-06", "Worked Saturday": "2026-10-08"}
"""Day of completion."""
SESSION = ((16, 0), (17, 0))
LIVE = (((16, 0), (16, 10)), ((16, 40), (16, 45)))
ON_DEVICE = (((16, 10), (16, 40)), ((16, 45), (17, 0)))
DELIVERED = ((17, 20), (17, 40))

Clock = tuple[int, int]


class Row(NamedTuple):
    """One moment of one table."""

    story: str
    recorder: str
    moment: Instant
    lag: str
    complete: str
    cells: tuple[str, ...]


def rows() -> list[Row]:
    """Read the page."""
    found, story, recorder, order = [], "", "", []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"### (.+): (.+)", line):
            story, recorder = heading.groups()
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "moment":
            order = cells[3:]
        if re.match(r"\d{4}-", cells[0]):
            assert order == POLICIES
            moment = Instant.parse(cells[0].replace(" ", "T") + ":00+08:00")
            found.append(Row(story, recorder, moment, cells[1], cells[2], tuple(cells[3:])))
    return found


class Story:
    """Events of one recorder, by the hands of a clock on the first day or the last."""

    def __init__(self, day: str, recorder: str, policy: str) -> None:
        self.first = Instant.parse(f"{day}T00:00:00+08:00")
        self.last = Instant.of(self.first.datetime().astimezone(CHINA) + timedelta(days=3))
        self.recorder, self.policy = recorder, policy
        self.who: dict[str, Any] = {"recorder_id": recorder, "session_id": f"{recorder}-s"}

    def events(self) -> Iterator[AnyEvent]:
        kind: Literal["premises_camera", "body_worn"] = (
            "premises_camera" if self.recorder == "premises" else "body_worn"
        )
        (opens, completed), remote = SESSION, self.recorder == "remote"
        yield RecorderRegistered(at=self.on((15, 59)), recorder_id=self.recorder, kind=kind, policy=self.policy)
        yield SessionOpened(at=self.on(opens), remote=remote, **self.who)
        yield from self.live()
        yield SessionStopped(
            at=self.on((16, 11)), reason="connection_lost", last_captured_at=self.on((16, 10)), **self.who
        )
        yield SessionResumed(at=self.on((16, 40)), **self.who)
        told = self.at_dock((17, 0)) if self.recorder == "silent" else self.on((17, 5))
        yield SessionEnded(at=told, completed_at=self.on(completed), **self.who)
        yield DeviceIndex(at=told, recorder_id=self.recorder, recordings=[self.held(*span) for span in ON_DEVICE])
        if remote:
            yield Returned(at=self.at_dock((16, 0)), recorder_id=self.recorder)
        for (low, high), when in zip(ON_DEVICE, DELIVERED, strict=True):
            span: dict[str, Any] = {"from_": self.on(low), "to": self.on(high), "sha256": SHA}
            yield Backfilled(at=self.at_dock(when), **span, **self.who)
        yield DeviceIndex(at=self.at_dock((17, 45)), recorder_id=self.recorder, recordings=[])

    def live(self) -> Iterator[AnyEvent]:
        """What came at once, a fragment a minute, and the segments of it."""
        for feed, ((h, m), end) in enumerate(LIVE):
            start = self.on((h, m))
            count = (self.on(end) - start) // 60_000
            for seq in range(count):
                captured = start.plus(60_000 * seq)
                yield Fragment(
                    at=captured.plus(60_200),
                    feed_id=f"{self.recorder}-{feed}",
                    seq=seq,
                    captured_at=captured,
                    duration_s=60.0,
                    bytes=6_000_000,
                    sha256=SHA,
                    codec="h264",
                    **self.who,
                )
            stored: dict[str, Any] = {"key": "k", "version_id": "1", "sha256": SHA, "bytes": 6_000_000 * count}
            yield SegmentStored(at=self.on(end).plus(2_000), from_=start, to=self.on(end), **stored, **self.who)

    def held(self, low: Clock, high: Clock) -> HeldRecording:
        return HeldRecording(session_id=f"{self.recorder}-s", from_=self.on(low), to=self.on(high), bytes=900_000_000)

    def on(self, clock: Clock) -> Instant:
        return self.first.plus(1000 * (3600 * clock[0] + 60 * clock[1]))

    def at_dock(self, clock: Clock) -> Instant:
        return self.last.plus(1000 * (3600 * clock[0] + 60 * clock[1]))

    def ticks(self) -> Iterator[AnyEvent]:
        start, end = self.on((15, 59)), self.at_dock((18, 0))
        return (Tick(at=start.plus(60_000 * minute)) for minute in range((end - start) // 60_000 + 1))


@cache
def told(story: str, policy: str) -> tuple[list[AnyEvent], list[Finding]]:
    """All events of a story, and what the detectors say of them."""
    stories = [Story(DAYS[story], recorder, policy) for recorder in RECORDERS]
    events = [event for one in stories for event in one.events()]
    events = sorted([*events, *stories[0].ticks()], key=lambda event: event.at)
    out, err = io.StringIO(), io.StringIO()
    code = replay([wire.encode(event).decode() for event in events], policy, out, err)
    assert (code, err.getvalue()) == (0, "")
    return events, [wire.decode_finding(line) for line in out.getvalue().splitlines()]


@cache
def fleet_at(story: str, policy: str, moment: Instant) -> Fleet:
    """The console's state once everything until then is on the log."""
    events, findings = told(story, policy)
    fleet, log = Fleet(), Log()
    for event in events:
        if event.at <= moment and not isinstance(event, Tick):
            fleet.apply(log(event))
    for finding in findings:
        if finding.detected_at <= moment:
            fleet.apply(log(finding))
    return fleet


def cell(row: Row, policy: str) -> tuple[str, str, str]:
    """What metrics and findings say: lag, completeness, slack with what is open."""
    fleet, registry = fleet_at(row.story, policy, row.moment), CollectorRegistry()
    registry.register(FleetCollector(fleet, ManualClock(row.moment)))
    label = dict(zip(LABELS, (row.recorder, "", policy), strict=True))
    lag_s, left_s, complete = (
        registry.get_sample_value(f"liuhen_recorder_{name}", label)
        for name in ("upload_lag_seconds", "deadline_seconds", "completeness_ratio")
    )
    assert lag_s is not None
    assert complete is not None
    slack = "–" if left_s is None else hours(left_s)
    return hours(lag_s), f"{round(100 * complete)} %", " ".join((slack, *words(fleet, row.recorder)))


def words(fleet: Fleet, recorder: str) -> list[str]:
    findings = {one.kind: one for one in fleet.recorders[recorder].findings.values()}
    if "upload.overdue" in findings:
        assert "upload.lagging" in findings
        return ["overdue, days off" if "days_off_only" in findings["upload.overdue"].params else "overdue"]
    return ["lagging"] if "upload.lagging" in findings else []


def hours(seconds: float) -> str:
    minutes, rest = divmod(abs(round(seconds)), 60)
    assert rest == 0
    return f"{'−' if seconds < 0 else ''}{minutes // 60}:{minutes % 60:02d}"


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.story}, {row.recorder}, {row.moment.rfc3339()[:16]}")
def test_every_cell_is_what_the_metrics_say(row: Row) -> None:
    found = [cell(row, policy) for policy in POLICIES]
    assert {one[:2] for one in found} == {(row.lag, row.complete)}, "the same footage under every policy"
    assert tuple(one[2] for one in found) == row.cells


def test_the_page_has_all_stories_and_kinds() -> None:
    tables = {(row.story, row.recorder) for row in rows()}
    assert {story for story, _ in tables} == set(DAYS)
    assert {recorder for _, recorder in tables} == set(RECORDERS)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("story", DAYS)
def test_the_delivery_closes_the_gap_and_whatever_was_late(story: str, policy: str) -> None:
    _, findings = told(story, policy)
    for recorder in RECORDERS:
        story_of = Story(DAYS[story], recorder, policy)
        own = [finding for finding in findings if finding.recorder_id == recorder]
        gaps = {one.id: one for one in own if one.kind == "recording.gap"}
        assert {(gap.status, gap.began_at, gap.ended_at) for gap in gaps.values()} == {
            ("closed", story_of.on(low), story_of.at_dock(when))
            for (low, _), when in zip(ON_DEVICE, DELIVERED, strict=True)
        }
        last = {finding.id: finding for finding in own if finding.kind.startswith("upload.")}
        assert {finding.status for finding in last.values()} <= {"closed"}
        assert {finding.ended_at for finding in last.values()} <= {story_of.at_dock((17, 40))}


def test_how_late_it_was() -> None:
    _, findings = told("Worked Saturday", "wucheng")
    (late,) = (
        finding.evidence["late_s"]
        for finding in findings
        if (finding.kind, finding.recorder_id, finding.status) == ("upload.overdue", "on-site", "closed")
    )
    assert late == (17 * 60 + 40) * 60, "11 October 00:00 to 17:40"
