"""`integrity.broken`: a check found stored evidence not as it was written. It never closes by itself.

Each object is one finding, however often a check finds it so; another fault of the same object updates it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step, finding
from domain.events import AnyEvent, Integrity
from domain.findings import Finding, Status

MAX_KEYS = 1024
"""Objects remembered per recorder; beyond it the oldest is forgotten, and would be said anew."""


class Broken(msgspec.Struct, frozen=True, array_like=True):
    """One object.

    Attributes:
        began: When it was found first.
        faults: What was found, in order.
    """

    began: int
    faults: tuple[str, ...]


class State(msgspec.Struct, frozen=True):
    """State of the detector: objects by key, oldest first."""

    objects: dict[str, Broken] = {}


class IntegrityBroken:
    """The detector."""

    name = "integrity.broken/1"
    wants = frozenset[type[AnyEvent]]({Integrity})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event."""
        before: State = state
        if not isinstance(event, Integrity):
            return Step(before)
        known = before.objects.get(event.key)
        if known is not None and event.fault in known.faults:
            return Step(before)
        broken = (
            Broken(int(event.at), (event.fault,))
            if known is None
            else Broken(known.began, (*known.faults, event.fault))
        )
        objects = {**before.objects, event.key: broken}
        while len(objects) > MAX_KEYS:
            del objects[next(iter(objects))]
        said = _finding(event.key, broken, "opened" if known is None else "updated", context)
        return Step(State(objects), (said,))


def _finding(key: str, broken: Broken, status: Status, context: Context) -> Finding:
    return finding(
        context,
        "integrity.broken",
        status,
        began_at=broken.began,
        session_id=None,
        subject=key,
        severity="critical",
        cause=broken.faults[-1],
        evidence={"key": key, "fault": broken.faults[-1], "faults": list(broken.faults)},
    )
