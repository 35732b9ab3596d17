"""How often a peer is looked after: seldom on a path that loses nothing, often on one that does or may."""

import socket
import struct

import pytest

from domain.clock import Instant, ManualClock
from streams.ingest.rtp.track import TrackReceiver
from streams.ingest.whip.offer import read_offer
from streams.ingest.whip.peer import CALM_S, LOSSY_S, URGENT_S, Ending, WhipPeer
from streams.ingest.whip.transport import new_certificate
from tests.streams.memory_ingest import MemoryFeed
from tests.streams.whip_offers import CHROMIUM

_NEVER_S = 1e9


class Paced:
    """A peer whose clock we own, as if it were connected."""

    def __init__(self) -> None:
        self.clock = ManualClock(Instant(1_800_000_000_000), 1000.03)
        self.endings: list[Ending] = []
        offer = read_offer(CHROMIUM.encode())
        feed = MemoryFeed("f", "rec-1", "s")
        self.peer = WhipPeer(offer, feed, self.clock, new_certificate(), lambda _, ending: self.endings.append(ending))
        self._sequence = 0

    @property
    def pictures(self) -> TrackReceiver:
        return self.peer.tracks[self.peer.offer.tracks.index(self.peer.offer.video)]

    def receive(self, *, lose: int = 0) -> None:
        """Let a packet come, as the transport would hand it over."""
        self._sequence += 1 + lose
        payload_type = self.pictures.media.payload_type
        packet = struct.pack("!BBHII", 0x80, payload_type, self._sequence, 0, 7) + b"\x7c\x05" + b"\x11" * 20
        self.peer._on_rtp(memoryview(packet), 0, len(packet), 7, 0.0)

    def run(self, seconds: float) -> list[float]:
        """Tick when it is due, and return the times between."""
        end_s = self.clock.monotonic() + seconds
        paces = []
        while self.peer.due_s < end_s:
            paces.append(self.peer.due_s - self.clock.monotonic())
            self.clock.advance(paces[-1] + 0.001)
            self.peer.tick(self.clock.monotonic(), _NEVER_S)
        return paces


@pytest.fixture
async def paced() -> Paced:
    made = Paced()
    await made.peer.transport.listen(["127.0.0.1"])
    return made


async def test_a_new_path_is_read_often_and_then_seldom(paced: Paced) -> None:
    paced.peer.begin()
    assert all(pace <= URGENT_S for pace in paced.run(LOSSY_S - 0.1))
    paced.run(0.2)
    calm = paced.run(3.0)
    assert len(calm) == round(3.0 / CALM_S)
    assert all(0.9 * CALM_S <= pace <= CALM_S for pace in calm)
    await paced.peer.close()


async def test_a_path_that_loses_is_read_often_and_for_a_while_after(paced: Paced) -> None:
    paced.peer.begin()
    paced.run(LOSSY_S + 1)
    paced.receive()
    paced.receive(lose=1)
    assert paced.pictures.is_waiting
    paced.run(1.2 * CALM_S)  # seen at the next calm moment
    assert all(pace <= URGENT_S for pace in paced.run(LOSSY_S - 1))
    assert not paced.pictures.is_waiting  # given up by now
    paced.run(2.5)
    assert min(paced.run(1.0)) > 0.9 * CALM_S
    await paced.peer.close()


async def test_with_little_room_in_the_kernel_it_is_always_read_often(paced: Paced) -> None:
    for udp, _ in paced.peer.transport._sockets:
        udp.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212_992)
    paced.peer.begin()
    assert all(pace <= URGENT_S for pace in paced.run(3 * LOSSY_S))
    await paced.peer.close()


async def test_silence_ends_it_once(paced: Paced) -> None:
    paced.peer.begin()
    paced.clock.advance(9.9)
    paced.peer.tick(paced.clock.monotonic(), 10.0)
    assert paced.endings == []
    for _ in range(3):
        paced.clock.advance(10.1)
        paced.peer.tick(paced.clock.monotonic(), 10.0)
    assert paced.endings == [Ending.SILENT]
    await paced.peer.close()
