"""The figures of supervision, from rows. Pure; each figure's definition and article stand in `DEFINITIONS`.

Gansu 第七条 and Wucheng W-AV 第三十一条 ask for statistics that show weak points; what is counted follows from what the
other articles ask to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Literal

import msgspec

from domain.clock import Instant
from domain.findings import Finding

By = Literal["unit", "kind", "policy", "recorder"]
BYS: tuple[By, ...] = ("unit", "kind", "policy", "recorder")
NEAR_MS = 2_000
"""A stop and the gap that it left begin within this of each other."""
OF_THE_LINE = frozenset({"network", "server", "unknown", "", "clock", "maintenance"})
"""Causes of gaps that are no stop of the recording: the device may have recorded on."""

DEFINITIONS: dict[str, tuple[str, ...]] = {
    "sessions": ("甘肃第七条", "重庆第七条", "W-AV 第三十一条"),
    "hours": ("甘肃第七条", "重庆第七条", "W-AV 第三十一条"),
    "completeness": ("甘肃第十八条", "重庆第十一条", "W-AV 第十二条", "W-AV 第十八条", "Z-AV 第八条"),
    "gaps": ("甘肃第十九条", "W-AV 第十八条", "Z-AV 第十二条"),
    "stops": ("甘肃第十九条", "重庆第十三条", "W-AV 第十八条", "Z-AV 第十二条"),
    "uploads": ("甘肃第二十二条", "重庆第二十一条", "W-AV 第二十三条", "Z-AV 第十三条"),
    "alerts": ("W-NS 第二十一条",),
    "equipment": ("甘肃第六条", "W-AV 第五条"),
    "prechecks": ("W-AV 第十条", "W-AV 第十四条", "Z-AV 第七条"),
    "cameras": ("W-NS 第五条", "W-NS 第十二条"),
}
"""Articles that each figure follows from; how it is counted stands in the texts, under `define_` and its name."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """A recorder, as far as figures go."""

    recorder_id: str
    unit_id: str = ""
    kind: str = ""
    policy: str = ""

    def group(self, by: By) -> str:
        """Return the group that it belongs to."""
        names = {"unit": self.unit_id, "kind": self.kind, "policy": self.policy, "recorder": self.recorder_id}
        return names[by]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session, with what is stored of it within the time that is looked at.

    Attributes:
        recorder_id: Whose.
        session_id: Its id.
        opened_at: When it began.
        completed_at: When recording was completed; None while it is open.
        store_by: By when it had to be stored; None where the policy has no such time.
    """

    recorder_id: str
    session_id: str
    opened_at: Instant
    completed_at: Instant | None = None
    store_by: Instant | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a session within the time that is looked at, milliseconds."""

    recorder_id: str
    session_id: str
    recorded_ms: int


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An alert."""

    unit_id: str
    opened_at: Instant
    members: tuple[str, ...] = ()
    acknowledged_at: Instant | None = None
    resolved_at: Instant | None = None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A check before use."""

    recorder_id: str
    passed: bool


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the figures of a time rest on.

    Attributes:
        owners: Recorders that are looked at, by id; rows of others are passed over.
        sessions: Opened in the time.
        stored: What is stored of the time.
        findings: Of kinds `recording.gap`, `recording.unexplained_stop` and `upload.overdue`, begun in the time.
        alerts: Opened in the time.
        checks: Before use, in the time.
        in_use: Recorders of officers that are in use, by unit.
        officers: Officers with an account, by unit.
        cameras: Cameras on premises: recorder id and state.
    """

    owners: dict[str, Owner]
    sessions: Sequence[Session] = ()
    stored: Sequence[Stored] = ()
    findings: Sequence[Finding] = ()
    alerts: Sequence[Answered] = ()
    checks: Sequence[Checked] = ()
    in_use: dict[str, int] = {}
    officers: dict[str, int] = {}
    cameras: Sequence[tuple[str, str]] = ()


class Cause(msgspec.Struct, kw_only=True):
    """Gaps of one cause."""

    count: int = 0
    seconds: float = 0.0
    filled: int = 0


class Figures(msgspec.Struct, kw_only=True):
    """The figures of one group.

    Attributes:
        name: Of the group; empty where it has none, and for the whole.
        sessions: Opened in the time.
        recorded_s: Stored, of the time.
        missing_s: In gaps that nothing has filled.
        gaps: By cause.
        stops: Interruptions in which the device did not record, or may not have.
        explained_in_time: Of them; or their time is not over yet.
        explained_late: Of them.
        awaiting_review: Of them.
        unexplained: Of them: the time is over.
        stored_in_time: Of the sessions completed in the time.
        stored_late: Of them.
        not_stored: Of them: the time is over, and something is missing still.
        not_due: Of them: the time is not over yet.
        no_deadline: Of them: the policy has no figure.
        alerts: Opened in the time.
        acknowledged: Of them.
        response_s: Seconds to their acknowledgement, each.
        checks: Before use.
        checks_failed: Of them.
        in_use: Recorders of officers; None where the group has no officers of its own.
        officers: Officers; None likewise.
        cameras: On premises, by state.
    """

    name: str = ""
    sessions: int = 0
    recorded_s: float = 0.0
    missing_s: float = 0.0
    gaps: dict[str, Cause] = msgspec.field(default_factory=dict)
    stops: int = 0
    explained_in_time: int = 0
    explained_late: int = 0
    awaiting_review: int = 0
    unexplained: int = 0
    stored_in_time: int = 0
    stored_late: int = 0
    not_stored: int = 0
    not_due: int = 0
    no_deadline: int = 0
    alerts: int = 0
    acknowledged: int = 0
    response_s: list[float] = msgspec.field(default_factory=list)
    checks: int = 0
    checks_failed: int = 0
    in_use: int | None = None
    officers: int | None = None
    cameras: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def completeness(self) -> float | None:
        """What is stored, of that and what is missing; None where there is neither."""
        whole = self.recorded_s + self.missing_s
        return self.recorded_s / whole if whole else None

    @property
    def explained_ratio(self) -> float | None:
        """Stops that were explained, in time or late, of all."""
        return (self.explained_in_time + self.explained_late) / self.stops if self.stops else None

    @property
    def median_response_s(self) -> float | None:
        """Half of the acknowledged alerts were acknowledged within this."""
        return median(self.response_s) if self.response_s else None

    @property
    def per_officer(self) -> float | None:
        """Recorders in use for each officer."""
        return self.in_use / self.officers if self.in_use is not None and self.officers else None


def figures(world: World, by: By, now: Instant) -> list[Figures]:
    """Return the whole first, then each group by name.

    Args:
        world: What they rest on.
        by: How to group.
        now: The time, for what is not due yet.
    """
    groups: dict[str, Figures] = {}
    whole = Figures()

    def to(recorder_id: str) -> list[Figures]:
        owner = world.owners.get(recorder_id)
        if owner is None:
            return []
        name = owner.group(by)
        return [whole, groups.setdefault(name, Figures(name=name))]

    _recordings(world, to)
    _stops(world.findings, to)
    _uploads(world, now, to)
    _others(world, to)
    _equipment(world, by, whole, groups)
    return [whole, *(groups[name] for name in sorted(groups))]


To = Callable[[str], list[Figures]]


def _recordings(world: World, to: To) -> None:
    for session in world.sessions:
        for group in to(session.recorder_id):
            group.sessions += 1
    for stored in world.stored:
        for group in to(stored.recorder_id):
            group.recorded_s += stored.recorded_ms / 1000
    for one in world.findings:
        if one.kind != "recording.gap":
            continue
        missing_s = float(_number(one.evidence.get("seconds")))
        filled = one.status == "closed"
        for group in to(one.recorder_id):
            cause = group.gaps.setdefault(one.cause or "unknown", Cause())
            cause.count += 1
            cause.seconds += missing_s
            cause.filled += filled
            group.missing_s += 0.0 if filled else missing_s


def _stops(found: Iterable[Finding], to: To) -> None:
    """Count stops: those whose explanation was asked for, and gaps of other recording causes, which were explained."""
    said: dict[tuple[str, str | None], list[Finding]] = {}
    gaps: list[Finding] = []
    for one in found:
        if one.kind == "recording.unexplained_stop":
            said.setdefault((one.recorder_id, one.session_id), []).append(one)
        elif one.kind == "recording.gap" and (one.cause or "") not in OF_THE_LINE:
            gaps.append(one)
    for asked in said.values():
        for moment in {int(one.began_at) for one in asked}:
            _count_stop([one for one in asked if one.began_at == moment], to)
    for gap in gaps:
        asked = said.get((gap.recorder_id, gap.session_id), [])
        if any(abs(one.began_at - gap.began_at) <= NEAR_MS for one in asked):
            continue
        for group in to(gap.recorder_id):
            group.stops += 1
            group.explained_in_time += 1


def _count_stop(asked: list[Finding], to: To) -> None:
    worst = min(asked, key=lambda one: (one.status == "closed", one.evidence.get("state") == "awaiting_review"))
    for group in to(worst.recorder_id):
        group.stops += 1
        if worst.status != "closed":
            waits = worst.evidence.get("state") == "awaiting_review"
            group.awaiting_review += waits
            group.unexplained += not waits
        elif max(_number(one.evidence.get("late_s")) for one in asked) > 0:
            group.explained_late += 1
        else:
            group.explained_in_time += 1


def _uploads(world: World, now: Instant, to: To) -> None:
    overdue: dict[tuple[str, str | None], bool] = {}
    for one in world.findings:
        if one.kind == "upload.overdue":
            key = (one.recorder_id, one.session_id)
            overdue[key] = overdue.get(key, False) or one.status != "closed"
    for session in world.sessions:
        if session.completed_at is None:
            continue
        missing = overdue.get((session.recorder_id, session.session_id))
        for group in to(session.recorder_id):
            if missing is not None:
                group.not_stored += missing
                group.stored_late += not missing
            elif session.store_by is None:
                group.no_deadline += 1
            elif session.store_by > now:
                group.not_due += 1
            else:
                group.stored_in_time += 1


def _others(world: World, to: To) -> None:
    for alert in world.alerts:
        for group in to(alert.members[0]) if alert.members else ():
            group.alerts += 1
            if alert.acknowledged_at is not None:
                group.acknowledged += 1
                group.response_s.append((alert.acknowledged_at - alert.opened_at) / 1000)
    for check in world.checks:
        for group in to(check.recorder_id):
            group.checks += 1
            group.checks_failed += not check.passed
    for recorder_id, state in world.cameras:
        for group in to(recorder_id):
            group.cameras[state] = group.cameras.get(state, 0) + 1


def _equipment(world: World, by: By, whole: Figures, groups: dict[str, Figures]) -> None:
    whole.in_use, whole.officers = sum(world.in_use.values()), sum(world.officers.values())
    if by != "unit":
        return
    for unit in world.in_use.keys() | world.officers.keys():
        group = groups.setdefault(unit, Figures(name=unit))
        group.in_use, group.officers = world.in_use.get(unit, 0), world.officers.get(unit, 0)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
