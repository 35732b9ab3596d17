"""One recorder as the wall shows it: only what is shown, and only as finely. Pure.

A recorder that is all right gives the same tile for hours, though media comes from it every two seconds: that is why a
wall of a thousand recorders is quiet. What changes by the mere passing of time says when (`Seen.again_at`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from dashboards.recorder import LIVE_MS, OpenFinding, Recorder
from domain.findings import Figure

State = Literal["live", "silent", "idle", "off"]

LAG_MS = 180_000
"""Footage waits for the end of its segment, a minute, and its way into the store; later than this is late."""
LOW_BATTERY = 0.2
LOW_SPACE = 0.1

_RANK = {"critical": 0, "silent": 1, "warning": 2, "lagging": 3, "low": 4, "info": 5, "live": 6, "idle": 7, "off": 8}
_SILENT_KINDS = frozenset({"device.silent", "recording.stalled"})
_SEVERITIES = ("critical", "warning", "info")
_NEVER = 1 << 62


class Trouble(msgspec.Struct, frozen=True):
    """The worst open finding of a recorder: severity, then how long."""

    severity: str
    kind: str
    key: str
    params: dict[str, Figure]
    began_at: int
    clauses: list[str]


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. Times are ms.

    Attributes:
        recorder_id: Its id.
        name: What people call it; its id where nobody does. Untrusted text.
        kind: What it is; empty where it is not registered.
        unit_id: Its unit, or empty.
        site_id: Its premises, or empty.
        state: Media comes (`live`), should and does not (`silent`), is not expected (`idle`), or not in use (`off`).
        act: What is being recorded, where a session says so.
        silent_since: Newest captured moment, where no media comes.
        lagging_since: Oldest moment not in the store, where that is later than `LAG_MS`.
        battery: Charge, per cent.
        charging: On mains or dock.
        space: Free part of the device's card, per cent.
        low: What of it is low: `battery`, `space`.
        counts: Open findings: critical, warning, info.
        trouble: The worst of them.
        rank: What comes first: its word; `Tile.key` orders.
    """

    recorder_id: str
    name: str
    kind: str
    unit_id: str
    site_id: str
    state: State
    act: str | None
    silent_since: int | None
    lagging_since: int | None
    battery: int | None
    charging: bool
    space: int | None
    low: tuple[str, ...]
    counts: tuple[int, int, int]
    trouble: Trouble | None
    rank: str

    @property
    def key(self) -> str:
        """Orders tiles, worst first, as text: what is wrong, since when, whose. Does not move while nothing changes."""
        since = self.trouble.began_at if self.trouble is not None else 0
        if self.rank in {"silent", "lagging"}:
            since = (self.lagging_since if self.rank == "lagging" else self.silent_since) or 0
        return f"{_RANK[self.rank]}{since:015d}{self.recorder_id}"


class Seen(NamedTuple):
    """A tile, and the time (ms) at which it has to be looked at again though nothing was heard."""

    tile: Tile
    again_at: int


def see(recorder: Recorder, now: int) -> Seen:
    """Return what the wall shows of a recorder now."""
    live = recorder.is_live(now)
    oldest = recorder.oldest_missing_at
    lagging = oldest is not None and now - oldest >= LAG_MS
    findings = list(recorder.findings.values())
    counts = tuple(sum(one.severity == severity for one in findings) for severity in _SEVERITIES)
    state = _state(recorder, live, findings)
    battery, space = _percent(recorder.battery_ratio), _percent(recorder.storage_free_ratio)
    low = _low(recorder)
    again_at = _NEVER
    if live and recorder.media_heard_at is not None:
        again_at = recorder.media_heard_at + LIVE_MS + 1
    if oldest is not None and not lagging:
        again_at = min(again_at, oldest + LAG_MS)
    tile = Tile(
        recorder_id=recorder.recorder_id,
        name=recorder.name or recorder.recorder_id,
        kind=recorder.kind,
        unit_id=recorder.unit_id,
        site_id=recorder.site_id,
        state=state,
        act=next((session.act for session in recorder.open_sessions if session.act), None),
        silent_since=None if state == "live" else recorder.media_at,
        lagging_since=oldest if lagging else None,
        battery=battery,
        charging=bool(recorder.charging),
        space=space,
        low=low,
        counts=counts,  # type: ignore[arg-type]
        trouble=_worst(findings),
        rank=_rank(counts, state, lagging, bool(low)),
    )
    return Seen(tile, again_at)


def _state(recorder: Recorder, live: bool, findings: list[OpenFinding]) -> State:
    if live:
        return "live"
    if any(one.kind in _SILENT_KINDS for one in findings):
        return "silent"
    if recorder.state != "active":
        return "off"
    recording = any(one.stopped_at is None and one.first_at is not None for one in recorder.open_sessions)
    return "silent" if recording or (recorder.continuous and recorder.media_at is not None) else "idle"


def _rank(counts: tuple[int, ...], state: State, lagging: bool, low: bool) -> str:
    critical, warning, info = counts
    marks = {
        "critical": critical,
        "silent": state == "silent",
        "warning": warning,
        "lagging": lagging,
        "low": low,
        "info": info,
    }
    return next((word for word, there in marks.items() if there), state)


def _worst(findings: list[OpenFinding]) -> Trouble | None:
    if not findings:
        return None
    one = min(findings, key=lambda each: (_SEVERITIES.index(each.severity), each.began_at, each.id))
    return Trouble(one.severity, one.kind, one.key, one.params, one.began_at, one.clauses)


def _low(recorder: Recorder) -> tuple[str, ...]:
    low = []
    if recorder.battery_ratio is not None and recorder.battery_ratio < LOW_BATTERY and not recorder.charging:
        low.append("battery")
    if recorder.storage_free_ratio is not None and recorder.storage_free_ratio < LOW_SPACE:
        low.append("space")
    return tuple(low)


def _percent(ratio: float | None) -> int | None:
    return None if ratio is None else int(ratio * 100)
