"""The audit as it is read: who did what and who was shown what, from the custody ledger, the newest first."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

import msgspec

from domain.clock import Instant
from storage.ledger.entry import Entry, decode
from storage.ledger.ledger import Ledger

KINDS = ("act", "access", "hold", "release", "class", "export", "deletion", "approval", "explanation")
"""Entries that somebody stands behind. Deletions at the end of their time are the program's, and are here too."""
AT_ONCE = 500
MAX_LOOKED = 20_000
"""Entries that are looked through for one page; then it is given as it is, and what follows is asked for again."""
SLACK_MS = 86_400_000
"""Entries stand in the order in which they were made; their times may be this far out of it."""
COLUMNS = ("index", "at", "kind", "what", "by", "recorder_id", "session_id", "facts")
_SHOWN = ("what", "by")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; empty for all.

    Attributes:
        by: Account or integration.
        what: Kind, or beginning of the act: `access`, `account.`
        recorder_id: About its footage.
        from_at: Not before.
        to_at: Before.
    """

    by: str = ""
    what: str = ""
    recorder_id: str = ""
    from_at: Instant | None = None
    to_at: Instant | None = None

    def takes(self, entry: Entry) -> bool:
        """Tell whether an entry is meant."""
        what = str(entry.body.get("what", ""))
        return (
            self.by in ("", str(entry.body.get("by", "")))
            and (not self.what or entry.kind == self.what or what.startswith(self.what))
            and self.recorder_id in ("", entry.recorder_id)
            and (self.from_at is None or entry.at >= self.from_at)
            and (self.to_at is None or entry.at < self.to_at)
        )


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One entry, as it is shown.

    Attributes:
        index: Its place in the ledger, by which `liuhen ledger prove` finds it.
        at: When.
        kind: Of entry.
        what: The act; empty where the kind says all.
        by: Who: an account, an integration, or a program's own name.
        recorder_id: About whose footage.
        session_id: Of which session.
        facts: The rest, as it stands in the ledger, JSON.
    """

    index: int
    at: Instant
    kind: str
    what: str
    by: str
    recorder_id: str
    session_id: str
    facts: str


class Trail:
    """See the module.

    Args:
        ledger: The custody ledger; it is read alone.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def read(
        self, asked: Asked, may: Callable[[Entry], bool], before: int | None, limit: int
    ) -> tuple[list[Line], int | None]:
        """Return lines, the newest first, and where to go on; None at the beginning of the ledger.

        Args:
            asked: What is looked for.
            may: Tells of an entry whether it may be shown to whoever asks.
            before: Index before which to begin; at the end, where None.
            limit: Most lines.

        Raises:
            LedgerUnavailable, IntegrityError: It cannot be read.
        """
        before = await self._end(asked) if before is None else before
        found: list[Line] = []
        looked = 0
        while looked < MAX_LOOKED:
            rows = await self._ledger.last_of_kinds(KINDS, before, AT_ONCE)
            for index, line in rows:
                entry, before = decode(line), index
                if asked.from_at is not None and entry.at < asked.from_at.plus(-SLACK_MS):
                    return found, None
                if asked.takes(entry) and may(entry):
                    found.append(_line(index, entry))
                if len(found) >= limit:
                    return found, before
            looked += len(rows)
            if len(rows) < AT_ONCE:
                return found, None
        return found, before

    async def _end(self, asked: Asked) -> int:
        """Return an index behind everything that is looked for."""
        size = await self._ledger.size()
        if asked.to_at is None or size == 0:
            return size
        until = asked.to_at.plus(SLACK_MS)
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            if await self._at(middle) < until:
                low = middle + 1
            else:
                high = middle
        return low

    async def _at(self, index: int) -> Instant:
        return next(iter([decode(line).at async for _, line in self._ledger.read(index, index + 1)]))


def as_csv(lines: Sequence[Line]) -> bytes:
    """Return lines as a sheet that Excel opens as UTF-8, and takes no cell of for a formula."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow([_cell(str(getattr(line, name))) for name in COLUMNS])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(index: int, entry: Entry) -> Line:
    rest = {name: value for name, value in entry.body.items() if name not in _SHOWN}
    return Line(
        index=index,
        at=entry.at,
        kind=entry.kind,
        what=str(entry.body.get("what", "")),
        by=str(entry.body.get("by", "")),
        recorder_id=entry.recorder_id or "",
        session_id=entry.session_id or "",
        facts=msgspec.json.encode(rest).decode() if rest else "",
    )
