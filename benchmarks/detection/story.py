"""One recorder's life as it truly was, and the events that tell of it.

A story is told by whoever makes the faults: it opens a session, records, loses, stops, and notes what is true. What it
says of itself (`Body`), what was seen of its pictures (`Eye`) and the store follow from that when it is over.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from benchmarks.detection.run import Line
from benchmarks.detection.truth import Truth
from domain import wire
from domain.clock import Instant
from domain.events import (
    AnyRecorderEvent,
    Backfilled,
    Explanation,
    Fragment,
    Observation,
    RecorderRegistered,
    SegmentStored,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
    StopReason,
    Telemetry,
)
from domain.findings import FindingKind

SHA = "ab" * 32
POLICIES = ("gansu", "chongqing", "zhuhui", "wucheng", "zhanhe")
STALL_SURE_MS = 10_000
STALL_MAYBE_MS = 4_500
"""Silence from the end of the last media: beyond the first it is a stall beyond doubt, up to the second it is none."""
LATENESS_MS = 10_000
LISTENS_MS = 90_000

RecorderKind = Literal["body_worn", "premises_camera", "room_camera"]
Span = tuple[int, int]


class Piece(NamedTuple):
    """A fragment that arrived; `start` and `end` as the capture clock has them, `true` when it really began."""

    session: str
    feed: str
    start: int
    end: int
    at: int
    true: int


class Figures(msgspec.Struct):
    """What is to be seen and heard of a moment, before noise."""

    luma: float = 110.0
    contrast: float = 42.0
    sharpness: float = 300.0
    change: float = 0.012
    scene_shift: float = 0.06
    audio_dbfs: float = -32.0
    speech: float = 0.0


class Says(msgspec.Struct):
    """What a device says of itself at a moment."""

    battery: float
    free: float
    charging: bool = False
    recording: bool = True
    signal: float = -82.0
    device_off_ms: float = 0.0


class Story:
    """See the module. Times are milliseconds since 1970 unless they are said to be something else.

    Args:
        draw: Where chance comes from.
        name: The recorder.
        start: When it begins.
        kind: What it is.
        policy: Its jurisdiction.
    """

    def __init__(self, draw: random.Random, name: str, start: int, kind: RecorderKind, policy: str) -> None:
        self.draw, self.name, self.kind, self.policy = draw, name, kind, policy
        self.now = start
        self.events: list[AnyRecorderEvent] = []
        self.truths: list[Truth] = []
        self.pieces: list[Piece] = []
        self.fragment_ms = draw.choice((1_000, 2_000, 2_000, 4_000))
        self.delay_ms = draw.uniform(100, 700)
        self.jitter_ms = draw.choice((50, 150, 600))
        self.look_ms = 4_000
        self.telemetry_ms = 5_000 if kind == "body_worn" else 0
        self.telemetry_trouble: list[tuple[int, int, bool]] = []
        """Spans in which telemetry did not come, and whether it came behind in a batch."""
        self.says: Callable[[int, Says], None] = lambda _at, _says: None
        self.looks: Callable[[int, Figures], None] = lambda _at, _figures: None
        self.battery, self.free = draw.uniform(60, 98), draw.uniform(0.4, 0.95)
        self.day = Figures(luma=draw.uniform(60, 170), contrast=draw.uniform(18, 60), sharpness=draw.uniform(60, 900))
        self.store_lag_ms = draw.randrange(2_000, 30_000)
        self.store_away: Span = (0, 0)
        """Meanwhile nothing is stored."""
        self.soundless: list[Span] = []
        """Without a sound track."""
        self.clock_off_ms = draw.uniform(-800, 800)
        self.idle: list[Span] = []
        """When it did not record, by its own word."""
        self.continuous = False
        self.behind_ms: dict[int, int] = {}
        """Fragments, counted over the story, that stand so much too late in the log."""
        self.dropped: set[int] = set()
        """Numbers of fragments, counted over the story, that never reach the log."""
        self.sessions = 0
        self.session = ""
        self._feeds = 0
        self._count = 0
        self._late: dict[int, int] = {}
        self.feed, self.seq = "", 0
        self.shift_ms = 0
        """How far capture times are off; arrival is not."""
        self._last_at = start

    # What happens

    def register(self, *, audio: bool = True) -> None:
        self.say(
            RecorderRegistered(
                at=Instant(self.now),
                recorder_id=self.name,
                kind=self.kind,
                policy=self.policy,
                expects_audio=audio,
                continuous=self.continuous,
            )
        )
        self.now += self.draw.randrange(500, 4_000)

    def open(self, **fields: Any) -> None:
        self.sessions += 1
        self.session = f"s-{self.name}-{self.sessions}"
        self.say(SessionOpened(at=Instant(self.now), recorder_id=self.name, session_id=self.session, **fields))
        self.now += self.draw.randrange(300, 2_500)
        self.connect()

    def connect(self) -> None:
        """Send over a new connection from here on."""
        self._feeds += 1
        self.feed, self.seq = f"f-{self.name}-{self._feeds}", 0

    def record(self, seconds: float, *, arrives: Callable[[int, int], int] | None = None) -> None:
        """Record so long.

        Args:
            seconds: How long, about; fragments are whole but for the last.
            arrives: When a fragment (start, end) comes; as usual where not given.
        """
        until = self.now + round(seconds * 1000)
        while self.now < until:
            end = min(self.now + self.fragment_ms, until)
            if until - end < 300:
                end = until
            usual = max(end + round(self.delay_ms + self.draw.uniform(0, self.jitter_ms)), self._last_at + 1)
            self._send(self.now, end, arrives(self.now, end) if arrives else usual)
            self.now = end

    def _send(self, start: int, end: int, at: int) -> None:
        self._last_at = max(at, self._last_at)
        number, seq = self._count, self.seq
        self._count, self.seq = number + 1, seq + 1
        if number in self.dropped:
            return
        if number in self.behind_ms:
            self._late[len(self.events)] = self.behind_ms[number]
        captured = start + self.shift_ms
        self.pieces.append(Piece(self.session, self.feed, captured, end + self.shift_ms, at, start))
        self.say(
            Fragment(
                at=Instant(at),
                recorder_id=self.name,
                session_id=self.session,
                feed_id=self.feed,
                seq=seq,
                captured_at=Instant(captured),
                duration_s=(end - start) / 1000,
                bytes=(end - start) * 125,
                sha256=SHA,
                codec="h264,opus" if self.sound_at(start) else "h264",
            )
        )

    def hold_back(self, behind_ms: int) -> None:
        """The next fragment stands so much too late in the log."""
        self.behind_ms[self._count] = behind_ms

    def lose(self, count: int) -> None:
        """So many fragments are numbered and never reach the log."""
        self.dropped.update(range(self._count, self._count + count))

    def skip(self, seconds: float) -> None:
        """Time passes without media."""
        self.now += round(seconds * 1000)

    def stop(self, reason: StopReason, *, after_ms: int | None = None, last: int | None = None) -> int:
        """It is said to have stopped; the answer is when that was learnt."""
        at = self.now + (self.draw.randrange(100, 700) if after_ms is None else after_ms)
        last_captured = Instant(self.now if last is None else last)
        ids: dict[str, Any] = {"recorder_id": self.name, "session_id": self.session}
        self.say(SessionStopped(at=Instant(at), reason=reason, last_captured_at=last_captured, **ids))
        return at

    def resume(self) -> None:
        self.say(SessionResumed(at=Instant(self.now), recorder_id=self.name, session_id=self.session))
        self.now += self.draw.randrange(50, 900)

    def end(self, *, completed: int | None = None) -> int:
        """It ends; the answer is when that was learnt."""
        at = max(self.now + self.draw.randrange(800, 2_500), self._last_at + 1)
        done = Instant(self.now + self.shift_ms if completed is None else completed)
        ids: dict[str, Any] = {"recorder_id": self.name, "session_id": self.session}
        self.say(SessionEnded(at=Instant(at), completed_at=done, **ids))
        self.now = at + self.draw.randrange(100, 1_000)
        return at

    def explain(self, after_s: float, method: Any, cause: str, **fields: Any) -> int:
        """Somebody explains; the answer is when."""
        at = self.now + round(after_s * 1000)
        ids: dict[str, Any] = {"recorder_id": self.name, "session_id": self.session, "by": "officer-1"}
        self.say(Explanation(at=Instant(at), method=method, cause=cause, **ids, **fields))
        return at

    def deliver(self, after_s: float, low: int, high: int) -> int:
        """Footage comes later; the answer is when."""
        at = self.now + round(after_s * 1000)
        ids: dict[str, Any] = {"recorder_id": self.name, "session_id": self.session, "sha256": SHA}
        self.say(Backfilled(at=Instant(at), from_=Instant(low), to=Instant(high), **ids))
        return at

    def say(self, event: AnyRecorderEvent) -> None:
        self.events.append(event)

    # What is true

    def true(
        self, kind: FindingKind, began: int, *, slack_ms: int = 60, reach_ms: int | None = None, **more: Any
    ) -> None:
        """Note a fault that began here, give or take; `reach_ms` is how much later it may be said to have begun."""
        high = began + (slack_ms if reach_ms is None else reach_ms)
        self.truths.append(Truth(kind=kind, recorder=self.name, low=began - slack_ms, high=high, **more))

    def silence(self, fault: str, *, until: int) -> None:
        """Note the stall that follows from the silence between the newest media and `until`, when the next may come."""
        end = self.pieces[-1].end - self.shift_ms
        latest = until + round(self.delay_ms + self.jitter_ms) + 100
        if latest - end < STALL_MAYBE_MS:
            return
        sure = until - end >= STALL_SURE_MS
        self.true("recording.stalled", end, due=end + 5_000, ends=sure, required=sure, fault=fault)

    def hush(self, last: int, until: int, fault: str) -> None:
        """Note that nothing at all was heard between two moments."""
        if until - last < 58_000:
            return
        sure = until - last >= 64_000
        self.true("device.silent", last, slack_ms=1_500, due=last + 60_000, ends=sure, required=sure, fault=fault)

    def gap(self, low: int, high: int, cause: str, fault: str, *, came: int, ends: bool = False) -> None:
        """Note missing media, and when what comes after it was heard of."""
        if high - low > 1_000:
            due = came + LATENESS_MS
            self.true("recording.gap", low, causes=(cause,), due=due, ends=ends, fault=fault)

    # What follows from it

    def lines(self) -> list[Line]:
        """All its events; what stands too late by whoever's fault says so by its place."""
        rest = [*self._telemetry(), *self._observations(), *self._segments()]
        lines = [Line(int(event.at), wire.encode(event)) for event in (*self.events, *rest)]
        for index, behind in self._late.items():
            lines[index] = lines[index]._replace(behind_ms=behind)
        return lines

    def stored_at(self, came: int) -> int:
        """When a segment is in the store whose last fragment came then."""
        at, (low, high) = came + self.store_lag_ms, self.store_away
        return high + came % 2_000 if low <= at < high else at

    def _telemetry(self) -> list[AnyRecorderEvent]:
        if not self.telemetry_ms or not self.pieces:
            return []
        told: list[AnyRecorderEvent] = []
        low, high = self.pieces[0].start, max(piece.end for piece in self.pieces)
        for number in range((high - low) // self.telemetry_ms):
            event = self._word(low + number * self.telemetry_ms)
            if event is not None:
                told.append(event)
        return told

    def _word(self, moment: int) -> Telemetry | None:
        says = Says(self.battery, self.free, device_off_ms=self.clock_off_ms)
        says.recording = not any(low <= moment < high for low, high in self.idle)
        self.says(moment, says)
        sent = moment
        for low, high, behind in self.telemetry_trouble:
            if low <= moment < high:
                if not behind:
                    return None
                sent = high + 700 + (moment - low) // 50
        off = round(says.device_off_ms)
        return Telemetry(
            at=Instant(sent + self.draw.randrange(40, 400)),
            recorder_id=self.name,
            device_at=Instant(moment + off),
            sent_at=Instant(sent + off),
            battery_percent=round(min(100.0, max(0.0, says.battery)), 1),
            charging=says.charging,
            storage_free_bytes=round(max(0.0, says.free) * 64e9),
            storage_total_bytes=64_000_000_000,
            recording=says.recording,
            signal_dbm=round(says.signal + self.draw.gauss(0, 2), 1),
        )

    def _observations(self) -> list[AnyRecorderEvent]:
        """Pictures every 4 s at most, now and then one is shed; all sound for 90 s after a beginning or a break."""
        seen: list[AnyRecorderEvent] = []
        due, listens_until, feed, end = 0, 0, "", 0
        for piece in self.pieces:
            if piece.feed != feed or piece.start > end + 1_000:
                listens_until = piece.start + LISTENS_MS
            feed, end = piece.feed, max(end, piece.end)
            looks = piece.start >= due and self.draw.random() >= 0.05
            listens = self.sound_at(piece.start) and piece.start < listens_until
            if looks:
                due = piece.start + self.look_ms
            if looks or listens:
                seen.append(self._look(piece, looks=looks, listens=listens))
        return seen

    def sound_at(self, moment: int) -> bool:
        """Whether there is a sound track."""
        return not any(low <= moment < high for low, high in self.soundless)

    def _look(self, piece: Piece, *, looks: bool, listens: bool) -> Observation:
        figures = msgspec.structs.replace(self.day)
        self.looks(piece.true, figures)
        length = (piece.end - piece.start) / 1000
        heard: dict[str, Any] = {}
        if self.sound_at(piece.start):
            quiet = figures.audio_dbfs <= -110
            heard = {"audio_dbfs": round(figures.audio_dbfs if quiet else self.draw.gauss(figures.audio_dbfs, 2), 1)}
        if listens:
            heard["speech_s"] = round(figures.speech * length, 3)
        return Observation(
            at=Instant(piece.at + self.draw.randrange(100, 1_800)),
            recorder_id=self.name,
            session_id=piece.session,
            captured_at=Instant(piece.start),
            window_s=length,
            **heard,
            **(self._picture(figures) if looks else {}),
        )

    def _picture(self, figures: Figures) -> dict[str, Any]:
        draw = self.draw
        still = figures.change <= 0.0002
        return {
            "luma": round(min(255.0, max(0.0, draw.gauss(figures.luma, 1.5))), 2),
            "contrast": round(max(0.0, figures.contrast * draw.gauss(1, 0.03)), 2),
            "sharpness": round(max(0.0, figures.sharpness * draw.lognormvariate(0, 0.12)), 2),
            "change": figures.change if still else round(figures.change * draw.lognormvariate(0, 0.5), 6),
            "scene_shift": round(min(1.0, max(0.0, draw.gauss(figures.scene_shift, 0.02))), 4),
        }

    def _segments(self) -> list[AnyRecorderEvent]:
        """A segment a minute of capture time, feed and session, some seconds after its last fragment came."""
        groups: dict[tuple[str, str, int], list[Piece]] = {}
        for piece in self.pieces:
            groups.setdefault((piece.session, piece.feed, piece.start // 60_000), []).append(piece)
        kept: list[AnyRecorderEvent] = []
        for (session, _, minute), pieces in groups.items():
            at = self.stored_at(max(piece.at for piece in pieces))
            ids: dict[str, Any] = {"recorder_id": self.name, "session_id": session, "sha256": SHA}
            names: dict[str, Any] = {"key": f"{session}/{minute}", "version_id": "1"}
            low, high = min(piece.start for piece in pieces), max(piece.end for piece in pieces)
            span: dict[str, Any] = {"from_": Instant(low), "to": Instant(high), "bytes": 1}
            kept.append(SegmentStored(at=Instant(at), **ids, **names, **span))
        return kept
