"""One peer's ICE, DTLS and SRTP: the only module that touches private parts of aiortc and aioice.

What is private here, and pinned by a contract test (`tests/streams/test_whip_transport.py`) and exact versions:

1. `Connection._local_candidates…`, `_protocols` and `StunProtocol`: the sockets are ours, on the addresses that the
   settings name, and on loopback, which aioice leaves out.
2. `StunProtocol.datagram_received`: STUN goes on to aioice. SRTP never meets it.
3. `Connection._queue`, `_check_list`, `_remote_candidates`: bounds that aioice does not have.
4. `RTCDtlsTransport._rx_srtp`, `_tx_srtp`, `_set_role`: the keys, and the DTLS role that our answer gave.
5. `Connection._nominated`: where feedback goes.
6. `pylibsrtp._binding` and `Session._srtp`: libsrtp works where the kernel has put the datagrams, and the RTP core
   reads them there: nothing of a packet is copied but its payload.

There is no `RTCPeerConnection` and no `RTCRtpReceiver`: no jitter buffer, decoder thread, frame queue or track exists
that could fill up.
"""

from __future__ import annotations

import logging
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from aioice import Candidate, ice
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceCandidate, RTCIceGatherer, RTCIceParameters, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.sdp import candidate_to_sdp
from pylibsrtp._binding import ffi, lib

from domain.errors import Unavailable
from streams.ingest.whip.addresses import Address
from streams.ingest.whip.answer import LocalEnd
from streams.ingest.whip.datagrams import BATCH, MAX_DATAGRAM_BYTES, STRIDE_BYTES, Batch, UdpSocket, bind
from streams.ingest.whip.offer import Fingerprint, Setup

MAX_SOURCES: Final = 16
"""Synchronisation sources of one peer; libsrtp keeps state for each."""
_MAX_CANDIDATE_PAIRS: Final = 200
_MAX_QUEUED_DTLS: Final = 64
_MAX_EARLY_PACKETS: Final = 256
"""SRTP that comes before our side of the handshake is through: the first keyframe is in it. Oldest dropped."""
_MIN_RTP_BYTES: Final = 12
_MAX_BATCHES: Final = 16
"""Batches of one socket taken at a time: whoever floods us has to let the others have their turn."""
_HEAD: Final = struct.Struct("!BB6xI")
"""Of an RTP packet: first and second octet, and source."""
_LOOPBACK: Final = "127.0.0.1"

_log = logging.getLogger(__name__)

RtpHandler = Callable[[memoryview, int, int, int, float], None]
"""Takes a buffer, where in it a packet begins and ends, the packet's SSRC, and for how many seconds it has been here.
The buffer holds until the handler returns."""
RtcpHandler = Callable[[bytes, float], None]
"""Takes compound RTCP, and for how many seconds it has been here."""


class Workspace(Batch):
    """A batch that libsrtp can work in; one for all peers that share a thread."""

    def __init__(self) -> None:
        super().__init__()
        begin = ffi.from_buffer("unsigned char[]", self.memory)
        self.pointers = [begin + number * STRIDE_BYTES for number in range(len(self.memory) // STRIDE_BYTES)]
        self.length = ffi.new("int *")


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
    """One peer. Until it is connected its sockets wake the loop; from then on the caller reads them, by `receive`.

    Args:
        certificate: Ours; made once a process, renewed before it expires.
        on_rtp: Called with each authenticated RTP packet, before `receive` returns.
        on_rtcp: The same for compound RTCP.
        on_closed: Called once when the peer has closed, or ICE or DTLS has failed after connecting.
        workspace: Shared with other peers of the thread.
    """

    def __init__(
        self,
        certificate: RTCCertificate,
        on_rtp: RtpHandler,
        on_rtcp: RtcpHandler,
        on_closed: Callable[[], None],
        workspace: Workspace | None = None,
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
        self._workspace = workspace or Workspace()
        self._sockets: list[tuple[UdpSocket, ice.StunProtocol]] = []
        self._early: deque[bytes] = deque(maxlen=_MAX_EARLY_PACKETS)
        self._sources: set[int] = set()
        self._connected = False
        self._closing = False

    async def listen(self, hosts: Sequence[str], ports: range | None = None) -> LocalEnd:
        """Bind a UDP socket on each address and return our side of the answer.

        ICE works on the private address of a pair `public=private`; only the answer has the public one.

        Args:
            hosts: Addresses to offer; all of the machine's where empty, loopback if it has no other.
            ports: To choose from; any free ones where None.

        Raises:
            Unavailable: None of them can be bound.
        """
        addresses = list(hosts) or ice.get_host_addresses(use_ipv4=True, use_ipv6=True) or [_LOOPBACK]
        shown: dict[str, str] = {}
        self._connection._local_candidates_start = True
        for address in map(Address.read, addresses):
            bound = await self._open(address.own, ports)
            if bound and address.shown != address.own:
                shown[bound] = address.shown
        self._connection._local_candidates_end = True
        if not self._sockets:
            msg = f"no UDP socket on any of {', '.join(addresses)}"
            raise Unavailable(msg)
        parameters = self._gatherer.getLocalParameters()
        candidates = self._gatherer.getLocalCandidates()
        for candidate in candidates:
            candidate.ip = shown.get(candidate.ip, candidate.ip)
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
        self._take_keys(self._dtls._rx_srtp)
        for udp, _ in self._sockets:
            udp.unwatch()
        return True

    @property
    def room_s(self) -> float:
        """How long the sockets may be left alone without losing what comes, even in a burst."""
        return min(udp.room_s for udp, _ in self._sockets)

    def receive(self) -> None:
        """Take what waits in the sockets; once connected, to be called at least every `room_s`."""
        for udp, protocol in self._sockets:
            for _ in range(_MAX_BATCHES):
                count = udp.receive(self._workspace)
                self._take_batch(protocol)
                if count < BATCH:
                    break

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
        self._sources.clear()
        if overrun := sum(udp.overrun for udp, _ in self._sockets):
            _log.warning("%d datagrams found no room in the kernel: raise net.core.rmem_max", overrun)
        await self._dtls.stop()
        await self._ice.stop()

    def _watch(self) -> None:
        if not self._closing and (self._dtls.state != "connected" or self._ice.state != "completed"):
            self._on_closed()

    async def _open(self, address: str, ports: range | None) -> str:
        """Bind a socket on one address, make it a candidate, and return its host; empty where it cannot be bound."""
        try:
            bound = await bind(address, ports)
        except OSError as error:
            _log.info("no UDP socket on %s: %s", address, error)
            return ""
        connection = self._connection
        protocol = ice.StunProtocol(connection)
        udp = UdpSocket(bound, protocol)
        host, port = udp.get_extra_info("sockname")[:2]
        protocol.local_candidate = Candidate(
            foundation=candidate_foundation("host", "udp", host),
            component=1,
            transport="udp",
            priority=candidate_priority(1, "host"),
            host=host,
            port=port,
            type="host",
        )
        connection._protocols.append(protocol)
        connection._local_candidates.append(protocol.local_candidate)
        self._sockets.append((udp, protocol))
        udp.watch(self.receive)
        return str(host)

    def _take_keys(self, session: Any) -> None:
        """Media can be read from now on; what came before its keys is read first."""
        self._srtp = session._srtp[0]
        workspace = self._workspace
        while self._early:
            data = self._early.popleft()
            workspace.memory[: len(data)] = data
            self._take_media(0, len(data), 0.0)

    def _take_batch(self, protocol: ice.StunProtocol) -> None:
        """Take RTP of known sources at once, everything else the long way: nearly all datagrams are such."""
        workspace, srtp, sources = self._workspace, self._srtp, self._sources
        memory, length, ages_s = workspace.memory, workspace.length, workspace.ages_s
        unprotect, on_rtp = lib.srtp_unprotect, self._on_rtp
        at = 0
        for number, (size, pointer) in enumerate(zip(workspace.sizes, workspace.pointers, strict=False)):
            first, second, source = _HEAD.unpack_from(memory, at)
            if (
                source not in sources
                or not 127 < first < 192
                or 192 <= second <= 223
                or not _MIN_RTP_BYTES <= size <= MAX_DATAGRAM_BYTES
            ):
                self._take_other(number, size, protocol)
            else:
                length[0] = size
                if unprotect(srtp, pointer, length):
                    self.counters.refused += 1
                else:
                    on_rtp(memory, at, at + length[0], source, ages_s[number])
            at += STRIDE_BYTES

    def _take_other(self, number: int, size: int, protocol: ice.StunProtocol) -> None:
        """Sort a datagram: the first octet tells what it is (RFC 7983)."""
        workspace = self._workspace
        at = number * STRIDE_BYTES
        first = workspace.memory[at] if size else 255
        if size > MAX_DATAGRAM_BYTES:
            self.counters.oversize += 1
        elif 127 < first < 192:
            self._take_media(number, size, workspace.ages_s[number])
        elif first < 4:
            self._take_stun(bytes(workspace.memory[at : at + size]), workspace.address(number), protocol)
        elif 19 < first < 64:
            self._take_dtls(bytes(workspace.memory[at : at + size]), workspace.address(number))
        else:
            self.counters.unknown += 1

    def _take_media(self, number: int, size: int, age_s: float) -> None:
        at = number * STRIDE_BYTES
        memory = self._workspace.memory
        if self._srtp is None:
            self._keep_early(bytes(memory[at : at + size]))
        elif size < _MIN_RTP_BYTES or 192 <= memory[at + 1] <= 223:
            if left := self._unprotect(lib.srtp_unprotect_rtcp, number, size):
                self._on_rtcp(bytes(memory[at : at + left]), age_s)
        elif len(self._sources) >= MAX_SOURCES and _HEAD.unpack_from(memory, at)[2] not in self._sources:
            self.counters.strangers += 1
        elif left := self._unprotect(lib.srtp_unprotect, number, size):
            source = _HEAD.unpack_from(memory, at)[2]
            self._sources.add(source)
            self._on_rtp(memory, at, at + left, source, age_s)

    def _unprotect(self, call: Callable[..., int], number: int, size: int) -> int:
        """Authenticate and decrypt in place, and return the length; 0, and counted, if it fails or was seen before."""
        workspace = self._workspace
        length = workspace.length
        length[0] = size
        if call(self._srtp, workspace.pointers[number], length):
            self.counters.refused += 1
            return 0
        left: int = length[0]
        return left

    def _keep_early(self, data: bytes) -> None:
        if self._closing or len(self._early) == _MAX_EARLY_PACKETS:
            self.counters.early += 1
        if not self._closing:
            self._early.append(data)

    def _take_stun(self, data: bytes, addr: tuple[str, int], protocol: ice.StunProtocol) -> None:
        if len(self._connection._check_list) >= _MAX_CANDIDATE_PAIRS and not self._shown(addr):
            self.counters.strangers += 1
            return
        try:
            protocol.datagram_received(data, addr)
        except (KeyError, ValueError, AssertionError, IndexError, TypeError):  # attributes missing or malformed
            self.counters.unknown += 1

    def _take_dtls(self, data: bytes, addr: tuple[str, int]) -> None:
        """Pass on DTLS of addresses whose ICE check we have seen: anybody else could end the session."""
        if not self._shown(addr):
            self.counters.strangers += 1
        elif self._connection._queue.qsize() >= _MAX_QUEUED_DTLS:
            self.counters.overflowed += 1
        else:
            self._connection._queue.put_nowait((data, 1))

    def _shown(self, addr: tuple[str, int]) -> bool:
        return any(pair.remote_addr == addr for pair in self._connection._check_list)


def new_certificate() -> RTCCertificate:
    """Make a certificate (P-256, 30 days); 5 ms of CPU."""
    return RTCCertificate.generateCertificate()
