"""Three bad ones running open a finding, three good ones running close it: shared by the detectors of pictures.

An observation that cannot be judged (its figure is missing, or it was too dark to tell) breaks neither row. One that is
neither bad nor good, in the band between the two thresholds, breaks both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from detectors.contract import Context, Step, finding
from domain.events import AnyEvent, Observation, SessionEnded
from domain.findings import Figure, Finding, FindingKind

RUNNING = 3
BEHIND_MS = 60_000
"""An observation that was captured up to so much before one already judged is passed over. Further back, the clock
mapping has moved, and it counts."""
NIGHT_LUMA = 40.0
"""Below this mean of Y it is too dark to judge how sharp, how still or which way a picture is (black is 16)."""

Verdict = Literal["bad", "good", "between"] | None


class Run(msgspec.Struct, frozen=True):
    """A row of observations of one kind.

    Attributes:
        session_id: Of the open finding.
        began: First sign of it, by capture time; 0 while none is open.
        count: Length of the row that may change it: bad ones while closed, good ones while open.
        since: Capture time of the first of the row.
        last: Capture time of the newest observation judged.
    """

    session_id: str = ""
    began: int = 0
    count: int = 0
    since: int = 0
    last: int = 0


def is_night(event: Observation) -> bool:
    """Tell whether a picture is too dark to be judged by anything but its contrast."""
    return event.luma is not None and event.luma < NIGHT_LUMA


def is_old(run: Run, event: Observation, context: Context) -> bool:
    """Tell whether an observation comes too late to be judged: behind others, or after its session's end."""
    session = context.knowledge.sessions.get(event.session_id)
    ended = session is not None and session.phase == "ended"
    return ended or context.is_late(event) or run.last - BEHIND_MS < event.captured_at <= run.last


def turn(run: Run, verdict: Verdict, at: int, *, hold_ms: int = 0) -> Run:
    """Take in one verdict; the answer has `began` changed where a finding opens or closes.

    Args:
        run: Before it.
        verdict: Of the observation; None where it cannot be judged.
        at: Its capture time.
        hold_ms: How long a row of bad ones must have lasted besides.
    """
    if verdict is None:
        return msgspec.structs.replace(run, last=at)
    if verdict != ("good" if run.began else "bad"):
        return msgspec.structs.replace(run, count=0, since=0, last=at)
    runs_on = run.count > 0 and run.since < at
    since, count = (run.since, run.count + 1) if runs_on else (at, 1)
    if count < RUNNING or (not run.began and at - since < hold_ms):
        return msgspec.structs.replace(run, count=min(count, RUNNING), since=since, last=at)
    return msgspec.structs.replace(run, began=0 if run.began else since, count=0, since=0, last=at)


class Judge:
    """What the detectors of pictures have in common: a run, what is said of it, and its end with the session.

    Their states have a field `run`, and whatever else they remember beside it.

    Args:
        kind: Of its findings.
    """

    def __init__(self, kind: FindingKind) -> None:
        self._kind = kind

    def step(
        self,
        state: Any,
        event: AnyEvent,
        context: Context,
        see: Callable[[Observation], tuple[Verdict, dict[str, Figure], Any]],
        *,
        hold_ms: int = 0,
    ) -> Step:
        """Answer to one event or tick.

        Args:
            state: Of the detector.
            event: An observation, a session's end, or a tick.
            context: Of the step.
            see: The detector's own part: verdict and figures of an observation, and the state with what it remembers.
            hold_ms: As for `turn`.
        """
        run: Run = state.run
        if isinstance(event, SessionEnded):
            after, findings = self._end(run, event, context)
            return Step(state if after is run else msgspec.structs.replace(state, run=after), findings)
        if not isinstance(event, Observation) or is_old(run, event, context):
            return Step(state)
        verdict, evidence, state = see(event)
        after = turn(run, verdict, int(event.captured_at), hold_ms=hold_ms)
        findings = []
        if after.began and not run.began:
            after = msgspec.structs.replace(after, session_id=event.session_id)
            findings.append(self._say(after, context, evidence, None))
        elif run.began and not after.began:
            findings.append(self._say(run, context, evidence, run.since))
        return Step(msgspec.structs.replace(state, run=after), findings)

    def _end(self, run: Run, event: SessionEnded, context: Context) -> tuple[Run, list[Finding]]:
        """Close what is open when its session ends: nothing will be seen of it any more."""
        if run.session_id != event.session_id or not run.began:
            return run, []
        after = msgspec.structs.replace(run, began=0, count=0, since=0)
        return after, [self._say(run, context, {"ended_by": "session ended"}, int(event.completed_at))]

    def _say(self, run: Run, context: Context, evidence: dict[str, Figure], ended_at: int | None) -> Finding:
        return finding(
            context,
            self._kind,
            "opened" if ended_at is None else "closed",
            began_at=run.began,
            ended_at=ended_at,
            session_id=run.session_id,
            evidence=evidence,
        )
