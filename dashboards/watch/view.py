"""What is said of those who are watched, on the wire between `liuhen watch` and the consoles, and to people."""

from __future__ import annotations

from typing import Literal

import msgspec

from dashboards.watch.states import Condition, Fault, State
from dashboards.watch.targets import Kind, Target
from domain.clock import Instant


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """One that is watched.

    Attributes:
        name: As the setting names it.
        kind: `liuhen`, `prometheus`, `alertmanager`, or `alerts`, the way of an alert.
        condition: `well`, `ill`, or `unknown` at first.
        fault: `silent`, `trouble`, `unready`, or `standing`; empty when well.
        detail: More of it.
        since: From when on it has been ill.
        seen_at: When it last answered.
    """

    name: str
    kind: Kind
    condition: Condition
    fault: Fault = ""
    detail: str = ""
    since: Instant | None = None
    seen_at: Instant | None = None


class WatchView(msgspec.Struct, frozen=True, kw_only=True):
    """All of them.

    Attributes:
        by: Who says so: `watch`, a process of its own; `self`, where none is set, so that a dead process says nothing.
        at: When they were last looked at; None before the first time.
        every_s: How often they are.
        targets: Each.
        away: Why the watch itself says nothing; empty when it does. `targets` are then those it last told of.
        away_since: Since when.
        telling: Why the watch could not tell people on its own way; empty when it could, or none is set.
    """

    by: Literal["watch", "self"] = "watch"
    at: Instant | None = None
    every_s: float = 10.0
    targets: tuple[Watched, ...] = ()
    away: str = ""
    away_since: Instant | None = None
    telling: str = ""

    @property
    def ill(self) -> tuple[Watched, ...]:
        """Those that are not well, the longest first."""
        found = [target for target in self.targets if target.condition == "ill"]
        return tuple(sorted(found, key=lambda target: (target.since or Instant(0), target.name)))

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to say."""
        return not self.away and not self.ill and not self.telling


def watched(target: Target, state: State) -> Watched:
    """Say what is known of one."""
    return Watched(
        name=target.name,
        kind=target.kind,
        condition=state.condition,
        fault=state.fault,
        detail=state.detail,
        since=state.since,
        seen_at=state.seen_at,
    )
