"""Rows that wait to be written into the catalogue, the newest state of each only."""

from __future__ import annotations

import hashlib
from typing import TypeVar, cast

import msgspec

from dashboards.projection import Change, Fleet, instant
from dashboards.recorder import Mark, Recorder, Session
from domain.clock import Instant
from domain.events import Kind
from domain.findings import Finding
from storage.catalog.catalog import Catalog
from storage.catalog.history import HOUR_MS, History, MarkRow, Reading, ReadingsRow
from storage.catalog.rows import RecorderRow, SessionRow

K = TypeVar("K")
V = TypeVar("V")

AT_ONCE = 500
"""Rows of one kind written in one transaction, so that no single one holds the writer for long."""


class Unwritten:
    """A coalescing queue: one row per recorder, session, finding, mark and hour of readings. Bounded by its owner."""

    def __init__(self) -> None:
        self._recorders: dict[str, RecorderRow] = {}
        self._sessions: dict[tuple[str, str], SessionRow] = {}
        self._findings: dict[str, Finding] = {}
        self._readings: dict[tuple[str, int], ReadingsRow] = {}
        self._marks: dict[str, MarkRow] = {}

    def __len__(self) -> int:
        kinds = (self._recorders, self._sessions, self._findings, self._readings, self._marks)
        return sum(len(rows) for rows in kinds)

    def add(self, change: Change, fleet: Fleet) -> None:
        """Queue what one record changed."""
        if change.finding is not None:
            self._findings[change.finding.id] = change.finding
        recorder = fleet.recorders.get(change.recorder_id)
        if recorder is None:
            return
        if change.registration and recorder.kind:
            self._recorders[change.recorder_id] = _recorder_row(recorder)
        session = recorder.sessions.get(change.session_id or "")
        if session is not None:
            self._sessions[recorder.recorder_id, session.session_id] = _session_row(recorder, session)
        if change.mark is not None and change.session_id is not None:
            row = _mark_row(recorder.recorder_id, change.session_id, change.mark)
            self._marks[row.id] = row
        if change.readings:
            for hour in _readings_rows(recorder):
                self._readings[recorder.recorder_id, int(hour.hour_at)] = hour

    async def write(self, catalog: Catalog) -> None:
        """Write all of it; what was written is taken out, so that a failure halfway repeats little.

        Raises:
            CatalogUnavailable: The rest still waits here.
        """
        while batch := dict(list(self._recorders.items())[:AT_ONCE]):
            await catalog.upsert_recorder(*batch.values())
            _take_out(self._recorders, batch)
        while sessions := dict(list(self._sessions.items())[:AT_ONCE]):
            await catalog.upsert_session(*sessions.values())
            _take_out(self._sessions, sessions)
        while findings := dict(list(self._findings.items())[:AT_ONCE]):
            await catalog.upsert_finding(*findings.values())
            _take_out(self._findings, findings)
        history = History(catalog)
        while marks := dict(list(self._marks.items())[:AT_ONCE]):
            await history.keep_marks(*marks.values())
            _take_out(self._marks, marks)
        while hours := dict(list(self._readings.items())[:AT_ONCE]):
            await history.keep_readings(*hours.values())
            _take_out(self._readings, hours)


def _take_out(rows: dict[K, V], written: dict[K, V]) -> None:
    for key, row in written.items():
        if rows.get(key) is row:
            del rows[key]


def _recorder_row(recorder: Recorder) -> RecorderRow:
    return RecorderRow(
        recorder_id=recorder.recorder_id,
        kind=cast("Kind", recorder.kind),
        policy=recorder.policy,
        registered_at=Instant(recorder.registered_at),
        state=recorder.state,
        site_id=recorder.site_id or None,
        name=recorder.name or None,
        expects_audio=recorder.expects_audio,
        continuous=recorder.continuous,
    )


def _session_row(recorder: Recorder, session: Session) -> SessionRow:
    return SessionRow(
        recorder_id=recorder.recorder_id,
        session_id=session.session_id,
        opened_at=Instant(session.opened_at),
        act=session.act,
        unbroken=session.unbroken,
        remote=session.remote,
        ended_at=instant(session.ended_heard_at),
        completed_at=instant(session.ended_at),
    )


def _mark_row(recorder_id: str, session_id: str, mark: Mark) -> MarkRow:
    said = f"{recorder_id}/{session_id}/".encode() + mark.body
    return MarkRow(
        id=hashlib.sha256(said).hexdigest()[:32],
        recorder_id=recorder_id,
        session_id=session_id,
        at=Instant(mark.at),
        kind=mark.kind,
        body=mark.body.decode(),
    )


def _readings_rows(recorder: Recorder) -> list[ReadingsRow]:
    """Return the hours in memory: copies, because the last one goes on changing."""
    hours: dict[int, list[Reading]] = {}
    for at, reading in sorted(recorder.readings.items()):
        hours.setdefault(at // HOUR_MS * HOUR_MS, []).append(msgspec.structs.replace(reading))
    return [
        ReadingsRow(recorder_id=recorder.recorder_id, hour_at=Instant(hour), readings=found)
        for hour, found in hours.items()
    ]
