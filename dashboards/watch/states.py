"""Who is well and who is not: a function of what was seen, look by look. Pure; `looking` does the looking.

A look is bad when nobody answered, when the answer said trouble, when it has not been ready for `after_s`, or when one
of its figures has stood for `after_s`: a process that answers and does not get on is as dead as one that is gone. Three
bad looks running make it ill, two good ones well again: one lost look is no alarm, and a lucky one no all-clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from domain.clock import Instant

BAD_LOOKS = 3
GOOD_LOOKS = 2
MAX_FIGURES = 64
"""Of one target; what comes beyond is not looked at."""

Fault = Literal["", "silent", "trouble", "unready", "standing"]
Condition = Literal["unknown", "well", "ill"]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a target at a moment.

    Attributes:
        at: Wall time, for people.
        now_s: Time that never goes back, for durations.
        fault: `silent`, nobody answered; `trouble`, it said so itself; else empty.
        detail: What it said, or what became of asking.
        unready: Why it cannot serve yet, as it says; empty when it can.
        life: When it was started, as it says: figures of another life say nothing.
        figures: What must move on as long as it lives, by name.
    """

    at: Instant
    now_s: float
    fault: Fault = ""
    detail: str = ""
    unready: str = ""
    life: float = 0.0
    figures: Mapping[str, float] = {}


class Moved(msgspec.Struct, frozen=True):
    """A figure, and when it was last seen to have changed.

    Attributes:
        value: The figure.
        at: Wall time.
        s: On the clock of `Look.now_s`.
    """

    value: float
    at: Instant
    s: float


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a target.

    Attributes:
        condition: Well, ill, or not known yet.
        fault: What it is or was ill of; empty when well.
        detail: More of it, for people.
        since: From when on it has been ill.
        seen_at: When it last answered.
        bad: Bad looks running.
        good: Good looks running.
        bad_since: When the first of these bad looks was.
        unready_at: Since when it has not been ready, and
        unready_s: the same on the other clock.
        life: Of the process that was seen last.
        moved: Its figures.
    """

    condition: Condition = "unknown"
    fault: Fault = ""
    detail: str = ""
    since: Instant | None = None
    seen_at: Instant | None = None
    bad: int = 0
    good: int = 0
    bad_since: Instant | None = None
    unready_at: Instant | None = None
    unready_s: float = 0.0
    life: float = 0.0
    moved: Mapping[str, Moved] = {}


def step(state: State, look: Look, after_s: float) -> State:
    """Take a look into account.

    Args:
        state: What was known.
        look: What was seen.
        after_s: Not ready or not moving for so long is bad.
    """
    state = _noted(state, look)
    fault, detail, since = _judged(state, look, after_s)
    if not fault and state.condition == "ill" and look.unready:
        return msgspec.structs.replace(state, bad=0, good=0, bad_since=None)  # it is back, and not yet well
    if not fault:
        return _good(state)
    began = state.bad_since or since
    state = msgspec.structs.replace(state, bad=state.bad + 1, good=0, bad_since=began)
    if state.condition == "ill":
        return msgspec.structs.replace(state, fault=fault, detail=detail)
    if state.bad < BAD_LOOKS:
        return state
    return msgspec.structs.replace(state, condition="ill", fault=fault, detail=detail, since=began)


def _good(state: State) -> State:
    state = msgspec.structs.replace(state, good=state.good + 1, bad=0, bad_since=None)
    if state.condition == "well" or (state.condition == "ill" and state.good < GOOD_LOOKS):
        return state
    return msgspec.structs.replace(state, condition="well", fault="", detail="", since=None)


def _noted(state: State, look: Look) -> State:
    """Note what an answer says; silence says nothing, and figures go on standing through it."""
    if look.fault == "silent":
        return state
    old = state.moved if look.life == state.life else {}
    names = sorted(old.keys() | look.figures.keys())[:MAX_FIGURES]
    moved = {name: _moved(old.get(name), look.figures.get(name), look) for name in names}
    is_new = state.unready_at is None
    return msgspec.structs.replace(
        state,
        seen_at=look.at,
        life=look.life,
        moved=moved,
        unready_at=(look.at if is_new else state.unready_at) if look.unready else None,
        unready_s=(look.now_s if is_new else state.unready_s) if look.unready else 0.0,
    )


def _moved(old: Moved | None, value: float | None, look: Look) -> Moved:
    """Tell when a figure moved last; one that is no longer given does not move."""
    if old is not None and value in {None, old.value}:
        return old
    return Moved(0.0 if value is None else value, look.at, look.now_s)


def _judged(state: State, look: Look, after_s: float) -> tuple[Fault, str, Instant]:
    """Say what is wrong, and since when; no fault when nothing is."""
    if look.fault:
        return look.fault, look.detail, look.at
    if state.unready_at is not None and look.now_s - state.unready_s >= after_s:
        return "unready", look.unready, state.unready_at
    standing = {name: one for name, one in state.moved.items() if look.now_s - one.s >= after_s}
    if standing:
        return "standing", ", ".join(standing), min(one.at for one in standing.values())
    return "", "", look.at


def restored(state: State) -> State:
    """Return what goes on into another life of the watch: what was ill is ill until it is seen to be well."""
    return State(condition=state.condition, fault=state.fault, detail=state.detail, since=state.since)
