"""The batch engine: records of one partition in, findings and new states out.

Pure: no clock, no I/O, and it never raises for what a record holds. All three runners use it, so they say the same
of the same log.

A `Partition` keeps each recorder as the bytes that stand in the changelog, and those in use as live copies besides.
`run` takes the copies it needs out and gives an `Outcome`; `Partition.fold` takes it in, once the outputs are
acknowledged; `Partition.save` gives what has changed since it was called last. An outcome that is never folded in
leaves the partition as it was saved. A recorder counts each offset once, so a batch that is repeated after a crash
passes over what was already counted in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

import msgspec

from detectors.recorder import Recorder, Rules, Ticks
from domain import wire
from domain.errors import InvalidEvent
from domain.events import AnyRecorderEvent, RecorderRegistered, Tick
from domain.findings import Finding
from domain.topics import MAX_REJECTED_BYTES
from policies import names

PARTITION_KEY = "#partition"
"""Key of a partition's own record in the changelog; no recorder can have this name."""


NEVER = 1 << 62
Wake = tuple[int, int]
"""When a recorder wants to be woken, and the earliest entry that the heap holds for it; `NEVER` for none."""


class Input(msgspec.Struct, frozen=True):
    """One record of topic `events`.

    Attributes:
        offset: Its place in the partition.
        value: The JSON of an event; None where the record has no value.
    """

    offset: int
    value: bytes | None


class Rejected(msgspec.Struct, frozen=True):
    """A record that could not be read or stepped.

    Attributes:
        offset: Its place in the partition.
        value: Its bytes.
        reason: `invalid_event`, `unknown_policy` (of a registration that counts but for it), or `step_failed`.
        detail: What is wrong, naming the field.
    """

    offset: int
    value: bytes
    reason: str
    detail: str


class Said(msgspec.Struct, frozen=True):
    """A finding, and the record that made it sayable."""

    offset: int
    finding: Finding


class PartitionState(msgspec.Struct, frozen=True):
    """What a partition as a whole remembers.

    Attributes:
        offset: Last offset counted in; -1 for none.
        ticks: What its ticks have said; treat as read-only.
    """

    offset: int = -1
    ticks: Ticks = msgspec.field(default_factory=Ticks)


class Outcome(msgspec.Struct, frozen=True):
    """What a batch came to.

    Attributes:
        said: Findings in order.
        rejected: Records refused, each alone.
        touched: Working copies of the recorders that were stepped, by id.
        partition: New state of the partition.
        wakes: When each recorder that was touched wants to be woken, and its earliest entry in the heap.
        late: Events that stood further behind than the lateness.
        repeated: Events that had been taken in before.
    """

    said: list[Said]
    rejected: list[Rejected]
    touched: dict[str, Recorder]
    partition: PartitionState
    wakes: dict[str, Wake]
    late: int = 0
    repeated: int = 0


class Save(msgspec.Struct, frozen=True):
    """What is to be written to the changelog.

    Attributes:
        recorders: State of each recorder that changed since the save before, by id.
        partition: State of the partition; to be written last.
    """

    recorders: dict[str, bytes]
    partition: PartitionState


_partition_encoder = msgspec.msgpack.Encoder()
_partition_decoder = msgspec.msgpack.Decoder(PartitionState)

MAX_LIVE = 20_000
"""Recorders kept decoded; beyond it the one unused for longest is kept as bytes alone."""


class Partition:
    """All states of one partition, in memory.

    Args:
        rules: Detectors and thresholds.
        max_live: Recorders kept decoded.
    """

    def __init__(self, rules: Rules, *, max_live: int = MAX_LIVE) -> None:
        self.rules = rules
        self.state = PartitionState()
        self._max_live = max_live
        self._saved: dict[str, bytes] = {}
        self._live: dict[str, Recorder] = {}  # least recently used first
        self._unsaved: set[str] = set()
        self._wakes: dict[str, Wake] = {}
        self._heap: list[tuple[int, str]] = []
        self._running = False

    @property
    def offset(self) -> int:
        """Last offset counted in; -1 for none."""
        return self.state.offset

    def restore(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Take in changelog records, oldest first; a later record of a key wins only if it counts more offsets in.

        Raises:
            msgspec.ValidationError: A record that is no state.
        """
        newest: dict[str, tuple[int, bytes]] = {}
        for key, value in records:
            offset = offset_of(value)
            if key not in newest or newest[key][0] <= offset:
                newest[key] = (offset, value)
        for key, (_, value) in newest.items():
            if key == PARTITION_KEY:
                self.state = _partition_decoder.decode(value)
                continue
            self._saved[key] = value
            wake = Recorder(key, self.rules, value).wake_at()
            if wake is not None:
                self._wakes[key] = (wake, wake)
        self._heap = [(wake, key) for key, (wake, _) in self._wakes.items()]
        heapify(self._heap)

    def run(self, records: Iterable[Input]) -> Outcome:
        """Step a batch; offsets must ascend. Nothing counts before `fold`.

        Raises:
            RuntimeError: The outcome before was not folded in, though something was not saved: restore anew.
        """
        if self._running:
            self._give_up()
        self._running = True
        return _Batch(self).run(records)

    def fold(self, outcome: Outcome) -> None:
        """Make the outcome of `run` the state of this partition."""
        self._running = False
        self.state = outcome.partition
        self._wakes.update(outcome.wakes)
        self._live.update(outcome.touched)
        self._unsaved.update(key for key, recorder in outcome.touched.items() if recorder.changed)
        self._evict()

    def save(self) -> Save:
        """Return what has changed since the last call. If it cannot be written, restore anew."""
        for key in self._unsaved:
            live = self._live.get(key)
            if live is not None and live.changed:
                self._keep(key, live)
        recorders = {key: self._saved[key] for key in sorted(self._unsaved)}
        self._unsaved.clear()
        return Save(recorders, self.state)

    def finish(self) -> list[Said]:
        """Say what waits only for its place in order, as if the lateness had passed; the end of a file.

        It is what the next ticks would bring out if nothing else came. Nothing more may be run after it.
        """
        found = []
        for key in sorted(key for key, wake in self._wakes.items() if wake[0] != NEVER):
            recorder = self._live.get(key) or Recorder(key, self.rules, self._saved.get(key))
            found += [Said(self.offset, one) for one in recorder.finish(self.state.ticks)]
        return sorted(found, key=lambda one: one.finding.detected_at)

    def __len__(self) -> int:
        """Return the number of recorders."""
        return len(self._saved.keys() | self._live.keys())

    def _keep(self, key: str, recorder: Recorder) -> None:
        self._saved[key] = recorder.save()
        recorder.changed = False

    def _evict(self) -> None:
        while len(self._live) > self._max_live:
            key = next(iter(self._live))
            recorder = self._live.pop(key)
            if recorder.changed:
                self._keep(key, recorder)

    def _give_up(self) -> None:
        """Go back to what was saved: the copies that the run before took out are gone, and the heap is in disorder."""
        if self._unsaved:
            msg = "a batch was given up, and with it states that were not saved"
            raise RuntimeError(msg)
        self._wakes = {key: (wake, wake) for key, (wake, _) in self._wakes.items() if wake != NEVER}
        self._heap = [(wake, key) for key, (wake, _) in self._wakes.items()]
        heapify(self._heap)


def save_partition(state: PartitionState) -> bytes:
    """Return the partition's own record for the changelog."""
    return _partition_encoder.encode(state)


def offset_of(saved: bytes) -> int:
    """Return the last offset that a record of the changelog counts in.

    Raises:
        msgspec.ValidationError: It is no state.
    """
    return _Offset.decode(saved).offset


class _OffsetOnly(msgspec.Struct):
    offset: int


_Offset = msgspec.msgpack.Decoder(_OffsetOnly)


class _Batch:
    """One run. Wake-ups go on a layer of their own; live copies and the heap are taken from the partition."""

    def __init__(self, partition: Partition) -> None:
        self._rules = partition.rules
        self._offset = partition.state.offset
        ticks = partition.state.ticks
        self._ticks = Ticks(list(ticks.moments), ticks.calm_at)
        self._saved = partition._saved
        self._live = partition._live
        self._heap = partition._heap
        self._base_wakes = partition._wakes
        self._touched: dict[str, Recorder] = {}
        self._wakes: dict[str, Wake] = {}
        self._said: list[Said] = []
        self._rejected: list[Rejected] = []
        self._late = self._repeated = 0

    def run(self, records: Iterable[Input]) -> Outcome:
        for record in records:
            # A record that was counted in before the crash may come again.
            if record.offset > self._offset:
                self._take(record)
                self._offset = record.offset
        partition = PartitionState(self._offset, self._ticks)
        return Outcome(self._said, self._rejected, self._touched, partition, self._wakes, self._late, self._repeated)

    def _take(self, record: Input) -> None:
        value = record.value or b""
        try:
            event = wire.decode_event(value)
        except InvalidEvent as error:
            self._reject(record, "invalid_event", str(error))
            return
        if isinstance(event, Tick):
            self._tick(record, int(event.at))
        else:
            self._event(record, event, value.strip())

    def _event(self, record: Input, event: AnyRecorderEvent, line: bytes) -> None:
        recorder = self._recorder(event.recorder_id)
        if record.offset <= recorder.offset:
            return
        if isinstance(event, RecorderRegistered) and self._rules.book.find(event.policy) is None:
            # Named and refused, while the recorder is watched on: by the default, citing nothing.
            detail = f"policy: no policy {event.policy!r}; there are {', '.join(names())}"
            self._reject(record, "unknown_policy", detail)
        late, repeated = recorder.late, recorder.repeated
        self._say(record, recorder, recorder.take(event, line, record.offset, self._ticks))
        self._late += recorder.late - late
        self._repeated += recorder.repeated - repeated
        self._schedule(recorder)

    def _tick(self, record: Input, at: int) -> None:
        if self._ticks.add(at, self._rules.thresholds.lateness_ms):
            for key in self._due(at):
                self._wake(record, key)

    def _due(self, at: int) -> list[str]:
        """Return who is to be woken, by name, so that the order does not depend on when each was scheduled."""
        due = set()
        while self._heap and self._heap[0][0] <= at:
            due.add(heappop(self._heap)[1])
        for key in due:
            self._wakes[key] = (self._wake_of(key)[0], NEVER)
        return sorted(due)

    def _wake(self, record: Input, key: str) -> None:
        wake = self._wake_of(key)[0]
        if wake > self._ticks.newest:
            self._plan(key, wake)
            return
        recorder = self._recorder(key)
        if record.offset > recorder.offset:
            self._say(record, recorder, recorder.tick(record.offset, self._ticks))
        self._schedule(recorder)

    def _wake_of(self, key: str) -> Wake:
        return self._wakes.get(key) or self._base_wakes.get(key) or (NEVER, NEVER)

    def _recorder(self, key: str) -> Recorder:
        recorder = self._touched.get(key)
        if recorder is None:
            recorder = self._live.pop(key, None) or Recorder(key, self._rules, self._saved.get(key))
            self._touched[key] = recorder
        return recorder

    def _schedule(self, recorder: Recorder) -> None:
        wake = recorder.wake_at()
        self._plan(recorder.recorder_id, NEVER if wake is None else wake)

    def _plan(self, key: str, wake: int) -> None:
        """See to it that the heap asks for a recorder no later than it wants.

        An entry that is too early stays and asks again when it is reached: most fragments only put a deadline off,
        and must not cost a heap entry each.
        """
        entry = self._wake_of(key)[1]
        if wake < entry:
            heappush(self._heap, (wake, key))
            entry = wake
        self._wakes[key] = (wake, entry)

    def _say(self, record: Input, recorder: Recorder, findings: Sequence[Finding]) -> None:
        if findings:
            self._said.extend(Said(record.offset, one) for one in findings)
        for failure in recorder.take_failures():
            line = failure.line[:MAX_REJECTED_BYTES]
            self._rejected.append(Rejected(record.offset, line, "step_failed", failure.detail))

    def _reject(self, record: Input, reason: str, detail: str) -> None:
        self._rejected.append(Rejected(record.offset, (record.value or b"")[:MAX_REJECTED_BYTES], reason, detail))


__all__ = ["Input", "Outcome", "Partition", "PartitionState", "Rejected", "Said", "Save", "offset_of", "save_partition"]
