"""The addresses of live pictures."""

from __future__ import annotations

from fastapi import APIRouter, Response

from dashboards.hls.live import LivePictures
from dashboards.problem import Missing, ProblemRoute
from domain.ids import check_recorder_id

PLAYLIST = "application/vnd.apple.mpegurl"


def live_router(pictures: LivePictures) -> APIRouter:
    """Make the router."""
    router = APIRouter(prefix="/hls", route_class=ProblemRoute)

    @router.get("/{recorder_id}/live.m3u8")
    async def playlist(recorder_id: str) -> Response:
        ring = await pictures.ring(check_recorder_id(recorder_id))
        if not ring:
            raise Missing(f"no live picture of {recorder_id}")
        return Response(ring.playlist(), media_type=PLAYLIST, headers={"Cache-Control": "no-store"})

    @router.get("/{recorder_id}/{part}")
    async def body(recorder_id: str, part: str) -> Response:
        ring = pictures.known(check_recorder_id(recorder_id))
        data = None if ring is None else ring.body(part)
        if data is None:
            raise Missing(f"{part} of {recorder_id} is not, or no longer, here")
        # Named by its place in the log or by its hash: under one name it is always the same.
        headers = {"Cache-Control": "private, max-age=60, immutable"}
        return Response(data, media_type="video/mp4", headers=headers)

    return router
