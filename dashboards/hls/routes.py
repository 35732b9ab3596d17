"""The addresses of pictures, live and stored."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response

from dashboards import query
from dashboards.hls.codecs import media_type
from dashboards.hls.playback import Recordings
from dashboards.parts import Parts
from dashboards.people.guard import Guard, SignedIn, declare
from dashboards.people.playing import Playing
from dashboards.people.rights import Person, Right
from dashboards.people.viewing import AccessLog
from dashboards.problem import Missing
from domain.ids import check_recorder_id

PLAYLIST = "application/vnd.apple.mpegurl"
IMMUTABLE = {"Cache-Control": "private, max-age=60, immutable"}
"""Parts are named by their place in the log, their hash or their object: under one name always the same."""


_PART = re.compile(r"(\d{1,15})-(\d{1,15})\.m4s")


def stored_router(guard: Guard, recordings: Recordings, access: AccessLog, playing: Playing) -> APIRouter:
    """Make the router of stored pictures; goes before that of live ones.

    Args:
        guard: Asks who may.
        recordings: Reads what is stored.
        access: Told of each object before a byte of it is served.
        playing: Tells who may, by office or because it was granted.
    """
    router = guard.router("/hls", in_schema=False)

    @router.get("/{recorder_id}/playback.m3u8")
    @declare(Right.FOOTAGE_REQUEST)
    async def playback(request: Request, person: SignedIn, recorder_id: str) -> Response:
        query.only(request, {"from", "to"})
        start, end = (query.moment(name, request.query_params.get(name)) for name in ("from", "to"))
        await playing.check_span(person, check_recorder_id(recorder_id), start, end)
        text = await recordings.playlist(recorder_id, start, end)
        return Response(text, media_type=PLAYLIST, headers={"Cache-Control": "no-store"})

    @router.get("/{recorder_id}/playback/{token}/{part}")
    @declare(Right.FOOTAGE_REQUEST)
    async def stored(person: SignedIn, recorder_id: str, token: str, part: str) -> Response:
        row = await recordings.segment(check_recorder_id(recorder_id), token)
        asked = _PART.fullmatch(part)
        span = (row.from_at, row.to_at) if asked is None else await recordings.span(row, int(asked[1]))
        request = await playing.check_part(person, recorder_id, row.session_id, *span)
        await access.note(person.account_id, recorder_id, row.session_id, row.key, request)
        if asked is not None:
            data = await recordings.fragment(row, int(asked[1]), int(asked[2]))
        elif part == "init.mp4":
            data = await recordings.init(row)
        else:
            raise Missing(f"no part {part}")
        kind = media_type(data) if part == "init.mp4" else "video/mp4"
        return Response(data, media_type=kind, headers=IMMUTABLE)

    return router


def live_router(parts: Parts, access: AccessLog) -> APIRouter:
    """Make the router of live pictures.

    Args:
        parts: Of the console.
        access: Told of each live picture before a byte of it is served.
    """
    router = parts.guard.router("/hls", in_schema=False)
    pictures = parts.pictures

    def check(person: Person, recorder_id: str) -> None:
        place = parts.place(check_recorder_id(recorder_id))
        parts.guard.check(person, Right.FOOTAGE_LIVE, place, f"recorder {recorder_id}")

    @router.get("/{recorder_id}/live.m3u8")
    @declare(Right.FOOTAGE_LIVE)
    async def playlist(person: SignedIn, recorder_id: str) -> Response:
        check(person, recorder_id)
        ring = await pictures.ring(recorder_id)
        if not ring:
            raise Missing(f"no live picture of {recorder_id}")
        return Response(ring.playlist(), media_type=PLAYLIST, headers={"Cache-Control": "no-store"})

    @router.get("/{recorder_id}/{part}")
    @declare(Right.FOOTAGE_LIVE)
    async def body(person: SignedIn, recorder_id: str, part: str) -> Response:
        check(person, recorder_id)
        ring = pictures.known(recorder_id)
        data = None if ring is None else ring.body(part)
        if data is None:
            raise Missing(f"{part} of {recorder_id} is not, or no longer, here")
        await access.note_live(person.account_id, recorder_id, _open_session(parts, recorder_id))
        kind = media_type(data) if part.startswith("init-") else "video/mp4"
        return Response(data, media_type=kind, headers=IMMUTABLE)

    return router


def _open_session(parts: Parts, recorder_id: str) -> str | None:
    recorder = parts.fleet.recorders.get(recorder_id)
    sessions = [] if recorder is None else [one for one in recorder.sessions.values() if one.ended_at is None]
    return max(sessions, key=lambda one: one.opened_at).session_id if sessions else None
