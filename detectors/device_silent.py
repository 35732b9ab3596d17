"""`device.silent`: nothing at all is heard of a recorder that should be at work, neither media nor telemetry."""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step, finding, seconds, text
from domain.events import (
    AnyEvent,
    Backfilled,
    DeviceIndex,
    Fragment,
    RecorderRegistered,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
    Telemetry,
)
from domain.findings import Finding

_HEARD = (Telemetry, Fragment, DeviceIndex, Backfilled, SessionOpened, SessionResumed)
_SAID_FOR_IT = frozenset({"connection_lost", "server", "unknown"})
"""Reasons of a stop that the device itself did not tell."""


class State(msgspec.Struct, frozen=True):
    """State of the detector.

    Attributes:
        heard: When something was heard of it last; 0 for never.
        began: Beginning of the silence that is open; 0 for none.
    """

    heard: int = 0
    began: int = 0


class DeviceSilent:
    """The detector."""

    name = "device.silent/1"
    wants = frozenset[type[AnyEvent]]({*_HEARD, RecorderRegistered, SessionStopped, SessionEnded})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        after: State = state
        findings: list[Finding] = []
        if _is_heard(event) and not context.is_late(event):
            if after.began:
                findings.append(_closed(after, int(event.at), "heard", context))
            after = State(max(after.heard, event.at), 0)
        since = _expected_since(context)
        if since is None:
            if after.began:
                findings.append(_closed(after, context.now, "no longer expected", context))
                after = State(after.heard, 0)
            return Step(after, findings)
        if after.began:
            return Step(after, findings)
        last = max(after.heard, since)
        due = last + context.thresholds.silent_after_ms
        if context.now < due:
            return Step(after, findings, due)
        after = State(after.heard, last)
        findings.append(_said(after, "opened", context, None, {"silent_s": seconds(context.now - last)}))
        return Step(after, findings)


def _is_heard(event: AnyEvent) -> bool:
    if isinstance(event, SessionStopped):
        return event.reason not in _SAID_FOR_IT
    return isinstance(event, _HEARD)


def _expected_since(context: Context) -> int | None:
    """Return since when something should be heard; None where nothing need be."""
    registration = context.knowledge.registration
    if registration is not None and not registration.active:
        return None
    since = [session.opened_at for session in context.knowledge.sessions.values() if session.phase != "ended"]
    if registration is not None and registration.continuous:
        since.append(registration.since)
    return min(since, default=None)


def _closed(state: State, at: int, ended_by: str, context: Context) -> Finding:
    evidence = {"silent_s": seconds(max(0, at - state.began)), "ended_by": ended_by}
    return _said(state, "closed", context, at, evidence)


def _said(state: State, status: Any, context: Context, ended_at: int | None, evidence: dict[str, Any]) -> Finding:
    unbroken = any(one.unbroken and one.phase != "ended" for one in context.knowledge.sessions.values())
    return finding(
        context,
        "device.silent",
        status,
        began_at=state.began,
        ended_at=ended_at,
        session_id=None,
        severity="critical" if unbroken else "warning",
        evidence={"last_heard_at": text(state.heard) if state.heard else None, **evidence},
    )
