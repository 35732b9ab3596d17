"""Our WHIP receiver as far as access units and no further: the scope of a peer that receives and decodes.

python -m benchmarks.whip_units PORT
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys

import aioice.ice
import uvloop
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, Router

from dashboards.front import Front
from domain.clock import SystemClock
from domain.media import AccessUnit
from domain.registry import Registration
from streams.ingest.whip.options import WhipOptions
from streams.ingest.whip.routes import whip_router
from streams.ingest.whip.service import WhipService
from tests.streams.memory_ingest import MemoryFeed, MemoryIngest

figures = {"pictures": 0, "media_bytes": 0}


class Counting(MemoryFeed):
    """Counts what it is given and keeps none of it."""

    def on_unit(self, unit: AccessUnit) -> None:
        figures["pictures"] += unit.params.codec.is_video
        figures["media_bytes"] += len(unit.data)


class Anybody(MemoryIngest):
    """Knows whoever asks."""

    def registration(self, recorder_id: str) -> Registration | None:
        return super().registration(recorder_id) or self.register(recorder_id)

    def open_feed(self, recorder_id: str, session_id: str) -> MemoryFeed:
        self.feeds.append(Counting(f"{session_id}-f{len(self.feeds)}", recorder_id, session_id))
        return self.feeds[-1]


async def serve(port: int) -> None:
    """Take what is published, until killed."""
    ingest = Anybody()
    whip = WhipService(ingest, SystemClock(), WhipOptions(hosts=["127.0.0.1"]))
    listener = socket.create_server(("127.0.0.1", port))
    front = Front(listener, lambda: "")

    async def read_figures(_: Request) -> JSONResponse:
        return JSONResponse(figures)

    front.add([whip_router(ingest, whip), Router([Route("/figures", read_figures)])])
    gc.freeze()  # as the service does
    await asyncio.Event().wait()


if __name__ == "__main__":
    aioice.ice.get_host_addresses = lambda **_: ["127.0.0.1"]
    uvloop.run(serve(int(sys.argv[1])))
