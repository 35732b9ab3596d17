"""Findings: what the detectors say, as it stands on topic `findings` and on stdout of `liuhen replay`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from domain.clock import Instant
from domain.ids import RecorderId, SessionId

FindingKind = Literal[
    "recording.stalled",
    "recording.gap",
    "recording.unexplained_stop",
    "recording.stop_and_go",
    "power.low_battery",
    "storage.low_space",
    "device.silent",
    "clock.drift",
    "picture.covered",
    "picture.frozen",
    "picture.moved",
    "picture.blurred",
    "sound.missing",
    "upload.lagging",
    "upload.overdue",
    "store.stalled",
    "integrity.broken",
]
Status = Literal["opened", "updated", "closed"]
Severity = Literal["info", "warning", "critical"]

Figure = float | int | str | bool | list[Any] | dict[str, Any] | None
"""A value in `evidence` or in a message's `params`; instants stand there as RFC 3339 text."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What to tell a person, as a key into the texts and the values to fill in.

    Attributes:
        key: Name of the text.
        params: Values by name.
    """

    key: str
    params: dict[str, Figure]


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One statement about one recorder; later statements under the same id replace earlier ones.

    Attributes:
        id: `domain.ids.finding_id` of kind, recorder, session, subject and began_at.
        kind: What was found.
        status: Whether this opens, changes or closes it.
        severity: How bad.
        recorder_id: The recorder.
        session_id: The session, where it is about one.
        began_at: First sign, not when it was said.
        ended_at: When the condition ended; on `closed`.
        detected_at: `at` of the event or tick that made it sayable.
        cause: Why, where that can be told.
        evidence: Figures it rests on.
        clauses: Ids of the articles it rests on.
        message: What to tell a person.
        v: Version of the wire form; absent means 1.
    """

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    kind: FindingKind
    status: Status
    severity: Severity
    recorder_id: RecorderId
    began_at: Instant
    detected_at: Instant
    evidence: dict[str, Figure]
    clauses: list[str]
    message: Message
    session_id: SessionId | None = None
    ended_at: Instant | None = None
    cause: str | None = None
    v: Annotated[int, Meta(ge=1, le=1)] = 1
