"""One peer's ICE, DTLS and SRTP: the only module that touches private parts of aiortc and aioice.

What is private here, and pinned by a contract test (`tests/streams/test_whip_transport.py`) and exact versions:

1. `Connection.get_component_candidates`, `_local_candidates…`: binding to the addresses that the settings name, and to
   loopback, which aioice leaves out.
2. `Connection._protocols` and `StunProtocol.datagram_received`: each socket's callback is replaced on the instance, so
   that SRTP goes from the datagram to the caller without a queue or a task. STUN goes on to aioice, DTLS to aiortc.
3. `Connection._queue`, `_check_list`, `_remote_candidates`: bounds that aioice does not have.
4. `RTCDtlsTransport._rx_srtp`, `_tx_srtp`, `_set_role`: the keys, and the DTLS role that our answer gave.
5. `Connection._nominated`: where feedback goes.
6. `pylibsrtp._binding` and `Session._srtp`: libsrtp works in one buffer of ours, and the RTP core reads it there,
   instead of packets being copied three times.

There is no `RTCPeerConnection` and no `RTCRtpReceiver`: no jitter buffer, decoder thread, frame queue or track exists
that could fill up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from aioice import ice
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceCandidate, RTCIceGatherer, RTCIceParameters, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.sdp import candidate_to_sdp
from pylibsrtp._binding import ffi, lib

from domain.errors import Unavailable
from streams.ingest.whip.answer import LocalEnd
from streams.ingest.whip.offer import Fingerprint, Setup

MAX_SOURCES: Final = 16
"""Synchronisation sources of one peer; libsrtp keeps state for each."""
_MAX_CANDIDATE_PAIRS: Final = 200
_MAX_QUEUED_DTLS: Final = 64
_MAX_EARLY_PACKETS: Final = 256
"""SRTP that comes before our side of the handshake is through: the first keyframe is in it. Oldest dropped."""
_MIN_RTP_BYTES: Final = 12
MAX_PACKET_BYTES: Final = 2048
"""Longer than any path carries unfragmented."""
_LOOPBACK: Final = "127.0.0.1"

RtpHandler = Callable[[memoryview, int, bytes], None]
"""Takes a buffer, the length of the packet at its head, and the packet's SSRC. The buffer holds until it returns."""
RtcpHandler = Callable[[bytes], None]


class TransportCounters(msgspec.Struct):
    """What came that was not passed on.

    Attributes:
        refused: SRTP or SRTCP that failed authentication, or came twice.
        oversize: Longer than any path carries.
        strangers: Packets of more sources than a peer may have, or of addresses it has not shown.
        unknown: Neither STUN, DTLS nor SRTP.
        early: SRTP dropped because the keys were not there yet.
        overflowed: DTLS dropped because its queue was full.
    """

    refused: int = 0
    oversize: int = 0
    strangers: int = 0
    unknown: int = 0
    early: int = 0
    overflowed: int = 0


class PeerTransport:
    """One peer.

    Args:
        certificate: Ours; made once a process, renewed before it expires.
        on_rtp: Called with each authenticated RTP packet, in the datagram's own callback.
        on_rtcp: The same for compound RTCP.
        on_closed: Called once when the peer has closed, or ICE or DTLS has failed after connecting.
    """

    def __init__(
        self,
        certificate: RTCCertificate,
        on_rtp: RtpHandler,
        on_rtcp: RtcpHandler,
        on_closed: Callable[[], None],
    ) -> None:
        self.counters = TransportCounters()
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._on_closed = on_closed
        self._gatherer = RTCIceGatherer(iceServers=[])
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [certificate])
        self._connection: Any = self._gatherer._connection
        self._srtp: Any = None  # libsrtp's session, once the keys are there
        self._cdata = ffi.new("unsigned char[]", MAX_PACKET_BYTES)
        self._length = ffi.new("int *")
        self._buffer = memoryview(ffi.buffer(self._cdata)).cast("B")
        self._early: deque[bytes] = deque(maxlen=_MAX_EARLY_PACKETS)
        self._sources: set[bytes] = set()
        self._connected = False
        self._closing = False

    async def listen(self, hosts: Sequence[str]) -> LocalEnd:
        """Bind a UDP socket on each address and return our side of the answer.

        Args:
            hosts: Addresses to offer; all of the machine's where empty, loopback if it has no other.

        Raises:
            Unavailable: None of them can be bound.
        """
        addresses = list(hosts) or ice.get_host_addresses(use_ipv4=True, use_ipv6=True) or [_LOOPBACK]
        connection = self._connection
        connection._local_candidates_start = True
        connection._local_candidates += await connection.get_component_candidates(component=1, addresses=addresses)
        connection._local_candidates_end = True
        if not connection._protocols:
            msg = f"no UDP socket on any of {', '.join(addresses)}"
            raise Unavailable(msg)
        for protocol in connection._protocols:
            protocol.datagram_received = self._tap(protocol.datagram_received)
        parameters = self._gatherer.getLocalParameters()
        candidates = self._gatherer.getLocalCandidates()
        return LocalEnd(
            ufrag=parameters.usernameFragment or "",
            password=parameters.password or "",
            fingerprints=[
                Fingerprint(each.algorithm, each.value)
                for each in self._dtls.getLocalParameters().fingerprints
                if each.algorithm == "sha-256"
            ],
            candidates=[candidate_to_sdp(candidate) for candidate in candidates],
            address=candidates[0].ip,
            port=candidates[0].port,
        )

    async def add_candidates(self, candidates: Sequence[RTCIceCandidate]) -> None:
        """Take addresses of the peer, from its offer or trickled later."""
        for candidate in candidates:
            if len(self._connection._check_list) < _MAX_CANDIDATE_PAIRS:
                await self._ice.addRemoteCandidate(candidate)

    async def connect(
        self, ufrag: str, password: str, fingerprints: Sequence[Fingerprint], setup: Setup, *, ice_lite: bool
    ) -> bool:
        """Run ICE and DTLS, and let the media in.

        Args:
            ufrag: The peer's ICE user name fragment.
            password: The peer's ICE password.
            fingerprints: Of the peer's certificate; another one is refused.
            setup: The peer's DTLS role in its offer; ours is the other one.
            ice_lite: The peer only answers checks, so we lead.

        Returns:
            False where it did not come about. The caller bounds the time by cancelling.
        """
        self._connection.ice_controlling = ice_lite
        await self._ice.start(RTCIceParameters(usernameFragment=ufrag, password=password, iceLite=ice_lite))
        if self._ice.state != "completed" or self._closing:
            return False
        self._dtls._set_role("server" if setup == "client" else "client")
        digests = [RTCDtlsFingerprint(each.algorithm, each.value) for each in fingerprints]
        await self._dtls.start(RTCDtlsParameters(fingerprints=digests))
        if self._dtls.state != "connected" or self._closing:
            return False
        self._dtls.on("statechange", self._watch)
        self._ice.on("statechange", self._watch)
        self._connected = True
        self._srtp = self._dtls._rx_srtp._srtp[0]
        while self._early:
            self._take_media(self._early.popleft())
        return True

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send feedback at once; before the peer is connected, or with no path to it, nothing happens."""
        pair = self._connection._nominated.get(1)
        if not self._connected or pair is None or self._closing:
            return
        pair.protocol.transport.sendto(self._dtls._tx_srtp.protect_rtcp(packet), pair.remote_addr)

    async def close(self) -> None:
        """Say goodbye and let the sockets go. Closing twice does nothing."""
        if self._closing:
            return
        self._closing = True
        self._srtp = None
        await self._dtls.stop()
        await self._ice.stop()

    def _watch(self) -> None:
        if not self._closing and (self._dtls.state != "connected" or self._ice.state != "completed"):
            self._on_closed()

    def _tap(self, to_aioice: Callable[[bytes, tuple[Any, ...]], None]) -> Callable[[bytes, tuple[Any, ...]], None]:
        """Return the callback for a socket's datagrams (RFC 7983 tells by the first octet what they are)."""

        def datagram_received(data: bytes, addr: tuple[Any, ...]) -> None:
            first = data[0] if data else 255
            if 127 < first < 192:
                self._take_media(data)
            elif first < 4:
                self._take_stun(data, addr, to_aioice)
            elif 19 < first < 64:
                self._take_dtls(data, addr)
            else:
                self.counters.unknown += 1

        return datagram_received

    def _take_media(self, data: bytes) -> None:
        size = len(data)
        if self._srtp is None:
            self._keep_early(data)
        elif size > MAX_PACKET_BYTES:
            self.counters.oversize += 1
        elif size < _MIN_RTP_BYTES or 192 <= data[1] <= 223:
            if self._unprotect(lib.srtp_unprotect_rtcp, data, size):
                self._on_rtcp(self._buffer[: self._length[0]].tobytes())
        else:
            self._take_rtp(data, size)

    def _take_rtp(self, data: bytes, size: int) -> None:
        source = data[8:12]
        known = source in self._sources
        if not known and len(self._sources) >= MAX_SOURCES:
            self.counters.strangers += 1
        elif self._unprotect(lib.srtp_unprotect, data, size):
            if not known:
                self._sources.add(source)
            self._on_rtp(self._buffer, self._length[0], source)

    def _unprotect(self, call: Callable[..., int], data: bytes, size: int) -> bool:
        """Authenticate and decrypt into the buffer; False, and counted, where it fails or was seen before."""
        self._buffer[:size] = data
        self._length[0] = size
        if call(self._srtp, self._cdata, self._length):
            self.counters.refused += 1
            return False
        return True

    def _keep_early(self, data: bytes) -> None:
        if self._closing or len(self._early) == _MAX_EARLY_PACKETS:
            self.counters.early += 1
        if not self._closing:
            self._early.append(data)

    def _take_stun(
        self, data: bytes, addr: tuple[Any, ...], to_aioice: Callable[[bytes, tuple[Any, ...]], None]
    ) -> None:
        if len(self._connection._check_list) >= _MAX_CANDIDATE_PAIRS and not self._shown(addr):
            self.counters.strangers += 1
            return
        try:
            to_aioice(data, addr)
        except (KeyError, ValueError, AssertionError, IndexError, TypeError):  # attributes missing or malformed
            self.counters.unknown += 1

    def _take_dtls(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Pass on DTLS of addresses whose ICE check we have seen: anybody else could end the session."""
        if not self._shown(addr):
            self.counters.strangers += 1
        elif self._connection._queue.qsize() >= _MAX_QUEUED_DTLS:
            self.counters.overflowed += 1
        else:
            self._connection._queue.put_nowait((data, 1))

    def _shown(self, addr: tuple[Any, ...]) -> bool:
        return any(pair.remote_addr == (addr[0], addr[1]) for pair in self._connection._check_list)


def new_certificate() -> RTCCertificate:
    """Make a certificate (P-256, 30 days); 5 ms of CPU."""
    return RTCCertificate.generateCertificate()
