"""The class that counts for a session, from everything that was decided about it. Pure.

A later decision counts, if it is as strong as the strongest so far (unknown < ordinary < evidence < long-term). A
weaker one needs the number of a signed decision; without it nothing changes, and it is named as refused. `unknown` may
always be said again: what is not settled is not deleted, but it opens no way round this rule.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain.clock import Instant
from domain.events import RetentionClass
from storage.catalog.rows import DecisionRow

STRENGTH: dict[RetentionClass, int] = {"unknown": 0, "ordinary": 1, "evidence": 2, "long_term": 3}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What counts.

    Attributes:
        retention_class: The class.
        strongest: The strongest class since the last signed decision.
        by: Who decided it; empty while nobody has.
        reason: Why.
        document: Of the last signed decision.
        case: The case the session belongs to, where one was named.
        case_open: That case is not closed.
        closed_at: When it was closed.
        keep_until: End of the case file's period; the latest ever named.
        refused: Ids of decisions that were too weak to count.
    """

    retention_class: RetentionClass = "unknown"
    strongest: RetentionClass = "unknown"
    by: str = ""
    reason: str = ""
    document: str | None = None
    case: str | None = None
    case_open: bool = False
    closed_at: Instant | None = None
    keep_until: Instant | None = None
    refused: tuple[str, ...] = ()


UNSETTLED = Standing()


def standing(decisions: Iterable[DecisionRow]) -> Standing:
    """Fold the decisions about one session, in order of their times."""
    known = UNSETTLED
    for one in sorted(decisions, key=lambda row: (row.at, row.id)):
        known = _next(known, one)
    return known


def _next(known: Standing, one: DecisionRow) -> Standing:
    wanted = one.retention_class
    if wanted != "unknown" and not one.document and STRENGTH[wanted] < STRENGTH[known.strongest]:
        return msgspec.structs.replace(known, refused=(*known.refused, one.id))
    decided = msgspec.structs.replace(
        known,
        retention_class=wanted,
        strongest=known.strongest if wanted == "unknown" else wanted,
        by=one.by,
        reason=one.reason,
        document=one.document or known.document,
        keep_until=_latest(known.keep_until, one.keep_until),
    )
    if one.case is None:
        return decided
    return msgspec.structs.replace(
        decided, case=one.case, case_open=one.closed_at is None, closed_at=_latest(known.closed_at, one.closed_at)
    )


def _latest(known: Instant | None, new: Instant | None) -> Instant | None:
    if known is None or new is None:
        return new if known is None else known
    return max(known, new)
