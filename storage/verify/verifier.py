"""A whole check, in the steps of docs/design/verification.md.

1. **Books.** The ledger against itself, its checkpoints and their copies (`books`).
2. **Survey.** One pass over its entries: against those in the evidence store; which objects there are, which holds.
3. **Objects.** Session by session, each segment and each file that was delivered later against the store (`objects`),
   and the holes between segments (`gaps`).
4. **Listing.** What the store has, against what the ledger knows (`listing`).

Nothing is kept in memory that grows with the store but the holds; the keys that were seen are in a file (`state`). A
check that was cut off does steps 1 and 2 again and goes on in step 3 where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from cryptography.x509 import Certificate

from domain.clock import Clock
from domain.errors import IntegrityError
from policies.local import Rulebook, default
from storage.catalog.rows import ObjectRow, SegmentRow
from storage.ledger.entry import Entry, decode
from storage.ledger.footage import is_stored, row_of
from storage.ledger.ledger import Ledger
from storage.ledger.note import VerifierKey
from storage.ledger.places import Place
from storage.ledger.statements import Row
from storage.objects.port import ObjectStore
from storage.verify.books import Books, Written
from storage.verify.fault import Fault
from storage.verify.gaps import SHORTEST_MS, unrecorded
from storage.verify.listing import Listing
from storage.verify.objects import ObjectCheck
from storage.verify.owed import Held, SessionFacts
from storage.verify.state import Session, State

NOTED_AT_ONCE = 1000
WINDOW_SEGMENTS = 64
"""After so many segments what was checked is noted."""

_log = logging.getLogger(__name__)


class Scope(msgspec.Struct, frozen=True):
    """What is checked of the objects; the ledger is always checked whole, as everything rests on it.

    Attributes:
        session_id: One session; everything where None.
        recorder_id: Whose, where several recorders have sessions of that id.
    """

    session_id: str | None = None
    recorder_id: str | None = None

    def covers(self, entry: Entry) -> bool:
        """Tell whether an object's entry is in it."""
        return self.session_id in {None, entry.session_id} and self.recorder_id in {None, entry.recorder_id}

    def __str__(self) -> str:
        return f"{self.recorder_id or '*'}/{self.session_id or '*'}"


class Progress(msgspec.Struct, frozen=True):
    """How far a check has come.

    Attributes:
        step: `ledger`, `survey`, `objects` or `listing`.
        done: Bytes of objects that have been checked.
        total: Bytes of objects there are to check; 0 before that is known.
        objects: Objects that have been checked.
    """

    step: str
    done: int = 0
    total: int = 0
    objects: int = 0


class Summary(msgspec.Struct, kw_only=True):
    """What a check has done.

    Attributes:
        entries: Entries of the ledger.
        objects: Segments and delivered files that were looked for.
        bytes: Their size.
        pending: Objects so young that their entry may be on its way.
        faults: Faults found.
        unreached: Places of checkpoint copies that did not answer, and why.
    """

    entries: int = 0
    objects: int = 0
    bytes: int = 0
    pending: int = 0
    faults: int = 0
    unreached: dict[str, str] = {}


Rest = Callable[[int], Awaitable[None]]
"""Called with the bytes of each window that was checked, to go easy on the store."""


async def no_rest(_bytes: int) -> None:
    """Go on at once."""


class Verifier:
    """See the module; one `run` each.

    Args:
        store: The evidence store.
        ledger: The custody ledger.
        keys: Whoever may have signed its checkpoints.
        places: Whose copies of the checkpoints are read back.
        clock: For locks, and for what is on its way.
        book: The policies in force; those of the package alone where absent.
        roots: Certificates that the signatures of timestamps must lead to; not checked where there are none.
        gap_min_s: Missing media shorter than this is no gap.
        rest: See `Rest`.
        on_progress: Told after each window, and of each step.
    """

    def __init__(
        self,
        store: ObjectStore,
        ledger: Ledger,
        keys: Sequence[VerifierKey],
        places: Sequence[Place],
        clock: Clock,
        *,
        book: Rulebook | None = None,
        roots: Sequence[Certificate] = (),
        gap_min_s: float = SHORTEST_MS / 1000,
        rest: Rest = no_rest,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.summary = Summary()
        self._store = store
        self._ledger = ledger
        self._books = Books(ledger, keys, places, store, roots)
        self._clock = clock
        self._gap_min_ms = round(gap_min_s * 1000)
        self._rest = rest
        self._tell = on_progress
        self._held = Held()
        self._objects = ObjectCheck(store, book or default(), clock, self._held)
        self._folders: set[str] = set()

    async def run(self, scope: Scope, path: Path | None = None, *, resume: bool = False) -> AsyncIterator[Fault]:
        """Check, and tell each fault once, those too that were found before the check was cut off.

        Args:
            scope: What.
            path: File of what was seen; in memory where None.
            resume: Go on with the check that the file is of.

        Raises:
            Unavailable: The store or the ledger is away; run it again, with `resume`.
            InvalidInput: The file cannot be used.
        """
        state = State(path, str(scope), resume=resume)
        is_done = False
        try:
            for fault in state.faults():
                yield self._count(fault)
            async for fault in self._steps(scope, state):
                yield self._count(fault)
            is_done = True
        finally:
            state.close(is_done=is_done)

    def _count(self, fault: Fault) -> Fault:
        self.summary.faults += 1
        return fault

    async def _steps(self, scope: Scope, state: State) -> AsyncIterator[Fault]:
        self._tell(Progress("ledger"))
        async for fault in self._books.run():  # step 1
            yield fault
        self.summary.unreached = self._books.unreached
        self._tell(Progress("survey"))
        size = await self._ledger.size()
        async for fault in self._survey(scope, state, size):  # step 2
            yield fault
        async for fault in self._check_objects(scope, state):  # step 3
            yield fault
        self._tell(self._progress("listing", state))
        await self._note(self._entries(size, await self._ledger.size()), scope, state)  # stored since step 2
        listing = Listing(self._store, self._clock, state.knows)
        prefixes = sorted(self._folders)
        if scope == Scope() or prefixes:
            async for fault in listing.run(*prefixes):  # step 4
                yield fault
        self.summary.pending = listing.pending

    # Step 2

    async def _survey(self, scope: Scope, state: State, size: int) -> AsyncIterator[Fault]:
        state.begin_survey()
        written = await Written.of(self._store, self._ledger)
        noted: list[Entry] = []
        async for row in self._rows(0, size):
            self.summary.entries += 1
            for fault in await written.compare(row):
                yield fault
            entry = _readable(row)
            if entry is None:
                continue
            self._take_hold(entry)
            noted.append(entry)
            if len(noted) == NOTED_AT_ONCE:
                await self._note(_each(noted), scope, state)
                noted = []
        await self._note(_each(noted), scope, state)
        for fault in await written.finish(await self._ledger.size()):  # it may have grown meanwhile
            yield fault

    def _take_hold(self, entry: Entry) -> None:
        try:
            self._held.take(entry)
        except IntegrityError as error:
            _log.warning("%s", error)

    async def _note(self, entries: AsyncIterator[Entry], scope: Scope, state: State) -> None:
        rows = []
        async for entry in entries:
            if is_stored(entry) and scope.covers(entry):
                rows += [row for row in [_row(entry)] if row is not None]
        state.add((row.key, row.recorder_id, row.session_id, row.bytes) for row in rows)
        if scope != Scope():
            # What was delivered lies in one folder with what was delivered of other sessions.
            self._folders |= {f"{row.key.rpartition('/')[0]}/" for row in rows if isinstance(row, SegmentRow)}

    async def _entries(self, start: int, end: int) -> AsyncIterator[Entry]:
        async for row in self._rows(start, end):
            entry = _readable(row)
            if entry is not None:
                yield entry

    async def _rows(self, start: int, end: int) -> AsyncIterator[Row]:
        """Read what there is of the ledger; step 1 names what is missing in between."""
        while start < end:
            until, found = min(end, start + NOTED_AT_ONCE), 0
            try:
                async for row in self._ledger.rows(start, until):
                    found, start = found + 1, row.index + 1
                    yield row
            except IntegrityError:
                for index in range(start, until):
                    async for row in self._one(index):
                        found += 1
                        yield row
                start = until
                if not found:
                    return  # its last number is not one that was ever given

    async def _one(self, index: int) -> AsyncIterator[Row]:
        with contextlib.suppress(IntegrityError):
            async for row in self._ledger.rows(index, index + 1):
                yield row

    # Step 3

    async def _check_objects(self, scope: Scope, state: State) -> AsyncIterator[Fault]:
        for session in state.unfinished():
            facts = await self._facts(session)
            if not session.done:
                gaps = unrecorded(facts, self._clock.now(), self._gap_min_ms)
                state.checked(session.number, 0, 0, gaps)
                for fault in gaps:
                    yield fault
            rows = facts.objects[session.done :]
            done = session.done
            for begin in range(0, len(rows), WINDOW_SEGMENTS):
                window = rows[begin : begin + WINDOW_SEGMENTS]
                found = await self._check_window(window, facts)
                done += len(window)
                size = sum(row.bytes for row in window)
                state.checked(session.number, done, size, found)
                for fault in found:
                    yield fault
                self._tell(self._progress("objects", state))
                await self._rest(size)
            if done < session.segments:  # entries that can no longer be found by their session
                state.checked(session.number, session.segments, 0, [])
        _, _, self.summary.objects, self.summary.bytes = state.totals()

    async def _facts(self, session: Session) -> SessionFacts:
        lines = await self._ledger.of_session(session.recorder_id, session.session_id)
        return SessionFacts(entry for index, line in lines if (entry := _decoded(line)) is not None)

    async def _check_window(self, rows: Sequence[ObjectRow], facts: SessionFacts) -> list[Fault]:
        limit = asyncio.Semaphore(self._store.blocking.threads)

        async def check(row: ObjectRow) -> list[Fault]:
            async with limit:
                return await self._objects.run(row, facts)

        return [fault for found in await asyncio.gather(*map(check, rows)) for fault in found]

    def _progress(self, step: str, state: State) -> Progress:
        _, total, objects, done = state.totals()
        return Progress(step, done, total, objects)


async def _each(entries: Sequence[Entry]) -> AsyncIterator[Entry]:
    for entry in entries:
        yield entry


def _readable(row: Row) -> Entry | None:
    return _decoded(row.line)


def _decoded(line: bytes) -> Entry | None:
    """Read a line, None where it cannot be read: step 1 has named it."""
    try:
        return decode(line)
    except IntegrityError:
        return None


def _row(entry: Entry) -> ObjectRow | None:
    try:
        return row_of(entry)
    except IntegrityError as error:
        _log.warning("%s", error)
        return None
