"""The timeline of a session: segments, files delivered later, findings, stops and explanations, in order of capture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, TypeVar, cast

import msgspec

from dashboards.problem import Missing
from dashboards.projection import Fleet
from dashboards.query import decode_cursor, encode_cursor
from dashboards.recorder import MarkKind
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.findings import Finding
from storage.catalog.catalog import Catalog
from storage.catalog.history import History
from storage.catalog.rows import ObjectRow, Page, SegmentRow, UploadRow
from storage.catalog.uploads import Uploads

PAGE = 500
Place = tuple[int, str, str]
T = TypeVar("T", bound=ObjectRow)

MAX_FINDINGS = 5_000
"""Findings of one session that are looked through; the newest count."""


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing on a timeline.

    Attributes:
        at: Where it begins, capture time.
        type: Which of the other fields is there; `stop`, `resume` and `explanation` have `event`.
        to: Where it ends, if it does.
        segment: A stored object of live footage.
        delivery: A file that was delivered later: when its footage was captured, as its sender said, and when it came.
        finding: A finding; a gap is one of kind `recording.gap`.
        event: The event, in its wire form.
    """

    at: Instant
    type: Literal["segment", "delivery", "finding", "stop", "resume", "explanation"]
    to: Instant | None = None
    segment: SegmentRow | None = None
    delivery: UploadRow | None = None
    finding: Finding | None = None
    event: dict[str, Any] | None = None

    @property
    def place(self) -> Place:
        """Unique order: by time, then type, then what it is."""
        if self.segment is not None:
            return int(self.at), self.type, self.segment.key
        if self.delivery is not None:
            return int(self.at), self.type, self.delivery.key
        if self.finding is not None:
            return int(self.at), self.type, self.finding.id
        return int(self.at), self.type, msgspec.json.encode(self.event, order="sorted").decode()


async def timeline(
    catalog: Catalog, fleet: Fleet, recorder_id: str, session_id: str, *, cursor: str | None, limit: int
) -> Page[Item]:
    """Return a page of a session's timeline.

    Raises:
        InvalidInput: `cursor` is not one of ours.
    """
    after: Place | None = None
    if cursor is not None:
        at, kind, name = decode_cursor(cursor, [int, str, str])
        after = int(at), str(kind), str(name)
    marks = await _marks(catalog, fleet, recorder_id, session_id)
    items = [*marks, *await _findings(catalog, recorder_id, session_id)]
    items = [item for item in items if after is None or item.place > after]
    since = None if after is None else Instant(after[0])
    wanted: dict[str, Any] = {"recorder_id": recorder_id, "session_id": session_id, "from_at": since}
    items += await _stored(partial(catalog.list_segments, **wanted), _segment, after, limit)
    items += await _stored(partial(Uploads(catalog).page, **wanted), _delivery, after, limit)
    items.sort(key=lambda item: item.place)
    more = len(items) > limit
    return Page(items[:limit], encode_cursor(list(items[limit - 1].place)) if more else None)


async def whose(catalog: Catalog, fleet: Fleet, session_id: str) -> set[str]:
    """Find the recorders that have a session of this name."""
    found = {name for name, recorder in fleet.recorders.items() if session_id in recorder.sessions}
    if not found:
        segments = await catalog.list_segments(session_id=session_id, limit=PAGE)
        deliveries = await Uploads(catalog).page(session_id=session_id, limit=PAGE)
        findings = await catalog.list_findings(session_id=session_id, limit=PAGE)
        found = {row.recorder_id for page in (segments, deliveries) for row in page.items}
        found |= {finding.recorder_id for finding in findings.items}
    return found


def only_one(found: set[str], session_id: str) -> str:
    """Return the recorder of a session, where it is one.

    Raises:
        InvalidInput: Several recorders have a session of this name; names the parameter that tells them apart.
        Missing: None has.
    """
    if len(found) > 1:
        raise InvalidInput(f"recorder: several have session {session_id}: {', '.join(sorted(found))}", "recorder")
    if not found:
        raise Missing(f"no session {session_id}")
    return next(iter(found))


async def _marks(catalog: Catalog, fleet: Fleet, recorder_id: str, session_id: str) -> list[Item]:
    """Return what was said of stops: what the catalogue has, and what is on its way there."""
    recorder = fleet.recorders.get(recorder_id)
    session = None if recorder is None else recorder.sessions.get(session_id)
    found = {row.body: (row.at, row.kind) for row in await History(catalog).marks(recorder_id, session_id=session_id)}
    found |= {mark.body.decode(): (Instant(mark.at), mark.kind) for mark in session.marks} if session else {}
    return [
        Item(at=at, type=cast("MarkKind", kind), event=msgspec.json.decode(body)) for body, (at, kind) in found.items()
    ]


async def _findings(catalog: Catalog, recorder_id: str, session_id: str) -> list[Item]:
    items: list[Item] = []
    cursor: str | None = None
    while len(items) < MAX_FINDINGS:
        page = await catalog.list_findings(recorder_id=recorder_id, session_id=session_id, cursor=cursor, limit=PAGE)
        items += [Item(at=f.began_at, type="finding", to=f.ended_at, finding=f) for f in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    return items


def _segment(row: SegmentRow) -> Item:
    return Item(at=row.from_at, type="segment", to=row.to_at, segment=row)


def _delivery(row: UploadRow) -> Item:
    return Item(at=row.from_at, type="delivery", to=row.to_at, delivery=row)


async def _stored(
    listing: Callable[..., Awaitable[Page[T]]], item: Callable[[T], Item], after: Place | None, limit: int
) -> list[Item]:
    """Return the first `limit` + 1 objects of a listing behind a place."""
    items: list[Item] = []
    cursor: str | None = None
    while len(items) <= limit:
        page = await listing(cursor=cursor, limit=PAGE)
        items += [one for one in map(item, page.items) if after is None or one.place > after]
        cursor = page.cursor
        if cursor is None:
            break
    return items
