"""Retention applied: from events and findings to the ledger, from the ledger to the catalogue and the store.

A decision takes two steps, so that a crash between them loses nothing and a decision made on the ledger by another
process, such as `liuhen hold`, takes the same way:

1. **Say.** What an event or a finding decides is an entry of the custody ledger. When `apply` returns, it is durable.
2. **Follow.** The ledger is read from where it was read last; each entry becomes a row of the catalogue, then every
   object that it is about gets the lock, the hold and the tag that `rules.protection` owes it; then the place moves on.

Every part may be repeated: entries are known by their id, rows by theirs, and a lock is only ever lengthened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from domain.clock import Clock, Instant
from domain.errors import IntegrityError, Refused
from domain.events import (
    AnyEvent,
    Backfilled,
    Classified,
    Explanation,
    Hold,
    Integrity,
    IntegrityFault,
    SegmentStored,
    SessionOpened,
)
from domain.findings import Finding
from policies.local import Rulebook, default
from storage.catalog.catalog import Catalog
from storage.catalog.objects import Objects
from storage.catalog.register import Register
from storage.catalog.rows import ExpiryRow, HoldRow, ObjectRow, ReleaseRow
from storage.ledger.entry import Entry, decode
from storage.ledger.ledger import Ledger
from storage.objects.port import Head, ObjectStore
from storage.retention import entries, holds
from storage.retention.rules import Facts, blockers, protection
from storage.retention.standing import UNSETTLED, Standing, standing

PLACE = "retention"
"""Name under which the catalogue keeps how far the ledger has been followed."""
SETTLED_AT_ONCE = 8
_PAGE = 500

VOIDED = frozenset({"review", "listed", "approved", "deleting"})
"""States that end when anything comes to stand against an object's end, an approval with them."""

FaultListener = Callable[[Integrity], Awaitable[None]]

logger = logging.getLogger(__name__)


class Known:
    """What was gathered already, for as long as it may be a moment old: never across a deletion."""

    def __init__(self) -> None:
        self.standings: dict[tuple[str, str], Standing] = {}
        self.holds: dict[str, list[HoldRow]] = {}
        self.findings: dict[str, list[Finding]] = {}
        self.expiries: dict[str, ExpiryRow | None] = {}


class Retention:
    """See the module. One at a time follows a ledger; a second one repeats its work and changes nothing.

    Args:
        store: Where the objects are.
        catalog: Where they are listed.
        ledger: Where decisions stand.
        clock: For locks.
        policy_of: A recorder's policy.
        book: The policies in force; those of the package alone where not given.
        on_fault: Told of an object that the store does not have, or not whole; nothing else stops for it.
    """

    def __init__(
        self,
        store: ObjectStore,
        catalog: Catalog,
        ledger: Ledger,
        *,
        clock: Clock,
        policy_of: Callable[[str], str],
        book: Rulebook | None = None,
        on_fault: FaultListener | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.ledger = ledger
        self.clock = clock
        self.register = Register(catalog)
        self.objects = Objects(catalog)
        self.book = book or default()
        self._policy_of = policy_of
        self._on_fault = on_fault
        self._following = asyncio.Lock()

    async def apply(self, event: AnyEvent) -> None:
        """Absorb one event of topic `events`; those that decide nothing are passed over.

        Raises:
            Unavailable: The ledger, the catalogue or the store is away; apply the event again.
            IntegrityError: The ledger cannot be read.
        """
        said = self._say(event)
        if said is not None:
            await self.ledger.append([said])
            await self.follow()
        elif isinstance(event, SegmentStored | Backfilled) and event.key is not None:
            row = await self.objects.get(event.key)
            if row is not None and row.deleted_at is None and not _as_put(await self.facts(row)):
                await self.settle(row)

    async def apply_finding(self, finding: Finding) -> None:
        """Absorb one record of topic `findings`: it is remembered, and holds footage where its policy says so.

        Raises:
            Unavailable: As for `apply`.
            IntegrityError: As for `apply`.
        """
        await self.catalog.upsert_finding(finding)
        policy = self.book.find(self._policy_of(finding.recorder_id))
        row = None if policy is None else holds.of_finding(finding, policy)
        if row is None:
            return
        known = await self.register.hold(row.id)
        if known is not None and (known.at > row.at or _span(known) == _span(row)):
            return
        await self.ledger.append([entries.of_hold(row)])
        await self.follow()

    async def follow(self) -> None:
        """Do what the ledger says and has not been done: step 2.

        Raises:
            Unavailable: As for `apply`.
            IntegrityError: As for `apply`.
        """
        async with self._following:
            start = await self.register.place(PLACE)
            end = await self.ledger.size()
            async for index, line in self.ledger.read(start, end):
                entry = decode(line)
                if entry.kind in entries.FOLLOWED:
                    await self._take(entry)
                    await self.register.set_place(PLACE, index + 1)
            await self.register.set_place(PLACE, end)

    async def settle(self, row: ObjectRow, known: Known | None = None) -> Head | None:
        """Give one object what it is owed now; where something stands against its end, take it from the list.

        Args:
            row: The object.
            known: See `facts`.

        Returns:
            What the store said of it before; None where the store does not have it, which `on_fault` was told.

        Raises:
            Unavailable: As for `apply`.
        """
        head = await self.head(row)
        if head is None:
            return None
        facts = await self.facts(msgspec.structs.replace(row, retain_until=head.retain_until or Instant(0)), known)
        if facts.expiry is not None and facts.expiry.state in VOIDED and blockers(facts, self.clock.now()):
            await self.register.withdraw(row.key)
            facts = msgspec.structs.replace(facts, expiry=None)
        owed = protection(facts, self.clock.now())
        if owed.retain_until > facts.row.retain_until:
            await self._lengthen(row, owed.retain_until)
        elif facts.row.retain_until > row.retain_until:
            await self.register.extended(row.key, facts.row.retain_until)
        tags = await self.store.tags(row.key, row.version_id)
        if tags.get("retention") != owed.tag:
            await self.store.set_tags(row.key, row.version_id, {**tags, "retention": owed.tag})
        if owed.legal_hold != head.legal_hold:
            await self.store.hold(row.key, row.version_id, owed.legal_hold)
        return head

    async def head(self, row: ObjectRow) -> Head | None:
        """Ask the store for an object; where it is not there, or not whole, `on_fault` is told and None returned."""
        fault: IntegrityFault = "missing"
        why = "not in the store"
        try:
            head = await self.store.head(row.key, row.version_id)
            if head is not None or await self._is_ours_to_delete(row):
                return head
        except IntegrityError as error:
            fault, why = "altered", str(error)
        logger.error("%s: %s: %s", row.key, fault, why)
        if self._on_fault is not None:
            at = self.clock.now()
            await self._on_fault(Integrity(at=at, recorder_id=row.recorder_id, key=row.key, fault=fault))
        return None

    async def _is_ours_to_delete(self, row: ObjectRow) -> bool:
        """Tell whether an object is being deleted, or was, and the ledger says so."""
        expiry = await self.register.expiry(row.key)
        if expiry is None or expiry.state not in {"deleting", "deleted"}:
            return False
        intent = entries.deletion("intent", row.stored_at, row, expiry)
        return await self.ledger.find(intent.id) is not None

    async def gone(self, row: ObjectRow) -> bool:
        """Tell whether the store has no such version; one that is there but not whole is not gone."""
        try:
            return await self.store.head(row.key, row.version_id) is None
        except IntegrityError:
            return False

    async def facts(self, row: ObjectRow, known: Known | None = None) -> Facts:
        """Gather everything that decides about one object.

        Args:
            row: The object.
            known: What was gathered for others; what is asked for this one is added to it.
        """
        policy = self.book.find(row.policy)
        side_ms = 0 if policy is None else policy.retention.finding_hold.each_side.ms()
        known = Known() if known is None else known
        place = (row.recorder_id, row.session_id)
        if place not in known.standings:
            known.standings[place] = standing(await self.register.decisions(*place))
        if row.recorder_id not in known.holds:
            every = await self.register.holds(row.recorder_id, released=True)
            standing_ones = await self.register.holds(row.recorder_id)
            judged = {one.ref for one in every if one.origin == "finding"} - {one.ref for one in standing_ones}
            found = [one async for one in self._open_findings(row.recorder_id)]
            known.holds[row.recorder_id] = standing_ones
            known.findings[row.recorder_id] = [one for one in found if one.id not in judged]
        if row.key not in known.expiries:
            known.expiries[row.key] = await self.register.expiry(row.key)
        return Facts(
            row=row,
            policy=policy,
            standing=known.standings[place],
            holds=tuple(one for one in known.holds[row.recorder_id] if holds.covers(one, row)),
            findings=tuple(one for one in known.findings[row.recorder_id] if holds.touches(one, row, side_ms)),
            expiry=known.expiries[row.key],
        )

    def _say(self, event: AnyEvent) -> Entry | None:
        match event:
            case Hold() if event.released and not holds.by_two(event):
                logger.warning("retention: %s alone lifts no hold of %s", event.by, event.recorder_id)
            case Hold():
                return entries.of_event(event, holds.hold_id(event.recorder_id, event))
            case Classified():
                return entries.of_event(event)
            case SessionOpened() | Explanation():
                policy = self.book.find(self._policy_of(event.recorder_id))
                named = {"act": event.act} if isinstance(event, SessionOpened) else {"cause": event.cause}
                case = policy.long_term(**named) if policy is not None else None
                return None if case is None else entries.by_policy(event, case)
        return None

    async def _take(self, entry: Entry) -> None:
        match entry.kind:
            case "hold":
                await self._hold(entry)
            case "release":
                await self._release(entry)
            case "class":
                row = entries.decision_of(entry)
                await self.register.add_decision(row)
                await self._settle_all(self._rows(row.recorder_id, row.session_id))
            case _:
                await self._approve(entry)

    async def _hold(self, entry: Entry) -> None:
        row = entries.hold_of(entry)
        before = await self.register.hold(row.id)
        await self.register.set_hold(row)
        await self._settle_held(row)
        if before is not None and before != row:  # a finding that was closed may hold less than while it was open
            await self._settle_held(before)

    async def _settle_held(self, hold: HoldRow) -> None:
        if hold.key is None:
            await self._settle_all(self._rows(hold.recorder_id, hold.session_id, hold.from_at, hold.to_at))
            return
        found = await self.objects.get(hold.key)
        if found is not None and found.deleted_at is None:
            await self.settle(found)

    async def _release(self, entry: Entry) -> None:
        event = entries.release_of(entry)
        known = await self.register.holds(event.recorder_id, released=True)
        lifted = holds.lifted(event, known)
        for one in lifted:
            await self.register.release(ReleaseRow(hold_id=one, at=entry.at, by=event.by, reason=event.reason))
        for hold in known:
            if hold.id in lifted:
                await self._settle_held(hold)

    async def _approve(self, entry: Entry) -> None:
        """Take a person's decision for what was on the list when it was made; evidence needs a signed document."""
        body = entries.approval_of(entry)
        if body is None:
            return
        cursor = None
        while True:
            page = await self.register.list_expiries(
                recorder_id=entry.recorder_id, session_id=entry.session_id, cursor=cursor, limit=_PAGE
            )
            for row in page.items:
                if _is_meant(body, row):
                    await self.register.set_expiry(_decided(body, row, entry.at))
            if (cursor := page.cursor) is None:
                return

    async def _settle_all(self, rows: AsyncIterator[ObjectRow]) -> None:
        """Settle many by what is known now; whatever is decided meanwhile settles them again."""
        known = Known()
        waiting: list[ObjectRow] = []
        async for row in rows:
            waiting.append(row)
            if len(waiting) == SETTLED_AT_ONCE:
                await self._settle_some(waiting, known)
                waiting = []
        await self._settle_some(waiting, known)

    async def _settle_some(self, rows: list[ObjectRow], known: Known) -> None:
        if rows:
            await self.facts(rows[0], known)  # what they share is asked for once
            await asyncio.gather(*(self.settle(row, known) for row in rows))

    def _rows(
        self,
        recorder_id: str,
        session_id: str | None,
        from_at: Instant | None = None,
        to_at: Instant | None = None,
    ) -> AsyncIterator[ObjectRow]:
        """Read the objects of a session or a span; their order does not change while locks do."""
        since = None if from_at is None else from_at.plus(-1)
        return self.objects.of(recorder_id, session_id, since, None if to_at is None else to_at.plus(1))

    async def _open_findings(self, recorder_id: str) -> AsyncIterator[Finding]:
        cursor = None
        while True:
            page = await self.catalog.list_findings(open_only=True, recorder_id=recorder_id, cursor=cursor, limit=_PAGE)
            for one in page.items:
                yield one
            if (cursor := page.cursor) is None:
                return

    async def _lengthen(self, row: ObjectRow, until: Instant) -> None:
        try:
            locked = await self.store.retain(row.key, row.version_id, until)
        except Refused:
            head = await self.store.head(row.key, row.version_id)
            if head is None or head.retain_until is None or head.retain_until < until:
                raise
            locked = head.retain_until  # somebody has locked it for longer in between: that is as good
        await self.register.extended(row.key, locked)


def _span(hold: HoldRow) -> tuple[str | None, Instant | None, Instant | None]:
    return hold.key, hold.from_at, hold.to_at


def _as_put(facts: Facts) -> bool:
    """Tell whether an object just stored is owed no more than it was stored with."""
    return facts.standing == UNSETTLED and not facts.holds


def _is_meant(body: entries.ApprovalBody, row: ExpiryRow) -> bool:
    """Tell whether a decision is about this object: it awaited one, and evidence needs a signed document."""
    if row.listed_at > body.listed_until or body.key not in {None, row.key}:
        return False
    if body.decision == "keep":
        return row.state in {"review", "listed"}
    return row.state == "review" and (row.retention_class == "ordinary" or body.document is not None)


def _decided(body: entries.ApprovalBody, row: ExpiryRow, at: Instant) -> ExpiryRow:
    return msgspec.structs.replace(
        row,
        state="approved" if body.decision == "delete" else "kept",
        decided_at=at,
        by=body.by,
        reason=body.reason,
        document=body.document,
        again_at=body.again_at,
    )
