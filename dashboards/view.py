"""One recorder as the API, the stream and the page show it. Pure functions of the projection and the time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from dashboards.projection import instant
from dashboards.recorder import Recorder
from domain.clock import Instant

Condition = Literal["critical", "warning", "notice", "recording", "idle", "off"]

RANK: dict[Condition, int] = {"critical": 0, "warning": 1, "notice": 2, "recording": 3, "idle": 3, "off": 4}
"""Worst first; of those that nothing is wrong with, the one furthest behind."""

_BY_SEVERITY: dict[str, Condition] = {"critical": "critical", "warning": "warning", "info": "notice"}


class OpenSession(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session that has not ended."""

    session_id: str
    opened_at: Instant
    act: str | None = None
    stopped_at: Instant | None = None
    stop_reason: str | None = None


class RecorderView(msgspec.Struct, frozen=True, kw_only=True):
    """What the API gives of a recorder. Ratios are 0 to 1; null where it is not known.

    Attributes:
        recorder_id: Its id.
        kind: What it is; empty where it is not registered.
        policy: Name of its policy.
        site_id: Premises, or where it is kept.
        unit_id: The enforcement unit that it belongs to.
        name: What people call it.
        state: State of its registration.
        condition: How it is, in one word; `RANK` orders them.
        live: Media came in a moment ago.
        sessions: Open sessions.
        last_media_at: End of its newest media, capture time.
        last_heard_at: When media or telemetry last came in.
        last_telemetry_at: When telemetry last came in.
        upload_lag_s: Now − capture time of the oldest second not in the store; 0 when all is in.
        oldest_missing_at: That second.
        pending_bytes: Known of and not in the store, on the device or here.
        pending_fragments: Taken in and not in the store.
        backlog_eta_s: Pending ÷ drain rate; null where nothing drains.
        battery_ratio: Charge.
        charging: On mains or dock.
        storage_free_ratio: Free part of the device's card.
        clock_offset_s: Device clock − ours.
        recording: The device says that it is recording.
        completeness_ratio: Stored ÷ recorded time of its latest sessions.
        open_findings: How many, by severity.
    """

    recorder_id: str
    kind: str
    policy: str
    site_id: str
    unit_id: str
    name: str
    state: str
    condition: Condition
    live: bool
    sessions: list[OpenSession]
    last_media_at: Instant | None
    last_heard_at: Instant | None
    last_telemetry_at: Instant | None
    upload_lag_s: float
    oldest_missing_at: Instant | None
    pending_bytes: int
    pending_fragments: int
    backlog_eta_s: float | None
    battery_ratio: float | None
    charging: bool | None
    storage_free_ratio: float | None
    clock_offset_s: float | None
    recording: bool | None
    completeness_ratio: float | None
    open_findings: dict[str, int]


def condition(recorder: Recorder, now: Instant) -> Condition:
    """Return the worst that is to be said of a recorder."""
    worst = min((_BY_SEVERITY[finding.severity] for finding in recorder.findings.values()), key=RANK.get, default=None)  # type: ignore[arg-type]
    if worst is not None:
        return worst
    if recorder.state != "active":
        return "off"
    return "recording" if recorder.is_live(now) else "idle"


def backlog_eta_s(recorder: Recorder, now: Instant) -> float | None:
    """Return pending ÷ drain rate, 0 with nothing pending, None while nothing drains."""
    pending = recorder.pending_bytes
    if pending == 0:
        return 0.0
    rate = recorder.drain_rate(now)
    return pending / rate if rate > 0 else None


def view(recorder: Recorder, now: Instant) -> RecorderView:
    """Return what is shown of a recorder at this moment."""
    heard = max(recorder.media_heard_at or 0, recorder.telemetry_at or 0) or None
    return RecorderView(
        recorder_id=recorder.recorder_id,
        kind=recorder.kind,
        policy=recorder.policy,
        site_id=recorder.site_id,
        unit_id=recorder.unit_id,
        name=recorder.name,
        state=recorder.state,
        condition=condition(recorder, now),
        live=recorder.is_live(now),
        sessions=_sessions(recorder),
        last_media_at=instant(recorder.media_at),
        last_heard_at=instant(heard),
        last_telemetry_at=instant(recorder.telemetry_at),
        upload_lag_s=recorder.lag_ms(now) / 1000,
        oldest_missing_at=instant(recorder.oldest_missing_at),
        pending_bytes=recorder.pending_bytes,
        pending_fragments=recorder.pending_fragments,
        backlog_eta_s=backlog_eta_s(recorder, now),
        battery_ratio=recorder.battery_ratio,
        charging=recorder.charging,
        storage_free_ratio=recorder.storage_free_ratio,
        clock_offset_s=recorder.clock_offset_s,
        recording=recorder.recording,
        completeness_ratio=recorder.completeness_ratio,
        open_findings=_count(finding.severity for finding in recorder.findings.values()),
    )


def worst_first(recorders: Iterable[Recorder], now: Instant, limit: int) -> list[RecorderView]:
    """Return the worst recorders: by condition, then by upload lag, then by id."""
    ranked = sorted(recorders, key=lambda r: (RANK[condition(r, now)], -r.lag_ms(now), r.recorder_id))
    return [view(recorder, now) for recorder in ranked[:limit]]


def _sessions(recorder: Recorder) -> list[OpenSession]:
    return [
        OpenSession(
            session_id=session.session_id,
            opened_at=Instant(session.opened_at),
            act=session.act,
            stopped_at=instant(session.stopped_at),
            stop_reason=session.stop_reason,
        )
        for session in recorder.open_sessions
    ]


def _count(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts
