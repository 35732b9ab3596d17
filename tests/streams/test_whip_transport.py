"""The contract with aiortc, aioice and pylibsrtp: every private part that `whip.transport` touches is as it expects."""

import asyncio
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import pylibsrtp
import pytest
from aioice import ice
from aiortc import RTCDtlsTransport, RTCIceGatherer, RTCIceTransport
from aiortc.rtcdtlstransport import SRTP_PROFILES
from pylibsrtp._binding import ffi, lib

from domain.errors import Unavailable
from streams.ingest.whip.offer import Fingerprint
from streams.ingest.whip.transport import MAX_PACKET_BYTES, MAX_SOURCES, PeerTransport, new_certificate

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
    assert list(inspect.signature(connection.get_component_candidates).parameters) == [
        "component",
        "addresses",
        "timeout",
    ]
    assert list(inspect.signature(ice.get_host_addresses).parameters) == ["use_ipv4", "use_ipv6"]
    assert list(inspect.signature(ice.StunProtocol.datagram_received).parameters) == ["self", "data", "addr"]
    assert dtls._rx_srtp is dtls._tx_srtp is None
    assert dtls._role == "auto"
    await transport.stop()


async def test_gathering_again_changes_nothing_once_we_have_bound_the_sockets() -> None:
    peer = PeerTransport(new_certificate(), lambda *_: None, lambda _: None, lambda: None)
    end = await peer.listen(["127.0.0.1"])
    await peer._gatherer.gather()
    assert [candidate.port for candidate in peer._gatherer.getLocalCandidates()] == [end.port]
    assert end.address == "127.0.0.1"
    assert [each.algorithm for each in end.fingerprints] == ["sha-256"]
    await peer.close()
    await peer.close()


async def test_no_address_no_peer() -> None:
    peer = PeerTransport(new_certificate(), lambda *_: None, lambda _: None, lambda: None)
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


@pytest.mark.parametrize("profile", [each.libsrtp_profile for each in SRTP_PROFILES])
async def test_packets_come_out_of_our_buffer_as_pylibsrtp_would_give_them(profile: int) -> None:
    packets: list[bytes] = []
    reports: list[bytes] = []

    def on_rtp(buffer: memoryview, size: int, source: bytes) -> None:
        packets.append(bytes(buffer[:size]))
        assert source == buffer[8:12]

    peer = PeerTransport(new_certificate(), on_rtp, reports.append, lambda: None)
    sender, receiver = _sessions(profile)
    tap = peer._tap(lambda *_: None)
    early = _rtp(7, 1)
    tap(sender.protect(early), ("127.0.0.1", 9))
    assert packets == []
    peer._dtls._rx_srtp = receiver
    peer._srtp = receiver._srtp[0]
    sent = [_rtp(7, number, bytes([number]) * 1000) for number in range(2, 50)]
    protected = [sender.protect(packet) for packet in sent]
    for packet in protected:
        tap(packet, ("127.0.0.1", 9))
    assert packets == sent
    report = bytes.fromhex("80c90001") + (7).to_bytes(4, "big")
    tap(sender.protect_rtcp(report), ("127.0.0.1", 9))
    assert reports == [report]
    # Twice the same, altered, too long, and too short.
    tap(protected[-1], ("127.0.0.1", 9))
    tap(protected[-1][:-1] + b"\0", ("127.0.0.1", 9))
    assert peer.counters.refused == 2
    tap(bytes((128,)) + bytes(MAX_PACKET_BYTES), ("127.0.0.1", 9))
    assert peer.counters.oversize == 1
    tap(b"\x80", ("127.0.0.1", 9))
    assert peer.counters.refused == 3
    assert len(packets) == len(sent)
    await peer.close()


async def test_the_sources_of_a_peer_are_bounded() -> None:
    packets: list[int] = []
    peer = PeerTransport(new_certificate(), lambda _buffer, size, _ssrc: packets.append(size), print, lambda: None)
    sender, receiver = _sessions(SRTP_PROFILES[0].libsrtp_profile)
    peer._dtls._rx_srtp = receiver
    peer._srtp = receiver._srtp[0]
    tap = peer._tap(lambda *_: None)
    for ssrc in range(1, 100):
        tap(sender.protect(_rtp(ssrc, 1)), ("127.0.0.1", 9))
    assert len(packets) == MAX_SOURCES
    assert peer.counters.strangers == 99 - MAX_SOURCES
    await peer.close()


def test_libsrtp_is_called_as_it_is_declared() -> None:
    for name in ("srtp_unprotect", "srtp_unprotect_rtcp"):
        declared = ffi.typeof(getattr(lib, name))
        assert len(declared.args) == 3
        assert declared.args[2].cname == "int *"


async def test_a_peer_that_is_not_there_gives_up_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = PeerTransport(new_certificate(), lambda *_: None, lambda _: None, lambda: None)
    await peer.listen(["127.0.0.1"])
    digest = Fingerprint("sha-256", "AA")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await peer.connect("abcd", "0123456789abcdefghijkl", [digest], "auto", ice_lite=False)
    peer.send_rtcp(b"\x80\xc9\x00\x01\x00\x00\x00\x07")
    await peer.close()
