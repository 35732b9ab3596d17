"""What happens to a fleet while it is watched: the same for every console that is measured.

All recorders send a fragment every two seconds and a segment every minute, which nobody sees on a wall; twice a second
one of them gets a finding, which everybody must see. Each such change is printed with the time as a line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from dashboards.projection import Change, Fleet
from domain.bus import Record
from domain.clock import Instant, SystemClock
from domain.events import Event, Fragment, SegmentStored, SessionOpened, Telemetry
from domain.findings import Finding, Message
from domain.registry import Registration
from domain.wire import encode

FRAGMENT_S = 2.0
SEGMENT_S = 60
CHANGE_S = 0.5
_TICKS = 20
_SHA = "0" * 64


class Story:
    """See the module.

    Args:
        fleet: Is told all of it.
        on_changes: Told what changed, as the projector tells it.
        recorders: How many there are.
    """

    def __init__(self, fleet: Fleet, on_changes: Callable[[Sequence[Change]], None], recorders: int) -> None:
        self._fleet, self._on_changes = fleet, on_changes
        self._names = [f"rec-{number:04}" for number in range(recorders)]
        self._clock = SystemClock()
        self._offsets = itertools.count()
        self._began: dict[str, Instant] = {}

    def begin(self) -> None:
        """Register everybody, and let them record."""
        now = self._clock.now()
        for number, name in enumerate(self._names):
            unit, site = f"执法{number % 12 + 1}队", f"场所 {number % 150}"
            self._began[name] = now
            ids: dict[str, Any] = {"recorder_id": name, "kind": "body_worn", "policy": "wucheng"}
            self._say(
                Registration(name=f"记录仪 {number}", unit_id=unit, site_id=site, **ids),
                SessionOpened(at=now, recorder_id=name, session_id="s1"),
                Telemetry(at=now, recorder_id=name, device_at=now, battery_percent=90),
            )
        for tick in range(_TICKS):
            self._fragments(tick)

    async def run(self) -> None:
        """Go on until cancelled."""
        loop, start = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        for turn in itertools.count():
            await asyncio.sleep(max(0.0, start + turn * FRAGMENT_S / _TICKS - loop.time()))
            self._fragments(turn % _TICKS)
            if turn % round(CHANGE_S * _TICKS / FRAGMENT_S) == 0:
                self._change(turn)
            if turn % (SEGMENT_S * _TICKS // FRAGMENT_S // 10) == 0:
                self._store(turn)

    def _fragments(self, tick: int) -> None:
        now = self._clock.now()
        for name in self._names[tick::_TICKS]:
            ids: dict[str, Any] = {"recorder_id": name, "session_id": "s1", "feed_id": "f1"}
            seq = (now - self._began[name]) // round(FRAGMENT_S * 1000)
            media: dict[str, Any] = {"duration_s": FRAGMENT_S, "bytes": 500_000, "sha256": _SHA, "codec": "h264"}
            self._say(Fragment(at=now, captured_at=now.plus(-2000), seq=seq, **ids, **media))

    def _store(self, turn: int) -> None:
        now = self._clock.now()
        for name in self._names[turn % 10 :: 10]:
            self._say(
                SegmentStored(
                    at=now, recorder_id=name, session_id="s1", from_=self._began[name], to=now.plus(-1000), key="k",
                    version_id="", sha256=_SHA, bytes=1,
                )
            )  # fmt: skip

    def _change(self, turn: int) -> None:
        name = self._names[(turn * 37) % len(self._names)]
        now = self._clock.now()
        said: dict[str, Any] = {"id": f"{turn:032x}", "kind": "clock.drift", "status": "opened", "severity": "warning"}
        when: dict[str, Any] = {"began_at": now, "detected_at": now, "evidence": {}, "clauses": []}
        message = Message(key="clock.drift", params={"offset_s": 3.0})
        self._say(Finding(recorder_id=name, message=message, **said, **when))
        sys.stdout.write(json.dumps({"changed": name, "at": time.time()}) + "\n")
        sys.stdout.flush()

    def _say(self, *what: Event | Finding | Registration) -> None:
        changes = []
        for each in what:
            topic = (
                "findings" if isinstance(each, Finding) else "registry" if isinstance(each, Registration) else "events"
            )
            record = Record(topic, 0, next(self._offsets), None, encode(each), {}, self._clock.now())
            change = self._fleet.apply(record)
            if change is not None:
                changes.append(change)
        self._on_changes(changes)
