"""Consumer groups of the embedded log, inside one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor

from domain.bus import RebalanceListener, Record, TopicPartition
from domain.errors import BusUnavailable, IntegrityError, InvalidInput
from streams.bus.cursor import Cursor
from streams.bus.handover import Handover
from streams.bus.partition import PartitionLog
from streams.bus.sharing import share
from streams.bus.waiting import Bell

logger = logging.getLogger(__name__)

Commit = Callable[[str, Mapping[TopicPartition, int]], Awaitable[None]]
Committed = Callable[[str], Awaitable[dict[TopicPartition, int]]]


class Group:
    """The members of one group and what they hold.

    Args:
        name: Name of the group.
        logs: All partitions of the bus.
        commit: Stores offsets durably.
        committed: Returns what the group has stored.
        executor: Threads that read what is not in memory.
    """

    def __init__(
        self,
        name: str,
        logs: Mapping[TopicPartition, PartitionLog],
        commit: Commit,
        committed: Committed,
        executor: Executor,
    ) -> None:
        self.name = name
        self._logs = logs
        self._commit = commit
        self._committed = committed
        self._executor = executor
        self._members: dict[EmbeddedConsumer, list[TopicPartition]] = {}
        self._rebalancing: asyncio.Task[None] | None = None
        self._stale = False

    def join(
        self, topics: Sequence[str], on_gained: RebalanceListener | None, on_lost: RebalanceListener | None
    ) -> EmbeddedConsumer:
        """Add a member; it gets its partitions by and by."""
        member = EmbeddedConsumer(self, on_gained, on_lost)
        self._members[member] = [place for place in self._logs if place.topic in topics]
        self.rebalance()
        return member

    async def leave(self, member: EmbeddedConsumer) -> None:
        """Remove a member; what it held goes to the others."""
        if self._members.pop(member, None) is not None:
            self.rebalance()

    def rebalance(self) -> None:
        """Share the partitions out anew, in the background: giving up waits for the members' listeners."""
        self._stale = True
        if self._rebalancing is None or self._rebalancing.done():
            self._rebalancing = asyncio.get_running_loop().create_task(self._rebalance())

    async def close(self) -> None:
        """Remove all members."""
        for member in list(self._members):
            await member.close()
        if self._rebalancing is not None:
            self._rebalancing.cancel()
            await asyncio.wait({self._rebalancing})

    async def store(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit for the group."""
        await self._commit(self.name, offsets)

    async def _rebalance(self) -> None:
        while self._stale:
            self._stale = False
            target = share(self._members, {member: member.assigned() for member in self._members})
            lost = [(member, member.assigned() - items) for member, items in target.items()]
            await asyncio.gather(*(member.lose(items) for member, items in lost if items))
            if self._stale:
                continue
            offsets = await self._offsets()
            for member, items in target.items():
                fresh = items - member.assigned()
                if member in self._members:
                    member.gain({place: self.cursor(place, offsets.get(place, 0)) for place in fresh})

    async def _offsets(self) -> dict[TopicPartition, int]:
        while True:
            try:
                return await self._committed(self.name)
            except BusUnavailable as error:
                logger.error("group %s: %s; trying again", self.name, error)
                await asyncio.sleep(1)

    def cursor(self, place: TopicPartition, offset: int) -> Cursor:
        """Return a reader for a partition."""
        return Cursor(self._logs[place], offset, self._executor)


class EmbeddedConsumer:
    """A member of a group; see `domain.bus.Consumer`. One task uses it at a time."""

    def __init__(self, group: Group, on_gained: RebalanceListener | None, on_lost: RebalanceListener | None) -> None:
        self._group = group
        self._on_gained = on_gained
        self._on_lost = on_lost
        self._cursors: dict[TopicPartition, Cursor] = {}
        self._ready: set[TopicPartition] = set()  # held, and its on_gained has run
        self._turn = 0
        self._settled = False
        self._closed = False
        self._bell = Bell()
        self._handover = Handover()
        self._handover.wake = self._bell.ring

    async def take(self, max_records: int = 500, within_s: float = 0.05, max_bytes: int = 32_000_000) -> list[Record]:
        """Return what is there; see the port.

        Raises:
            IntegrityError: A record is damaged; says where. `seek` leads past it.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not self._closed:
            self._bell.quiet()
            await self._handover.run_waiting()
            records = await self._collect(max_records, max_bytes)
            if records:
                await asyncio.sleep(0)  # a reader with much to read must not keep the loop for itself
                return records
            if not await self._bell.wait(deadline - loop.time()):
                return []
        raise BusUnavailable("the consumer is closed")

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets; see the port."""
        held = {place: offset for place, offset in next_offsets.items() if place in self._cursors}
        if held:
            await self._group.store(held)

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read from `offset` next; see the port.

        Raises:
            InvalidInput: The partition is not held.
        """
        if partition not in self._cursors:
            raise InvalidInput(f"partition: {partition.topic}-{partition.partition} is not held", "partition")
        self._drop(partition)
        self._hold(partition, self._group.cursor(partition, offset))

    def assigned(self) -> frozenset[TopicPartition]:
        """Return the partitions held now."""
        return frozenset(self._cursors)

    def settled(self) -> bool:
        """Whether the group has said what is held; see the port."""
        return self._settled

    async def close(self) -> None:
        """Leave the group at once."""
        self._closed = True
        self._handover.give_up()
        for place in list(self._cursors):
            self._drop(place)
        self._bell.ring()
        await self._group.leave(self)

    async def lose(self, places: frozenset[TopicPartition]) -> None:
        """Give partitions up, once the listener has been told."""
        self._settled = False
        self._ready -= places
        if self._closed:
            return
        await self._handover.request(lambda: self._tell(self._on_lost, places))
        for place in places:
            self._drop(place)

    def gain(self, cursors: Mapping[TopicPartition, Cursor]) -> None:
        """Hold these too, which settles what is held; their records come once the listener has been told."""
        self._settled = True
        for place, cursor in cursors.items():
            self._hold(place, cursor)
        if cursors:
            self._handover.post(lambda: self._welcome(frozenset(cursors)))

    async def _welcome(self, places: frozenset[TopicPartition]) -> None:
        held = places & self._cursors.keys()
        try:
            await self._tell(self._on_gained, held)
        except BaseException:
            self._handover.post(lambda: self._welcome(held))  # not welcomed yet: the next take tries again
            raise
        self._ready |= held

    async def _tell(self, listener: RebalanceListener | None, places: frozenset[TopicPartition]) -> None:
        if listener is not None and places:
            await listener(places)

    async def _collect(self, max_records: int, max_bytes: int) -> list[Record]:
        places = sorted(self._ready)
        if not places:
            return []
        self._turn += 1
        first = self._turn % len(places)
        records: list[Record] = []
        for place in places[first:] + places[:first]:
            cursor = self._cursors.get(place)
            if cursor is None or not cursor.ready:
                continue
            if len(records) >= max_records or max_bytes <= 0 or (records and self._handover.waiting):
                break
            got = await self._fetch(cursor, max_records - len(records), max_bytes, may_fail=not records)
            if place in self._ready and self._cursors.get(place) is cursor:
                records += got
                max_bytes -= sum(len(record.value or b"") for record in got)
        return records

    async def _fetch(self, cursor: Cursor, max_records: int, max_bytes: int, *, may_fail: bool) -> list[Record]:
        try:
            return await cursor.fetch(max_records, max_bytes, must=may_fail)
        except IntegrityError:
            if may_fail:
                raise
            return []  # what others have given comes first; this partition's turn comes
        except OSError as error:
            raise BusUnavailable(f"cannot read {cursor.log.directory}: {error}") from error

    def _hold(self, place: TopicPartition, cursor: Cursor) -> None:
        self._cursors[place] = cursor
        cursor.log.bells.add(self._bell)
        self._bell.ring()

    def _drop(self, place: TopicPartition) -> None:
        cursor = self._cursors.pop(place, None)
        if cursor is not None:
            cursor.log.bells.discard(self._bell)
