"""Carries every checkpoint to every place, in order, and remembers how far it got.

The queue is the ledger itself: what a place has not got are the checkpoints after its last delivery, so nothing is lost
by a crash or by a place that is away for a month, and nothing more is held in memory than the next few.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from domain.clock import Clock, Instant
from domain.errors import IntegrityError, LiuhenError
from storage.ledger.ledger import Ledger
from storage.ledger.places import Place
from storage.ledger.statements import Checkpoint, Delivery

_log = logging.getLogger(__name__)


class PlaceState(msgspec.Struct, frozen=True):
    """How a place stands.

    Attributes:
        name: Of the place.
        waiting: Checkpoints that it has not got.
        delivered_at: When it got its last one; None where it never did.
        trouble: Why the last try failed; empty where it did not.
        contradicts: It holds something that the ledger contradicts: somebody has to look.
    """

    name: str
    waiting: int
    delivered_at: Instant | None
    trouble: str
    contradicts: bool


class Copier:
    """See the module.

    Args:
        ledger: Has the checkpoints and the record of deliveries.
        places: At least two, so that no one place is the only one.
        clock: For when something was delivered.
    """

    def __init__(self, ledger: Ledger, places: Sequence[Place], clock: Clock) -> None:
        self.places = list(places)
        self._ledger = ledger
        self._clock = clock
        self._troubles: dict[str, LiuhenError] = {}

    async def run(self) -> None:
        """Try each place once, beside each other, with all that it has not got. A place that fails is tried next time.

        Raises:
            LedgerUnavailable: The ledger itself did not answer.
        """
        done = {one.place: one.size for one in await self._ledger.deliveries()}
        await asyncio.gather(*(self._serve(place, done.get(place.name, 0)) for place in self.places))

    async def states(self) -> list[PlaceState]:
        """Return how each place stands."""
        done = {one.place: one for one in await self._ledger.deliveries()}
        return [await self._state(place, done.get(place.name)) for place in self.places]

    async def close(self) -> None:
        """Let go of every place."""
        for place in self.places:
            await place.close()

    async def _state(self, place: Place, last: Delivery | None) -> PlaceState:
        trouble = self._troubles.get(place.name)
        return PlaceState(
            place.name,
            await self._ledger.checkpoints_after(0 if last is None else last.size),
            None if last is None else last.delivered_at,
            "" if trouble is None else str(trouble),
            isinstance(trouble, IntegrityError),
        )

    async def _serve(self, place: Place, done: int) -> None:
        try:
            if place.takes_all:
                async for checkpoint in self._ledger.checkpoints(done + 1):
                    done = await self._deliver(place, checkpoint, done)
            else:
                newest = await self._ledger.latest_checkpoint()
                if newest is not None and newest.size > done:
                    await self._deliver(place, newest, done)
        except LiuhenError as error:
            self._note(place, error)
        else:
            self._troubles.pop(place.name, None)

    async def _deliver(self, place: Place, checkpoint: Checkpoint, done: int) -> int:
        receipt = await place.deliver(checkpoint, done)
        await self._ledger.set_delivery(Delivery(place.name, checkpoint.size, self._clock.now(), receipt))
        return checkpoint.size

    def _note(self, place: Place, error: LiuhenError) -> None:
        """Remember a trouble; say it once, until it is another one."""
        if str(self._troubles.get(place.name)) != str(error):
            level = logging.ERROR if isinstance(error, IntegrityError) else logging.WARNING
            _log.log(level, "no copy of the checkpoint to %s: %s", place.name, error)
        self._troubles[place.name] = error
