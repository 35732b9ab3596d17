"""Alerts in the office's database: what they are, what they rest on, their history; who is told, when all is quiet.

Several processes write: the notifier, consoles. Each transaction that changes an alert takes `lock` first, so what it
read is still so when it writes. `change` counts such transactions: whoever shows alerts reads what came after the
number that it saw last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    update,
)

from domain.alerts import Alert, AlertFinding, Line, Maintenance, Route
from storage.office.office import Office, metadata

_LOCK_KEY = 0x616C_6572_7473
"""Any number that no other user of the same PostgreSQL takes: "alerts" in ASCII."""

alerts = Table(
    "alerts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("group_key", String(300), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("family", String(20), nullable=False),
    Column("site_id", String(200), nullable=False),
    Column("unit_id", String(200), nullable=False),
    Column("assignee", String(200), nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("wake_at_ms", BigInteger, index=True),
    Column("change", BigInteger, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),
    Index("alerts_newest", "opened_at_ms", "id"),
)

alert_findings = Table(
    "alert_findings",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("alert_id", String(32), nullable=False, index=True),
    Column("recorder_id", String(200), nullable=False, index=True),
    Column("detected_at_ms", BigInteger, nullable=False),
    Column("named_in", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
)

alert_history = Table(
    "alert_history",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("alert_id", String(32), nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

alert_changes = Table(
    "alert_changes",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

alert_routes = Table(
    "alert_routes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("body", Text, nullable=False),
)

maintenance = Table(
    "maintenance",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("starts_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

_alert = msgspec.json.Decoder(Alert)
_finding = msgspec.json.Decoder(AlertFinding)
_line = msgspec.json.Decoder(Line)
_route = msgspec.json.Decoder(Route)
_window = msgspec.json.Decoder(Maintenance)


def lock(connection: Connection) -> int:
    """Wait until no other transaction changes alerts, and return the number of this one's change."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    found = connection.execute(select(alert_changes.c.value).where(alert_changes.c.name == "alerts")).scalar()
    number = (found or 0) + 1
    if found is None:
        connection.execute(alert_changes.insert().values(name="alerts", value=number))
    else:
        connection.execute(update(alert_changes).where(alert_changes.c.name == "alerts").values(value=number))
    return number


# -- alerts -----------------------------------------------------------------------------------------------------


def get(connection: Connection, alert_id: str) -> Alert | None:
    """Return an alert; None where there is none."""
    body = connection.execute(select(alerts.c.body).where(alerts.c.id == alert_id)).scalar()
    return None if body is None else _alert.decode(body)


def newest(connection: Connection, groups: Sequence[str]) -> dict[str, Alert]:
    """Return the newest alert of each of these groups that has one."""
    found: dict[str, Alert] = {}
    for start in range(0, len(groups), 500):
        query = select(alerts.c.group_key, alerts.c.id, alerts.c.opened_at_ms)
        query = query.where(alerts.c.group_key.in_(groups[start : start + 500]))
        last: dict[str, tuple[int, str]] = {}
        for row in connection.execute(query):
            last[row.group_key] = max(last.get(row.group_key, (0, "")), (row.opened_at_ms, row.id))
        bodies = select(alerts.c.body).where(alerts.c.id.in_([alert_id for _, alert_id in last.values()]))
        for body in connection.execute(bodies).scalars():
            alert = _alert.decode(body)
            found[alert.group] = alert
    return found


def due(connection: Connection, now_ms: int, limit: int) -> list[Alert]:
    """Return alerts that want to be looked at by now, those that waited longest first."""
    query = select(alerts.c.body).where(alerts.c.wake_at_ms <= now_ms).order_by(alerts.c.wake_at_ms).limit(limit)
    return [_alert.decode(body) for body in connection.execute(query).scalars()]


def next_wake(connection: Connection) -> int | None:
    """Return when the next alert wants to be looked at."""
    return connection.execute(select(func.min(alerts.c.wake_at_ms))).scalar()


def save(office: Office, connection: Connection, changed: Sequence[tuple[Alert, int | None]], change: int) -> None:
    """Write alerts as they are now, each with when it wants to be looked at."""
    found: list[dict[str, Any]] = [
        {
            "id": alert.id,
            "group_key": alert.group,
            "state": alert.state,
            "severity": alert.severity,
            "family": alert.family,
            "site_id": alert.site_id,
            "unit_id": alert.unit_id,
            "assignee": alert.assignee,
            "opened_at_ms": alert.opened_at,
            "wake_at_ms": wake_at_ms,
            "change": change,
            "body": msgspec.json.encode(alert),
        }
        for alert, wake_at_ms in changed
    ]
    if not found:
        return
    statement = office.insert(alerts)
    later = {name: statement.excluded[name] for name in found[0] if name != "id"}
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=later), found)


def wake_muted(connection: Connection, now_ms: int) -> None:
    """Have all alerts that are not resolved looked at now: what is quiet has changed."""
    connection.execute(update(alerts).where(alerts.c.state != "resolved").values(wake_at_ms=now_ms))


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts; empty fields let everything through.

    Attributes:
        states: In these states.
        severity: Of this one.
        family: Of this one.
        site_id: At this site.
        unit_id: In this unit.
        recorder_id: With a finding of this recorder.
        assignee: That this account looks after.
    """

    states: Sequence[str] = ()
    severity: str = ""
    family: str = ""
    site_id: str = ""
    unit_id: str = ""
    recorder_id: str = ""
    assignee: str = ""


def list_newest(
    connection: Connection, wanted: Filter, before: tuple[int, str] | None = None, limit: int = 100
) -> list[Alert]:
    """Return alerts, the newest first.

    Args:
        connection: A transaction.
        wanted: Which.
        before: `opened_at` and id of the last one of the page before.
        limit: How many at most.
    """
    query = select(alerts.c.body).where(*_conditions(wanted))
    if before is not None:
        at, last = before
        query = query.where(
            or_(alerts.c.opened_at_ms < at, and_(alerts.c.opened_at_ms == at, alerts.c.id < last)),
        )
    query = query.order_by(alerts.c.opened_at_ms.desc(), alerts.c.id.desc()).limit(limit)
    return [_alert.decode(body) for body in connection.execute(query).scalars()]


def _conditions(wanted: Filter) -> Iterable[ColumnElement[bool]]:
    if wanted.states:
        yield alerts.c.state.in_(list(wanted.states))
    for name in ("severity", "family", "site_id", "unit_id", "assignee"):
        value = getattr(wanted, name)
        if value:
            yield alerts.c[name] == value
    if wanted.recorder_id:
        yield alerts.c.id.in_(
            select(alert_findings.c.alert_id).where(alert_findings.c.recorder_id == wanted.recorder_id)
        )


def changed_since(connection: Connection, change: int, limit: int = 500) -> list[tuple[int, Alert]]:
    """Return alerts whose last change came after this number, each with its number, in order."""
    query = select(alerts.c.change, alerts.c.body).where(alerts.c.change > change)
    rows = connection.execute(query.order_by(alerts.c.change).limit(limit))
    return [(row.change, _alert.decode(row.body)) for row in rows]


def last_change(connection: Connection) -> int:
    """Return the number of the newest change."""
    return connection.execute(select(alert_changes.c.value).where(alert_changes.c.name == "alerts")).scalar() or 0


def count_open(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many alerts are not resolved, by state and severity."""
    query = select(alerts.c.state, alerts.c.severity, func.count()).where(alerts.c.state != "resolved")
    rows = connection.execute(query.group_by(alerts.c.state, alerts.c.severity))
    return {(row[0], row[1]): row[2] for row in rows}


# -- what they rest on ------------------------------------------------------------------------------------------


def known(connection: Connection, finding_ids: Sequence[str]) -> dict[str, tuple[str, AlertFinding]]:
    """Return those of these findings that are known, as last heard, each with the id of its alert."""
    found: dict[str, tuple[str, AlertFinding]] = {}
    for start in range(0, len(finding_ids), 500):
        ids = finding_ids[start : start + 500]
        for row in connection.execute(select(alert_findings).where(alert_findings.c.id.in_(ids))):
            found[row.id] = (row.alert_id, _decode_finding(row.body, row.named_in))
    return found


def save_findings(office: Office, connection: Connection, said: Sequence[tuple[str, AlertFinding]]) -> None:
    """Write findings as last heard, each with the id of its alert; by which message one was named stays as it is."""
    found: list[dict[str, Any]] = [
        {
            "id": each.id,
            "alert_id": alert_id,
            "recorder_id": each.recorder_id,
            "detected_at_ms": each.detected_at,
            "named_in": "",
            "body": msgspec.json.encode(each),
        }
        for alert_id, each in said
    ]
    if not found:
        return
    statement = office.insert(alert_findings)
    later = {name: statement.excluded[name] for name in ("alert_id", "detected_at_ms", "body")}
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=later), found)


def findings_of(
    connection: Connection, alert_id: str, *, unnamed: bool = False, limit: int = 1000
) -> list[AlertFinding]:
    """Return findings of an alert, in the order in which they were detected; `unnamed`: those no message named."""
    query = select(alert_findings.c.named_in, alert_findings.c.body).where(alert_findings.c.alert_id == alert_id)
    if unnamed:
        query = query.where(alert_findings.c.named_in == "")
    rows = connection.execute(query.order_by(alert_findings.c.detected_at_ms, alert_findings.c.id).limit(limit))
    return [_decode_finding(row.body, row.named_in) for row in rows]


def unnamed_of(connection: Connection, alert_ids: Sequence[str]) -> dict[str, list[AlertFinding]]:
    """Return, of each of these alerts, findings that no message named yet, in the order of their detection."""
    found: dict[str, list[AlertFinding]] = {alert_id: [] for alert_id in alert_ids}
    query = select(alert_findings.c.alert_id, alert_findings.c.body)
    query = query.where(alert_findings.c.alert_id.in_(alert_ids), alert_findings.c.named_in == "")
    for row in connection.execute(query.order_by(alert_findings.c.detected_at_ms, alert_findings.c.id)):
        found[row.alert_id].append(_finding.decode(row.body))
    return found


def mark_named(connection: Connection, named: Sequence[tuple[str, str]]) -> None:
    """Remember of findings, by id, which message named them."""
    rows = [{"finding": finding_id, "message": message} for finding_id, message in named]
    if rows:
        marked = update(alert_findings).where(alert_findings.c.id == bindparam("finding"))
        connection.execute(marked.values(named_in=bindparam("message")), rows)


def _decode_finding(body: bytes, named_in: str) -> AlertFinding:
    return msgspec.structs.replace(_finding.decode(body), named_in=named_in)


# -- history ----------------------------------------------------------------------------------------------------


def add_lines(connection: Connection, lines: Sequence[tuple[str, Line]]) -> None:
    """Write lines of histories, each with the id of its alert."""
    rows = [{"alert_id": alert_id, "at_ms": line.at, "body": msgspec.json.encode(line)} for alert_id, line in lines]
    if rows:
        connection.execute(alert_history.insert(), rows)


def history(connection: Connection, alert_id: str, limit: int = 1000) -> list[Line]:
    """Return an alert's history, the oldest line first."""
    query = select(alert_history.c.body).where(alert_history.c.alert_id == alert_id)
    return [
        _line.decode(body) for body in connection.execute(query.order_by(alert_history.c.id).limit(limit)).scalars()
    ]


# -- who is told, when all is quiet -------------------------------------------------------------------------------


def routes(connection: Connection) -> list[Route]:
    """Return the rules, in order."""
    query = select(alert_routes.c.body).order_by(alert_routes.c.position, alert_routes.c.id)
    return [_route.decode(body) for body in connection.execute(query).scalars()]


def save_route(office: Office, connection: Connection, route: Route) -> None:
    """Write a rule."""
    row: dict[str, Any] = {"id": route.id, "position": route.position, "body": msgspec.json.encode(route).decode()}
    later = {name: value for name, value in row.items() if name != "id"}
    connection.execute(office.insert(alert_routes).values(row).on_conflict_do_update(index_elements=["id"], set_=later))


def remove_route(connection: Connection, route_id: str) -> bool:
    """Take a rule away; False where there was none."""
    return connection.execute(delete(alert_routes).where(alert_routes.c.id == route_id)).rowcount > 0


def windows(connection: Connection, ending_after_ms: int) -> list[Maintenance]:
    """Return maintenance that is not over, the soonest first."""
    query = select(maintenance.c.body).where(maintenance.c.ends_at_ms > ending_after_ms)
    rows = connection.execute(query.order_by(maintenance.c.starts_at_ms, maintenance.c.id)).scalars()
    return [_window.decode(body) for body in rows]


def window(connection: Connection, window_id: str) -> Maintenance | None:
    """Return one window of maintenance."""
    body = connection.execute(select(maintenance.c.body).where(maintenance.c.id == window_id)).scalar()
    return None if body is None else _window.decode(body)


def save_window(office: Office, connection: Connection, planned: Maintenance) -> None:
    """Write maintenance."""
    row: dict[str, Any] = {
        "id": planned.id,
        "starts_at_ms": planned.starts_at,
        "ends_at_ms": planned.ends_at,
        "body": msgspec.json.encode(planned).decode(),
    }
    later = {name: value for name, value in row.items() if name != "id"}
    connection.execute(office.insert(maintenance).values(row).on_conflict_do_update(index_elements=["id"], set_=later))
