"""The contract with aiortc, aioice and pylibsrtp: every private part that `whip.transport` touches is as it expects."""

import asyncio
import inspect
import socket
import tomllib
from importlib.metadata import version
from pathlib import Path

import pylibsrtp
import pytest
from aioice import Candidate, ice
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCDtlsTransport, RTCIceGatherer, RTCIceTransport
from aiortc.rtcdtlstransport import SRTP_PROFILES
from pylibsrtp._binding import ffi, lib

from domain.errors import Unavailable
from streams.ingest.whip.datagrams import MAX_DATAGRAM_BYTES
from streams.ingest.whip.offer import Fingerprint
from streams.ingest.whip.transport import MAX_SOURCES, PeerTransport, new_certificate
from tests.streams.whip_client import until

PINNED = {"aiortc": "1.16.0", "aioice": "0.13.0", "pylibsrtp": "1.0.0"}


@pytest.mark.parametrize("package", PINNED)
def test_the_pinned_version_is_installed_and_locked(package: str) -> None:
    root = Path(__file__).parents[2]
    assert version(package) == PINNED[package]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"{package}=={PINNED[package]}" in declared
    assert f"{package}=={PINNED[package]} " in (root / "requirements.lock").read_text()


async def test_the_private_parts_are_there() -> None:
    gatherer = RTCIceGatherer(iceServers=[])
    transport = RTCIceTransport(gatherer)
    dtls = RTCDtlsTransport(transport, [new_certificate()])
    connection = gatherer._connection
    assert isinstance(connection, ice.Connection)
    assert connection._local_candidates == []
    assert connection._local_candidates_start is connection._local_candidates_end is False
    assert connection._protocols == []
    assert connection._check_list == []
    assert connection._nominated == {}
    assert isinstance(connection._queue, asyncio.Queue)
    assert connection.ice_controlling is False
    protocol = ice.StunProtocol(connection)
    assert isinstance(protocol, asyncio.DatagramProtocol)
    assert protocol.receiver is connection
    assert list(inspect.signature(candidate_foundation).parameters) == [
        "candidate_type",
        "candidate_transport",
        "base_address",
    ]
    assert candidate_priority(1, "host") == 2130706431
    assert list(inspect.signature(Candidate).parameters)[:7] == [
        "foundation",
        "component",
        "transport",
        "priority",
        "host",
        "port",
        "type",
    ]
    assert list(inspect.signature(ice.get_host_addresses).parameters) == ["use_ipv4", "use_ipv6"]
    assert list(inspect.signature(ice.StunProtocol.datagram_received).parameters) == ["self", "data", "addr"]
    assert dtls._rx_srtp is dtls._tx_srtp is None
    assert dtls._role == "auto"
    await transport.stop()


async def test_gathering_again_changes_nothing_once_we_have_bound_the_sockets() -> None:
    peer = PeerTransport(new_certificate(), lambda *_: None, lambda *_: None, lambda: None)
    end = await peer.listen(["127.0.0.1"])
    await peer._gatherer.gather()
    assert [candidate.port for candidate in peer._gatherer.getLocalCandidates()] == [end.port]
    assert end.address == "127.0.0.1"
    assert [each.algorithm for each in end.fingerprints] == ["sha-256"]
    await peer.close()
    await peer.close()


async def test_no_address_no_peer() -> None:
    peer = PeerTransport(new_certificate(), lambda *_: None, lambda *_: None, lambda: None)
    with pytest.raises(Unavailable, match=r"192\.0\.2\.1"):
        await peer.listen(["192.0.2.1"])
    await peer.close()


def _sessions(profile: int) -> tuple[pylibsrtp.Session, pylibsrtp.Session]:
    made = []
    for kind in (pylibsrtp.Policy.SSRC_ANY_OUTBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND):
        policy = pylibsrtp.Policy(key=bytes(range(46)), ssrc_type=kind, srtp_profile=profile)
        made.append(pylibsrtp.Session(policy))
    return made[0], made[1]


def _rtp(ssrc: int, sequence: int, payload: bytes = b"payload") -> bytes:
    header = bytes((128, 96)) + sequence.to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big")
    return header + payload


class _Sender:
    """Somebody who sends datagrams to a peer's socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self._socket.send(datagram)

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("profile", [each.libsrtp_profile for each in SRTP_PROFILES])
async def test_packets_come_out_of_our_buffer_as_pylibsrtp_would_give_them(profile: int) -> None:
    packets: list[bytes] = []
    reports: list[bytes] = []

    def on_rtp(buffer: memoryview, start: int, end: int, source: int, age_s: float) -> None:
        packets.append(bytes(buffer[start:end]))
        assert source == 7
        assert 0.0 <= age_s < 10.0

    peer = PeerTransport(new_certificate(), on_rtp, lambda data, _: reports.append(data), lambda: None)
    path = _Sender((await peer.listen(["127.0.0.1"])).port)
    sender, receiver = _sessions(profile)
    early = _rtp(7, 1)
    path.send(sender.protect(early))
    peer.receive()
    assert packets == []
    peer._dtls._rx_srtp = receiver
    peer._take_keys(receiver)
    assert packets == [early]
    sent = [_rtp(7, number, bytes([number]) * 1000) for number in range(2, 150)]  # several batches
    protected = [sender.protect(packet) for packet in sent]
    path.send(*protected)
    peer.receive()
    assert packets == [early, *sent]
    report = bytes.fromhex("80c90001") + (7).to_bytes(4, "big")
    path.send(sender.protect_rtcp(report))
    peer.receive()
    assert reports == [report]
    # Twice the same, altered, too long, and too short.
    path.send(protected[-1], protected[-1][:-1] + b"\0")
    peer.receive()
    assert peer.counters.refused == 2
    path.send(bytes((128,)) + bytes(MAX_DATAGRAM_BYTES))
    peer.receive()
    assert peer.counters.oversize == 1
    path.send(b"\x80", b"")
    peer.receive()
    assert (peer.counters.refused, peer.counters.unknown) == (3, 1)
    assert len(packets) == 1 + len(sent)
    path.close()
    await peer.close()


async def test_the_sources_of_a_peer_are_bounded() -> None:
    packets: list[int] = []
    peer = PeerTransport(
        new_certificate(), lambda _data, _start, end, _ssrc, _age: packets.append(end), lambda *_: None, lambda: None
    )
    path = _Sender((await peer.listen(["127.0.0.1"])).port)
    sender, receiver = _sessions(SRTP_PROFILES[0].libsrtp_profile)
    peer._dtls._rx_srtp = receiver
    peer._take_keys(receiver)
    path.send(*(sender.protect(_rtp(ssrc, 1)) for ssrc in range(1, 100)))
    peer.receive()
    assert len(packets) == MAX_SOURCES
    assert peer.counters.strangers == 99 - MAX_SOURCES
    path.close()
    await peer.close()


async def test_until_it_is_connected_its_sockets_wake_the_loop() -> None:
    peer = PeerTransport(new_certificate(), lambda *_: None, lambda *_: None, lambda: None)
    path = _Sender((await peer.listen(["127.0.0.1"])).port)
    path.send(b"\xff")
    await until(lambda: peer.counters.unknown == 1)
    path.close()
    await peer.close()


def test_libsrtp_is_called_as_it_is_declared() -> None:
    for name in ("srtp_unprotect", "srtp_unprotect_rtcp"):
        declared = ffi.typeof(getattr(lib, name))
        assert len(declared.args) == 3
        assert declared.args[2].cname == "int *"


async def test_a_peer_that_is_not_there_gives_up_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = PeerTransport(new_certificate(), lambda *_: None, lambda *_: None, lambda: None)
    await peer.listen(["127.0.0.1"])
    digest = Fingerprint("sha-256", "AA")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await peer.connect("abcd", "0123456789abcdefghijkl", [digest], "auto", ice_lite=False)
    peer.send_rtcp(b"\x80\xc9\x00\x01\x00\x00\x00\x07")
    await peer.close()
