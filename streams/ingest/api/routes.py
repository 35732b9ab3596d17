"""The device HTTP API: what a recorder, or the app beside it, says of itself and of its sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from domain.clock import Clock
from domain.errors import InvalidEvent, InvalidInput
from domain.events import (
    DeviceIndex,
    Explanation,
    RecorderEvent,
    Returned,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
    StoringDeferred,
)
from domain.ids import check_session_id
from streams.ingest.api.auth import authenticate
from streams.ingest.api.body import media_type, parse_json, read_body
from streams.ingest.api.events import event_from, with_defaults
from streams.ingest.api.locks import RecorderLocks
from streams.ingest.api.problems import Problem, answers_problems
from streams.ingest.api.session_ids import assigned_id
from streams.ingest.api.telemetry import take_readings
from streams.ingest.ports import IngestPort

MAX_BODY_BYTES: Final = 1_000_000
MAX_INDEX_BYTES: Final = 4_000_000
"""Ten thousand recordings on a device, the most that `device_index` takes."""

_JSON_TYPES: Final = frozenset({"application/json", ""})

EndHook = Callable[[str, str], Awaitable[None]]
"""Awaited with recorder and session before a session's end is recorded: whoever feeds it closes its feed first."""


async def _nobody_feeds(_recorder_id: str, _session_id: str) -> None:
    """Stand in where no live ingest runs beside the API."""


def device_router(
    ingest: IngestPort, clock: Clock, *, before_end: EndHook = _nobody_feeds, locks: RecorderLocks | None = None
) -> Router:
    """Make the router for `/api/v1/recorders/{recorder_id}/…`.

    Args:
        ingest: Where events go.
        clock: Sets `at`; a device's own clock never does.
        before_end: Closes the live feed of a session, so that its last fragment stands before its end.
        locks: Shared with live ingest, so that a session is opened once.
    """
    api = _DeviceApi(ingest, clock, before_end, locks or RecorderLocks())
    place = "/api/v1/recorders/{recorder_id}"
    return Router(
        [
            Route(place + path, answers_problems(handler), methods=[method])
            for method, path, handler in (
                ("POST", "/telemetry", api.telemetry),
                ("POST", "/sessions", api.open),
                ("POST", "/sessions/{session_id}/stop", api.stop),
                ("POST", "/sessions/{session_id}/resume", api.resume),
                ("POST", "/sessions/{session_id}/end", api.end),
                ("POST", "/sessions/{session_id}/explanations", api.explain),
                ("POST", "/sessions/{session_id}/deferrals", api.defer),
                ("POST", "/returned", api.returned),
                ("PUT", "/index", api.index),
            )
        ]
    )


E = TypeVar("E", bound=RecorderEvent)


class _DeviceApi:
    def __init__(self, ingest: IngestPort, clock: Clock, before_end: EndHook, locks: RecorderLocks) -> None:
        self._locks = locks
        self._ingest = ingest
        self._clock = clock
        self._before_end = before_end

    async def telemetry(self, request: Request) -> Response:
        recorder_id = authenticate(request, self._ingest).recorder_id
        body = await self._body(request, recorder_id)
        at = self._clock.now()
        accepted = await take_readings(self._ingest, recorder_id, body, at)
        return _json(202, {"accepted": accepted, "at": at.rfc3339()})

    async def open(self, request: Request) -> Response:
        recorder_id = authenticate(request, self._ingest).recorder_id
        body = with_defaults(await self._body(request, recorder_id))
        at = self._clock.now()
        if isinstance(body, dict) and body.get("session_id") is None:
            body = {**body, "session_id": assigned_id(recorder_id, at)}
        event = await self._event(body, SessionOpened, recorder_id)
        session_id = event.session_id
        async with self._locks.of(recorder_id):
            existed = await self._may_open(recorder_id, session_id)
            if not existed:
                await self._ingest.record(event)
        place = f"/api/v1/recorders/{recorder_id}/sessions/{session_id}"
        return _json(200 if existed else 201, self._standing(recorder_id, session_id), {"Location": place})

    async def stop(self, request: Request) -> Response:
        recorder_id, session_id = await self._session(request)
        body = with_defaults(await self._body(request, recorder_id), last_captured_at=self._clock.now().rfc3339())
        event = await self._event(body, SessionStopped, recorder_id, session_id=session_id)
        async with self._locks.of(recorder_id):
            if self._not_ended(session_id) != "stopped":
                await self._ingest.record(event)
        return _json(200, self._standing(recorder_id, session_id))

    async def resume(self, request: Request) -> Response:
        recorder_id, session_id = await self._session(request)
        body = with_defaults(await self._body(request, recorder_id))
        event = await self._event(body, SessionResumed, recorder_id, session_id=session_id)
        async with self._locks.of(recorder_id):
            if self._not_ended(session_id) == "stopped":
                await self._ingest.record(event)
        return _json(200, self._standing(recorder_id, session_id))

    async def end(self, request: Request) -> Response:
        recorder_id, session_id = await self._session(request)
        body = with_defaults(await self._body(request, recorder_id), completed_at=self._clock.now().rfc3339())
        await self._event(body, SessionEnded, recorder_id, session_id=session_id)
        async with self._locks.of(recorder_id):
            if self._ingest.session_state(session_id) != "ended":
                await self._before_end(recorder_id, session_id)
                # `at` is taken anew: closing the feed took its time.
                await self._ingest.record(await self._event(body, SessionEnded, recorder_id, session_id=session_id))
        return _json(200, self._standing(recorder_id, session_id))

    async def explain(self, request: Request) -> Response:
        recorder_id, session_id = await self._session(request)
        body = await self._body(request, recorder_id)
        event = await self._event(body, Explanation, recorder_id, session_id=session_id)
        return await self._taken(event)

    async def defer(self, request: Request) -> Response:
        recorder_id, session_id = await self._session(request)
        body = await self._body(request, recorder_id)
        event = await self._event(body, StoringDeferred, recorder_id, session_id=session_id)
        if event.until <= event.at:
            raise Problem(422, "until: lies in the past", field="until")
        return await self._taken(event)

    async def returned(self, request: Request) -> Response:
        recorder_id = authenticate(request, self._ingest).recorder_id
        body = with_defaults(await self._body(request, recorder_id))
        event = await self._event(body, Returned, recorder_id)
        if event.session_id is not None:
            await self._own(recorder_id, event.session_id)
        return await self._taken(event)

    async def index(self, request: Request) -> Response:
        recorder_id = authenticate(request, self._ingest).recorder_id
        body = await self._body(request, recorder_id, MAX_INDEX_BYTES)
        event = await self._event(body, DeviceIndex, recorder_id)
        for place, held in enumerate(event.recordings):
            if held.to < held.from_:
                path = f"recordings[{place}].to"
                raise Problem(422, f"{path}: ends before it begins", field=path)
        return await self._taken(event)

    async def _body(self, request: Request, recorder_id: str, limit_bytes: int = MAX_BODY_BYTES) -> Any:
        """Return the parsed body, None where there is none; what is not JSON goes to `rejected`."""
        data = await read_body(request, limit_bytes)
        if not data:
            return None
        if media_type(request) not in _JSON_TYPES:
            raise Problem(415, "send application/json", headers={"Accept-Post": "application/json"})
        try:
            return parse_json(data)
        except Problem as problem:
            await self._ingest.reject(recorder_id, data, "json", problem.detail)
            raise

    async def _event(self, body: Any, kind: type[E], recorder_id: str, **fixed: Any) -> E:
        """Return the event; a body that cannot be one goes to `rejected`."""
        try:
            return event_from(body, kind, recorder_id, self._clock.now(), **fixed)
        except InvalidEvent as error:
            await self._ingest.reject(recorder_id, msgspec.json.encode(body), kind.__name__, str(error))
            raise

    async def _taken(self, event: Any) -> Response:
        await self._ingest.record(event)
        return _json(202, {"at": event.at.rfc3339()})

    async def _session(self, request: Request) -> tuple[str, str]:
        recorder_id = authenticate(request, self._ingest).recorder_id
        session_id = request.path_params["session_id"]
        await self._own(recorder_id, session_id)
        return recorder_id, session_id

    async def _own(self, recorder_id: str, session_id: str) -> None:
        owner = None
        with suppress(InvalidInput):
            owner = await self._owner(check_session_id(session_id))
        if owner != recorder_id:
            raise Problem(404, "this recorder has no such session", field="session_id")

    async def _owner(self, session_id: str) -> str | None:
        owner = self._ingest.session_recorder(session_id)
        if owner is None:
            await self._ingest.caught_up()
            owner = self._ingest.session_recorder(session_id)
        return owner

    def _not_ended(self, session_id: str) -> str | None:
        state = self._ingest.session_state(session_id)
        if state == "ended":
            raise Problem(409, f"session {session_id} has ended", field="session_id")
        return state

    async def _may_open(self, recorder_id: str, session_id: str) -> bool:
        """Tell whether it is open already.

        Raises:
            Problem: 409, another one is open, this one has ended, or another recorder has the id.
        """
        owner = await self._owner(session_id)
        if owner not in {None, recorder_id}:
            raise Problem(409, "another recorder has a session of this id", field="session_id")
        if owner is not None:
            self._not_ended(session_id)
            return True
        other = self._ingest.open_session(recorder_id)
        if other is not None:
            raise Problem(409, f"session {other} is open; end it first", field="session_id", more={"open": other})
        return False

    def _standing(self, recorder_id: str, session_id: str) -> dict[str, Any]:
        state = self._ingest.session_state(session_id)
        return {"recorder_id": recorder_id, "session_id": session_id, "state": state}


def _json(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers=headers, media_type="application/json")
