"""Stops, uploads, store and evidence: the same findings doubled, shuffled within the lateness, cut by restarts."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.findings import Finding
from tests.detectors.logs import (
    SHA,
    Line,
    at,
    backfilled,
    by_recorder,
    ended,
    event,
    fragment,
    in_order,
    inputs,
    opened,
    registered,
    resumed,
    said,
    shuffled,
    stopped,
    telemetry,
    ticks,
    with_restarts,
)

KINDS = {
    "recording.unexplained_stop",
    "recording.stop_and_go",
    "upload.lagging",
    "upload.overdue",
    "store.stalled",
    "integrity.broken",
}
POLICIES = ("gansu", "chongqing", "zhuhui", "wucheng", "zhanhe")
REASONS = ("officer", "officer", "device", "battery", "connection_lost", "server")
DAYS = 3 * 86_400


def duty(seed: int) -> list[Line]:
    """One recorder of each policy: recording, stops, words, explanations, segments, lists, and three days later."""
    draw = random.Random(seed)
    start: list[Line] = [{**tick, "at": str(tick["at"]).replace("T09:", "T08:")} for tick in ticks(3580, 3599)]
    parts = [_one(draw, policy) for policy in draw.sample(POLICIES, 2)]
    later: list[Line] = [{"type": "tick", "at": at(DAYS + hour * 3600.0)} for hour in range(-66, 48)]
    return in_order(start, *parts, ticks(0, 500), later)


def _one(draw: random.Random, policy: str) -> list[Line]:
    name, session = f"rec-{policy}", f"s-{policy}"
    clock, seq, feed = round(draw.uniform(0.2, 2), 3), 0, 0
    lines = [
        registered(0.05, name, policy=policy),
        opened(round(clock - 0.1, 3), name, session, unbroken=draw.random() < 0.3, remote=draw.random() < 0.3),
    ]

    def say(type_: str, when: float, **fields: object) -> None:
        lines.append(event(type_, round(when, 3), name, session_id=session, **fields))

    while clock < 300:
        for _ in range(draw.randint(3, 40)):
            delay = round(draw.uniform(0.05, 0.4), 3)
            lines.append(fragment(seq, clock, 2.0, delay=delay, feed=f"{name}-{feed}", session=session, recorder=name))
            clock, seq = round(clock + 2, 3), seq + 1
        if draw.random() < 0.4:
            say("observation", clock + 0.517, captured_at=at(clock - 4), window_s=4.0, speech_s=draw.choice([0.0, 2.5]))
        span = {"from": at(max(0, clock - draw.uniform(10, 120))), "to": at(clock)}
        if draw.random() < 0.6:
            say("segment_stored", clock + 1.113, key=f"k{seq}", version_id="", sha256=SHA, bytes=1, **span)
        if draw.random() < 0.7:
            lines.append(stopped(round(clock + 0.631, 3), draw.choice(REASONS), clock, session, name))
        if draw.random() < 0.5:
            lines.append(telemetry(round(clock + 2.219, 3), name, recording=draw.random() < 0.4))
        if draw.random() < 0.5:
            cause = draw.choice(["bad_weather", "site_change", "other"])
            more = {"text": "原因"} if draw.random() < 0.5 else {}
            more |= {"approved_by": "队长"} if draw.random() < 0.4 else {}
            method = draw.choice(["voice", "written", "work_record"])
            say("explanation", clock + draw.uniform(3, 9), method=method, cause=cause, by="officer", **more)
        clock = round(clock + draw.uniform(10, 40), 3)
        lines.append(resumed(round(clock - 0.271, 3), session, name))
        feed, seq = feed + 1, 0
    lines.append(ended(round(clock + 1.5, 3), clock, session, name))
    if draw.random() < 0.5:
        listed = [{"session_id": session, "from": at(100), "to": at(160), "bytes": 5}]
        lines.append(event("device_index", round(clock + 7.7, 3), name, recordings=listed))
    lines.append(event("integrity", round(clock + 8.8, 3), name, key="k1", fault="missing"))
    lines.append(backfilled(DAYS + 7 * 3600.5, 0, 900, session, name))
    lines.append(event("returned", 86_400.4, name))
    return lines


def ours(findings: list[Finding]) -> dict[str, list[bytes]]:
    return by_recorder(one for one in findings if one.kind in KINDS)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100_000))
def test_doubled_and_shuffled(seed: int) -> None:
    lines = duty(seed)
    expected = ours(said(lines))
    assert expected
    doubled = [line for one in lines for line in (one, one)]
    assert ours(said(doubled)) == expected
    assert ours(said(shuffled(lines, seed))) == expected
    assert ours(said(shuffled(doubled, seed + 1))) == expected


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100_000), st.lists(st.integers(10, 400), min_size=1, max_size=6))
def test_cut_by_restarts(seed: int, sizes: list[int]) -> None:
    lines = duty(seed)
    assert ours(with_restarts(inputs(lines), sizes)) == ours(said(lines))


def test_the_logs_hold_every_kind() -> None:
    kinds = {one.kind for seed in range(12) for one in said(duty(seed))}
    assert kinds >= KINDS


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100_000))
def test_findings_open_once_and_close_at_most_once(seed: int) -> None:
    state: dict[str, str] = {}
    for one in said(duty(seed)):
        if one.kind not in KINDS:
            continue
        assert one.status in {None: {"opened"}, "opened": {"updated", "closed"}, "updated": {"updated", "closed"}}.get(
            state.get(one.id), set()
        )
        assert one.began_at <= one.detected_at
        state[one.id] = one.status
