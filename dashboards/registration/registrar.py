"""Topic `registry` as the office has it: told after every change, compared at the start and from then on.

What people entered is what counts. A registration that the log has otherwise (of a console that died between the two,
or of a file that names the same recorder) is published anew; one that nobody entered is left alone: it comes from the
`recorders` file, or from a demonstration.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from domain.bus import Bus, TopicPartition
from domain.clock import Clock
from domain.errors import InvalidEvent, Unavailable
from domain.registry import Registration
from domain.topics import REGISTRY
from domain.wire import decode_registration, encode
from storage.office import premises, recorders
from storage.office.dossier import Camera, Site
from storage.office.office import Office

EVERY_S = 30.0
RETRY_S = 2.0
_log = logging.getLogger(__name__)


class Registrar:
    """See the module.

    Args:
        bus: The log, started.
        office: What people entered.
        clock: The time, by which old tokens run out.
    """

    def __init__(self, bus: Bus, office: Office, clock: Clock) -> None:
        self._bus, self._office, self._clock = bus, office, clock
        self._known: dict[str, bytes] = {}
        self._next: dict[int, int] = {}
        self._entered: frozenset[str] = frozenset()
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()

    def knows(self, recorder_id: str) -> bool:
        """Tell whether an id is somebody's: entered here, or on the log."""
        return recorder_id in self._known or recorder_id in self._entered

    def from_file(self, recorder_id: str) -> bool:
        """Tell whether the log has a registration that nobody entered here."""
        return recorder_id in self._known and recorder_id not in self._entered

    @property
    def foreign(self) -> list[Registration]:
        """Registrations on the log that nobody entered here, by id."""
        found = []
        for recorder_id in sorted(self._known):
            if self.from_file(recorder_id):
                with suppress(InvalidEvent):
                    found.append(decode_registration(self._known[recorder_id]))
        return found

    async def run(self) -> None:
        """Keep the log as the office has it, until cancelled."""
        while True:
            try:
                await self.settle()
                wait_s = EVERY_S
            except Unavailable as error:
                _log.warning("registrar: %s", error)
                wait_s = RETRY_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), wait_s)
            self._woken.clear()

    async def told(self) -> bool:
        """Tell the log of a change that was just made; False where it is away; it is told as soon as it is back."""
        try:
            await self.settle()
        except Unavailable as error:
            _log.warning("registrar: %s", error)
            self._woken.set()
            return False
        return True

    async def settle(self) -> int:
        """Publish what the log has otherwise than the office; return how many registrations that were.

        Raises:
            BusUnavailable, OfficeUnavailable: Not all are there.
        """
        async with self._lock:
            wanted = await self._wanted()
            self._entered = frozenset(wanted)
            await self._read_on()
            differing = [one for one in wanted.values() if self._known.get(one.recorder_id) != encode(one)]
            for one in differing:
                await self._bus.publish(REGISTRY.name, one.recorder_id, encode(one))
                self._known[one.recorder_id] = encode(one)
            return len(differing)

    async def _wanted(self) -> dict[str, Registration]:
        now = self._clock.now()
        secrets = await premises.secrets(self._office)
        sites = {site.site_id: site for site in await premises.all_sites(self._office)}
        wanted = {
            camera.camera_id: registration_of(camera, sites[camera.site_id], secrets.get(camera.camera_id, ""))
            for camera in await premises.all_cameras(self._office)
        }
        held = await recorders.tokens(self._office)
        for card in await recorders.all_cards(self._office):
            wanted[card.recorder_id] = recorders.registration(card, held.get(card.recorder_id, []), now)
        return wanted

    async def _read_on(self) -> None:
        for partition in range(self._bus.partitions(REGISTRY.name)):
            place = TopicPartition(REGISTRY.name, partition)
            async for record in self._bus.read(place, self._next.get(partition, 0)):
                self._next[partition] = record.offset + 1
                if record.key is not None and record.value is not None:
                    self._known[record.key] = record.value
                elif record.key is not None:
                    self._known.pop(record.key, None)


def registration_of(camera: Camera, site: Site, secret: str) -> Registration:
    """Return what the log is told of a camera; its password only while it is in use, for nobody else needs it."""
    whole = secret if secret and camera.state == "active" else camera.url
    return Registration(
        recorder_id=camera.camera_id,
        kind="premises_camera",
        policy=camera.policy,
        state=camera.state,
        site_id=camera.site_id,
        unit_id=site.unit_id or None,
        name=" ".join(part for part in (site.name, camera.name) if part)[:200] or None,
        url=whole or None,
        transport=camera.transport,
        tls_sha256=camera.tls_sha256 or None,
        expects_audio=camera.expects_audio,
        continuous=camera.continuous,
        reason=camera.reason or None,
        decided_by=camera.decided_by or None,
    )
