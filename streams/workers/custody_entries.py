"""What the custody ledger is told of events and findings that nobody appends where they happen. Pure.

A segment, or a file delivered later that is in our store, is appended by the worker that stored it, holds and
classes by `storage.retention`, an access by who serves it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from domain.events import AnyEvent, Backfilled, Explanation, Integrity
from domain.findings import Finding
from domain.wire import to_builtins
from storage.ledger.entry import Entry

_EVENTS: dict[type, str] = {Explanation: "explanation", Backfilled: "backfill", Integrity: "integrity"}
WANTED = frozenset(
    {
        "backfilled",
        "classified",
        "explanation",
        "hold",
        "integrity",
        "segment_stored",
        "session_opened",
    }
)
"""Types of events that the custody worker reads; others are passed over unread."""
_ABOUT = ("type", "at", "recorder_id", "session_id", "v")


class _Type(msgspec.Struct):
    type: str = ""


_types = msgspec.json.Decoder(_Type)


def is_wanted(value: bytes) -> bool:
    """Tell by its type alone whether an event is worth decoding; what cannot be read is the detectors' to reject."""
    try:
        return _types.decode(value).type in WANTED
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def of_event(event: AnyEvent) -> Entry | None:
    """Return the entry of an event, None where it has none of its own."""
    kind = _EVENTS.get(type(event))
    if kind is None or (isinstance(event, Backfilled) and event.key is not None):
        return None
    told: dict[str, Any] = to_builtins(event)
    return Entry(
        kind=kind,
        at=event.at,
        recorder_id=told.get("recorder_id"),
        session_id=told.get("session_id"),
        body={name: value for name, value in told.items() if name not in _ABOUT},
    )


def of_finding(finding: Finding) -> Entry | None:
    """Return the entry of what was said about a gap, None for a finding of another kind."""
    if finding.kind != "recording.gap":
        return None
    told: dict[str, Any] = to_builtins(finding)
    return Entry(
        kind="gap",
        at=finding.detected_at,
        recorder_id=finding.recorder_id,
        session_id=finding.session_id,
        body={name: value for name, value in told.items() if name not in {*_ABOUT, "kind", "message"}},
    )
