"""Runs a whole script: cameras behind one RTSP server, recorders pushing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from domain.clock import Clock
from streams.simulate.recorder import Recorder
from streams.simulate.rtsp_server import CameraServer
from streams.simulate.script import Script
from streams.simulate.source import Source

_log = logging.getLogger(__name__)


class Fleet:
    """All simulated devices of a script."""

    def __init__(self, script: Script, clock: Clock) -> None:
        self._script = script
        self._clock = clock
        self._cameras = [Source(device, clock, opus=False) for device in script.device if not device.pushes]
        self._recorders = [
            Recorder(Source(device, clock, opus=True), script.system, clock)
            for device in script.device
            if device.pushes
        ]
        self._server = CameraServer(self._cameras, clock)

    async def serve_cameras(self) -> dict[str, str]:
        """Start the cameras; the answer is recorder id → RTSP address.

        Raises:
            Unavailable: The port is taken.
        """
        host, _, port = self._script.rtsp.rpartition(":")
        await self._server.start(host, int(port))
        for source in self._cameras:
            source.start()
        return {source.device.id: self._server.url(source.device.id) for source in self._cameras}

    async def run(self) -> None:
        """Let the recorders work, and the cameras fail as scripted, until the script is over."""
        jobs: list[Coroutine[None, None, None]] = [recorder.run(self._script.seconds) for recorder in self._recorders]
        jobs.append(self._until_over())
        try:
            await asyncio.gather(*(self._contained(job) for job in jobs))
        finally:
            await self._server.stop()
            await asyncio.gather(*(source.stop() for source in self._cameras))

    async def _contained(self, job: Coroutine[None, None, None]) -> None:
        """One device that breaks is said and does not end the others."""
        try:
            await job
        except Exception:
            _log.exception("a simulated device broke")

    async def _until_over(self) -> None:
        started_s = self._clock.monotonic()
        while not self._script.seconds or self._clock.monotonic() - started_s < self._script.seconds:
            await asyncio.sleep(0.5)
            for source in self._cameras:
                if source.device.has("refuse", source.elapsed_s()):
                    self._server.hang_up(source.device.id)
