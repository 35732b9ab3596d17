"""Reads what the figures rest on: sums by the catalogue, rows of the office, the fleet for units and kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, case, func, select

from dashboards.parts import Parts
from dashboards.people.rights import Role
from dashboards.supervision.figures import Answered, Checked, Owner, Session, Stored, World
from domain.alerts import Alert
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.findings import Finding
from domain.wire import decode_finding
from policies.deadlines import store_by
from storage.catalog.tables import findings, segments, sessions, uploads
from storage.office import accounts, prechecks, premises, recorders
from storage.office.alerts import alerts as alert_rows

KINDS = ("recording.gap", "recording.unexplained_stop", "upload.overdue")

Sees = Callable[[str], bool]
_alert = msgspec.json.Decoder(Alert)


async def world_of(parts: Parts, start: Instant, end: Instant, sees: Sees) -> World:
    """Read what the figures of a time rest on.

    Args:
        parts: Of this console.
        start: Beginning of the time.
        end: End of it.
        sees: Tells whether a recorder is looked at.

    Raises:
        CatalogUnavailable, OfficeUnavailable: It cannot be read.
    """
    owners = await _owners(parts, sees)
    database = parts.catalog.database
    cards = [one for one in await recorders.all_cards(parts.office) if one.kind == "body_worn"]
    in_use = Counter(one.unit_id for one in cards if one.state == "active" and sees(one.recorder_id))
    checks = await prechecks.checks(parts.office, since=start)
    cameras = await premises.all_cameras(parts.office)
    return World(
        owners=owners,
        sessions=await database.read(lambda connection: _sessions(connection, parts, owners, start, end)),
        stored=await database.read(lambda connection: stored_between(connection, start, end)),
        findings=await database.read(lambda connection: _findings(connection, start, end)),
        alerts=await parts.office.read(lambda connection: _alerts(connection, start, end)),
        checks=[Checked(recorder_id=one.recorder_id, passed=one.passed) for one in checks if one.at < end],
        in_use=dict(in_use),
        officers=await _officers(parts, set(in_use)),
        cameras=[(one.camera_id, one.state) for one in cameras],
    )


async def _owners(parts: Parts, sees: Sees) -> dict[str, Owner]:
    """Return the recorders that are looked at: registered ones, and cameras whose papers are still being made."""
    found: dict[str, Owner] = {}
    for recorder_id, known in parts.fleet.recorders.items():
        if sees(recorder_id):
            found[recorder_id] = Owner(
                recorder_id=recorder_id,
                unit_id=known.unit_id,
                kind=known.kind or "body_worn",
                policy=known.policy or parts.settings.policy,
            )
    return found


async def _officers(parts: Parts, units: set[str]) -> dict[str, int]:
    """Return the officers with an account, by unit; those of no unit under the empty one."""
    officers: Counter[str] = Counter()
    for account in await accounts.everybody(parts.office):
        if account.state == "disabled":
            continue
        held = {duty.unit_id for duty in account.duties if duty.role == Role.OFFICER}
        officers.update(held)
    return {unit: count for unit, count in officers.items() if unit in units or not unit}


def _sessions(
    connection: Connection, parts: Parts, owners: dict[str, Owner], start: Instant, end: Instant
) -> list[Session]:
    table = sessions.c
    query = select(table.recorder_id, table.session_id, table.opened_at, table.completed_at, table.remote)
    rows = connection.execute(query.where(table.opened_at >= start, table.opened_at < end)).all()
    return [
        Session(
            recorder_id=row.recorder_id,
            session_id=row.session_id,
            opened_at=row.opened_at,
            completed_at=row.completed_at,
            store_by=_store_by(parts, owners.get(row.recorder_id), row),
        )
        for row in rows
    ]


def _store_by(parts: Parts, owner: Owner | None, row: Any) -> Instant | None:
    if owner is None or row.completed_at is None:
        return None
    policy = parts.book.find(owner.policy) or parts.book.policy(parts.settings.policy)
    try:
        deadline = store_by(policy, owner.kind, row.completed_at, remote=row.remote, calendar=parts.book.calendar)
    except InvalidInput:  # a device may claim to have completed a recording in any century
        return None
    return deadline.store_by


def stored_between(connection: Connection, start: Instant, end: Instant) -> list[Stored]:
    """Sum by session; what was delivered later counts without what was there already."""
    sums: dict[tuple[str, str], int] = {}
    bounds: dict[tuple[str, str], tuple[int, int]] = {}
    for table, overlap in ((segments, None), (uploads, uploads.c.overlap_ms)):
        first = case((table.c.from_at < start, int(start)), else_=table.c.from_at)
        last = case((table.c.to_at > end, int(end)), else_=table.c.to_at)
        length = last - first if overlap is None else last - first - overlap
        query = select(
            table.c.recorder_id, table.c.session_id, func.sum(length), func.min(first), func.max(last)
        ).where(table.c.from_at < end, table.c.to_at > start)
        for row in connection.execute(query.group_by(table.c.recorder_id, table.c.session_id)):
            key = (row[0], row[1])
            sums[key] = sums.get(key, 0) + max(0, int(row[2]))
            low, high = bounds.get(key, (int(row[3]), int(row[4])))
            bounds[key] = (min(low, int(row[3])), max(high, int(row[4])))
    return [
        Stored(recorder_id=key[0], session_id=key[1], recorded_ms=min(whole, bounds[key][1] - bounds[key][0]))
        for key, whole in sums.items()
    ]


def _findings(connection: Connection, start: Instant, end: Instant) -> list[Finding]:
    table = findings.c
    query = select(table.body).where(table.kind.in_(KINDS), table.began_at >= start, table.began_at < end)
    return [decode_finding(body) for body in connection.execute(query).scalars()]


def _alerts(connection: Connection, start: Instant, end: Instant) -> list[Answered]:
    table = alert_rows.c
    query = select(table.body).where(table.opened_at_ms >= int(start), table.opened_at_ms < int(end))
    found = [_alert.decode(body) for body in connection.execute(query).scalars()]
    return [
        Answered(
            unit_id=one.unit_id,
            opened_at=Instant(one.opened_at),
            members=tuple(one.members),
            acknowledged_at=None if one.acknowledged_at is None else Instant(one.acknowledged_at),
            resolved_at=None if one.resolved_at is None else Instant(one.resolved_at),
        )
        for one in found
    ]
