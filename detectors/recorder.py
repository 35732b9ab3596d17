"""Everything about one recorder: its intake, what is known of it, and its detectors, stepped together. Pure.

`Recorder` is the working copy that a batch changes; `RecorderState` is what stands in the changelog. A working copy is
made from a state, never shared, and turned into a new state when the batch is done.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import msgspec

from detectors.contract import Context, Detector, Thresholds
from detectors.intake import CALM_MS, JITTER_MS, MAX_HELD, MAX_YOUNG, Intake, hold
from detectors.knowledge import LIFECYCLE, Knowledge, learn
from domain import wire
from domain.clock import Instant
from domain.events import AnyEvent, AnyRecorderEvent, Tick
from domain.findings import Finding

_NEVER = 1 << 62
MAX_TICKS = 128
"""Ticks remembered: twice the lateness at one a second, with room."""


class Rules(msgspec.Struct, frozen=True):
    """What all recorders of a process are judged by.

    Attributes:
        detectors: In the order in which they speak.
        thresholds: Settings.
    """

    detectors: tuple[Detector, ...]
    thresholds: Thresholds


class Failure(msgspec.Struct, frozen=True):
    """A detector that raised; its state stays as it was, and the other detectors go on.

    Attributes:
        line: The event that it was stepped with.
        detail: Detector and error.
    """

    line: bytes
    detail: str


class Ticks(msgspec.Struct):
    """What the ticks of a partition have said.

    Attributes:
        moments: `at` of the newest ones, ascending, milliseconds since 1970.
        calm_at: Ticks themselves stood out of order; until then the whole partition counts as disordered.
    """

    moments: list[int] = []
    calm_at: int = 0

    @property
    def newest(self) -> int:
        """The newest; 0 before any."""
        return self.moments[-1] if self.moments else 0

    def add(self, at: int, lateness_ms: int) -> bool:
        """Take in a tick; tell whether it is the newest. One that was there, or stands too late, changes nothing."""
        behind = self.newest - at
        if behind > lateness_ms or at in self.moments:
            return False
        if behind > JITTER_MS:
            self.calm_at = self.newest + CALM_MS
        insort(self.moments, at)
        horizon = self.newest - 2 * lateness_ms
        while self.moments[0] < horizon or len(self.moments) > MAX_TICKS:
            del self.moments[0]
        return behind < 0


class RecorderState(msgspec.Struct, kw_only=True):
    """A recorder as saved. Treat as read-only.

    Attributes:
        offset: Last offset of the log counted in; -1 for none.
        now: Highest `at` that came through the intake.
        intake: See there.
        knowledge: See there.
        states: MessagePack of each detector's state, by name.
        wakes: When each detector wants to be woken.
    """

    offset: int = -1
    now: int = 0
    intake: Intake = msgspec.field(default_factory=Intake)
    knowledge: Knowledge = msgspec.field(default_factory=Knowledge)
    states: dict[str, msgspec.Raw] = {}
    wakes: dict[str, int] = {}


def _plain(value: object) -> int:
    """States hold times as plain numbers; an `Instant` that found its way in is one."""
    if isinstance(value, Instant):
        return int(value)
    msg = f"{type(value).__name__} in a detector's state"
    raise TypeError(msg)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(RecorderState)


class Recorder:
    """Working copy of one recorder's state.

    Args:
        recorder_id: The recorder.
        rules: Detectors and thresholds.
        saved: Bytes of `save`, or None for a recorder never heard of.

    Raises:
        msgspec.ValidationError: The bytes are not such a state.
    """

    def __init__(self, recorder_id: str, rules: Rules, saved: bytes | None = None) -> None:
        self.recorder_id = recorder_id
        self.changed = False
        self._rules = rules
        self._failures: list[Failure] = []
        self._lateness = rules.thresholds.lateness_ms
        state = _decoder.decode(saved) if saved is not None else RecorderState()
        self.offset = state.offset
        self._now = state.now
        self._intake = state.intake
        self._knowledge = state.knowledge
        self._states = {
            detector.name: msgspec.msgpack.decode(state.states[detector.name], type=detector.state_type)
            for detector in rules.detectors
            if detector.name in state.states
        }
        self._wakes = {name: at for name, at in state.wakes.items() if name in self._states}
        self._refresh_next()

    def save(self) -> bytes:
        """Return the state as MessagePack."""
        states = {name: msgspec.Raw(_encoder.encode(state)) for name, state in self._states.items()}
        return _encoder.encode(
            RecorderState(
                offset=self.offset,
                now=self._now,
                intake=self._intake,
                knowledge=self._knowledge,
                states=states,
                wakes=self._wakes,
            )
        )

    @property
    def late(self) -> int:
        """Events that stood further behind than the lateness."""
        return self._intake.late

    @property
    def repeated(self) -> int:
        """Events that had been taken in before."""
        return self._intake.repeated

    def take_failures(self) -> list[Failure]:
        """Return the failures since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def wake_at(self) -> int | None:
        """Return the lowest `at` of a tick that may change anything here."""
        earliest = self._next_wake
        if self._intake.held:
            earliest = min(earliest, self._intake.held[0].at)
        if earliest == _NEVER:
            return None
        return earliest + self._lateness if self._waits() else earliest

    def take(self, event: AnyRecorderEvent, line: bytes, offset: int, ticks: Ticks) -> list[Finding]:
        """Take in one event.

        Args:
            event: The event.
            line: Its bytes as they stand in the log.
            offset: Its place in the log.
            ticks: Of the partition.
        """
        self.offset = offset
        self.changed = True
        intake = self._intake
        newest = max(intake.high, ticks.newest)
        if intake.is_repeated(event, line, newest - self._lateness):
            return []
        behind = newest - event.at
        intake.high = max(intake.high, event.at)
        findings: list[Finding] = []
        self._watch_order(behind, newest, ticks)
        self._grow_up(event, line, max(newest, event.at))
        if behind > self._lateness:
            intake.late += 1
            if not self._waits():
                self._now = max(self._now, newest)  # the ticks it did not need to hear of
            self._deliver(event, findings)
        elif self._waits() and event.at > self._now:
            insort(intake.held, hold(event, line))
        else:
            self._deliver(event, findings)
        self._drain(max(newest, event.at), ticks, findings)
        return findings

    def tick(self, offset: int, ticks: Ticks) -> list[Finding]:
        """Take in the newest of `ticks`, once `wake_at` has been reached."""
        self.offset = offset
        findings: list[Finding] = []
        self._watch_order(0, ticks.newest, ticks)
        self._drain(max(ticks.newest, self._intake.high), ticks, findings)
        return findings

    def _waits(self) -> bool:
        return self._intake.calm_at > 0

    def _watch_order(self, behind: int, newest: int, ticks: Ticks) -> None:
        """Notice disorder, and start again in order if the recorder is young enough."""
        intake = self._intake
        disordered = JITTER_MS < behind <= self._lateness
        calm_at = max(newest + CALM_MS if disordered else 0, ticks.calm_at if ticks.calm_at > newest else 0)
        if calm_at <= intake.calm_at:
            return
        if not self._waits() and intake.young:
            intake.held = sorted(intake.young)
            self._now, self._knowledge, self._states, self._wakes = 0, Knowledge(), {}, {}
            self._refresh_next()
        intake.young = []
        intake.calm_at = calm_at
        self.changed = True

    def _grow_up(self, event: AnyEvent, line: bytes, newest: int) -> None:
        """Remember the events of the first lateness, in case they turn out to be out of order."""
        intake = self._intake
        if not intake.born_at:
            intake.born_at = int(event.at)
        if self._waits() or newest > intake.born_at + self._lateness or len(intake.young) >= MAX_YOUNG:
            intake.young = []
            intake.born_at = 1  # grown up, whatever comes
        else:
            intake.young.append(hold(event, line))

    def _drain(self, newest: int, ticks: Ticks, findings: list[Finding]) -> None:
        """Do what is due in order: held events and wake-ups, as far as the lateness allows."""
        if self._waits():
            self.changed = True
            if newest > self._intake.calm_at:
                self._drain_until(newest, ticks, findings)
                self._intake.calm_at = 0
            else:
                self._drain_until(newest - self._lateness, ticks, findings)
        elif self._next_wake <= ticks.newest:
            self._wake(max(self._now, ticks.newest), findings)

    def _drain_until(self, limit: int, ticks: Ticks, findings: list[Finding]) -> None:
        held = self._intake.held
        done = 0
        while True:
            event_at = held[done].at if done < len(held) else _NEVER
            if len(held) - done > MAX_HELD:
                event_at = min(event_at, limit)
            tick_at = self._next_tick(ticks)
            if tick_at < event_at and tick_at <= limit:
                self._wake(tick_at, findings)
            elif event_at <= limit:
                self._deliver(wire.decode_event(held[done].line), findings)
                done += 1
            else:
                break
        del held[:done]

    def _next_tick(self, ticks: Ticks) -> int:
        """Return the first tick that wakes a detector."""
        index = bisect_left(ticks.moments, max(self._next_wake, self._now))
        return ticks.moments[index] if index < len(ticks.moments) else _NEVER

    def _deliver(self, event: AnyEvent, findings: list[Finding]) -> None:
        if event.at > self._now:
            self._now = int(event.at)
            if self._next_wake <= self._now:
                self._wake(self._now, findings)
        if type(event) in LIFECYCLE:
            self._knowledge = learn(self._knowledge, event)
        for detector in self._rules.detectors:
            if type(event) in detector.wants:
                self._step(detector, event, findings)
        self._refresh_next()

    def _wake(self, at: int, findings: list[Finding]) -> None:
        """Step the detectors that asked for a moment up to `at`, once each."""
        self.changed = True
        self._now = max(self._now, at)
        tick = Tick(at=Instant(at))
        for detector in self._rules.detectors:
            if self._wakes.get(detector.name, _NEVER) <= at:
                self._step(detector, tick, findings)
                # Time goes on even if a detector asks for a moment that has passed.
                if self._wakes.get(detector.name, _NEVER) <= at:
                    self._wakes[detector.name] = at + 1
        self._refresh_next()

    def _step(self, detector: Detector, event: AnyEvent, findings: list[Finding]) -> None:
        state = self._states.get(detector.name)
        if state is None:
            state = detector.state_type()
        context = Context(self.recorder_id, self._now, self._rules.thresholds, self._knowledge)
        try:
            step = detector.step(state, event, context)
        except Exception as error:  # a detector's bug must stop neither this recorder nor another
            self._failures.append(Failure(wire.encode(event), f"{detector.name}: {type(error).__name__}: {error}"))
            self._wakes.pop(detector.name, None)
            return
        self._states[detector.name] = step.state
        if step.wake_at is None:
            self._wakes.pop(detector.name, None)
        else:
            self._wakes[detector.name] = step.wake_at
        findings.extend(step.findings)

    def _refresh_next(self) -> None:
        self._next_wake = min(self._wakes.values(), default=_NEVER)


__all__ = ["Failure", "Recorder", "RecorderState", "Rules", "Ticks"]
