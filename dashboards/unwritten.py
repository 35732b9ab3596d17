"""Rows that wait to be written into the catalogue, the newest state of each only."""

from __future__ import annotations

from typing import TypeVar, cast

from dashboards.projection import Change, Fleet, instant
from dashboards.recorder import Recorder, Session
from domain.clock import Instant
from domain.events import Kind
from domain.findings import Finding
from storage.catalog.catalog import Catalog
from storage.catalog.rows import RecorderRow, SessionRow

K = TypeVar("K")
V = TypeVar("V")

AT_ONCE = 500
"""Rows of one kind written in one transaction, so that no single one holds the writer for long."""


class Unwritten:
    """A coalescing queue: at most one row per recorder, session and finding. Bounded by its owner."""

    def __init__(self) -> None:
        self._recorders: dict[str, RecorderRow] = {}
        self._sessions: dict[tuple[str, str], SessionRow] = {}
        self._findings: dict[str, Finding] = {}

    def __len__(self) -> int:
        return len(self._recorders) + len(self._sessions) + len(self._findings)

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
