"""Everything of a recorder's day, or of a span of a session, gathered for one timeline.

Footage, findings, marks, readings and holds come from the catalogue; what has not reached it yet from the fleet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from dashboards.days.track import Hole, Stretch, holes, joined
from dashboards.parts import Parts
from dashboards.readings import SLOT_MS
from dashboards.recorder import Recorder
from dashboards.words import Words
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.findings import Finding
from policies.deadlines import Deadline, store_by
from policies.values import Approval
from storage.catalog.history import History, Reading
from storage.catalog.register import Register
from storage.catalog.rows import Page, SessionRow
from storage.catalog.uploads import Uploads

PAGE = 1000
MAX_FINDINGS = 500
MAX_SESSIONS = 200
LOOK_BACK = 20
"""Sessions in a row that ended before the span; then none is looked for any further."""


class Rule(msgspec.Struct, frozen=True):
    """An article, and what it asks, in plain words."""

    clause: str
    text: str


class Found(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A finding, said.

    Attributes:
        id: Its id.
        kind: What was found.
        severity: How bad.
        open: It still is.
        from_: First sign.
        to: End; None while it is open.
        session_id: Of which session.
        text: In words.
        cause: Why, in words, where that can be told.
        rules: What it rests on.
    """

    id: str
    kind: str
    severity: str
    open: bool
    from_: Instant
    to: Instant | None
    session_id: str | None
    text: str
    cause: str
    rules: list[Rule]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A stop, a resumption or an explanation, said."""

    at: Instant
    kind: str
    session_id: str
    text: str


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """A session of the span.

    Attributes:
        session_id: Its id.
        opened_at: When it was opened.
        completed_at: When recording was completed; None while it goes on.
        act: Procedure being recorded.
        store_by: Until when all of it must be in the store; None where no time runs.
        overdue: That time is over, and it is not all in.
    """

    session_id: str
    opened_at: Instant
    completed_at: Instant | None
    act: str | None
    store_by: Instant | None
    overdue: bool


class Delivered(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A file that was delivered later."""

    from_: Instant
    to: Instant
    session_id: str
    delivered_at: Instant
    bytes: int


class Kept(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A hold; without a span, of the whole session."""

    from_: Instant | None
    to: Instant | None
    session_id: str | None
    by: str
    reason: str
    at: Instant


class Day(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """All of it.

    Attributes:
        recorder_id: Whose.
        name: What people call it.
        from_: Start of the span.
        to: End of the span.
        now: The time.
        stretches: Footage.
        holes: What is missing inside sessions.
        sessions: Sessions.
        findings: Findings, at most `MAX_FINDINGS`, the oldest of the span first.
        said: Stops, resumptions, explanations.
        readings: How the device was.
        delivered: Files that came later.
        holds: Holds.
    """

    recorder_id: str
    name: str
    from_: Instant
    to: Instant
    now: Instant
    stretches: list[Stretch]
    holes: list[Hole]
    sessions: list[Took]
    findings: list[Found]
    said: list[Said]
    readings: list[Reading]
    delivered: list[Delivered]
    holds: list[Kept]


class Span(msgspec.Struct, frozen=True):
    """What is asked for: a recorder, from when to when, of one session or of all."""

    recorder_id: str
    start: Instant
    end: Instant
    session_id: str | None = None

    def meets(self, start: Instant, end: Instant | None) -> bool:
        """Tell whether a span meets it."""
        return start < self.end and (end is None or end > self.start)

    def means(self, session_id: str | None) -> bool:
        """Tell whether a session is meant."""
        return self.session_id is None or session_id in (None, self.session_id)


async def gather(parts: Parts, span: Span, w: Words) -> Day:
    """Gather it.

    Raises:
        CatalogUnavailable: It cannot be told.
    """
    recorder = parts.fleet.recorders.get(span.recorder_id)
    delivered = await _delivered(parts, span)
    stretches = joined([*await _stored(parts, span), *_from(delivered), *_pending(recorder, span)])
    return Day(
        recorder_id=span.recorder_id,
        name=(recorder.name if recorder else "") or span.recorder_id,
        from_=span.start,
        to=span.end,
        now=parts.clock.now(),
        stretches=stretches,
        holes=holes(stretches),
        sessions=await _sessions(parts, span, recorder),
        findings=await _findings(parts, span, recorder, w),
        said=await _said(parts, span, recorder, w),
        readings=await _readings(parts, span, recorder),
        delivered=delivered,
        holds=await _holds(parts, span),
    )


async def _stored(parts: Parts, span: Span) -> list[Stretch]:
    async def ask(cursor: str | None) -> Page[Any]:
        return await parts.catalog.list_segments(
            recorder_id=span.recorder_id,
            session_id=span.session_id,
            from_at=span.start,
            to_at=span.end,
            cursor=cursor,
            limit=PAGE,
        )

    return [
        Stretch(from_=row.from_at, to=row.to_at, session_id=row.session_id, how="stored") async for row in _all(ask)
    ]


async def _delivered(parts: Parts, span: Span) -> list[Delivered]:
    uploads = Uploads(parts.catalog)

    async def ask(cursor: str | None) -> Page[Any]:
        return await uploads.page(
            recorder_id=span.recorder_id,
            session_id=span.session_id,
            from_at=span.start,
            to_at=span.end,
            cursor=cursor,
            limit=PAGE,
        )

    return [
        Delivered(
            from_=row.from_at,
            to=row.to_at,
            session_id=row.session_id,
            delivered_at=row.delivered_at,
            bytes=row.bytes,
        )
        async for row in _all(ask)
    ]


def _from(delivered: list[Delivered]) -> list[Stretch]:
    return [Stretch(from_=one.from_, to=one.to, session_id=one.session_id, how="delivered") for one in delivered]


def _pending(recorder: Recorder | None, span: Span) -> list[Stretch]:
    """Return what was taken in and is not stored yet, fragment by fragment."""
    if recorder is None:
        return []
    return [
        Stretch(from_=Instant(one.start), to=Instant(one.end), session_id=session.session_id, how="pending")
        for session in recorder.sessions.values()
        if span.means(session.session_id)
        for one in session.pending.spans
        if span.meets(Instant(one.start), Instant(one.end))
    ]


async def _sessions(parts: Parts, span: Span, recorder: Recorder | None) -> list[Took]:
    async def ask(cursor: str | None) -> Page[SessionRow]:
        return await parts.catalog.list_sessions(recorder_id=span.recorder_id, cursor=cursor, limit=100)

    found: list[Took] = []
    before = 0
    async for row in _all(ask):
        if span.meets(row.opened_at, row.completed_at) and span.means(row.session_id):
            found.append(_took(parts, row, recorder))
            before = 0
        elif row.opened_at < span.start:
            before += 1
        if before >= LOOK_BACK or len(found) >= MAX_SESSIONS:
            break
    return found[::-1]


def _took(parts: Parts, row: SessionRow, recorder: Recorder | None) -> Took:
    until = deadline(parts, row, recorder)
    known = None if recorder is None else recorder.sessions.get(row.session_id)
    owed = recorder is not None and known is not None and recorder.owes(known)
    return Took(
        session_id=row.session_id,
        opened_at=row.opened_at,
        completed_at=row.completed_at,
        act=row.act,
        store_by=None if until is None else until.store_by,
        overdue=owed and until is not None and until.overdue(parts.clock.now()),
    )


def deadline(parts: Parts, row: SessionRow, recorder: Recorder | None) -> Deadline | None:
    """Return until when a session must be stored; None while it is not completed, or where it cannot be reckoned."""
    if row.completed_at is None:
        return None
    known = None if recorder is None else recorder.sessions.get(row.session_id)
    leaves = [] if known is None else known.leaves
    try:
        return store_by(
            parts.book.find(recorder.policy if recorder else "") or parts.book.policy(parts.settings.policy),
            (recorder.kind if recorder else "") or "body_worn",
            row.completed_at,
            remote=row.remote,
            returned=None if known is None or known.returned_at is None else Instant(known.returned_at),
            approvals=[Approval(approved_at=Instant(at), until=Instant(until), by=by) for at, until, by in leaves],
            calendar=parts.book.calendar,
        )
    except InvalidInput:  # a device may claim to have completed a recording in any century
        return None


async def _findings(parts: Parts, span: Span, recorder: Recorder | None, w: Words) -> list[Found]:
    policy = recorder.policy if recorder else ""

    async def ask(cursor: str | None) -> Page[Finding]:
        return await parts.catalog.list_findings(
            recorder_id=span.recorder_id, session_id=span.session_id, cursor=cursor, limit=PAGE
        )

    found: list[Found] = []
    async for one in _all(ask):
        if span.meets(one.began_at, one.ended_at if one.status == "closed" else None):
            found.append(_found(one, policy, w))
        if len(found) >= MAX_FINDINGS or one.began_at < span.start.plus(-30 * 86_400_000):
            break
    return found[::-1]


def _found(one: Finding, policy: str, w: Words) -> Found:
    cause = one.cause or ""
    return Found(
        id=one.id,
        kind=one.kind,
        severity=one.severity,
        open=one.status != "closed",
        from_=one.began_at,
        to=one.ended_at,
        session_id=one.session_id,
        text=w.finding(one.message.key, one.kind, one.message.params),
        cause=w("cause", cause) if cause else "",
        rules=rules(policy, one.clauses, w),
    )


def rules(policy: str, clauses: list[str], w: Words) -> list[Rule]:
    """Say articles in plain words; one that has no words stands by its number."""
    said = []
    for clause in dict.fromkeys(clauses):
        key = f"{policy}.{clause}"
        text = w("rule", key)
        said.append(Rule(clause, "" if text == key else text))
    return said


async def _said(parts: Parts, span: Span, recorder: Recorder | None, w: Words) -> list[Said]:
    rows = await History(parts.catalog).marks(
        span.recorder_id, session_id=span.session_id, from_at=span.start, to_at=span.end
    )
    known = {(row.session_id, row.body): (row.at, row.kind) for row in rows}
    for session in recorder.sessions.values() if recorder else ():
        for mark in session.marks:
            if span.means(session.session_id) and span.start <= mark.at < span.end:
                known[session.session_id, mark.body.decode()] = (Instant(mark.at), mark.kind)
    said = [
        Said(at=at, kind=kind, session_id=session, text=_words(kind, msgspec.json.decode(body), w))
        for (session, body), (at, kind) in known.items()
    ]
    return sorted(said, key=lambda one: (one.at, one.kind))


def _words(kind: str, event: dict[str, Any], w: Words) -> str:
    if kind == "stop":
        return w("day", "stop", reason=w("cause", str(event.get("reason", "unknown"))))
    if kind == "resume":
        return w("day", "resume")
    return w("day", "explanation", by=str(event.get("by", "")), text=str(event.get("text") or event.get("cause", "")))


async def _readings(parts: Parts, span: Span, recorder: Recorder | None) -> list[Reading]:
    start = span.start.plus(-SLOT_MS)  # the slot in which the span begins belongs to it
    known = {one.at: one for one in await History(parts.catalog).readings(span.recorder_id, start, span.end)}
    known |= {at: one for at, one in (recorder.readings if recorder else {}).items() if start < at < span.end}
    return [known[at] for at in sorted(known)]


async def _holds(parts: Parts, span: Span) -> list[Kept]:
    rows = await Register(parts.catalog).holds(span.recorder_id)
    return [
        Kept(from_=row.from_at, to=row.to_at, session_id=row.session_id, by=row.by, reason=row.reason, at=row.at)
        for row in rows
        if span.means(row.session_id) and span.meets(row.from_at or span.start, row.to_at)
    ]


async def _all(ask: Callable[[str | None], Awaitable[Page[Any]]]) -> AsyncIterator[Any]:
    cursor: str | None = None
    while True:
        page = await ask(cursor)
        for one in page.items:
            yield one
        if (cursor := page.cursor) is None:
            return
