"""The contract that every detector keeps.

A detector is a value with a name, the event types it wants, an initial state, and one pure function::

    step(state, event, context) -> Step(state, findings, wake_at)

1. States are frozen msgspec structs of plain values (times are integers, milliseconds since 1970 UTC), so that they
   can be saved as MessagePack and read back equal. Their size is bounded whatever comes in.
2. `context.now` is the only clock. It never goes back, though `event.at` may.
3. `wake_at` asks for a `Tick`: one comes at the first moment of the log at or after it (the first tick, or the next
   event of the recorder, before that event). A tick that comes too early must change nothing.
4. The same state, event and context give the same step, and nothing else is touched.

Events come in order of `at` where the log is in order, and are put in order where it is not (`detectors.intake`).
What stands later than the lateness comes as it is found: `context.is_late(event)` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from detectors.books import Books
from detectors.knowledge import Knowledge, Session
from domain.clock import Instant, ms
from domain.events import AnyEvent
from domain.findings import Figure, Finding, FindingKind, Message, Severity, Status
from domain.ids import finding_id
from domain.settings import Settings
from policies.clauses import DEFAULT, cited
from policies.local import Rulebook, default
from policies.model import Policy


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that detectors judge by. Durations in milliseconds.

    Attributes:
        lateness_ms: How far out of order events may stand.
        stall_after_ms: Silence after the end of the last fragment that is a stall.
        stall_after_open_ms: Silence after opening, resuming or registering that is a stall.
        gap_min_ms: Missing media up to this is no gap.
        battery_low_percent: A battery at most so full is low.
        battery_well_percent: From so full on it is well.
        storage_low_percent: A card with at most so much free is nearly full.
        storage_well_percent: With so much free it is well.
        forecast_low_ms: Battery or space that will be used up so soon is low.
        forecast_well_ms: Lasting so long, it is well.
        silent_after_ms: Nothing heard for so long is silence.
        clock_drift_ms: A clock further off than this has drifted.
        clock_well_ms: One that is at most so far off is right.
        covered_contrast: Standard deviation of Y below which next to nothing is seen.
        frozen_change: Mean absolute difference of pictures, as a part of 255, up to which they are the same.
        frozen_after_ms: How long they must be.
        moved_shift: 1 − correlation with the reference above which a camera looks elsewhere.
        blurred_fraction: Part of the recorder's own median sharpness below which a picture is blurred.
        sound_missing_dbfs: Sound up to this level is none.
        sound_missing_after_ms: How long it must be missing.
        restart_min_ms: A restart that brings less media than this before the next stop is none.
        speech_wait_ms: How long what the analysis heard may come behind the media that it heard it in.
        stop_and_go_stops: So many officer's stops in one session are stop-and-go.
        store_after_ms: A fragment that is not in the store so long after it arrived is stuck.
        policy: Policy of recorders that name none.
    """

    lateness_ms: int = 10_000
    stall_after_ms: int = 5_000
    stall_after_open_ms: int = 10_000
    gap_min_ms: int = 1_000
    battery_low_percent: float = 20.0
    battery_well_percent: float = 25.0
    storage_low_percent: float = 10.0
    storage_well_percent: float = 15.0
    forecast_low_ms: int = 1_800_000
    forecast_well_ms: int = 2_700_000
    silent_after_ms: int = 60_000
    clock_drift_ms: int = 5_000
    clock_well_ms: int = 3_000
    covered_contrast: float = 4.0
    frozen_change: float = 0.0001
    frozen_after_ms: int = 30_000
    moved_shift: float = 0.5
    blurred_fraction: float = 0.15
    sound_missing_dbfs: float = -70.0
    sound_missing_after_ms: int = 60_000
    restart_min_ms: int = 5_000
    speech_wait_ms: int = 2_000
    stop_and_go_stops: int = 3
    store_after_ms: int = 300_000
    policy: str = DEFAULT

    @classmethod
    def of(cls, settings: Settings) -> Thresholds:
        """Take what concerns detectors out of the configuration."""
        return cls(
            lateness_ms=ms(settings.lateness_s),
            stall_after_ms=ms(settings.stall_after_s),
            stall_after_open_ms=ms(settings.stall_after_open_s),
            gap_min_ms=ms(settings.gap_min_s),
            battery_low_percent=settings.battery_low_percent,
            battery_well_percent=settings.battery_well_percent,
            storage_low_percent=settings.storage_low_percent,
            storage_well_percent=settings.storage_well_percent,
            forecast_low_ms=ms(settings.forecast_low_s),
            forecast_well_ms=ms(settings.forecast_well_s),
            silent_after_ms=ms(settings.silent_after_s),
            clock_drift_ms=ms(settings.clock_drift_s),
            clock_well_ms=ms(settings.clock_well_s),
            covered_contrast=settings.covered_contrast,
            frozen_change=settings.frozen_change,
            frozen_after_ms=ms(settings.frozen_after_s),
            moved_shift=settings.moved_shift,
            blurred_fraction=settings.blurred_fraction,
            sound_missing_dbfs=settings.sound_missing_dbfs,
            sound_missing_after_ms=ms(settings.sound_missing_after_s),
            restart_min_ms=ms(settings.restart_min_s),
            speech_wait_ms=ms(settings.speech_wait_s),
            stop_and_go_stops=settings.stop_and_go_stops,
            store_after_ms=ms(settings.store_after_s),
            policy=settings.policy,
        )


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a detector may know beside its own state.

    Attributes:
        recorder_id: The recorder.
        now: Highest `at` of the log that has come through the intake, milliseconds since 1970.
        thresholds: Settings.
        knowledge: Registration and sessions, with this event already counted in.
        late: The event stands later than the lateness; ask `is_late`.
        book: The policies in force, with an agency's own values, and the working days.
        books: Which footage is not in the store, with this event already counted in.
    """

    recorder_id: str
    now: int
    thresholds: Thresholds
    knowledge: Knowledge
    late: bool = False
    book: Rulebook = default()
    books: Books = Books()

    def is_late(self, event: AnyEvent) -> bool:
        """Tell whether an event stands so late that only gaps and backfill still use it."""
        return self.late or event.at < self.now - self.thresholds.lateness_ms


class Step(NamedTuple):
    """What a detector answers.

    Attributes:
        state: The state from now on; the very same object where nothing changed.
        findings: What there is to say, in order.
        wake_at: When to be woken if nothing comes, milliseconds since 1970; None for never.
    """

    state: Any
    findings: Sequence[Finding] = ()
    wake_at: int | None = None


class Detector(Protocol):
    """One detector. Instances have no state of their own."""

    @property
    def name(self) -> str:
        """Key of its state in a recorder's; a changed form of the state takes a new name."""
        ...

    @property
    def wants(self) -> frozenset[type[AnyEvent]]:
        """Event types to be stepped with; ticks come by `wake_at` alone."""
        ...

    @property
    def state_type(self) -> type[msgspec.Struct]:
        """Struct of its state, whose defaults are the initial state."""
        ...

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        ...


def finding(
    context: Context,
    kind: FindingKind,
    status: Status,
    *,
    began_at: int,
    session_id: str | None,
    evidence: dict[str, Figure],
    severity: Severity | None = None,
    subject: str = "",
    ended_at: int | None = None,
    cause: str | None = None,
    key: str | None = None,
) -> Finding:
    """Build a finding in the form that all detectors share.

    Args:
        context: Of the step; gives the recorder, `detected_at`, and the articles of its policy.
        kind: Kind of the finding.
        status: Whether this opens, changes or closes it.
        began_at: First sign, milliseconds since 1970; part of the id.
        session_id: The session, where it is about one.
        evidence: Figures; also what the message is filled with.
        severity: `critical` in an unbroken session and `warning` elsewhere, where not given.
        subject: What tells it from others of the same kind and moment.
        ended_at: When the condition ended; never said before it began.
        cause: Why.
        key: Key of the text to tell, where it is not the kind's.
    """
    session = context.knowledge.sessions.get(session_id) if session_id else None
    act = session.act if session else None
    unbroken = is_unbroken(context, session_id)
    registration = context.knowledge.registration
    policy = context.book.find(registration.policy if registration else context.thresholds.policy)
    recorder_kind = registration.kind if registration else "body_worn"
    began = Instant(began_at)
    return Finding(
        id=finding_id(kind, context.recorder_id, session_id, subject, began),
        kind=kind,
        status=status,
        severity=severity or ("critical" if unbroken else "warning"),
        recorder_id=context.recorder_id,
        session_id=session_id,
        began_at=began,
        ended_at=None if ended_at is None else Instant(max(ended_at, began_at)),
        detected_at=Instant(context.now),
        cause=cause,
        evidence=evidence,
        clauses=list(cited(policy, kind, recorder=recorder_kind, unbroken=unbroken, act=act)) if policy else [],
        message=Message(key=key or kind, params={**evidence, **({"cause": cause} if cause else {})}),
    )


def policy_of(context: Context) -> Policy:
    """Return the recorder's policy; a name that is no policy is judged like the default, and cites nothing."""
    registration = context.knowledge.registration
    name = registration.policy if registration else context.thresholds.policy
    return context.book.find(name) or context.book.policy(DEFAULT)


def is_unbroken(context: Context, session_id: str | None) -> bool:
    """Tell whether a session may not be interrupted: it was opened so, or the policy says it of its act."""
    session = context.knowledge.sessions.get(session_id) if session_id else None
    return session is not None and (session.unbroken or policy_of(context).unbroken(session.act))


def text(moment: int) -> str:
    """Write a moment as `evidence` holds it: RFC 3339 to the millisecond."""
    return Instant(moment).rfc3339()


def seconds(milliseconds: int) -> float:
    """Write a duration as `evidence` holds it."""
    return milliseconds / 1000


class Latch(msgspec.Struct, frozen=True):
    """Hysteresis in time: opens when a condition has held long enough, closes when its contrary has.

    Attributes:
        is_open: Whether the condition counts as present.
        since: Since when the other side has held without a break; None while it does not.
    """

    is_open: bool = False
    since: int | None = None

    def turn(self, *, bad: bool, good: bool, at: int, open_after_ms: int, close_after_ms: int) -> Latch:
        """Take in one reading; between `bad` and `good` lies the band in which nothing changes.

        Returns:
            The latch after it; the same object where nothing changed.
        """
        if not (good if self.is_open else bad):
            return self if self.since is None else Latch(self.is_open, None)
        since = at if self.since is None else self.since
        if at - since >= (close_after_ms if self.is_open else open_after_ms):
            return Latch(not self.is_open, None)
        return self if self.since is not None else Latch(self.is_open, since)


def is_recording(session: Session) -> bool:
    """Tell whether media is expected of a session."""
    return session.phase == "open"
