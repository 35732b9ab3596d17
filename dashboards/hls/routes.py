"""The addresses of pictures, live and stored."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response

from dashboards import query
from dashboards.access import AccessLog
from dashboards.hls.live import LivePictures
from dashboards.hls.playback import Recordings
from dashboards.problem import Missing, ProblemRoute
from domain.ids import check_recorder_id

PLAYLIST = "application/vnd.apple.mpegurl"
IMMUTABLE = {"Cache-Control": "private, max-age=60, immutable"}
"""Parts are named by their place in the log, their hash or their object: under one name always the same."""


_PART = re.compile(r"(\d{1,15})-(\d{1,15})\.m4s")


def stored_router(recordings: Recordings, access: AccessLog | None = None) -> APIRouter:
    """Make the router of stored pictures; goes before that of live ones.

    Args:
        recordings: Reads them.
        access: Told of each object before a byte of it is served; nobody where None.
    """
    router = APIRouter(prefix="/hls", route_class=ProblemRoute)

    @router.get("/{recorder_id}/playback.m3u8")
    async def playback(request: Request, recorder_id: str) -> Response:
        query.only(request, {"from", "to"})
        span = [query.moment(name, request.query_params.get(name)) for name in ("from", "to")]
        text = await recordings.playlist(check_recorder_id(recorder_id), *span)
        return Response(text, media_type=PLAYLIST, headers={"Cache-Control": "no-store"})

    @router.get("/{recorder_id}/playback/{token}/{part}")
    async def stored(request: Request, recorder_id: str, token: str, part: str) -> Response:
        row = await recordings.segment(check_recorder_id(recorder_id), token)
        if access is not None:
            viewer = "unknown" if request.client is None else request.client.host
            await access.note(viewer, recorder_id, row.session_id, row.key)
        asked = _PART.fullmatch(part)
        if asked is not None:
            data = await recordings.fragment(row, int(asked[1]), int(asked[2]))
        elif part == "init.mp4":
            data = await recordings.init(row)
        else:
            raise Missing(f"no part {part}")
        return Response(data, media_type="video/mp4", headers=IMMUTABLE)

    return router


def live_router(pictures: LivePictures) -> APIRouter:
    """Make the router of live pictures."""
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
        return Response(data, media_type="video/mp4", headers=IMMUTABLE)

    return router
