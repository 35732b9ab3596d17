"""Everything, a second time, somewhere else (W-AV 第二十三条 asks for a backup in another place).

One turn, called again and again by the custody worker:

1. **Ledger**: its entries and checkpoints, as they go to the evidence store.
2. **Copy** the objects whose entries are under a checkpoint and come after those that were copied, in their order;
   what the ledger says was deleted is deleted here too, once its lock is over.
3. **Keep** some of what was copied before as the first store keeps it: locks that became longer, holds, tags. Turn
   after turn this goes round everything, and copies what was missing.

How far step 2 has come is in the ledger (`deliveries`), so a turn may be cut off anywhere. An object that is not what
was stored is told, passed over, and tried again by step 3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import msgspec

from domain.clock import Clock, Instant
from domain.errors import IntegrityError
from domain.events import Integrity
from storage.catalog.rows import ObjectRow
from storage.ledger.batches import Batches
from storage.ledger.copies import Copier
from storage.ledger.entry import Entry, decode
from storage.ledger.footage import KINDS, is_stored, row_of
from storage.ledger.ledger import Ledger
from storage.ledger.places import StorePlace
from storage.ledger.statements import Delivery
from storage.objects.port import ObjectStore
from storage.offsite import metrics
from storage.offsite.copying import Copying
from storage.retention.entries import receipt_id

COPIED_AT_ONCE = 4
COPIED_A_TURN = 64
KEPT_A_TURN = 200

_log = logging.getLogger(__name__)

Tell = Callable[[Integrity], Awaitable[None]]


class OffsiteState(msgspec.Struct, frozen=True):
    """How the copy stands.

    Attributes:
        waiting: Objects that are not copied.
        oldest_at: When the first of them was stored; None where there is none.
        trouble: Why the ledger could not be copied; empty where it could.
    """

    waiting: int
    oldest_at: Instant | None
    trouble: str


class Offsite:
    """See the module. One at a time.

    Args:
        first: The evidence store.
        second: The other one; closed by whoever opened it.
        ledger: Says what there is.
        clock: For locks and figures.
        folder: For files on their way; emptied first.
        name: Of the second store: how far it has been served is noted under it.
        lock_ms: For how long the ledger's objects are locked there.
        tell: Told of an object that is not what was stored.
    """

    def __init__(
        self,
        first: ObjectStore,
        second: ObjectStore,
        ledger: Ledger,
        clock: Clock,
        folder: Path,
        *,
        name: str,
        lock_ms: int,
        tell: Tell,
    ) -> None:
        self._copying = Copying(first, second, clock, folder)
        self._ledger = ledger
        self._clock = clock
        self._tell = tell
        self._place = f"offsite {name}"
        self._batches = Batches(ledger, second, lock_ms, clock, f"{self._place} entries")
        checkpoints = StorePlace(f"{self._place} checkpoints", second, lock_ms, clock, owned=False)
        self._copier = Copier(ledger, [checkpoints], clock)
        self._second = second
        self._around = 0
        self._is_fit = False
        self._trouble = ""
        for left in folder.glob("*.part"):  # of a life before
            left.unlink()

    async def run(self) -> None:
        """Turn until everything is copied: the chore of the custody worker.

        Raises:
            Unavailable: As for `turn`.
        """
        while True:
            before = (await self.state()).waiting
            state = await self.turn()
            if not state.waiting or state.waiting >= before:
                return

    async def turn(self) -> OffsiteState:
        """Do one turn.

        Raises:
            Unavailable: A store or the ledger is away; the next turn goes on.
            StoreUnfit: The second store cannot keep evidence.
        """
        if not self._is_fit:
            await self._second.probe()
            self._is_fit = True
        newest = await self._ledger.latest_checkpoint()
        if newest is not None:
            await self._copy_ledger(newest.size)  # step 1
            await self._copy(newest.size)  # step 2
            await self._keep(await self._position())  # step 3
        state = await self.state()
        metrics.show(state, self._clock.now())
        return state

    async def state(self) -> OffsiteState:
        """Return how the copy stands."""
        position = await self._position()
        oldest = None
        async for _, entry in self._entries(position, await self._ledger.size()):
            if is_stored(entry):
                oldest = entry.at
                break
        (place,) = await self._copier.states()
        waiting = sum([await self._ledger.count(kind, position) for kind in KINDS])
        return OffsiteState(waiting, oldest, self._trouble or place.trouble)

    async def _copy_ledger(self, until: int) -> None:
        """Step 1. Another ledger's entries in the second store keep the footage from nothing, but are told."""
        self._trouble = ""
        try:
            await self._batches.write(until)
        except IntegrityError as error:
            self._trouble = str(error)
            metrics.FAULTS.inc()
            _log.error("off site: %s", error)
        await self._copier.run()

    # Step 2

    async def _copy(self, until: int) -> None:
        start, waiting = await self._position(), 0
        window: list[ObjectRow] = []
        async for index, entry in self._entries(start, until):
            if is_stored(entry):
                window.append(row_of(entry))
                waiting += 1
            elif entry.kind == "deletion" and entry.body.get("stage") == "done":
                await self._drop(entry)
            if len(window) == COPIED_AT_ONCE or index + 1 == until:
                await _all(self._copy_one(row) for row in window)
                await self._note(index + 1)
                window = []
            if waiting >= COPIED_A_TURN and not window:
                return

    async def _copy_one(self, row: ObjectRow) -> None:
        if await self._guarded(row, self._copying.copy(row)):
            metrics.SEGMENTS.inc()
            metrics.BYTES.inc(row.bytes)
        elif await self._ledger.find(receipt_id(row)) is None:
            _log.error("off site: %s: not copied", row.key)  # what is missing is told by the check of everything

    async def _drop(self, entry: Entry) -> None:
        """The receipt names key and version; the rest is in the entry of the object before it."""
        key = str(entry.body.get("key"))
        for _, line in await self._ledger.of_session(entry.recorder_id or "", entry.session_id):
            said = decode(line)
            if is_stored(said) and said.body.get("key") == key and await self._copying.drop(row_of(said)):
                metrics.DROPPED.inc()

    # Step 3

    async def _keep(self, copied: int) -> None:
        """Go on round what was copied, a piece each turn."""
        if self._around >= copied:
            self._around = 0
        rows = []
        async for index, entry in self._entries(self._around, copied):
            self._around = index + 1
            if is_stored(entry):
                rows.append(row_of(entry))
            if len(rows) == KEPT_A_TURN:
                break
        for begin in range(0, len(rows), COPIED_AT_ONCE):
            await _all(self._keep_one(row) for row in rows[begin : begin + COPIED_AT_ONCE])

    async def _keep_one(self, row: ObjectRow) -> None:
        if await self._ledger.find(receipt_id(row)) is not None:
            await self._copying.drop(row)
        else:
            await self._guarded(row, self._copying.keep(row))

    # Both

    async def _guarded(self, row: ObjectRow, work: Awaitable[bool]) -> bool:
        """Tell of what is not what was stored, and go on with the others."""
        try:
            return await work
        except IntegrityError as error:
            metrics.FAULTS.inc()
            _log.error("off site: %s", error)
            at = self._clock.now()
            await self._tell(Integrity(at=at, recorder_id=row.recorder_id, key=row.key, fault="altered"))
            return False

    async def _entries(self, start: int, end: int) -> AsyncIterator[tuple[int, Entry]]:
        async for index, line in self._ledger.read(start, end):
            yield index, decode(line)

    async def _position(self) -> int:
        return {one.place: one.size for one in await self._ledger.deliveries()}.get(self._place, 0)

    async def _note(self, position: int) -> None:
        await self._ledger.set_delivery(Delivery(self._place, position, self._clock.now(), ""))


async def _all(jobs: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them, then raise the first error: nothing of one turn goes on in the next."""
    for found in await asyncio.gather(*jobs, return_exceptions=True):
        if isinstance(found, BaseException):
            raise found
