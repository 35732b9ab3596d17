"""A console served over real HTTP, on a real embedded log and catalogue, with feeds in real time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from dashboards.console import Console
from dashboards.hls.mp4 import take_apart
from dashboards.people.doors import Open
from dashboards.people.guard import Door
from domain.clock import Instant, SystemClock
from domain.events import Event, Fragment, RecorderEvent
from domain.findings import Finding
from domain.probe import Probe
from domain.registry import Registration
from domain.settings import Settings
from domain.wire import encode
from storage.catalog.catalog import Catalog
from storage.catalog.rows import SegmentRow
from storage.ledger.ledger import Ledger
from storage.objects.file import FileStore
from storage.objects.port import ObjectStore
from storage.office.office import Office
from storage.part import PartFile
from streams.bus.embedded import EmbeddedBus
from tests.dashboards.feeds import Piece, endless, media_event


class Served:
    """A running console.

    Attributes:
        address: `host:port`.
    """

    def __init__(
        self, bus: EmbeddedBus, console: Console, port: int, keeping: tuple[Catalog, ObjectStore, Path]
    ) -> None:
        self.bus, self.console, self.address = bus, console, f"127.0.0.1:{port}"
        self._catalog, self._store, self._folder = keeping
        self.clock = SystemClock()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def publish(self, *what: Event | Finding | Registration) -> None:
        for each in what:
            topic = "events" if isinstance(each, Event) else "findings" if isinstance(each, Finding) else "registry"
            key = each.recorder_id if isinstance(each, (RecorderEvent, Finding, Registration)) else None
            await self.bus.publish(topic, key, encode(each))

    async def keep(
        self, recorder_id: str, cut: Sequence[Piece], start: Instant, first_seq: int, *, session_id: str = "s1"
    ) -> None:
        """Store a recording as one segment, as the store worker would."""
        part = PartFile(self._folder)
        at = start
        for number, piece in enumerate(cut):
            event = media_event(
                piece, first_seq + number, at, at, recorder_id=recorder_id, session_id=session_id, feed_id="f1"
            )
            init = take_apart(piece.data).init
            part.append(event, memoryview(init), memoryview(piece.data)[len(init) :])
            at = at.plus(round(piece.duration_s * 1000))
        sha256 = part.seal(recorder_id, session_id, "f1", "h264")
        key, size = f"segments/{recorder_id}/{first_seq}.mp4", part.size
        until = self.clock.now().plus(100_000)
        stored = await self._store.put(key, part.path, sha256=sha256, retain_until=until, tags={}, metadata={})
        row = SegmentRow(
            key=key,
            recorder_id=recorder_id,
            session_id=session_id,
            feed_id="f1",
            policy="wucheng",
            from_at=start,
            to_at=at,
            bytes=size,
            sha256=sha256,
            version_id=stored.version_id,
            codec="h264",
            first_seq=first_seq,
            last_seq=first_seq + len(cut) - 1,
            fragments=len(cut),
            retain_until=until,
            stored_at=at,
        )
        await self._catalog.add_segment(row)

    async def feed(
        self,
        recorder_id: str,
        cut: Sequence[Piece],
        *,
        lost: Collection[int] = (),
        note: Callable[[Fragment], None] | None = None,
    ) -> None:
        """Publish a recording for ever, each fragment when its last picture would have been captured."""
        at = self.clock.now()
        for seq, piece in enumerate(endless(cut)):
            at = at.plus(round(piece.duration_s * 1000))
            await asyncio.sleep(max(0, at - self.clock.now()) / 1000)
            if seq not in lost:
                await self._fragment(recorder_id, piece, seq, at, note)

    async def _fragment(
        self, recorder_id: str, piece: Piece, seq: int, end: Instant, note: Callable[[Fragment], None] | None
    ) -> None:
        start = end.plus(-round(piece.duration_s * 1000))
        event = media_event(
            piece, seq, start, self.clock.now(), recorder_id=recorder_id, session_id="s1", feed_id=f"{recorder_id}-f"
        )
        headers = {"event": encode(event), "segment": b"1" if piece.restarts else b"0"}
        await self.bus.publish("media", recorder_id, piece.data, headers=headers)
        await self.publish(event)
        if note is not None:
            note(event)


@asynccontextmanager
async def served(
    folder: Path, *, door: Door | None = None, settings: Settings | None = None, probe: Probe | None = None
) -> AsyncIterator[Served]:
    """Start everything on a free port, and stop it in order."""
    bus = EmbeddedBus(folder / "log", partitions=2)
    await bus.start()
    catalog = await Catalog.connect(f"sqlite:///{folder}/catalog.db")
    ledger = await Ledger.connect(f"sqlite:///{folder}/ledger.db")
    office = await Office.connect(f"sqlite:///{folder}/office.db")
    store = ObjectStore(FileStore(folder / "store", immutable=False))
    console = Console(
        bus,
        catalog,
        SystemClock(),
        folder / "console.state",
        CollectorRegistry(),
        store=store,
        ledger=ledger,
        office=office,
        door=door or Open(),
        settings=settings,
        probe=probe,
    )
    app = FastAPI()
    app.routes.extend(console.health().routes)
    for router in console.routers():
        app.include_router(router)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    serving, running = asyncio.create_task(server.serve()), asyncio.create_task(console.run())
    try:
        async with asyncio.timeout(20):
            while not server.started:  # noqa: ASYNC110 - uvicorn sets a flag, it rings no bell
                await asyncio.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(bus, console, port, (catalog, store, folder))
    finally:
        await console.close()
        server.should_exit = True
        await serving
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await catalog.close()
        await store.close()
        await ledger.close()
        await office.close()
        await bus.close()
