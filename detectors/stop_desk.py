"""What a step of `recording.unexplained_stop` works with: the watches, one stop, and how it is said. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from detectors.contract import Context, finding, is_unbroken, seconds, text
from detectors.explanations import Given, WayName, due, speech_counts, speech_ms, voice_ms, way
from detectors.gap_causes import REASONS
from detectors.stops import Stop, Watch
from domain.findings import Figure, Finding, Status
from policies.model import Policy

MAX_WATCHES = 64
"""Sessions; beyond it the one unused for longest is forgotten, ended ones first. What was said of it stays open."""

KIND = "recording.unexplained_stop"


class Desk(NamedTuple):
    """What one step works with; `watches` is its own copy."""

    context: Context
    policy: Policy
    findings: list[Finding]
    watches: dict[str, Watch]

    def watch(self, session_id: str) -> Watch:
        """Return what is watched of a session."""
        return self.watches.get(session_id) or Watch()

    def put(self, session_id: str, watch: Watch) -> None:
        """Put a session back, changed or not."""
        if watch is not self.watches.get(session_id):
            self.watches[session_id] = msgspec.structs.replace(watch, used=self.context.now)

    def changed(self, before: dict[str, Watch]) -> bool:
        """Tell whether anything is not as before."""
        return len(self.watches) != len(before) or any(
            before.get(name) is not watch for name, watch in self.watches.items()
        )

    def forget(self) -> None:
        """Let go of what nothing more is to come of, and of what is too much."""
        for name in [name for name, watch in self.watches.items() if watch.is_idle()]:
            del self.watches[name]
        while len(self.watches) > MAX_WATCHES:
            watches = self.watches
            del watches[min(watches, key=lambda name: (not watches[name].ended, watches[name].used, name))]


class Case(NamedTuple):
    """One stop in one step."""

    desk: Desk
    session_id: str
    watch: Watch
    stop: Stop

    @property
    def went_on(self) -> bool:
        """Recording went on after the stop."""
        return self.stop.recorded >= self.desk.context.thresholds.restart_min_ms

    def accepted(self) -> Given | None:
        """Return what was given and counts."""
        given = self.stop.given
        counts = given is not None and given.outcome == "accepted" and (self.went_on or not given.on_restart)
        return given if counts else None

    def spoken(self) -> bool:
        """Tell whether speech explains it."""
        policy = self.desk.policy
        # Speech heard too late to avert it still counts, if it was spoken in time and that is what was due.
        in_time = not self.stop.due or self.stop.due == self.stop.full_at
        return speech_counts(policy) and in_time and self.stop.spoken >= speech_ms(policy)

    def due(self) -> int | None:
        """Return when its explanation is due, None while that cannot be told."""
        stop, ended = self.stop, self.watch.ended
        return due(self.desk.policy, at=stop.at, went_on=self.went_on, full_at=stop.full_at, ended=ended)

    def way(self) -> WayName:
        """Return the way that is, or was, due."""
        return way(self.desk.policy, full=bool(self.stop.full_at) and self.stop.due in (0, self.stop.full_at))[0]


def cause_of(stop: Stop) -> str:
    """Return why recording stopped, as findings say it."""
    return REASONS.get(stop.reason, "unknown") if stop.reason else "device_stop"


def say(case: Case, status: Status, state: str, given: Given | None) -> None:
    """Say something of a stop.

    Args:
        case: The stop.
        status: Whether this opens, changes or closes it.
        state: What it is in: unexplained, awaiting_review, explained.
        given: What explains it; None for nothing, or for speech.
    """
    context, stop, policy = case.desk.context, case.stop, case.desk.policy
    regulated = policy.stops.regulated.value or is_unbroken(context, case.session_id)
    closed = status == "closed"
    ended_at = max(given.at if given else context.now, stop.began) if closed else None
    key = f"{KIND}.awaiting_review" if state == "awaiting_review" else None
    case.desk.findings.append(
        finding(
            context,
            "recording.unexplained_stop",
            status,
            began_at=stop.began,
            ended_at=ended_at,
            session_id=case.session_id,
            severity=None if regulated else "info",
            cause=cause_of(stop),
            evidence=_evidence(case, state, given, closed=closed),
            key=key,
        )
    )


def _evidence(case: Case, state: str, given: Given | None, *, closed: bool) -> dict[str, Figure]:
    stop, policy = case.stop, case.desk.policy
    figures: dict[str, Figure] = {
        "state": state,
        "stopped_at": text(stop.began),
        "resumed_at": text(stop.first) if case.went_on else None,
        "recorded_s": seconds(min(stop.recorded, voice_ms(policy))),
        "speech_s": seconds(stop.spoken),
        "asked": case.way(),
        "due_at": text(stop.due),
    }
    given_before = given or stop.given
    if given_before is not None:
        figures |= {"method": given_before.method, "explained_by": given_before.by, "explained": given_before.cause}
        figures |= {"approved_by": given_before.approved_by} if given_before.approved_by else {}
        figures |= {"why_not": given_before.why} if given_before.why and not closed else {}
    # The document knows no such rule or no such way; that it counts is ours.
    if not policy.stops.regulated.value or (given_before is not None and given_before.ours):
        figures["ours"] = True
    if closed:
        figures["late_s"] = seconds(max(0, given.at - stop.due)) if given else 0.0
        figures["explained_by_speech"] = given is None
    return figures
