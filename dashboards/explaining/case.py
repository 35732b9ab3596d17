"""One stop with all that was said of it, by whichever way: here, or from a device. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from dashboards.explaining.stops import Interruption, Told
from dashboards.people.rights import Place
from domain.clock import Instant
from domain.wire import encode
from policies.model import Policy
from storage.office.explanations import Explained

OTHER = "other"
_SETTLING_MS = 60_000
"""So long what was sent shows as sent while the detectors have not closed the finding yet."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody writes.

    Attributes:
        method: One of `methods`.
        cause: Of the policy's list, or `other`.
        text: In words.
        id: Of the draft that it continues; empty for a new one.
    """

    method: str
    cause: str
    text: str = ""
    id: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One stop, with all that was said of it.

    Attributes:
        stop: The stop.
        policy: The recorder's.
        place: Where, and whose, it was at the time.
        written: What was explained here, or elsewhere, oldest first.
        said: Explanations as the log has them.
    """

    stop: Interruption
    policy: Policy
    place: Place
    written: list[Explained]
    said: list[Told]


def methods(policy: Policy) -> list[str]:
    """Return how a stop may be explained afterwards under a policy; speech stands on the recording alone."""
    asked = [name for name in ("written", "work_record") if getattr(policy.explanation, name).asked.value]
    return asked or ["written"]


def settling(stop: Interruption, written: list[Explained], now: Instant) -> bool:
    """Tell whether something was sent that the detectors have not answered yet."""
    if stop.state not in ("overdue", "due", "awaiting"):
        return False
    newest = max((one.detected_at for one in stop.findings), default=Instant(0))
    counting = [one for one in written if one.state in ("sent", "approved") and stop.meant(one.stopped_at)]
    times = [int(one.reviewed_at or one.sent_at or 0) for one in counting]
    return any(at >= newest and now - at < _SETTLING_MS for at in times)


def elsewhere(said: list[Told], mine: list[Explained], stop: Interruption) -> list[Explained]:
    """Return the explanations that came another way, such as from a device, as they would stand here."""
    known = {(one.by, one.method, one.cause, one.text) for one in mine}
    listed: list[Explained] = []
    for one in said:
        event = one.event
        if (event.by, event.method, event.cause, event.text or "") in known:
            continue
        known.add((event.by, event.method, event.cause, event.text or ""))
        approved = any(
            each.event.approved_by and (each.event.by, each.event.cause) == (event.by, event.cause) for each in said
        )
        awaits = one.given.outcome == "awaiting" and not approved
        listed.append(
            Explained(
                id=hashlib.sha256(encode(event)).hexdigest()[:32],
                recorder_id=event.recorder_id,
                session_id=event.session_id,
                stopped_at=stop.stopped_at,
                state="awaiting" if awaits else "approved" if event.approved_by else "sent",
                method=event.method,
                cause=event.cause,
                text=event.text or "",
                by=event.by,
                written_at=event.at,
                sent_at=event.at,
                reviewed_by=event.approved_by,
                published_at=event.at,
            )
        )
    return listed
