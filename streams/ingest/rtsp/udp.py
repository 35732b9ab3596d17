"""RTP and RTCP over UDP: a pair of ports for each track, read in the event loop's callback."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from domain.clock import Clock
from domain.errors import Unavailable
from streams.ingest.rtp import rtcp
from streams.ingest.rtp.track import TrackReceiver
from streams.ingest.rtsp.receiver import FeedReceiver

_RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""The kernel holds a 4K keyframe while we are busy; it may grant less."""
_DATAGRAMS_AT_ONCE: Final = 128
_TRIES: Final = 64


class UdpPair:
    """An even port for RTP and the odd one behind it for RTCP (RFC 3550, section 11).

    Args:
        local: Local address of the RTSP connection.
        family: Its address family.

    Raises:
        Unavailable: No free pair was found.
    """

    def __init__(self, local: str, family: socket.AddressFamily) -> None:
        self._rtp, self._rtcp = _bind_pair(local, family)
        self._rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self.ports: tuple[int, int] = (self._rtp.getsockname()[1], self._rtcp.getsockname()[1])
        self._view = memoryview(bytearray(65_536))
        self._sources: frozenset[str] = frozenset()
        self._remote = ("", 0, 0)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(
        self, track: TrackReceiver, receiver: FeedReceiver, clock: Clock, remote: tuple[str, int, int], source: str
    ) -> None:
        """Begin to receive, and open the way through address translators.

        Args:
            track: Takes the packets.
            receiver: Takes its units.
            clock: Wall and monotonic time.
            remote: The server's address and its RTP and RTCP ports; 0 where unknown.
            source: Another address packets may come from; empty if none.
        """
        self._sources = frozenset({remote[0], source} - {""})
        self._remote = remote
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._rtp.fileno(), self._read_rtp, track, receiver, clock)
        self._loop.add_reader(self._rtcp.fileno(), self._read_rtcp, track, clock)
        if remote[1]:
            self._send(self._rtp, bytes((0x80, 0)) + bytes(10), remote[1])
        self.send_rtcp(rtcp.receiver_report(1, []))

    def send_rtcp(self, data: bytes) -> None:
        """Send a compound RTCP packet to the server."""
        if self._remote[2]:
            self._send(self._rtcp, data, self._remote[2])

    def close(self) -> None:
        """Let go of the ports."""
        for sock in (self._rtp, self._rtcp):
            if self._loop is not None:
                self._loop.remove_reader(sock.fileno())
            sock.close()

    def _send(self, sock: socket.socket, data: bytes, port: int) -> None:
        try:
            sock.sendto(data, (self._remote[0], port))
        except OSError:
            return  # feedback that gets lost; silence has its own time limit

    def _read_rtp(self, track: TrackReceiver, receiver: FeedReceiver, clock: Clock) -> None:
        now_s, now = clock.monotonic(), clock.now()
        for _ in range(_DATAGRAMS_AT_ONCE):
            size = self._receive(self._rtp)
            if size < 0:
                return
            if size:
                receiver.push(track, self._view, now_s, now, size)

    def _read_rtcp(self, track: TrackReceiver, clock: Clock) -> None:
        size = self._receive(self._rtcp)
        if size > 0:
            track.on_rtcp(bytes(self._view[:size]), clock.monotonic())

    def _receive(self, sock: socket.socket) -> int:
        """Read one datagram; its length, 0 if it is not from the server, -1 if there is none."""
        try:
            size, address = sock.recvfrom_into(self._view)
        except (BlockingIOError, InterruptedError):
            return -1
        except OSError:  # an ICMP error of something we sent
            return 0
        return size if address[0] in self._sources else 0


def _bind_pair(local: str, family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    for _ in range(_TRIES):
        first = _bind(local, family, 0)
        port = first.getsockname()[1] if first else 1
        second = _bind(local, family, port + 1) if port % 2 == 0 and port < 65_535 else None
        if first and second:
            return first, second
        if first:
            first.close()
    msg = "no free pair of UDP ports"
    raise Unavailable(msg)


def _bind(local: str, family: socket.AddressFamily, port: int) -> socket.socket | None:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    try:
        sock.bind((local, port))
    except OSError:
        sock.close()
        return None
    return sock
