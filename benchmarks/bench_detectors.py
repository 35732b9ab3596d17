"""The detectors alone, and the engine that steps them: steps and events a second on one core, memory of 10,000.

python -m benchmarks.bench_detectors [--short] [--recorders 1000 10000] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.report import parser, publish, spread, table
from detectors.books import BOOKED, Books, enter
from detectors.contract import Context, Thresholds
from detectors.knowledge import Knowledge, learn
from detectors.recorder import Rules
from detectors.registry import rules
from domain import wire
from domain.clock import Instant
from domain.events import AnyEvent, Tick
from domain.ids import check_recorder_id
from streams.runners.engine import Input, Partition
from streams.workers.detect import spare_the_collector

START = Instant.parse("2026-03-02T09:00:00+08:00")
FRAGMENT_MS = 2_000
TELEMETRY_MS = 10_000
OBSERVATION_MS = 4_000
SEGMENT_MS = 60_000
BATCH = 500
SAVE_BATCHES = 40
SHA = "ab" * 32


def main() -> None:
    arguments = _arguments()
    spare_the_collector()
    alone = _alone(arguments.steps, arguments.rounds)
    fleets = [_fleet(count, arguments) for count in arguments.recorders]
    publish("detectors", {"alone": alone, "fleets": fleets}, _report(alone, fleets), arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--recorders", type=int, nargs="+", default=[1_000, 10_000])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--steps", type=int, default=50_000, help="steps of each detector alone")
    options.add_argument("--events", type=int, default=100_000, help="events through the engine")
    found = options.parse_args()
    if found.short:
        found.recorders, found.rounds, found.steps, found.events = [100], 1, 2_000, 2_000
    return found


def log_of(recorders: int, low_s: int, high_s: int) -> list[bytes]:
    """A clean log: of each recorder a fragment every 2 s, an observation every 4 s, telemetry every 10 s; ticks."""
    lines = [(second * 1000, _line("tick", second * 1000)) for second in range(low_s, high_s)]
    for number in range(recorders):
        name, phase = check_recorder_id(f"rec-{number:05}"), 37 + number * 1_733 % FRAGMENT_MS
        if low_s == 0:
            lines.append((1, _line("recorder_registered", 1, name, kind="body_worn", policy="wucheng")))
            lines.append((phase, _line("session_opened", phase, name, session_id=f"s-{number}")))
        lines += [_fragment(name, number, seq, phase) for seq in _turns(low_s, high_s, FRAGMENT_MS)]
        lines += [_stored(name, number, turn, phase) for turn in _turns(low_s, high_s, SEGMENT_MS)]
        lines += [_telemetry(name, turn, phase) for turn in _turns(low_s, high_s, TELEMETRY_MS)]
        lines += [_observation(name, number, turn, phase) for turn in _turns(low_s, high_s, OBSERVATION_MS)]
    lines.sort(key=lambda pair: pair[0])
    return [line for _, line in lines]


def _turns(low_s: int, high_s: int, every_ms: int) -> range:
    return range(low_s * 1000 // every_ms, high_s * 1000 // every_ms)


def _fragment(name: str, number: int, seq: int, phase: int) -> tuple[int, bytes]:
    captured = seq * FRAGMENT_MS + phase
    fields = {"session_id": f"s-{number}", "feed_id": f"feed-{number}", "seq": seq, "captured_at": _at(captured)}
    rest = {"duration_s": FRAGMENT_MS / 1000, "bytes": 1_000_000, "sha256": SHA, "codec": "h264,aac"}
    at = captured + FRAGMENT_MS + 200
    return at, _line("fragment", at, name, **fields, **rest)


def _stored(name: str, number: int, turn: int, phase: int) -> tuple[int, bytes]:
    start = (turn - 1) * SEGMENT_MS + phase
    at = start + SEGMENT_MS + 5_000
    span = {"session_id": f"s-{number}", "from": _at(max(start, phase)), "to": _at(start + SEGMENT_MS)}
    rest = {"key": f"{name}/{turn}", "version_id": "1", "sha256": SHA, "bytes": 30_000_000}
    return at, _line("segment_stored", at, name, **span, **rest)


def _telemetry(name: str, turn: int, phase: int) -> tuple[int, bytes]:
    at = turn * TELEMETRY_MS + phase * 3
    power = {"battery_percent": 90.0, "charging": False, "recording": True, "signal_dbm": -70.0}
    card = {"storage_free_bytes": 50_000_000_000, "storage_total_bytes": 64_000_000_000}
    return at, _line("telemetry", at, name, device_at=_at(at), **power, **card)


def _observation(name: str, number: int, turn: int, phase: int) -> tuple[int, bytes]:
    at = turn * OBSERVATION_MS + phase
    seen = {"luma": 120.0, "contrast": 40.0, "sharpness": 300.0, "change": 0.02, "scene_shift": 0.05}
    heard = {"audio_dbfs": -30.0, "speech_s": 1.0}
    window = {"session_id": f"s-{number}", "captured_at": _at(at), "window_s": 4.0}
    return at + 5_000, _line("observation", at + 5_000, name, **window, **seen, **heard)


def _at(milliseconds: int) -> str:
    return START.plus(milliseconds).rfc3339()


def _line(type_: str, milliseconds: int, name: str | None = None, **fields: object) -> bytes:
    who = {} if name is None else {"recorder_id": name}
    return json.dumps({"type": type_, "at": _at(milliseconds), **who, **fields}, separators=(",", ":")).encode()


def _alone(steps: int, rounds: int) -> list[dict[str, Any]]:
    """Each detector over the decoded events of one recorder that it wants, called as `Recorder` calls it."""
    events = [wire.decode_event(line) for line in log_of(1, 0, steps * 2 + 60)]
    found = []
    for detector in rules().detectors:
        wanted = [event for event in events if type(event) in detector.wants][:steps]
        times = [_step_all(detector, wanted) for _ in range(rounds)]
        found.append({"detector": detector.name, "steps": len(wanted), "s": spread(times)})
    return found


def _step_all(detector: Any, events: Sequence[AnyEvent]) -> float:
    knowledge, books, thresholds = Knowledge(), Books(), Thresholds()
    contexts = []
    for event in events:
        knowledge = learn(knowledge, event)
        if type(event) in BOOKED:
            books = enter(books, event, knowledge, int(event.at), late=False)
        contexts.append(Context("rec-00000", int(event.at), thresholds, knowledge, books=books))
    state = detector.state_type()
    step = detector.step
    began = time.process_time()
    for event, context in zip(events, contexts, strict=True):
        state = step(state, event, context).state
    return time.process_time() - began


class _Counting:
    """A detector, and how often it was stepped."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.name, self.wants, self.state_type = inner, inner.name, inner.wants, inner.state_type
        self.steps = 0

    def step(self, state: Any, event: AnyEvent, context: Context) -> Any:
        """Pass it on."""
        self.steps += 1
        return self.inner.step(state, event, context)


def _fleet(recorders: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """A fleet through the engine in batches, the changed states saved every 20,000 events, as the runners do."""
    seconds = 40 + 2 * arguments.events // recorders
    lines = log_of(recorders, 0, seconds)
    warm = recorders * 16
    steps = _steps(lines[: warm + arguments.events]) - _steps(lines[:warm])
    gc.collect()
    before = _rss_bytes()
    partition = Partition(rules())
    _run(partition, lines[:warm], 0)
    inputs = lines[warm : warm + arguments.events]
    began = time.process_time()
    saved = _run(partition, inputs, warm)
    cpu_s = time.process_time() - began
    gc.collect()
    ticks = _quiet_ticks(partition, warm + len(inputs))
    return {
        "recorders": recorders,
        "events": len(inputs),
        "events_per_s": len(inputs) / cpu_s,
        "steps_per_event": steps / len(inputs),
        "steps_per_s": steps / cpu_s,
        "saved_bytes_per_event": saved / len(inputs),
        "rss_before_bytes": before,
        "rss_bytes": _rss_bytes(),
        "quiet_tick_s": ticks,
    }


def _run(partition: Partition, lines: Sequence[bytes], first: int) -> int:
    saved = 0
    for start in range(0, len(lines), BATCH):
        batch = lines[start : start + BATCH]
        outcome = partition.run([Input(first + start + place, line) for place, line in enumerate(batch)])
        partition.fold(outcome)
        if (start // BATCH + 1) % SAVE_BATCHES == 0:
            saved += sum(map(len, partition.save().recorders.values()))
        if outcome.rejected:
            raise RuntimeError(outcome.rejected[0].detail)
    return saved


def _steps(lines: Sequence[bytes]) -> int:
    counting = [_Counting(detector) for detector in rules().detectors]
    _run(Partition(Rules(tuple(counting), Thresholds())), lines, 0)
    return sum(one.steps for one in counting)


def _quiet_ticks(partition: Partition, offset: int) -> float:
    """CPU time of one tick that wakes nobody."""
    newest = partition.state.ticks.newest
    lines = [wire.encode(Tick(at=Instant(newest + 1 + n))) for n in range(100)]
    began = time.process_time()
    for place, line in enumerate(lines):
        partition.fold(partition.run([Input(offset + place, line)]))
    return (time.process_time() - began) / len(lines)


def _rss_bytes() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) * 1024


def _report(alone: list[dict[str, Any]], fleets: list[dict[str, Any]]) -> str:
    rates = [[one["detector"], f"{one['steps'] / one['s']['median']:,.0f}"] for one in alone if one["steps"]]
    first = table(["detector alone", "steps/s"], rates)
    head = ["recorders", "events/s", "steps/s", "state B/event", "RSS before", "RSS after", "quiet tick"]
    rows = [
        [
            one["recorders"],
            f"{one['events_per_s']:,.0f}",
            f"{one['steps_per_s']:,.0f}",
            f"{one['saved_bytes_per_event']:,.0f}",
            f"{one['rss_before_bytes'] / 2**20:.0f} MiB",
            f"{one['rss_bytes'] / 2**20:.0f} MiB",
            f"{one['quiet_tick_s'] * 1e6:.0f} µs",
        ]
        for one in fleets
    ]
    return first + "\n\n" + table(head, rows)


if __name__ == "__main__":
    main()
