"""The batch engine: records of one partition in, findings and new states out.

Pure: no clock, no I/O, and it never raises for what a record holds. All three runners use it, so they say the same
of the same log.

A `Partition` keeps each recorder as the bytes that stand in the changelog. `run` works on copies and gives an
`Outcome`; `Partition.fold` takes it in, once the outputs are acknowledged and the states saved. A recorder counts each
offset once, so a batch that is repeated after a crash passes over what was already counted in.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

import msgspec

from detectors.recorder import Recorder, Rules, Ticks
from domain import wire
from domain.errors import InvalidEvent
from domain.events import AnyRecorderEvent, Tick
from domain.findings import Finding

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
        reason: `invalid_event`, or `step_failed`.
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
        recorders: New state of each recorder that changed, by id.
        partition: New state of the partition.
        wakes: When each recorder that was touched wants to be woken, and its earliest entry in the heap.
        scheduled: Heap of (when, recorder) after the batch.
    """

    said: list[Said]
    rejected: list[Rejected]
    recorders: dict[str, bytes]
    partition: PartitionState
    wakes: dict[str, Wake]
    scheduled: list[tuple[int, str]]


_partition_encoder = msgspec.msgpack.Encoder()
_partition_decoder = msgspec.msgpack.Decoder(PartitionState)


class Partition:
    """All states of one partition, in memory.

    Args:
        rules: Detectors and thresholds.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.state = PartitionState()
        self._saved: dict[str, bytes] = {}
        self._wakes: dict[str, Wake] = {}
        self._heap: list[tuple[int, str]] = []

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
            offset = _Offset.decode(value).offset
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
        """Step a batch; offsets must ascend. Nothing of this partition changes before `fold`."""
        return _Batch(self.rules, self.state, self._saved, self._wakes, list(self._heap)).run(records)

    def fold(self, outcome: Outcome) -> None:
        """Make the outcome of `run` the state of this partition."""
        self.state = outcome.partition
        self._saved.update(outcome.recorders)
        self._wakes.update(outcome.wakes)
        self._heap = outcome.scheduled

    def __len__(self) -> int:
        """Return the number of recorders."""
        return len(self._saved)


def save_partition(state: PartitionState) -> bytes:
    """Return the partition's own record for the changelog."""
    return _partition_encoder.encode(state)


class _OffsetOnly(msgspec.Struct):
    offset: int


_Offset = msgspec.msgpack.Decoder(_OffsetOnly)


class _Batch:
    """One run: working copies of the recorders it touches."""

    def __init__(
        self,
        rules: Rules,
        state: PartitionState,
        saved: dict[str, bytes],
        wakes: dict[str, Wake],
        heap: list[tuple[int, str]],
    ) -> None:
        self._rules = rules
        self._offset = state.offset
        self._ticks = Ticks(list(state.ticks.moments), state.ticks.calm_at)
        self._saved = saved
        self._base_wakes = wakes
        self._heap = heap
        self._touched: dict[str, Recorder] = {}
        self._wakes: dict[str, Wake] = {}
        self._said: list[Said] = []
        self._rejected: list[Rejected] = []

    def run(self, records: Iterable[Input]) -> Outcome:
        for record in records:
            # A record that was counted in before the crash may come again.
            if record.offset > self._offset:
                self._take(record)
                self._offset = record.offset
        changed = {key: recorder.save() for key, recorder in self._touched.items() if recorder.changed}
        partition = PartitionState(self._offset, self._ticks)
        return Outcome(self._said, self._rejected, changed, partition, self._wakes, self._heap)

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
        self._say(record, recorder, recorder.take(event, line, record.offset, self._ticks))
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
            recorder = self._touched[key] = Recorder(key, self._rules, self._saved.get(key))
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

    def _say(self, record: Input, recorder: Recorder, findings: Iterable[Finding]) -> None:
        self._said.extend(Said(record.offset, one) for one in findings)
        for failure in recorder.take_failures():
            self._rejected.append(Rejected(record.offset, failure.line, "step_failed", failure.detail))

    def _reject(self, record: Input, reason: str, detail: str) -> None:
        self._rejected.append(Rejected(record.offset, record.value or b"", reason, detail))


__all__ = ["Input", "Outcome", "Partition", "PartitionState", "Rejected", "Said", "save_partition"]
