"""Everything about one recorder: its intake, what is known of it, and its detectors, stepped together. Pure.

`Recorder` is the working copy that a batch changes; `RecorderState` is what stands in the changelog. A working copy is
made from a state, never shared, and turned into a new state when the batch is done.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from detectors.contract import Context, Detector, Thresholds
from detectors.intake import CALM_MS, JITTER_MS, MAX_HELD, PROOF_EVENTS, TICK_NEAR_MS, Intake, hold
from detectors.knowledge import LIFECYCLE, Knowledge, learn
from domain import wire
from domain.clock import Instant
from domain.events import AnyEvent, AnyRecorderEvent, Tick
from domain.findings import Finding
from policies.local import Rulebook, default

_NEVER = 1 << 62
MAX_TICKS = 128
"""Ticks remembered: twice the lateness at one a second, with room."""


class Rules:
    """What all recorders of a process are judged by.

    Args:
        detectors: In the order in which they speak.
        thresholds: Settings.
        book: The policies and the calendar in force; those of this package alone where not given.
    """

    def __init__(self, detectors: Sequence[Detector], thresholds: Thresholds, book: Rulebook | None = None) -> None:
        self.detectors = tuple(detectors)
        self.thresholds = thresholds
        self.book = book or default()
        self._wanting: dict[type[AnyEvent], tuple[Detector, ...]] = {}

    def wanting(self, kind: type[AnyEvent]) -> tuple[Detector, ...]:
        """Return the detectors that want events of a type, in the order in which they speak."""
        known = self._wanting.get(kind)
        if known is None:
            known = self._wanting[kind] = tuple(one for one in self.detectors if kind in one.wants)
        return known


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

    def run_beside(self, at: int) -> bool:
        """Tell whether the ticks have come without a break, the last three of them up to about `at`."""
        last = self.moments[-3:]
        return len(last) == 3 and last[2] - last[0] <= 2 * TICK_NEAR_MS and at - last[2] <= TICK_NEAR_MS

    def add(self, at: int, lateness_ms: int) -> bool:
        """Take in a tick; tell whether it is the newest. One that was there, or stands too late, changes nothing."""
        behind = self.newest - at
        if behind > lateness_ms or at in self.moments:
            return False
        if behind > JITTER_MS:
            self.calm_at = self.newest + CALM_MS
        # Counted from the tick before: where ticks were missing, recorders still wait for moments of that time.
        horizon = self.newest - 2 * lateness_ms
        insort(self.moments, at)
        while self.moments[0] < horizon or len(self.moments) > MAX_TICKS:
            del self.moments[0]
        return behind < 0


def _plain(value: object) -> int:
    """States hold times as plain numbers; an `Instant` that found its way in is one."""
    if isinstance(value, Instant):
        return int(value)
    msg = f"{type(value).__name__} in a detector's state"
    raise TypeError(msg)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_NOTHING_KNOWN = msgspec.Raw(_encoder.encode(Knowledge()))


class RecorderState(msgspec.Struct, kw_only=True):
    """A recorder as saved. Treat as read-only.

    Attributes:
        offset: Last offset of the log counted in; -1 for none.
        now: Highest `at` that came through the intake.
        intake: See there.
        knowledge: MessagePack of it.
        states: MessagePack of each detector's state, by name.
        wakes: When each detector wants to be woken.
    """

    offset: int = -1
    now: int = 0
    intake: Intake = msgspec.field(default_factory=Intake)
    knowledge: msgspec.Raw = _NOTHING_KNOWN
    states: dict[str, msgspec.Raw] = {}
    wakes: dict[str, int] = {}


_decoder = msgspec.msgpack.Decoder(RecorderState)
_knowledge_decoder = msgspec.msgpack.Decoder(Knowledge)


class Recorder:
    """Working copy of one recorder's state.

    What no event has touched since it was read or saved stays MessagePack: an event is of interest to few detectors.

    Args:
        recorder_id: The recorder.
        rules: Detectors and thresholds.
        saved: Bytes of `save`, or None for a recorder never heard of.

    Raises:
        msgspec.ValidationError: The bytes are not such a state.
    """

    __slots__ = (
        "_context",
        "_failures",
        "_intake",
        "_knowledge",
        "_knowledge_raw",
        "_lateness",
        "_next_wake",
        "_now",
        "_raw",
        "_rules",
        "_states",
        "_wakes",
        "changed",
        "offset",
        "recorder_id",
    )

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
        self._knowledge_raw: msgspec.Raw | None = state.knowledge
        self._knowledge = _knowledge_decoder.decode(state.knowledge)
        self._context: Context | None = None
        names = {detector.name for detector in rules.detectors}
        self._raw = {name: raw for name, raw in state.states.items() if name in names}
        self._states: dict[str, Any] = {}
        self._wakes = {name: at for name, at in state.wakes.items() if name in self._raw}
        self._refresh_next()

    def save(self) -> bytes:
        """Return the state as MessagePack; the same state gives the same bytes."""
        for name, state in self._states.items():
            if name not in self._raw:
                self._raw[name] = msgspec.Raw(_encoder.encode(state))
        if self._knowledge_raw is None:
            self._knowledge_raw = msgspec.Raw(_encoder.encode(self._knowledge))
        raw, wakes = self._raw, self._wakes
        return _encoder.encode(
            RecorderState(
                offset=self.offset,
                now=self._now,
                intake=self._intake,
                knowledge=self._knowledge_raw,
                states={one.name: raw[one.name] for one in self._rules.detectors if one.name in raw},
                wakes={one.name: wakes[one.name] for one in self._rules.detectors if one.name in wakes},
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
        if not self._failures:
            return []
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
        waited = self._waits()
        self._watch_order(behind, newest, ticks)
        self._prove(behind, event, ticks)
        if behind > self._lateness:
            intake.late += 1
            self._drain(newest, ticks, findings)
            # The ticks it did not need to hear of.
            self._now = max(self._now, newest - self._lateness if self._waits() else newest)
            self._deliver(event, findings, late=True)
        elif (waited or self._waits()) and event.at > self._now:
            insort(intake.held, hold(event, line))
        else:
            self._deliver(event, findings)
        if waited and not self._waits():
            self._drain_until(max(newest, event.at), ticks, findings)  # proven: nothing need wait any more
        else:
            self._drain(max(newest, event.at), ticks, findings)
        return findings

    def tick(self, offset: int, ticks: Ticks) -> list[Finding]:
        """Take in the newest of `ticks`, once `wake_at` has been reached."""
        self.offset = offset
        findings: list[Finding] = []
        self._watch_order(0, ticks.newest, ticks)
        self._drain(max(ticks.newest, self._intake.high), ticks, findings)
        return findings

    def finish(self, ticks: Ticks) -> list[Finding]:
        """Say what waits for its place in order only, as if the lateness had passed: no more of the log will come."""
        findings: list[Finding] = []
        self._drain_until(max(ticks.newest, self._intake.high), ticks, findings)
        return findings

    def _waits(self) -> bool:
        return self._intake.calm_at > 0 or self._intake.proof < PROOF_EVENTS

    def _watch_order(self, behind: int, newest: int, ticks: Ticks) -> None:
        """Notice disorder."""
        intake = self._intake
        disordered = JITTER_MS < behind <= self._lateness
        calm_at = max(newest + CALM_MS if disordered else 0, ticks.calm_at if ticks.calm_at > newest else 0)
        if calm_at <= intake.calm_at:
            return
        intake.calm_at = calm_at
        intake.proof = PROOF_EVENTS  # from here on, calm decides
        self.changed = True

    def _prove(self, behind: int, event: AnyEvent, ticks: Ticks) -> None:
        """Count an event that stands where its `at` says, beside ticks that run as they should."""
        if self._intake.proof < PROOF_EVENTS and behind <= JITTER_MS and ticks.run_beside(event.at):
            self._intake.proof += 1

    def _drain(self, newest: int, ticks: Ticks, findings: list[Finding]) -> None:
        """Do what is due in order: held events and wake-ups, as far as the lateness allows."""
        if self._intake.calm_at and newest > self._intake.calm_at:
            self._drain_until(newest, ticks, findings)
            self._intake.calm_at = 0
        elif self._waits():
            self._drain_until(newest - self._lateness, ticks, findings)
        elif self._next_wake <= ticks.newest:
            self._wake(max(self._now, ticks.newest), findings)

    def _drain_until(self, limit: int, ticks: Ticks, findings: list[Finding]) -> None:
        self.changed = True
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

    def _deliver(self, event: AnyEvent, findings: list[Finding], *, late: bool = False) -> None:
        if event.at > self._now:
            self._now = int(event.at)
            if self._next_wake <= self._now:
                self._wake(self._now, findings)
        kind = type(event)
        if kind in LIFECYCLE:
            known = learn(self._knowledge, event)
            if known is not self._knowledge:
                self._knowledge, self._knowledge_raw, self._context = known, None, None
        context = self._context
        if context is None or context.now != self._now:
            context = self._context = self._context_now()
        if late:
            context = context._replace(late=True)
        for detector in self._rules.wanting(kind):
            self._step(detector, event, context, findings)
        self._refresh_next()

    def _wake(self, at: int, findings: list[Finding]) -> None:
        """Step the detectors that asked for a moment up to `at`, once each."""
        self.changed = True
        self._now = max(self._now, at)
        tick = Tick(at=Instant(at))
        context = self._context_now()
        for detector in self._rules.detectors:
            if self._wakes.get(detector.name, _NEVER) <= at:
                self._step(detector, tick, context, findings)
                # Time goes on even if a detector asks for a moment that has passed.
                if self._wakes.get(detector.name, _NEVER) <= at:
                    self._wakes[detector.name] = at + 1
        self._refresh_next()

    def _context_now(self) -> Context:
        rules = self._rules
        return Context(self.recorder_id, self._now, rules.thresholds, self._knowledge, False, rules.book)

    def _step(self, detector: Detector, event: AnyEvent, context: Context, findings: list[Finding]) -> None:
        name = detector.name
        try:
            state = self._state(detector, name)
            step = detector.step(state, event, context)
        except Exception as error:  # a detector's bug must stop neither this recorder nor another
            self._failures.append(Failure(wire.encode(event), f"{name}: {type(error).__name__}: {error}"))
            self._wakes.pop(name, None)
            return
        if step.state is not state:
            self._states[name] = step.state
            self._raw.pop(name, None)
        if step.wake_at is None:
            self._wakes.pop(name, None)
        else:
            self._wakes[name] = step.wake_at
        findings.extend(step.findings)

    def _state(self, detector: Detector, name: str) -> Any:
        state = self._states.get(name)
        if state is None:
            raw = self._raw.get(name)
            state = detector.state_type() if raw is None else _state_decoder(detector.state_type).decode(raw)
            self._states[name] = state
        return state

    def _refresh_next(self) -> None:
        self._next_wake = min(self._wakes.values(), default=_NEVER)


@cache
def _state_decoder(kind: type[msgspec.Struct]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


__all__ = ["Failure", "Recorder", "RecorderState", "Rules", "Ticks"]
