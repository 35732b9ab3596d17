"""The peer of our WHIP ingest: aiortc as its examples use it, receiving and decoding.

python -m benchmarks.whip_plain PORT
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import aioice.ice
import uvicorn
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from fastapi import FastAPI, Request, Response

app = FastAPI()
peers: dict[str, RTCPeerConnection] = {}
figures = {"pictures": 0.0, "longest_stall_s": 0.0}
readers: set[asyncio.Task[None]] = set()


async def _consume(track: Any) -> None:
    last_s: float | None = None
    while True:
        try:
            await track.recv()
        except MediaStreamError:
            return
        if track.kind == "video":
            now_s = time.monotonic()
            if last_s is not None:
                figures["longest_stall_s"] = max(figures["longest_stall_s"], now_s - last_s)
            last_s = now_s
            figures["pictures"] += 1


@app.post("/whip/{recorder_id}")
async def publish(recorder_id: str, request: Request) -> Response:
    """Answer an offer."""
    peer = peers[recorder_id] = RTCPeerConnection()

    @peer.on("track")
    def on_track(track: Any) -> None:
        reader = asyncio.ensure_future(_consume(track))
        readers.add(reader)

    await peer.setRemoteDescription(RTCSessionDescription((await request.body()).decode(), "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    headers = {"Location": f"/whip/{recorder_id}/1"}
    return Response(peer.localDescription.sdp, 201, headers, media_type="application/sdp")


@app.delete("/whip/{recorder_id}/1")
async def delete(recorder_id: str) -> Response:
    """End a peer."""
    await peers.pop(recorder_id).close()
    return Response(status_code=200)


@app.get("/figures")
async def read_figures() -> dict[str, float]:
    """Say how many pictures were decoded, and the longest time between two."""
    return figures


if __name__ == "__main__":
    aioice.ice.get_host_addresses = lambda **_: ["127.0.0.1"]
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", loop="asyncio")
