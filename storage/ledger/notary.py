"""Who makes checkpoints: signs nothing that does not follow from the last checkpoint and the lines since then.

The root is computed from the lines themselves, beginning with the last signed tree, not taken from the stored nodes. So
a ledger that was cut, reordered or written anew under a running system is found at the next checkpoint.
"""

from __future__ import annotations

from domain.clock import Clock
from domain.errors import IntegrityError
from storage.ledger.checkpoint import TreeHead, open_checkpoint
from storage.ledger.keys import Keys
from storage.ledger.ledger import Ledger
from storage.ledger.merkle import Frontier, leaf_hash
from storage.ledger.statements import Checkpoint


class Notary:
    """Makes the checkpoints of a ledger.

    Args:
        ledger: To be signed for.
        keys: Whose name is the ledger's origin.
        clock: For `made_at`.
    """

    def __init__(self, ledger: Ledger, keys: Keys, clock: Clock) -> None:
        self._ledger = ledger
        self._keys = keys
        self._clock = clock

    async def make(self) -> Checkpoint | None:
        """Sign what is new; None where nothing is.

        Raises:
            IntegrityError: The ledger is not the last signed one with entries added. Nothing is signed.
            LedgerUnavailable: Try again.
        """
        latest = await self._ledger.latest_checkpoint()
        signed = 0 if latest is None else latest.size
        size = await self._ledger.size()
        if size < signed:
            msg = f"ledger: has {size} entries, and {signed} were signed for"
            raise IntegrityError(msg)
        if size == signed:
            return None
        frontier = await self._last_signed(latest)
        async for _, line in self._ledger.read(signed, size):
            frontier.add(leaf_hash(line))
        if frontier.root() != await self._ledger.root(size):
            msg = f"ledger: its nodes are not those of its entries between {signed} and {size}"
            raise IntegrityError(msg)
        now = self._clock.now()
        head = TreeHead(self._keys.signer.verifier.name, size, frontier.root(), now)
        return await self._ledger.add_checkpoint(Checkpoint(size, now, head.signed(self._keys.signer)))

    async def _last_signed(self, latest: Checkpoint | None) -> Frontier:
        if latest is None:
            return Frontier()
        head = open_checkpoint(latest.note, self._keys.trusted)
        frontier = await self._ledger.frontier(latest.size)
        if head.size != latest.size or head.root != frontier.root():
            msg = f"ledger: is not what the checkpoint of {latest.size} entries has signed"
            raise IntegrityError(msg)
        return frontier
