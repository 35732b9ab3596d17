"""A process that publishes a recording over WHIP, packets encoded beforehand; the same for whoever receives.

    python -m benchmarks.whip_sender URL [--streams N] [--seconds S] [--loss RATIO]

Prints one JSON object at the end: what it sent, and what the path lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import AsyncExitStack

import aioice.ice
import httpx

from tests.services.samples import Samples
from tests.streams.whip_client import Coded, CodedTrack, WhipClient


async def send(url: str, streams: int, seconds: float, loss: float) -> dict[str, int]:
    """Publish so many streams as `cam-0`, `cam-1` … and say goodbye."""
    pictures = Coded(Samples().get("cam").path).pictures
    sounds = Coded(Samples().get("opus").path)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        clients = []
        for number in range(streams):
            client = await stack.enter_async_context(WhipClient(http, sounds, f"cam-{number}", fps=25))
            client.video = CodedTrack("video", pictures, 25, 90_000, 3600)
            client.audio = CodedTrack("audio", sounds.sounds, 50, 48_000, 960)
            client.decoy = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
            await client.publish(**({"loss": loss, "seed": number} if loss else {}))
            clients.append(client)
        print("publishing", flush=True)
        await asyncio.sleep(seconds)
        paths = [client.path for client in clients if client.path is not None]
        sent = {
            "pictures": sum(len(client.video.sent) for client in clients),
            "lost": sum(path.lost for path in paths),
            "passed": sum(path.passed for path in paths),
        }
        for client in clients:
            await client.delete()
    return sent


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--loss", type=float, default=0.0)
    given = parser.parse_args()
    aioice.ice.get_host_addresses = lambda **_: ["127.0.0.1"]  # aiortc leaves loopback out
    print(json.dumps(asyncio.run(send(given.url, given.streams, given.seconds, given.loss))), flush=True)
