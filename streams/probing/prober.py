"""Looks at a camera's address: our own RTSP client, a first picture decoded in the child process, little said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from domain.errors import InvalidMedia, LiuhenError, NotAuthorized, Unavailable
from domain.probe import ProbeRequest, ProbeResult, Trouble
from streams.analysis.children import Child
from streams.analysis.wire import Job
from streams.ingest.fragmenter import fragments_of
from streams.ingest.limits import Limits
from streams.ingest.rtsp.client import run
from streams.ingest.rtsp.dialogue import ServerRefused
from streams.ingest.rtsp.options import RtspOptions
from streams.ingest.rtsp.url import RtspUrl
from streams.probing.glance import Glance
from streams.probing.networks import Network, NotAllowed, NotFound, allowed_address

AT_ONCE: Final = 2
"""Looks at the same time; one more is told to come again: nobody scans a network by many hands."""
WITHIN_S: Final = 10.0
LOOK_SHARE: Final = 0.7
"""Of that time; the rest is for the picture."""
LOOK_EVERY_S: Final = 0.1
IDLE_S: Final = 60.0
"""The process that decodes is kept so long for the next look."""


class Prober:
    """A `domain.probe.Probe`.

    Args:
        networks: Where cameras may be.
        within_s: How long a look may take.
    """

    def __init__(self, networks: Sequence[Network], *, within_s: float = WITHIN_S) -> None:
        self._networks = networks
        self._within_s = within_s
        self._child = Child(job_s=within_s)
        self._looking = 0
        self._decoding = asyncio.Lock()
        self._idle: asyncio.Task[None] | None = None

    async def __call__(self, request: ProbeRequest) -> ProbeResult:
        """Look at an address.

        Raises:
            InvalidInput: It is none.
        """
        url = RtspUrl.parse(request.url)
        if self._looking >= AT_ONCE:
            return ProbeResult(trouble="busy")
        self._looking += 1
        if self._idle is not None:
            self._idle.cancel()
        try:
            return await self._look(url, request)
        finally:
            self._looking -= 1
            if not self._looking:
                self._idle = asyncio.create_task(self._close_when_idle())

    async def close(self) -> None:
        """End the process that decodes."""
        if self._idle is not None:
            self._idle.cancel()
        await self._child.close()

    async def _look(self, url: RtspUrl, request: ProbeRequest) -> ProbeResult:
        deadline_s = asyncio.get_running_loop().time() + self._within_s
        try:
            address = await allowed_address(url.host, url.port, self._networks)
        except NotAllowed:
            return ProbeResult(trouble="not_allowed")
        except NotFound:
            return ProbeResult(trouble="unreachable")
        glance = Glance()
        warming = asyncio.create_task(self._warm())  # takes as long as the camera does
        try:
            trouble = await self._pull(request, address, glance)
            await warming
            return await self._result(glance, trouble, deadline_s)
        finally:
            warming.cancel()

    async def _warm(self) -> None:
        async with self._decoding:
            try:
                async with asyncio.timeout(self._within_s):
                    await self._child.start()
            except (Unavailable, TimeoutError):
                await self._child.close()  # the look goes on; without a picture it says so

    async def _pull(self, request: ProbeRequest, address: str, glance: Glance) -> Trouble:
        """Pull until enough was seen, or no longer; say what was in the way."""
        look_s = self._within_s * LOOK_SHARE
        options = RtspOptions(
            transport=request.transport,
            connect_timeout_s=look_s / 2,
            response_timeout_s=look_s / 2,
            first_media_timeout_s=look_s,
            max_redirects=0,
            tls_sha256=request.tls_sha256,
            address=address,
            follows_source=False,
        )
        pulling = asyncio.create_task(run(request.url, glance, options, receiver=glance.receiver))
        watching = asyncio.create_task(_until_enough(glance))
        try:
            await asyncio.wait({pulling, watching}, timeout=look_s, return_when=asyncio.FIRST_COMPLETED)
            failure = pulling.exception() if pulling.done() and not pulling.cancelled() else None
        finally:
            pulling.cancel()
            watching.cancel()
            await asyncio.gather(pulling, watching, return_exceptions=True)
        if failure is not None and not isinstance(failure, LiuhenError):
            raise failure
        return _trouble(glance, failure)

    async def _result(self, glance: Glance, trouble: Trouble, deadline_s: float) -> ProbeResult:
        picture = glance.picture
        jpeg = b""
        if picture is not None and not trouble:
            jpeg = await self._decoded(glance, deadline_s)
            trouble = "" if jpeg else "no_picture"
        return ProbeResult(
            trouble=trouble,
            codec=picture.codec.value if picture else "",
            width=picture.width if picture else 0,
            height=picture.height if picture else 0,
            fps=glance.fps,
            bits_per_s=glance.bits_per_s,
            audio=glance.audio,
            clock_offset_s=glance.clock_offset_s,
            picture=jpeg,
        )

    async def _decoded(self, glance: Glance, deadline_s: float) -> bytes:
        fragments = await asyncio.to_thread(fragments_of, glance.units, Limits())
        cut = next((one for one in fragments if one.starts_with_keyframe), None)
        if cut is None:
            return b""
        job = Job(cut.data, look=True, hear=False, listen=False, show=True)
        try:
            async with asyncio.timeout_at(deadline_s), self._decoding:
                return (await self._child.ask(job)).jpeg
        except (LiuhenError, TimeoutError):
            return b""  # said as `no_picture`

    async def _close_when_idle(self) -> None:
        await asyncio.sleep(IDLE_S)
        async with self._decoding:
            await self._child.close()


async def _until_enough(glance: Glance) -> None:
    while not glance.enough:  # noqa: ASYNC110 - units come by the hundred; ten looks a second are cheaper than a bell
        await asyncio.sleep(LOOK_EVERY_S)


def _trouble(glance: Glance, failure: BaseException | None) -> Trouble:
    """Say in one word why it failed, and no more."""
    if glance.picture is not None:
        return ""
    if isinstance(failure, NotAuthorized):
        return "unauthorized"
    if isinstance(failure, InvalidMedia):
        return "codec" if failure.field == "sdp" else "not_rtsp"
    if isinstance(failure, ServerRefused):
        return "refused"
    if glance.any_unit:
        return "no_picture"
    return "no_media" if glance.playing else "unreachable"
