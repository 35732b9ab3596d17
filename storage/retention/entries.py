"""What the custody ledger says of classes, holds and deletions, and reading it back.

The ledger is where a decision counts from: a hold is set, a class is decided and a deletion is approved by an entry,
and the catalogue follows (`storage.retention.retention`). So all of it can be made again from the ledger alone.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError, InvalidEvent
from domain.events import Classified, Explanation, Hold, HoldOrigin, RetentionClass, SessionOpened
from domain.wire import convert, to_builtins
from policies.model import LongTerm
from storage.catalog.rows import DecisionRow, ExpiryRow, HoldRow, ObjectRow
from storage.ledger.entry import Entry, entry_id

FOLLOWED = frozenset({"hold", "release", "class", "approval"})
"""Kinds that the catalogue follows."""
BY_POLICY = "policy"

T = TypeVar("T", bound=msgspec.Struct)


class HoldBody(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"from_at": "from", "to_at": "to"}
):
    """Body of a `hold` entry: see `HoldRow`."""

    hold_id: str
    origin: HoldOrigin
    by: str
    reason: str
    ref: str | None = None
    key: str | None = None
    from_at: Instant | None = None
    to_at: Instant | None = None


class ReleaseBody(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"from_at": "from", "to_at": "to"}
):
    """Body of a `release` entry: the hold it names, else those of exactly this span; see `holds.lifted`."""

    by: str
    reason: str
    origin: HoldOrigin
    hold_id: str | None = None
    ref: str | None = None
    from_at: Instant | None = None
    to_at: Instant | None = None
    confirmed_by: str | None = None


class ClassBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"retention_class": "class"}):
    """Body of a `class` entry: see `DecisionRow`; `clauses`: articles, where the policy decides by itself."""

    retention_class: RetentionClass
    by: str
    reason: str
    document: str | None = None
    case: str | None = None
    closed_at: Instant | None = None
    keep_until: Instant | None = None
    clauses: tuple[str, ...] = ()


class ApprovalBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of an `approval` entry about deletion; those about other things have another `of`.

    Attributes:
        of: What is approved.
        decision: Delete it, or keep it.
        listed_until: What came on the list later is not meant.
        by: Who decided.
        reason: Why.
        key: One object alone; all of the session's that await a decision where absent.
        again_at: Of what is kept: when it comes on the list again.
        document: Number of the signed decision.
    """

    of: Literal["deletion"]
    decision: Literal["delete", "keep"]
    listed_until: Instant
    by: str
    reason: str
    key: str | None = None
    again_at: Instant | None = None
    document: str | None = None


def of_event(event: Hold | Classified, hold_id: str = "") -> Entry:
    """Return the entry of a hold, a release or a class that came as an event; `hold_id`: of a hold that is set."""
    if isinstance(event, Classified):
        body: msgspec.Struct = ClassBody(
            retention_class=event.class_,
            by=event.by,
            reason=event.reason,
            document=event.document,
            case=event.case,
            closed_at=event.closed_at,
            keep_until=event.keep_until,
        )
        return _entry("class", event.at, event.recorder_id, event.session_id, body)
    told = {
        "by": event.by,
        "reason": event.reason,
        "origin": event.origin,
        "ref": event.ref,
        "from_at": event.from_,
        "to_at": event.to,
    }
    if event.released:
        body = ReleaseBody(hold_id=event.hold_id, confirmed_by=event.confirmed_by, **told)  # type: ignore[arg-type]
        return _entry("release", event.at, event.recorder_id, event.session_id, body)
    body = HoldBody(hold_id=hold_id, **told)  # type: ignore[arg-type]
    return _entry("hold", event.at, event.recorder_id, event.session_id, body)


def of_hold(row: HoldRow) -> Entry:
    """Return the entry of a hold that a finding asks for."""
    body = HoldBody(
        hold_id=row.id,
        origin=row.origin,
        by=row.by,
        reason=row.reason,
        ref=row.ref,
        key=row.key,
        from_at=row.from_at,
        to_at=row.to_at,
    )
    return _entry("hold", row.at, row.recorder_id, row.session_id, body)


def by_policy(event: SessionOpened | Explanation, case: LongTerm) -> Entry:
    """Return the entry of a session that the policy itself makes a case of long-term keeping."""
    body = ClassBody(retention_class="long_term", by=BY_POLICY, reason=case.zh, clauses=case.source)
    return _entry("class", event.at, event.recorder_id, event.session_id, body)


def approval(at: Instant, recorder_id: str, session_id: str, body: ApprovalBody) -> Entry:
    """Return the entry of a decision about what has come to its end."""
    return _entry("approval", at, recorder_id, session_id, body)


def deletion(stage: Literal["intent", "done"], at: Instant, row: ObjectRow, expiry: ExpiryRow) -> Entry:
    """Return the entry written before a version is deleted (`intent`), or its receipt (`done`).

    The id follows from key, version and stage: said again after a crash, it is the same entry.
    """
    body: dict[str, Any] = {
        "stage": stage,
        "key": row.key,
        "version_id": row.version_id,
        "sha256": row.sha256,
        "bytes": row.bytes,
        "policy": row.policy,
        "class": expiry.retention_class,
        "from": row.from_at.rfc3339(),
        "to": row.to_at.rfc3339(),
        "stored_at": row.stored_at.rfc3339(),
        "due_at": expiry.due_at.rfc3339(),
        "listed_at": expiry.listed_at.rfc3339(),
        "by": expiry.by,
        "reason": expiry.reason,
        "document": expiry.document,
    }
    return Entry(kind="deletion", at=at, recorder_id=row.recorder_id, session_id=row.session_id, body=body)


def receipt_id(row: ObjectRow) -> str:
    """Return the id of an object's receipt of deletion."""
    identity = {"key": row.key, "version_id": row.version_id, "stage": "done"}
    return entry_id("deletion", row.recorder_id, row.session_id, identity)


def hold_of(entry: Entry) -> HoldRow:
    """Read a `hold` entry."""
    body = _body(entry, HoldBody)
    return HoldRow(
        id=body.hold_id,
        recorder_id=_recorder(entry),
        session_id=entry.session_id,
        key=body.key,
        from_at=body.from_at,
        to_at=body.to_at,
        origin=body.origin,
        ref=body.ref,
        by=body.by,
        reason=body.reason,
        at=entry.at,
    )


def release_of(entry: Entry) -> Hold:
    """Read a `release` entry as the event that it was."""
    body = _body(entry, ReleaseBody)
    return Hold(
        at=entry.at,
        recorder_id=_recorder(entry),
        session_id=entry.session_id or "",
        reason=body.reason,
        by=body.by,
        released=True,
        from_=body.from_at,
        to=body.to_at,
        origin=body.origin,
        ref=body.ref,
        hold_id=body.hold_id,
        confirmed_by=body.confirmed_by,
    )


def decision_of(entry: Entry) -> DecisionRow:
    """Read a `class` entry."""
    body = _body(entry, ClassBody)
    return DecisionRow(
        id=entry.id,
        recorder_id=_recorder(entry),
        session_id=entry.session_id or "",
        at=entry.at,
        retention_class=body.retention_class,
        by=body.by,
        reason=body.reason,
        document=body.document,
        case=body.case,
        closed_at=body.closed_at,
        keep_until=body.keep_until,
    )


def approval_of(entry: Entry) -> ApprovalBody | None:
    """Read an `approval` entry; None where it is about something else than deletion."""
    return _body(entry, ApprovalBody) if entry.body.get("of") == "deletion" else None


def _entry(kind: str, at: Instant, recorder_id: str, session_id: str | None, body: msgspec.Struct) -> Entry:
    told: dict[str, Any] = to_builtins(body)
    return Entry(kind=kind, at=at, recorder_id=recorder_id, session_id=session_id, body=told)


def _body(entry: Entry, kind: type[T]) -> T:
    try:
        return convert(entry.body, kind)
    except InvalidEvent as error:
        raise _unreadable(entry, error) from error


def _recorder(entry: Entry) -> str:
    if entry.recorder_id is None:
        raise _unreadable(entry, "it names no recorder")
    return entry.recorder_id


def _unreadable(entry: Entry, why: object) -> IntegrityError:
    return IntegrityError(f"ledger: {entry.kind} {entry.id}: {why}")
