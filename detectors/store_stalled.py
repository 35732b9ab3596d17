"""`store.stalled`: a fragment is not in the store `store_after_ms` after it arrived.

A session's fragments wait, each with its arrival, until a stored segment or delivered footage covers their capture
times. The finding closes when the oldest that waits is younger than half of that time, so that a store which is
always just too slow does not flicker.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.contract import Context, Step, finding, seconds, text
from detectors.footage import JOIN_MS, Pieces, add, bounded, length, remove
from domain.clock import ms
from domain.events import AnyEvent, Backfilled, Fragment, SegmentStored
from domain.findings import Finding, Status

MAX_SESSIONS = 64
"""Sessions with fragments that wait; beyond it the one unused for longest is forgotten, without a finding first."""


class Queue(msgspec.Struct, frozen=True, array_like=True):
    """What waits of one session.

    Attributes:
        waiting: Fragments, by capture time.
        slack: Longest remnant that counts as nothing.
        began: Arrival of the fragment that the open finding is about; 0 for none.
        used: `now` of the latest change.
        oldest: Arrival of the oldest that waits; 0 for none.
    """

    waiting: Pieces = ()
    slack: int = JOIN_MS
    began: int = 0
    used: int = 0
    oldest: int = 0


class State(msgspec.Struct, frozen=True):
    """State of the detector: what waits, by session."""

    queues: dict[str, Queue] = {}


class StoreStalled:
    """The detector."""

    name = "store.stalled/1"
    wants = frozenset[type[AnyEvent]]({Fragment, SegmentStored, Backfilled})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        before: State = state
        queues = before.queues
        if isinstance(event, Fragment):
            if not context.is_late(event):
                queues = _with(queues, event.session_id, _arrived(queues.get(event.session_id) or Queue(), event))
        elif isinstance(event, SegmentStored | Backfilled):
            known = queues.get(event.session_id)
            if known is not None:
                waiting = remove(known.waiting, int(event.from_), int(event.to), known.slack)
                queues = _with(queues, event.session_id, _left(known, waiting))
        findings: list[Finding] = []
        queues, wake_at = _judged(queues, int(event.at), context, findings)
        return Step(before if queues is before.queues else State(queues), findings, wake_at)


def _arrived(queue: Queue, event: Fragment) -> Queue:
    end = event.captured_at + ms(event.duration_s)
    waiting = add(queue.waiting, int(event.captured_at), end, int(event.at), apart=True)
    waiting, slack = bounded(waiting, queue.slack)
    oldest = min(queue.oldest, int(event.at)) if queue.oldest else int(event.at)
    return Queue(waiting, slack, queue.began, int(event.at), oldest if waiting else 0)


def _left(queue: Queue, waiting: Pieces) -> Queue:
    oldest = min((one.at for one in waiting), default=0)
    return Queue(waiting, queue.slack, queue.began, queue.used, oldest)


def _with(queues: dict[str, Queue], session_id: str, queue: Queue) -> dict[str, Queue]:
    kept = {**queues, session_id: queue}
    if len(kept) > MAX_SESSIONS:
        del kept[min(kept, key=lambda name: (bool(kept[name].began), kept[name].used, name))]
    return kept


def _judged(
    queues: dict[str, Queue], at: int, context: Context, findings: list[Finding]
) -> tuple[dict[str, Queue], int | None]:
    after, wake_at = context.thresholds.store_after_ms, None
    for session_id, queue in list(queues.items()):
        oldest = queue.oldest
        changed = queue
        if queue.began and (not oldest or oldest + after // 2 > context.now):
            findings.append(_finding(session_id, queue, "closed", context, at))
            changed = msgspec.structs.replace(queue, began=0)
        elif not queue.began and oldest and oldest + after <= context.now:
            changed = msgspec.structs.replace(queue, began=oldest)
            findings.append(_finding(session_id, changed, "opened", context, None))
        elif not queue.began and oldest:
            wake_at = oldest + after if wake_at is None else min(wake_at, oldest + after)
        if not changed.waiting and not changed.began:
            queues = {name: one for name, one in queues.items() if name != session_id}
        elif changed is not queue:
            queues = {**queues, session_id: changed}
    return queues, wake_at


def _finding(session_id: str, queue: Queue, status: Status, context: Context, ended_at: int | None) -> Finding:
    waiting = queue.waiting
    return finding(
        context,
        "store.stalled",
        status,
        began_at=queue.began,
        ended_at=ended_at,
        session_id=session_id,
        evidence={
            "arrived_at": text(queue.began),
            "waiting_s": seconds((context.now if ended_at is None else ended_at) - queue.began),
            "pending_s": seconds(length(waiting)),
            "from": text(waiting[0].low) if waiting else None,
            "to": text(waiting[-1].high) if waiting else None,
        },
        severity="warning",
    )
