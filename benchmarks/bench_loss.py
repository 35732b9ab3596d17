"""Packet loss on WHIP: the longest stall, what was repaired, and whether every loss is in the log; beside plain aiortc.

python -m benchmarks.bench_loss [--short] [--loss 1 5 10] [--seconds 60] [--json FILE]

The path loses SRTP and SRTCP alike, both ways. A stall is the longest time between two pictures given out.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette

from benchmarks.report import parser, publish, table
from benchmarks.systems import PlainAiortc, WhipSender
from domain.bus import TopicPartition
from domain.clock import SystemClock
from domain.events import Fragment
from domain.media import AccessUnit
from domain.registry import Registration, hash_token
from domain.settings import Settings
from domain.topics import EVENTS
from domain.wire import decode_event
from streams.bus.embedded import EmbeddedBus
from streams.ingest.feeds import Feed
from streams.ingest.registering import register
from streams.ingest.service import IngestService
from streams.ingest.whip.options import WhipOptions
from streams.ingest.whip.routes import whip_router
from streams.ingest.whip.service import WhipService
from tests.services.process import free_port


class Watched(IngestService):
    """Our ingest, with a note of when each picture was given to its feed."""

    def __init__(self, bus: EmbeddedBus, settings: Settings) -> None:
        super().__init__(bus, settings, SystemClock())
        self.given_s: list[float] = []
        self.damaged = 0

    def open_feed(self, recorder_id: str, session_id: str) -> Feed:
        feed = super().open_feed(recorder_id, session_id)
        take = feed.on_unit

        def on_unit(unit: AccessUnit) -> None:
            if unit.params.codec.is_video:
                self.given_s.append(time.monotonic())
                self.damaged += unit.damaged
            take(unit)

        feed.on_unit = on_unit  # type: ignore[method-assign]
        return feed


def main() -> None:
    arguments = _arguments()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        for percent in arguments.loss:
            folder = Path(name) / f"{percent:g}"
            folder.mkdir()
            row = {"loss_percent": percent, **uvloop.run(_liuhen(folder, percent / 100, arguments.seconds))}
            row["aiortc"] = _aiortc(folder, percent / 100, arguments.seconds)
            rows.append(row)
            print(row, flush=True)
    publish("loss", {"seconds": arguments.seconds, "runs": rows}, _table(rows), arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--loss", type=float, nargs="+", default=[1, 5, 10], help="percent")
    options.add_argument("--seconds", type=float, default=60.0)
    found = options.parse_args()
    if found.short:
        found.loss, found.seconds = [5], 4.0
    return found


async def _liuhen(folder: Path, loss: float, seconds: float) -> dict[str, Any]:
    settings = Settings(spool=f"{folder}/spool", worker_id="bench")
    bus = EmbeddedBus(folder / "log", partitions=1)
    await bus.start()
    token = hash_token("t0ken")
    await register(bus, [Registration(recorder_id="cam-0", kind="body_worn", policy="wucheng", token_sha256=token)])
    ingest = Watched(bus, settings)
    await ingest.start()
    whip = WhipService(ingest, SystemClock(), WhipOptions(hosts=["127.0.0.1"]))
    app, port = Starlette(routes=whip_router(ingest, whip).routes), free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    sender = WhipSender(folder / "sender", port, seconds=seconds, loss=loss)
    await asyncio.to_thread(sender.start)
    tracks = whip.peers[0].tracks
    sent = await asyncio.to_thread(sender.sent, seconds + 60)
    sender.stop()
    given_up = sum(track.lost_packets for track in tracks)
    server.should_exit = True
    await serving
    await whip.close()
    await ingest.stop()
    in_log = await _lost_in_log(bus)
    await bus.close()
    return {
        "pictures_sent": sent["pictures"],
        "pictures_given": len(ingest.given_s),
        "pictures_damaged": ingest.damaged,
        "longest_stall_s": _longest_s(ingest.given_s),
        "packets_dropped_by_path": sent["lost"],
        "packets_given_up": given_up,
        "packets_lost_in_log": in_log,
    }


def _longest_s(times: list[float]) -> float:
    return round(max((later - before for before, later in itertools.pairwise(times)), default=0.0), 3)


async def _lost_in_log(bus: EmbeddedBus) -> int:
    lost = 0
    async for record in bus.read(TopicPartition(EVENTS.name, 0), 0):
        event = decode_event(record.value or b"")
        if isinstance(event, Fragment):
            lost += event.lost_packets or 0
    return lost


def _aiortc(folder: Path, loss: float, seconds: float) -> dict[str, Any]:
    with (
        PlainAiortc(folder / "plain") as plain,
        WhipSender(folder / "plain-sender", plain.port, seconds=seconds, loss=loss) as sender,
    ):
        sent = sender.sent(seconds + 60)
        found = plain.figures()
    return {
        "pictures_sent": sent["pictures"],
        "pictures_given": int(found["pictures"]),
        "longest_stall_s": round(found["longest_stall_s"], 3),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    head = ["loss", "longest stall", "aiortc's", "pictures", "damaged", "aiortc's", "dropped", "given up", "in the log"]
    lines = []
    for row in rows:
        peer = row["aiortc"]
        lines.append(
            [
                f"{row['loss_percent']:g} %",
                f"{row['longest_stall_s']:.2f} s",
                f"{peer['longest_stall_s']:.2f} s",
                f"{row['pictures_given']}/{row['pictures_sent']}",
                row["pictures_damaged"],
                f"{peer['pictures_given']}/{peer['pictures_sent']}",
                row["packets_dropped_by_path"],
                row["packets_given_up"],
                row["packets_lost_in_log"],
            ]
        )
    return table(head, lines)


if __name__ == "__main__":
    main()
