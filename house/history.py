"""A demonstration's past: what `streams.simulate.history` tells, stored and told to the log as it would have come.

Only for a fresh installation that nobody relies on: it states times at which nothing happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from domain.clock import Instant, ManualClock
from domain.events import Event, RecorderEvent, Tick
from domain.topics import EVENTS
from domain.wire import encode
from house.house import House

if TYPE_CHECKING:
    from domain.bus import Bus
    from storage.deposit import Depot
    from streams.simulate.history import Piece, Told
    from streams.simulate.script import Device

STORED_AFTER_MS = 40_000
"""From the end of a segment to its place in the store."""
TICK_NEAR_MS = 1_000
TICK_FAR_MS = 1_800_000
"""The log's clock runs by seconds while something happens, by half hours between: detectors are asked no less than
they would notice."""
NEAR_MS = 90_000
AT_ONCE = 500


async def tell(house: House, devices: list[Device], days: int) -> list[Told]:
    """Store and publish the story of these devices; returns its sessions, oldest first.

    Raises:
        Unavailable: A part of the house is away.
    """
    from storage.deposit import Depot
    from streams.simulate.history import history

    now = house.clock.now()
    sessions = await asyncio.to_thread(lambda: list(history(devices, now, days)))
    clock = ManualClock(now)
    depot = Depot(
        await house.store(),
        await house.catalog(),
        await house.ledger(),
        clock,
        policy_of=lambda _: house.settings.policy,
        step_done=lambda _: None,
        book=house.book,
    )
    folder = Path(house.settings.work) / "history"
    folder.mkdir(parents=True, exist_ok=True)
    events: list[Event] = []
    for told in sorted(sessions, key=lambda one: one.begins_at):
        events += told.events
        for pieces in told.segments:
            events += [piece.event for piece in pieces]
            clock.step((pieces[-1].event.at.plus(STORED_AFTER_MS) - clock.now()) / 1000)
            events.append(await _store(depot, folder, pieces))
    folder.rmdir()
    await _publish(await house.bus(), [*events, *_ticks(sessions, now)])
    return sorted(sessions, key=lambda one: one.begins_at)


async def _store(depot: Depot, folder: Path, pieces: list[Piece]) -> Event:
    from storage.deposit import Deposit, announcement
    from storage.part import PartFile
    from storage.segmenter import Segment

    part = PartFile(folder)
    for piece in pieces:
        part.append(piece.event, memoryview(piece.init), memoryview(piece.media))
    first, last = pieces[0].event, pieces[-1].event
    segment = Segment(
        recorder_id=first.recorder_id,
        session_id=first.session_id,
        feed_id=first.feed_id,
        codec=first.codec,
        first_offset=0,
        first_seq=first.seq,
        last_seq=last.seq,
        from_ms=int(first.captured_at),
        to_ms=int(last.captured_at) + round(last.duration_s * 1000),
        media_bytes=part.size,
        init=b"",
    )
    row = await Deposit(segment, part).run(depot)
    part.path.unlink(missing_ok=True)
    return announcement(row)


def _ticks(sessions: list[Told], now: Instant) -> Iterable[Tick]:
    """Return the ticks of the whole time, dense where something happens."""
    if not sessions:
        return
    near = sorted((told.begins_at - NEAR_MS, told.ends_at + NEAR_MS) for told in sessions)
    at = near[0][0]
    while at < now - TICK_NEAR_MS:
        yield Tick(at=Instant(at))
        is_near = any(begin <= at < end for begin, end in near)
        following = min((begin for begin, _ in near if begin > at), default=int(now))
        at = at + TICK_NEAR_MS if is_near else min(at + TICK_FAR_MS, following)


async def _publish(bus: Bus, events: list[Event]) -> None:
    events.sort(key=lambda event: (event.at, isinstance(event, Tick)))
    partitions = range(bus.partitions(EVENTS.name))
    sends = []
    for event in events:
        value = encode(event)
        if isinstance(event, RecorderEvent):
            sends.append(bus.publish(EVENTS.name, event.recorder_id, value))
        else:
            sends += [bus.publish(EVENTS.name, None, value, partition=number) for number in partitions]
        if len(sends) >= AT_ONCE:
            await asyncio.gather(*sends)
            sends = []
    await asyncio.gather(*sends)
