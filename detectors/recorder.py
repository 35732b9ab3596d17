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

from detectors.books import BOOKED, Books, enter
from detectors.contract import Context, Detector, Thresholds
from detectors.intake import CALM_MS, JITTER_MS, MAX_HELD, PROOF_EVENTS, Intake, hold
from detectors.knowledge import LIFECYCLE, Knowledge, learn
from detectors.ticks import Ticks
from domain import wire
from domain.clock import Instant
from domain.events import AnyEvent, AnyRecorderEvent, Tick
from domain.findings import Finding
from policies.local import Rulebook, default

_NEVER = 1 << 62


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
        self.places = {detector.name: place for place, detector in enumerate(self.detectors)}
        self._wanting: dict[type[AnyEvent], tuple[tuple[int, Detector], ...]] = {}

    def wanting(self, kind: type[AnyEvent]) -> tuple[tuple[int, Detector], ...]:
        """Return the detectors that want events of a type, in the order in which they speak, each with its place."""
        known = self._wanting.get(kind)
        if known is None:
            wanting = ((place, one) for place, one in enumerate(self.detectors) if kind in one.wants)
            known = self._wanting[kind] = tuple(wanting)
        return known


class Failure(msgspec.Struct, frozen=True):
    """A detector that raised; its state stays as it was, and the other detectors go on.

    Attributes:
        line: The event that it was stepped with.
        detail: Detector and error.
    """

    line: bytes
    detail: str


def _plain(value: object) -> int:
    """States hold times as plain numbers; an `Instant` that found its way in is one."""
    if isinstance(value, Instant):
        return int(value)
    msg = f"{type(value).__name__} in a detector's state"
    raise TypeError(msg)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_NOTHING_KNOWN = msgspec.Raw(_encoder.encode(Knowledge()))
_NOTHING_BOOKED = msgspec.Raw(_encoder.encode(Books()))


class RecorderState(msgspec.Struct, kw_only=True):
    """A recorder as saved. Treat as read-only.

    Attributes:
        offset: Last offset of the log counted in; -1 for none.
        now: Highest `at` that came through the intake.
        intake: See there.
        knowledge: MessagePack of it.
        books: MessagePack of what is not in the store.
        states: MessagePack of each detector's state, by name.
        wakes: When each detector wants to be woken.
    """

    offset: int = -1
    now: int = 0
    intake: Intake = msgspec.field(default_factory=Intake)
    knowledge: msgspec.Raw = _NOTHING_KNOWN
    books: msgspec.Raw = _NOTHING_BOOKED
    states: dict[str, msgspec.Raw] = {}
    wakes: dict[str, int] = {}


_decoder = msgspec.msgpack.Decoder(RecorderState)
_knowledge_decoder = msgspec.msgpack.Decoder(Knowledge)
_books_decoder = msgspec.msgpack.Decoder(Books)


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
        "_books",
        "_books_raw",
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
        self._books_raw: msgspec.Raw | None = state.books
        self._books = _books_decoder.decode(state.books)
        self._context: Context | None = None
        # By the detectors' places: MessagePack as long as no event has touched it, the state where one has.
        self._raw: list[msgspec.Raw | None] = [None] * len(rules.detectors)
        self._states: list[Any] = [None] * len(rules.detectors)
        self._wakes = [_NEVER] * len(rules.detectors)
        for name, raw in state.states.items():
            place = rules.places.get(name)
            if place is not None:
                self._raw[place] = raw
                self._wakes[place] = state.wakes.get(name, _NEVER)
        self._next_wake = min(self._wakes, default=_NEVER)

    def save(self) -> bytes:
        """Return the state as MessagePack; the same state gives the same bytes."""
        wakes, detectors = self._wakes, self._rules.detectors
        # What stands decoded is not kept as bytes besides: that would be a fifth more memory.
        raw = list(self._raw)
        for place, state in enumerate(self._states):
            if state is not None:
                raw[place] = msgspec.Raw(_encoder.encode(state))
        if self._knowledge_raw is None:
            self._knowledge_raw = msgspec.Raw(_encoder.encode(self._knowledge))
        if self._books_raw is None:
            self._books_raw = msgspec.Raw(_encoder.encode(self._books))
        return _encoder.encode(
            RecorderState(
                offset=self.offset,
                now=self._now,
                intake=self._intake,
                knowledge=self._knowledge_raw,
                books=self._books_raw,
                states={one.name: kept for one, kept in zip(detectors, raw, strict=True) if kept is not None},
                wakes={one.name: at for one, at in zip(detectors, wakes, strict=True) if at != _NEVER},
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
        if not waited and behind <= JITTER_MS and ticks.calm_at <= newest:  # nearly always
            self._deliver(event, findings)
            if self._next_wake <= ticks.newest:
                self._wake(max(self._now, ticks.newest), findings)
            return findings
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
        if kind in BOOKED:
            self._enter(event, late)
        context = self._context
        if context is None or context.now != self._now:
            context = self._context = self._context_now()
        if late:
            context = msgspec.structs.replace(context, late=True)
        for place, detector in self._rules.wanting(kind):
            self._step(place, detector, event, context, findings)
        self._next_wake = min(self._wakes, default=_NEVER)

    def _enter(self, event: AnyEvent, late: bool) -> None:
        """Put it into the books."""
        late = late or event.at < self._now - self._lateness
        try:
            books = enter(self._books, event, self._knowledge, self._now, late=late)
        except Exception as error:  # as for a detector's
            self._failures.append(Failure(wire.encode(event), f"books: {type(error).__name__}: {error}"))
            return
        if books is not self._books:
            self._books, self._books_raw, self._context = books, None, None

    def _wake(self, at: int, findings: list[Finding]) -> None:
        """Step the detectors that asked for a moment up to `at`, once each."""
        self.changed = True
        self._now = max(self._now, at)
        tick = Tick(at=Instant(at))
        context = self._context_now()
        wakes = self._wakes
        for place, detector in enumerate(self._rules.detectors):
            if wakes[place] <= at:
                self._step(place, detector, tick, context, findings)
                # Time goes on even if a detector asks for a moment that has passed.
                wakes[place] = max(wakes[place], at + 1)
        self._next_wake = min(wakes, default=_NEVER)

    def _context_now(self) -> Context:
        rules = self._rules
        return Context(self.recorder_id, self._now, rules.thresholds, self._knowledge, False, rules.book, self._books)

    def _step(self, place: int, detector: Detector, event: AnyEvent, context: Context, findings: list[Finding]) -> None:
        states = self._states
        try:
            state = states[place]
            if state is None:
                state = self._decoded(place, detector)
            after, said, wake_at = detector.step(state, event, context)
        except Exception as error:  # a detector's bug must stop neither this recorder nor another
            self._failures.append(Failure(wire.encode(event), f"{detector.name}: {type(error).__name__}: {error}"))
            self._wakes[place] = _NEVER
            return
        if after is not state:
            states[place] = after
        self._wakes[place] = _NEVER if wake_at is None else wake_at
        if said:
            findings.extend(said)

    def _decoded(self, place: int, detector: Detector) -> Any:
        raw = self._raw[place]
        state = detector.state_type() if raw is None else _state_decoder(detector.state_type).decode(raw)
        self._states[place], self._raw[place] = state, None
        return state


@cache
def _state_decoder(kind: type[msgspec.Struct]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


__all__ = ["Failure", "Recorder", "Rules", "Ticks"]
