"""Sessions that are stored in time, late or not at all, over plain weeks, weekends and holidays; logs of a week or two.

The ends of the times were worked out by hand from the official calendar of 2026 (holidays: 1 to 5 May with work on
Saturday the 9th; 1 to 7 October with work on Sunday 20 September and Saturday 10 October) and stand in the table below.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.detection.run import Line, Placed, in_place, on_its_way, run, ticks
from benchmarks.detection.story import POLICIES, RecorderKind, Story
from benchmarks.detection.truth import Scores, Truth, score
from domain.clock import Instant
from domain.events import DeviceIndex, HeldRecording, Returned, SegmentStored

SHA = "ab" * 32
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Day(NamedTuple):
    """A day on which something is recorded; ends of two days and of two working days, at 24:00 of these."""

    date: str
    two_days: str
    two_working_days: str


WEEKS: tuple[tuple[Day, ...], ...] = (
    (
        Day("2026-03-02", "2026-03-04", "2026-03-04"),  # Monday
        Day("2026-03-05", "2026-03-07", "2026-03-09"),  # Thursday; Friday and Monday
        Day("2026-03-06", "2026-03-08", "2026-03-10"),  # Friday
        Day("2026-03-07", "2026-03-09", "2026-03-10"),  # Saturday
    ),
    (
        Day("2026-04-30", "2026-05-02", "2026-05-07"),  # Thursday; Wednesday and Thursday after the holidays
        Day("2026-05-07", "2026-05-09", "2026-05-09"),  # Thursday; Friday and Saturday, which is worked
    ),
    (
        Day("2026-09-30", "2026-10-02", "2026-10-09"),  # Wednesday; Thursday and Friday after the holidays
        Day("2026-10-08", "2026-10-10", "2026-10-10"),  # Thursday; Friday and Saturday, which is worked
        Day("2026-10-09", "2026-10-11", "2026-10-12"),  # Friday; Saturday, which is worked, and Monday
    ),
)
SESSIONS = 250
"""Each with a recorder of its own, of each span of days."""
AFTER_MS = 2 * DAY_MS


def log(week: int, seed: int, sessions: int = SESSIONS, tick_ms: int = 1_000) -> tuple[Iterator[bytes], list[Truth]]:
    """Return a log and what is true of it."""
    draw = random.Random(f"{week}-{seed}")
    parts: list[Iterator[Placed]] = []
    truths: list[Truth] = []
    first, last = 1 << 62, 0
    for number in range(sessions):
        story, lines = _session(draw, f"u{week}-{seed}-{number}", draw.choice(WEEKS[week]))
        first, last = min(first, *(line.at for line in lines)), max(last, *(line.at for line in lines))
        truths += story.truths
        parts.append(on_its_way(draw, lines, disordered=draw.random() < 0.3, doubled=0.02))
    parts.append(ticks(first - 30_000, last + AFTER_MS, tick_ms))
    return in_place(parts), truths


def scored(week: int, seed: int, sessions: int = SESSIONS, tick_ms: int = 1_000) -> Scores:
    """Run one log and hold what was said against what is true; the log of a week has a tick a second, unless told."""
    lines, truths = log(week, seed, sessions, tick_ms)
    return score(truths, run(lines))


class _Times(NamedTuple):
    """When to warn and by when to store; 0 where there is no such time."""

    warn: int
    store_by: int


def _session(draw: random.Random, name: str, day: Day) -> tuple[Story, list[Line]]:
    """A minute or two recorded on a day; what comes to the store later, or stays on the device, is drawn."""
    kind: RecorderKind = draw.choices(("body_worn", "room_camera", "premises_camera"), (8, 1, 1))[0]
    policy = draw.choice(POLICIES)
    start = Instant.parse(f"{day.date}T{draw.randrange(8, 18):02}:{draw.randrange(60):02}:00+08:00")
    story = Story(draw, name, int(start), kind, policy)
    story.telemetry_ms = 0
    story.register(audio=False)
    remote = kind == "body_worn" and draw.random() < 0.25
    story.open(remote=remote)
    held = draw.random() < 0.5
    if held:  # recorded where no network is; only the device's list tells of it
        begin = story.now
        story.skip(draw.uniform(60, 120))
        story.true("recording.stalled", begin, slack_ms=5_000, required=False)
        story.true("device.silent", begin, slack_ms=5_000, required=False)
        spans = [(begin, story.now)]
    else:
        story.record(draw.uniform(60, 120))
        spans = [(story.pieces[0].start, story.pieces[-1].end)]
    completed = story.now
    ended = story.end(completed=completed)
    lines = [line for line in story.lines() if b'"segment_stored"' not in line.value]
    returned = completed + draw.randrange(12 * HOUR_MS, 3 * DAY_MS) if remote else 0
    times = _times(policy, kind, completed, day, remote, returned)
    stored = _stored_at(draw, completed, ended, times)
    story.events.clear()
    if remote:
        story.say(Returned(at=Instant(returned), recorder_id=name, session_id=story.session))
    if held:
        _list(story, ended + draw.randrange(60_000, HOUR_MS), spans)
        _list(story, stored + draw.randrange(1_000, 60_000), [])
    _store(story, stored, spans[0])
    story.pieces.clear()
    _truths(story, times, completed, stored, held=held)
    return story, [*lines, *story.lines()]


def _end_of(date: str) -> int:
    return int(Instant.parse(f"{date}T00:00:00+08:00")) + DAY_MS


def _times(policy: str, kind: str, completed: int, day: Day, remote: bool, returned: int) -> _Times:  # noqa: PLR0917
    """What the five documents say of each kind, and a quarter of the time left for the warning."""
    if kind == "premises_camera" and policy != "gansu":
        return _Times(0, 0)
    if policy in {"zhuhui", "zhanhe"}:
        timely = _end_of(day.two_working_days)
        if policy == "zhuhui" or not remote:
            return _Times(timely, 0)
        # Until the return is known, as if it were not remote.
        end = returned + DAY_MS
        return _Times(_quarter_left(completed, end) if returned < timely else timely, end)
    end = _end_of(day.two_days if policy == "gansu" else day.two_working_days)
    warn = _quarter_left(completed, end)
    if policy == "gansu" and remote:
        end = max(end, returned + DAY_MS)
        warn = _quarter_left(completed, end) if returned < warn else warn
    return _Times(warn, end)


def _quarter_left(completed: int, end: int) -> int:
    return end - round((end - completed) / 4)


def _stored_at(draw: random.Random, completed: int, ended: int, times: _Times) -> int:
    """Draw a moment: in good time, after the warning, or too late; never within minutes of either."""
    clear = 10 * 60_000
    low, high = times.warn or completed + DAY_MS, times.store_by or (times.warn or completed + DAY_MS) + DAY_MS
    early = (max(ended + 2 * clear, completed + HOUR_MS), low - clear)
    late = (high + clear, high + DAY_MS)
    choices = [early, (low + clear, high - clear), late, late]
    begin, end = draw.choice([one for one in choices if one[0] < one[1]])
    return draw.randrange(begin, end)


def _list(story: Story, at: int, spans: list[tuple[int, int]]) -> None:
    recordings = [
        HeldRecording(session_id=story.session, from_=Instant(low), to=Instant(high), bytes=1) for low, high in spans
    ]
    story.say(DeviceIndex(at=Instant(at), recorder_id=story.name, recordings=recordings))


def _store(story: Story, at: int, span: tuple[int, int]) -> None:
    """In two parts, the first some minutes before the last."""
    middle = (span[0] + span[1]) // 2
    for number, (when, low, high) in enumerate(((at - 300_000, span[0], middle), (at, middle, span[1]))):
        story.say(
            SegmentStored(
                at=Instant(when),
                recorder_id=story.name,
                session_id=story.session,
                from_=Instant(low),
                to=Instant(high),
                key=f"{story.session}/{number}",
                version_id="1",
                sha256=SHA,
                bytes=1,
            )
        )


def _truths(story: Story, times: _Times, completed: int, stored: int, *, held: bool) -> None:
    if times.warn and stored > times.warn:
        story.true("upload.lagging", times.warn, slack_ms=2, due=times.warn, ends=True, fault="lagging")
    if times.store_by and stored > times.store_by:
        story.true("upload.overdue", times.store_by, slack_ms=2, due=times.store_by, ends=True, fault="overdue")
    if not held:  # taken in, and not in the store for hours
        story.true("store.stalled", completed - 60_000, slack_ms=90_000, required=False)
