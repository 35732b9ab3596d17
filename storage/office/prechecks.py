"""Checks of recorders before use (Wucheng W-AV 第十、十四条, Zhanhe Z-AV 第七条): written once, never changed."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import BigInteger, Boolean, Column, Connection, ForeignKey, Index, Integer, String, Table, Text, select

from domain.clock import Instant
from storage.office.office import Office, metadata
from storage.office.recorders import known

recorder_checks = Table(
    "recorder_checks",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("recorder_id", String(63), ForeignKey("recorders.recorder_id"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("points", Text, nullable=False),
    Column("note", Text, nullable=False),
    Index("recorder_checks_by_recorder", "recorder_id", "at_ms"),
    Index("recorder_checks_by_time", "at_ms"),
)


class Point(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One point of a check before use.

    Attributes:
        id: Of the policy's `device.checks`.
        ok: Found well.
        value: What was read, where the device tells: percent, seconds.
        by_device: Read from what the device said of itself, not looked at.
    """

    id: Annotated[str, Meta(max_length=40, pattern=r"^[a-z][a-z0-9_]*\Z")]
    ok: bool
    value: float | None = None
    by_device: bool = False


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A check before use (W-AV 第十条, Z-AV 第七条).

    Attributes:
        recorder_id: Of which recorder.
        at: When.
        by: By whom.
        points: What was found.
        note: In words.
    """

    recorder_id: str
    at: Instant
    by: str
    points: tuple[Point, ...]
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything was well."""
        return all(point.ok for point in self.points)


async def add_check(office: Office, check: Check) -> None:
    """Log a check before use.

    Raises:
        InvalidInput: There is no such recorder.
    """
    row = {
        "recorder_id": check.recorder_id,
        "at_ms": int(check.at),
        "by": check.by,
        "passed": check.passed,
        "points": msgspec.json.encode(check.points).decode(),
        "note": check.note,
    }

    def work(connection: Connection) -> None:
        known(connection, check.recorder_id)
        connection.execute(office.insert(recorder_checks).values(row))

    await office.write(work)


async def checks(office: Office, *, since: Instant, recorder_id: str | None = None) -> list[Check]:
    """Return the checks since a moment, of one recorder or all, newest first."""
    query = select(recorder_checks).where(recorder_checks.c.at_ms >= int(since))
    if recorder_id is not None:
        query = query.where(recorder_checks.c.recorder_id == recorder_id)
    rows = await office.read(
        lambda connection: connection.execute(query.order_by(recorder_checks.c.at_ms.desc())).all()
    )
    return [
        Check(
            recorder_id=row.recorder_id,
            at=Instant(row.at_ms),
            by=row.by,
            points=msgspec.json.decode(row.points, type=tuple[Point, ...]),
            note=row.note,
        )
        for row in rows
    ]
