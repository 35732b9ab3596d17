"""Logs for the tests of detectors: literal events, and whole recordings with faults drawn by a seed."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence

from detectors.registry import rules
from domain import wire
from domain.clock import Instant
from domain.findings import Finding
from streams.runners.engine import PARTITION_KEY, Input, Outcome, Partition, save_partition

START = Instant.parse("2026-03-02T09:00:00+08:00")
SHA = "ab" * 32

Line = dict[str, object]


def at(second: float) -> str:
    """A moment so many seconds after the start, as on the wire."""
    return START.plus(round(second * 1000)).rfc3339()


def second(moment: Instant | None) -> float:
    """The other way round."""
    assert moment is not None
    return (moment - START) / 1000


def event(type_: str, when: float, recorder: str = "rec-1", **fields: object) -> Line:
    return {"type": type_, "recorder_id": recorder, "at": at(when), **fields}


def registered(when: float = 0, recorder: str = "rec-1", **fields: object) -> Line:
    return event("recorder_registered", when, recorder, **{"kind": "body_worn", "policy": "wucheng", **fields})


def opened(when: float = 0, recorder: str = "rec-1", session: str = "s1", **fields: object) -> Line:
    return event("session_opened", when, recorder, session_id=session, **fields)


def fragment(
    seq: int,
    captured: float,
    duration: float = 2.0,
    *,
    delay: float = 0.2,
    feed: str = "f1",
    session: str = "s1",
    recorder: str = "rec-1",
    **fields: object,
) -> Line:
    """A fragment that arrives `delay` after its end."""
    return event(
        "fragment",
        captured + duration + delay,
        recorder,
        session_id=session,
        feed_id=feed,
        seq=seq,
        captured_at=at(captured),
        duration_s=duration,
        bytes=100_000,
        sha256=SHA,
        **{"codec": "h264", **fields},
    )


def fragments(first: int, count: int, start: float, duration: float = 2.0, **fields: object) -> list[Line]:
    """Fragments without a break."""
    return [
        fragment(first + index, round(start + index * duration, 3), duration, **fields)  # type: ignore[arg-type]
        for index in range(count)
    ]


def stopped(when: float, reason: str, last: float, session: str = "s1", recorder: str = "rec-1") -> Line:
    return event("session_stopped", when, recorder, session_id=session, reason=reason, last_captured_at=at(last))


def resumed(when: float, session: str = "s1", recorder: str = "rec-1") -> Line:
    return event("session_resumed", when, recorder, session_id=session)


def ended(when: float, completed: float, session: str = "s1", recorder: str = "rec-1") -> Line:
    return event("session_ended", when, recorder, session_id=session, completed_at=at(completed))


def backfilled(when: float, low: float, high: float, session: str = "s1", recorder: str = "rec-1") -> Line:
    return event("backfilled", when, recorder, session_id=session, sha256=SHA, **{"from": at(low), "to": at(high)})


def telemetry(when: float, recorder: str = "rec-1", **fields: object) -> Line:
    return event("telemetry", when, recorder, **{"device_at": at(when), **fields})


def observation(when: float, recorder: str = "rec-1", session: str = "s1", **fields: object) -> Line:
    """An observation of 4 s that end half a second before it is heard of; what is not named is a good day's picture."""
    good = {"luma": 118.0, "contrast": 46.0, "sharpness": 310.0, "change": 0.02, "scene_shift": 0.05}
    seen = {name: value for name, value in {**good, **fields}.items() if value is not None}
    captured = round(when - 4.5, 3)
    return event("observation", when, recorder, session_id=session, captured_at=at(captured), window_s=4.0, **seen)


def observations(low: float, high: float, every: float = 4.0, **fields: object) -> list[Line]:
    """Observations from `low` up to `high`, that not included."""
    count = math.ceil((high - low) / every)
    return [observation(round(low + index * every, 3), **fields) for index in range(count)]  # type: ignore[arg-type]


def ticks(low: int, high: int) -> list[Line]:
    """One a second, both ends included."""
    return [{"type": "tick", "at": at(when)} for when in range(low, high + 1)]


def moment(line: Line) -> int:
    return Instant.parse(str(line["at"]))


def in_order(*parts: Iterable[Line]) -> list[Line]:
    """One log of several parts, by `at`."""
    return sorted((line for part in parts for line in part), key=moment)


def inputs(lines: Sequence[Line]) -> list[Input]:
    return [Input(offset, json.dumps(line).encode()) for offset, line in enumerate(lines)]


def outcome(lines: Sequence[Line]) -> Outcome:
    return Partition(rules()).run(inputs(lines))


def said(lines: Sequence[Line], kind: str | None = None) -> list[Finding]:
    """Findings of a whole log, of one kind or of all; nothing may be rejected."""
    partition = Partition(rules())
    result = partition.run(inputs(lines))
    assert result.rejected == []
    partition.fold(result)
    found = [one.finding for one in [*result.said, *partition.finish()]]
    return [one for one in found if kind is None or one.kind == kind]


def by_recorder(findings: Iterable[Finding]) -> dict[str, list[bytes]]:
    """The bytes of the findings of each recorder, in order."""
    sorted_out: dict[str, list[bytes]] = {}
    for one in findings:
        sorted_out.setdefault(one.recorder_id, []).append(wire.encode(one))
    return sorted_out


def story(findings: list[Finding]) -> list[tuple[str, float, float]]:
    """(status, detected at, began or ended at) of each."""
    return [
        (one.status, second(one.detected_at), second(one.ended_at if one.status == "closed" else one.began_at))
        for one in findings
    ]


def recording(seed: int, recorders: int = 2, length: int = 180) -> list[Line]:
    """A log in order: recorders with outages, stops, lost fragments, new feeds, telemetry and backfill, drawn by seed.

    No two events of a recorder share a moment, so that there is one order.
    """
    draw = random.Random(seed)
    lines: list[Line] = []
    for index in range(recorders):
        lines += _one_recorder(draw, f"rec-{index}", length)
    return in_order(lines, ticks(0, length + 90))


def _one_recorder(draw: random.Random, name: str, length: int) -> list[Line]:
    clock = draw.uniform(0.1, 3)
    lines = [
        registered(0.05, name, continuous=draw.random() < 0.3),
        opened(round(clock, 3), name, "s-" + name, unbroken=draw.random() < 0.3),
    ]
    feed, seq, duration = 0, 0, draw.choice([0.5, 1.0, 2.0, 4.0])
    while clock < length:
        chance = draw.random()
        if chance < 0.03:
            clock += draw.uniform(0.5, 25)
            feed, seq = feed + draw.randint(0, 1), (0 if draw.random() < 0.5 else seq)
            feed, seq = (feed + 1, 0) if seq == 0 else (feed, seq)
        elif chance < 0.05:
            seq += draw.randint(1, 4)
            clock += duration
        elif chance < 0.06:
            reason = draw.choice(["officer", "battery", "connection_lost", "unknown"])
            lines.append(stopped(round(clock + 0.331, 3), reason, round(clock, 3), "s-" + name, name))
            clock += draw.uniform(2, 20)
            lines.append(resumed(round(clock - 0.123, 3), "s-" + name, name))
        elif chance < 0.08 and clock > 60:
            low = round(draw.uniform(0, clock), 3)
            lines.append(
                backfilled(round(clock + 0.777, 3), low, round(low + draw.uniform(1, 40), 3), "s-" + name, name)
            )
        lines.append(
            fragment(
                seq,
                round(clock, 3),
                duration,
                delay=round(draw.uniform(0.05, 0.9), 3),
                feed=f"{name}-f{feed}",
                session="s-" + name,
                recorder=name,
            )
        )
        seq += 1
        clock += duration
        if draw.random() < 0.2:
            lines.append(
                telemetry(round(clock + draw.uniform(0, 1), 3), name, battery_percent=round(90 - clock / 4, 1))
            )
    lines.append(ended(round(clock + 1.5, 3), round(clock, 3), "s-" + name, name))
    return lines


def shuffled(lines: Sequence[Line], seed: int, lateness_ms: int = 10_000, *, ticks_stay: bool = False) -> list[Line]:
    """The same lines, each standing up to the lateness behind; ticks too, unless they stay in place."""
    draw = random.Random(seed)

    def place(line: Line) -> float:
        stays = ticks_stay and line["type"] == "tick"
        return moment(line) + (0 if stays else draw.uniform(0, lateness_ms - 1))

    return [line for _, line in sorted(((place(line), line) for line in lines), key=lambda pair: pair[0])]


def with_restarts(records: list[Input], sizes: list[int]) -> list[Finding]:
    """Run in batches, each by a process that knows only what was saved; the first of each pair dies before saving."""
    changelog: list[tuple[str, bytes]] = []
    findings: list[Finding] = []
    start = turn = 0
    while start < len(records):
        partition = Partition(rules())
        partition.restore(changelog)
        size = sizes[turn % len(sizes)]
        turn += 1
        partition.run(records[start : start + size + 7])  # dies here: nothing of it was saved
        result = partition.run(records[max(0, start - 5) : start + size])  # and some records come again
        findings += [one.finding for one in result.said]
        partition.fold(result)
        save = partition.save()
        changelog += [*save.recorders.items(), (PARTITION_KEY, save_partition(save.partition))]
        start += size
    return [*findings, *(one.finding for one in partition.finish())]
