"""Deleting one object whose time is over.

The steps, numbered as in docs/design/retention.md and in the crash test:

1. **Mark** it in the catalogue as being deleted, with who decided and why.
2. **Announce** it in the ledger (`deletion`, stage `intent`), durable before anything happens.
3. **Ask again.** Follow the ledger to its end, and gather everything anew: a hold that was said before the intent
   counts. Where anything stands, the object goes back and nothing is deleted.
4. **Delete** exactly the version that was written, having lifted the hold that only kept it for review.
5. **Look** that it is gone.
6. **Receipt**: the ledger says that it is gone (stage `done`); the next signed checkpoint covers it.
7. **Strike** it from the catalogue's lists; its row stays.

A crash after any of them is resumed from step 1 by the next run. An object that is gone with an intent is finished; one
that is gone without an intent was not deleted by us, and is a fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from domain.clock import Instant
from domain.errors import Refused
from storage.catalog.rows import ExpiryRow, ObjectRow
from storage.retention import entries
from storage.retention.retention import Retention
from storage.retention.rules import blockers

StepHook = Callable[[int], None]
"""Called with a step's number when that step is done: the tests kill the process there."""

Outcome = Literal["deleted", "withdrawn", "refused", "fault"]


class Deletion:
    """See the module.

    Args:
        retention: The parts it works on.
        step_done: See `StepHook`.
    """

    def __init__(self, retention: Retention, step_done: StepHook = lambda _: None) -> None:
        self._retention = retention
        self._register = retention.register
        self._step_done = step_done

    async def run(self, row: ObjectRow, expiry: ExpiryRow, now: Instant) -> Outcome:
        """Delete one object, or find that it must stay.

        Raises:
            Unavailable: The store, the catalogue or the ledger is away; the next run goes on.
        """
        intent = entries.deletion("intent", now, row, expiry)
        if await self._retention.gone(row):
            if expiry.state != "deleting" or await self._retention.ledger.find(intent.id) is None:
                await self._retention.head(row)  # tells of the fault
                return "fault"
            return await self._finish(row, expiry, now)
        if expiry.state != "deleting":
            expiry = msgspec.structs.replace(expiry, state="deleting", decided_at=expiry.decided_at or now)
            await self._register.set_expiry(expiry)
        self._step_done(1)
        await self._retention.ledger.append([intent])
        self._step_done(2)
        if not await self._may_go(row, now):
            await self._register.withdraw(row.key)
            return "withdrawn"
        self._step_done(3)
        try:
            await self._retention.store.delete(row.key, row.version_id)
        except Refused:
            await self._register.withdraw(row.key)
            await self._retention.settle(row)
            return "refused"
        self._step_done(4)
        return await self._finish(row, expiry, now)

    async def _may_go(self, row: ObjectRow, now: Instant) -> bool:
        """Step 3. `settle` lifts a hold that nothing asks for any more, and reads the lock from the store."""
        await self._retention.follow()
        if await self._retention.settle(row) is None:
            return False
        fresh = await self._retention.objects.get(row.key)
        return fresh is not None and not blockers(await self._retention.facts(fresh), now)

    async def _finish(self, row: ObjectRow, expiry: ExpiryRow, now: Instant) -> Outcome:
        if not await self._retention.gone(row):
            return "refused"
        self._step_done(5)
        await self._retention.ledger.append([entries.deletion("done", now, row, expiry)])
        self._step_done(6)
        await self._register.deleted(row.key, now)
        self._step_done(7)
        return "deleted"
