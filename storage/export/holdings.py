"""What a package is made from: everything that the ledger says about a session, or a part of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from domain.clock import Instant
from domain.errors import InvalidInput
from storage.catalog.rows import ObjectRow, SegmentRow
from storage.ledger.entry import Entry, decode
from storage.ledger.footage import is_stored, row_of
from storage.ledger.ledger import Ledger

GAP_MIN_MS = 1_000
"""Missing media shorter than this is no gap, as for the detectors."""


class Line(msgspec.Struct, frozen=True):
    """An entry as it stands in the ledger.

    Attributes:
        index: Its place.
        line: Its bytes.
        entry: What they say.
    """

    index: int
    line: bytes
    entry: Entry


class Recording(msgspec.Struct, frozen=True):
    """An object that goes into the package.

    Attributes:
        row: What the ledger says of it.
        entry: Index of that entry.
    """

    row: ObjectRow
    entry: int


class Gap(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}, omit_defaults=True):
    """Where media is missing.

    Attributes:
        from_: End of what is there, RFC 3339.
        to: Where it goes on, RFC 3339.
        seconds: Between them.
        id: Of the finding; None where the ledger tells of none.
        cause: As found; empty where unknown.
        filled: It was delivered later, as a whole.
        entry: Index of the newest entry about it.
    """

    from_: str
    to: str
    seconds: float
    id: str | None = None
    cause: str = ""
    filled: bool = False
    entry: int | None = None


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What there is.

    Attributes:
        recorder_id: Whose footage.
        session_id: Of which session.
        from_at: Beginning of what is asked for; None for the whole session.
        to_at: Its end.
        recordings: In order of capture.
        deleted: What was there and has a receipt of its deletion.
        gaps: Told by the ledger, or seen between the recordings, in order.
        lines: Entries about all this, in order of their index.
    """

    recorder_id: str
    session_id: str
    from_at: Instant | None
    to_at: Instant | None
    recordings: Sequence[Recording]
    deleted: Sequence[ObjectRow]
    gaps: Sequence[Gap]
    lines: Sequence[Line]

    def of_kind(self, kind: str) -> list[Line]:
        """Return the entries of a kind."""
        return [line for line in self.lines if line.entry.kind == kind]

    def without_others(self, application: str) -> Holdings:
        """Return it without what people did: who else asked for it is nobody's business, its own application is."""
        kept = [one for one in self.lines if one.entry.kind != "act" or _is_of(one.entry, application)]
        return msgspec.structs.replace(self, lines=kept)


def _is_of(entry: Entry, application: str) -> bool:
    request = entry.body.get("request")
    return bool(application) and (
        request == application or (isinstance(request, dict) and request.get("id") == application)
    )


async def gather(
    ledger: Ledger, recorder_id: str, session_id: str, from_at: Instant | None = None, to_at: Instant | None = None
) -> Holdings:
    """Read what the ledger says.

    Args:
        ledger: The custody ledger.
        recorder_id: Whose footage.
        session_id: Of which session.
        from_at: Only what reaches beyond this; all where None.
        to_at: Only what begins before this.

    Raises:
        InvalidInput: There is nothing of it.
        IntegrityError: An entry cannot be read.
        LedgerUnavailable: The ledger is away.
    """
    found = await ledger.of_session(recorder_id, session_id)
    lines = [Line(index, line, decode(line)) for index, line in found]
    lines = [line for line in lines if _is_within(line.entry, from_at, to_at)]
    gone = {
        str(line.entry.body.get("key"))
        for line in lines
        if line.entry.kind == "deletion" and line.entry.body.get("stage") == "done"
    }
    stored = [Recording(row_of(line.entry), line.index) for line in lines if is_stored(line.entry)]
    recordings = sorted((one for one in stored if one.row.key not in gone), key=_order)
    if not recordings:
        msg = f"session: nothing is stored of {session_id!r} of {recorder_id!r}" + (" in that time" if from_at else "")
        raise InvalidInput(msg, "session")
    return Holdings(
        recorder_id=recorder_id,
        session_id=session_id,
        from_at=from_at,
        to_at=to_at,
        recordings=recordings,
        deleted=[one.row for one in stored if one.row.key in gone],
        gaps=gaps_of(lines, [one.row for one in recordings]),
        lines=lines,
    )


def gaps_of(lines: Iterable[Line], rows: Sequence[ObjectRow]) -> list[Gap]:
    """Return the gaps that the ledger tells of, and those that only the recordings show."""
    newest: dict[str, Line] = {}
    for line in lines:
        if line.entry.kind == "gap" and "id" in line.entry.body:
            newest[str(line.entry.body["id"])] = line
    told = [_gap(line) for line in newest.values()]
    seen = [hole for hole in _holes(rows) if not any(_overlaps(hole, one) for one in told)]
    return sorted([*told, *seen], key=lambda gap: (gap.from_, gap.to))


def _gap(line: Line) -> Gap:
    body: dict[str, Any] = line.entry.body
    evidence: dict[str, Any] = body.get("evidence") or {}
    began = str(evidence.get("from") or body.get("began_at") or "")
    return Gap(
        from_=began,
        to=str(evidence.get("to") or body.get("ended_at") or began),
        seconds=float(evidence.get("seconds") or 0.0),
        id=str(body["id"]),
        cause=str(body.get("cause") or ""),
        filled=body.get("status") == "closed",
        entry=line.index,
    )


def _holes(rows: Sequence[ObjectRow]) -> Iterable[Gap]:
    """Yield what no recording covers between the first and the last, and fragments missing inside a feed."""
    covered = rows[0].to_at if rows else Instant(0)
    for row in rows[1:]:
        if row.from_at - covered > GAP_MIN_MS:
            yield _hole(covered, row.from_at)
        covered = max(covered, row.to_at)
    last: dict[str, SegmentRow] = {}
    for row in rows:
        if not isinstance(row, SegmentRow):
            continue
        before = last.get(row.feed_id)
        if before is not None and row.first_seq > before.last_seq + 1 and row.from_at - before.to_at <= GAP_MIN_MS:
            yield _hole(min(before.to_at, row.from_at), max(before.to_at, row.from_at))
        last[row.feed_id] = row


def _hole(start: Instant, end: Instant) -> Gap:
    return Gap(from_=start.rfc3339(), to=end.rfc3339(), seconds=(end - start) / 1000)


def _overlaps(one: Gap, two: Gap) -> bool:
    return one.from_ <= two.to and two.from_ <= one.to


def _is_within(entry: Entry, from_at: Instant | None, to_at: Instant | None) -> bool:
    """Tell whether an entry is about the span; what names no span is about the session as a whole."""
    body = entry.body
    evidence = body.get("evidence")
    where = evidence if entry.kind == "gap" and isinstance(evidence, dict) else body
    start, end = where.get("from"), where.get("to")
    if not isinstance(start, str) or not isinstance(end, str):
        return True
    begins, ends = Instant.parse(start), Instant.parse(end)
    return (to_at is None or begins < to_at) and (from_at is None or ends > from_at)


def _order(one: Recording) -> tuple[str, str, int]:
    row = one.row
    feed = (row.feed_id, row.first_seq) if isinstance(row, SegmentRow) else ("", 0)
    return row.from_at.rfc3339(), *feed
