"""The ledger against itself, its checkpoints, their copies, and the entries that stand in the evidence store."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from cryptography.x509 import Certificate

from domain.errors import IntegrityError, Unavailable
from storage.ledger import batches
from storage.ledger.check import Check
from storage.ledger.check import Fault as LedgerFault
from storage.ledger.ledger import Ledger
from storage.ledger.note import VerifierKey
from storage.ledger.places import Place
from storage.ledger.statements import Row
from storage.objects.port import ObjectStore
from storage.verify.fault import Fault, FaultName

PREFIX = "ledger/"
_KEYS = re.compile(r"ledger/(entries/\d{12}-\d{12}\.ndjson|checkpoints/\d{12}\.txt|timestamps/\d{12}\.tsr)")


class Books:
    """The check of the ledger itself.

    Args:
        ledger: To be checked.
        keys: Whoever may have signed.
        places: Whose copies of the checkpoints are read back.
        store: The evidence store, where timestamps are kept a second time; not compared where None.
        roots: Certificates that the timestamps' signatures must lead to; not checked where there are none.
    """

    def __init__(
        self,
        ledger: Ledger,
        keys: Sequence[VerifierKey],
        places: Sequence[Place],
        store: ObjectStore | None = None,
        roots: Sequence[Certificate] = (),
    ) -> None:
        self.unreached: dict[str, str] = {}
        """Places that did not answer, and why: what they hold has not been compared."""
        self._ledger = ledger
        self._keys = list(keys)
        self._places = list(places)
        self._store = store
        self._roots = list(roots)

    async def run(self) -> AsyncIterator[Fault]:
        """Check it and tell what is wrong.

        Raises:
            LedgerUnavailable: The ledger did not answer.
        """
        reached = [place for place in self._places if await self._answers(place)]
        check = Check(self._ledger, self._keys, reached, self._roots, store=self._store)
        try:
            async for found in check.run():
                yield Fault(_name(found), found.where, found.what)
        except IntegrityError as error:
            yield Fault("ledger_copy", "checkpoints", str(error))

    async def _answers(self, place: Place) -> bool:
        try:
            async for _ in place.held():
                break
        except Unavailable as error:
            self.unreached[place.name] = str(error)
            return False
        except IntegrityError:
            return True  # `Check` names it
        return True


def _name(found: LedgerFault) -> FaultName:
    if found.where.startswith(("entry ", "entries ")):
        return "ledger_entry"
    if found.where.startswith("checkpoint") and " in " not in found.where:
        return "ledger_checkpoint"
    return "ledger_copy"


class Written:
    """Compares the entries in the evidence store with those of the ledger, while these are read in order.

    Args:
        store: The evidence store.
        expected: How many entries were written there, by the ledger's own word.
    """

    def __init__(self, store: ObjectStore, expected: int) -> None:
        self._lines = batches.read_batches(store)
        self._expected = expected
        self._next: tuple[int, bytes] | None = None
        self._is_over = False

    @classmethod
    async def of(cls, store: ObjectStore, ledger: Ledger) -> Written:
        """Begin a comparison."""
        done = [one.size for one in await ledger.deliveries() if one.place == batches.PLACE]
        return cls(store, max(done, default=0))

    async def compare(self, row: Row) -> list[Fault]:
        """Compare the next entry."""
        found = await self._advance(row.index)
        while self._next is not None and self._next[0] < row.index:
            detail = "stands in the evidence store, and not in the ledger"
            found.append(Fault("ledger_batch", f"entry {self._next[0]}", detail))
            self._next = None
            found += await self._advance(row.index)
        if self._next is None or self._next[0] != row.index:
            return found
        line, self._next = self._next[1], None
        if line != row.line:
            found.append(Fault("ledger_batch", f"entry {row.index}", "is another one in the evidence store"))
        return found

    async def finish(self, size: int) -> list[Fault]:
        """See whether the store has more than the ledger, whose size this is now."""
        found = await self._advance(size)
        if self._next is not None and self._next[0] >= size:
            detail = f"stands in the evidence store, and the ledger has {size} entries"
            found.append(Fault("ledger_batch", f"entry {self._next[0]}", detail))
        return found

    async def _advance(self, index: int) -> list[Fault]:
        if self._next is not None or self._is_over:
            return []
        try:
            self._next = await anext(self._lines, None)
        except IntegrityError as error:
            self._is_over = True
            return [Fault("ledger_batch", f"entry {index}", str(error))]
        self._is_over = self._next is None
        if self._is_over and index < self._expected:
            detail = f"was written to the evidence store, up to {self._expected}, and is gone from there"
            return [Fault("ledger_batch", f"entry {index}", detail)]
        return []


def is_ours(key: str) -> bool:
    """Tell whether an object under `ledger/` is of a kind that the ledger puts there."""
    return _KEYS.fullmatch(key) is not None
