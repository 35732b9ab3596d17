"""Where recorders belong and what people call them: topic `registry`, read whole and then followed."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from dashboards.alerts.signal import Origin
from domain.bus import Bus, Record, TopicPartition
from domain.errors import BusUnavailable, InvalidEvent
from domain.topics import REGISTRY
from domain.wire import decode_registration

RETRY_S = 1.0

log = logging.getLogger(__name__)


class Origins:
    """See the module.

    Args:
        bus: The log, started.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[str, Origin] = {}
        self._missing: dict[int, int] = {}
        self.caught_up = asyncio.Event()
        """Set once everything that stood in the registry at the start is known."""

    def of(self, recorder_id: str) -> Origin:
        """Return where a recorder belongs; nowhere where it is not registered."""
        return self._known.get(recorder_id, Origin())

    def name(self, recorder_id: str) -> str:
        """Return what people call a recorder."""
        return self.of(recorder_id).name or recorder_id

    async def run(self) -> None:
        """Follow until cancelled."""
        partitions = self._bus.partitions(REGISTRY.name)
        for number in range(partitions):
            oldest, end = await self._bus.bounds(TopicPartition(REGISTRY.name, number))
            if oldest < end:
                self._missing[number] = end
        self._check()
        async with asyncio.TaskGroup() as readers:
            for number in range(partitions):
                readers.create_task(self._follow(number))

    async def _follow(self, number: int) -> None:
        start = 0
        while True:
            try:
                records = self._bus.read(TopicPartition(REGISTRY.name, number), start, follow=True)
                async with contextlib.aclosing(records):  # type: ignore[type-var]
                    async for record in records:
                        start = record.offset + 1
                        self._take(record)
            except BusUnavailable as error:
                log.warning("notify: registry: %s; trying again in %g s", error, RETRY_S)
                await asyncio.sleep(RETRY_S)

    def _take(self, record: Record) -> None:
        if record.value is None:
            self._known.pop(record.key or "", None)
        else:
            with contextlib.suppress(InvalidEvent):  # ingest puts it on `rejected` with its reason
                said = decode_registration(record.value)
                self._known[said.recorder_id] = Origin(
                    site_id=said.site_id or "", unit_id=said.unit_id or "", name=said.name or "", kind=said.kind
                )
        if record.offset + 1 >= self._missing.get(record.partition, 0):
            self._missing.pop(record.partition, None)
        self._check()

    def _check(self) -> None:
        if not self._missing:
            self.caught_up.set()
