"""A simulated body-worn recorder: its session, its telemetry, its publication, and what the script does to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import httpx

from domain.clock import Clock
from domain.errors import Unavailable
from streams.simulate.body import Body
from streams.simulate.script import Fault
from streams.simulate.source import Source
from streams.simulate.whip_client import WhipClient

TELEMETRY_EVERY_S = 1.0
STEP_S = 0.2
RETRY_S = 0.5

_log = logging.getLogger(__name__)


class Recorder:
    """Drives one device until its run is over or it is cancelled."""

    def __init__(self, source: Source, system: str, clock: Clock) -> None:
        self._source = source
        self._device = source.device
        self._clock = clock
        self._body = Body(source.device)
        self._http = httpx.AsyncClient(
            base_url=system, timeout=5, headers={"Authorization": f"Bearer {self._device.token}"}
        )
        self._client: WhipClient | None = None
        self._stopped = False
        self._done: set[int] = set()
        self._telemetry_due_s = 0.0
        self.session_id = ""

    async def run(self, seconds: float) -> None:
        """Open a session, record so many seconds (for ever where 0), end it."""
        self._source.start()
        try:
            await self._open_session()
            while not seconds or self._source.elapsed_s() < seconds:
                await self._step()
                await asyncio.sleep(STEP_S)
            await self._leave(politely=True)
            await self._call("end", {"completed_at": self._clock.now().rfc3339()})
        finally:
            await self._leave(politely=False)
            await self._source.stop()
            await self._http.aclose()

    async def _open_session(self) -> None:
        self.session_id = f"{self._device.id}-{self._clock.now().datetime():%Y%m%dT%H%M%S}"
        body = {"session_id": self.session_id, "act": self._device.act}
        while not await self._post(f"/api/v1/recorders/{self._device.id}/sessions", body):  # noqa: ASYNC110 - by HTTP
            await asyncio.sleep(RETRY_S)

    async def _step(self) -> None:
        elapsed_s = self._source.elapsed_s()
        self._body.live(elapsed_s)
        off = self._body.dead or self._device.has("power_off", elapsed_s)
        cut = off or self._device.has("pull_cable", elapsed_s)
        if self._client is not None:
            self._client.sending = not cut
        if cut:
            if self._client is not None:
                self._client.lost.set()
            return
        await self._officer(elapsed_s)
        if not self._stopped:
            await self._keep_publishing()
        if elapsed_s >= self._telemetry_due_s:
            self._telemetry_due_s = elapsed_s + TELEMETRY_EVERY_S
            body = self._body.telemetry(self._clock.now(), recording=not self._stopped)
            if not await self._post(f"/api/v1/recorders/{self._device.id}/telemetry", body) and self._client:
                self._client.lost.set()

    async def _keep_publishing(self) -> None:
        if self._client is not None and not self._client.lost.is_set():
            return
        await self._leave(politely=False)
        client = WhipClient(self._source, f"/whip/{self._device.id}", self._device.token, self._http)
        try:
            await client.publish()
        except Unavailable as error:
            _log.info("%s: %s", self._device.id, error)
            await client.end(politely=False)
            return
        self._client = client

    async def _officer(self, elapsed_s: float) -> None:
        """Do what the script has a person do: press stop, record again, explain. A full card stops it too."""
        pressed = self._device.has("stop", elapsed_s)
        stop = pressed or self._body.full
        if stop and not self._stopped:
            self._stopped = True
            last = self._clock.now()
            await self._leave(politely=True)
            reason = "officer" if pressed else "storage"
            await self._call("stop", {"reason": reason, "last_captured_at": last.rfc3339()})
        elif self._stopped and not stop:
            self._stopped = False
            await self._call("resume", {})
        for number, fault in enumerate(self._device.fault):
            if fault.do == "explain" and fault.active(elapsed_s) and number not in self._done:
                self._done.add(number)
                await self._call("explanations", _explanation(fault, self._device.name or self._device.id))

    async def _leave(self, *, politely: bool) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(httpx.HTTPError):
                await client.end(politely=politely)

    async def _call(self, what: str, body: dict[str, Any]) -> None:
        await self._post(f"/api/v1/recorders/{self._device.id}/sessions/{self.session_id}/{what}", body)

    async def _post(self, path: str, body: dict[str, Any]) -> bool:
        try:
            response = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            _log.info("%s: %s", self._device.id, error)
            return False
        if response.is_error:
            _log.warning("%s: %s %s %s", self._device.id, path, response.status_code, response.text[:200])
        return response.is_success


def _explanation(fault: Fault, by: str) -> dict[str, Any]:
    return {"method": "written", "cause": fault.cause, "text": fault.text, "by": by}
