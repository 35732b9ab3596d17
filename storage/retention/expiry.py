"""What comes to its end: renewed where it must stay, listed, and deleted when it may be.

Each run looks at the objects whose lock ends within a month, and at nothing else. Of each, one of these happens:

- Something stands against it (`rules.blockers`): off the list, an approval with it; the lock is renewed where it must
  stay.
- Its time is over: on the list. Where the policy wants a person, the state is `review`, under legal hold, until one
  decides; elsewhere `listed`, for as long as the policy says.
- It was listed long enough, or a person approved: deleted (`deletion`).
"""

from __future__ import annotations

import logging
from collections import Counter

import msgspec

from domain.clock import Instant
from storage.catalog.rows import ExpiryRow, ObjectRow
from storage.retention.deletion import Deletion, StepHook
from storage.retention.entries import BY_POLICY
from storage.retention.retention import VOIDED, Known, Retention
from storage.retention.rules import RENEW_BEFORE_MS, Facts, blockers, due_at, listed_ms, must_stay, wants_review

_PAGE = 500

logger = logging.getLogger(__name__)


class Expiry:
    """See the module. One at a time runs over a catalogue.

    Args:
        retention: The parts it works on.
        step_done: See `storage.retention.deletion.StepHook`.
    """

    def __init__(self, retention: Retention, step_done: StepHook = lambda _: None) -> None:
        self._retention = retention
        self._register = retention.register
        self._deletion = Deletion(retention, step_done)

    async def run(self, now: Instant) -> Counter[str]:
        """Look at everything once; running again at the same moment changes nothing more.

        Returns:
            How many objects were `renewed`, `listed`, `withdrawn`, `deleted`, `refused` by the store, or at `fault`
            (missing, or not whole).

        Raises:
            Unavailable: The store, the catalogue or the ledger is away; the next run goes on.
            IntegrityError: The ledger cannot be read: nothing is deleted on half of what was said.
        """
        await self._retention.follow()
        counts: Counter[str] = Counter()
        last: ObjectRow | None = None
        while rows := await self._register.lapsing(now.plus(RENEW_BEFORE_MS), last, _PAGE):
            listed = await self._register.expiries([row.key for row in rows])
            known = Known()
            known.expiries |= {row.key: listed.get(row.key) for row in rows}
            for row in rows:
                counts[await self._one(row, known, now)] += 1
            last = rows[-1]
        del counts[""]
        return counts

    async def _one(self, row: ObjectRow, known: Known, now: Instant) -> str:
        facts = await self._retention.facts(row, known)
        expiry = facts.expiry
        gone = expiry is not None and expiry.state == "deleting" and await self._retention.gone(row)
        if expiry is not None and gone:
            return await self._deletion.run(row, expiry, now)
        if blockers(facts, now):
            return await self._stay(facts, now)
        if expiry is None or expiry.state == "kept" or expiry.retention_class != facts.standing.retention_class:
            return await self._list(row, now)
        if self._may_go(facts, expiry, now):
            return await self._deletion.run(row, _signed(facts, expiry), now)
        return ""

    async def _stay(self, facts: Facts, now: Instant) -> str:
        row, expiry = facts.row, facts.expiry
        withdrawn = expiry is not None and expiry.state in VOIDED
        short = (due_at(facts) or row.retain_until) > row.retain_until
        if must_stay(facts, now) or withdrawn or short:
            if await self._retention.settle(row) is None:
                return "fault"
            return "withdrawn" if withdrawn else "renewed"
        return ""

    async def _list(self, row: ObjectRow, now: Instant) -> str:
        """Put an object on the list, having asked the store whether its lock is over there too."""
        if await self._retention.settle(row) is None:
            return "fault"
        facts = await self._retention.facts(await self._retention.objects.get(row.key) or row)
        if blockers(facts, now):
            return ""
        await self._register.set_expiry(
            ExpiryRow(
                key=row.key,
                recorder_id=row.recorder_id,
                session_id=row.session_id,
                state="review" if wants_review(facts) else "listed",
                retention_class=facts.standing.retention_class,
                due_at=due_at(facts) or now,
                listed_at=now,
            )
        )
        await self._retention.settle(row)  # what a person must look at is under legal hold until then
        return "listed"

    @staticmethod
    def _may_go(facts: Facts, expiry: ExpiryRow, now: Instant) -> bool:
        if expiry.state in {"approved", "deleting"}:
            return True
        return (
            expiry.state == "listed"
            and facts.policy is not None
            and now >= expiry.listed_at.plus(listed_ms(facts.policy))
        )


def _signed(facts: Facts, expiry: ExpiryRow) -> ExpiryRow:
    """Name who decides: the person who approved, or the policy with its articles."""
    if expiry.by is not None:
        return expiry
    keep = None if facts.policy is None else facts.policy.retention.keep(facts.standing.retention_class)
    return msgspec.structs.replace(expiry, by=BY_POLICY, reason="、".join(keep.source) if keep else "")
