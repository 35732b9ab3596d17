"""WHIP behind NAT and a firewall: what is offered is the public address, on the ports that are let through."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from aiortc import RTCSessionDescription
from starlette.applications import Starlette

from domain.clock import SystemClock
from domain.errors import InvalidSettings, Unavailable
from domain.settings import Settings
from streams.ingest.whip.addresses import Address, read_addresses, read_ports
from streams.ingest.whip.datagrams import bind
from streams.ingest.whip.options import WhipOptions, options_from
from streams.ingest.whip.routes import whip_router
from streams.ingest.whip.service import WhipService
from streams.ingest.whip.transport import PeerTransport, new_certificate
from tests.services.samples import Samples
from tests.streams.memory_ingest import MemoryIngest
from tests.streams.whip_client import TOKEN, Coded, LossyPath, WhipClient, loopback_only, until

PUBLIC, PRIVATE = "203.0.113.7", "127.0.0.1"


def test_settings_are_read() -> None:
    options = options_from(Settings(ice_hosts=f" {PUBLIC}={PRIVATE}, 192.168.1.5 ,", ice_ports="40000-40099"))
    assert [Address.read(one) for one in options.hosts] == [
        Address(PRIVATE, PUBLIC),
        Address("192.168.1.5", "192.168.1.5"),
    ]
    assert options.ports == range(40000, 40100)
    assert (options_from(Settings()).hosts, options_from(Settings()).ports) == ([], None)
    assert read_addresses("2001:db8::7=fd00::7") == ["2001:db8::7=fd00::7"]


@pytest.mark.parametrize(
    "text", ["=127.0.0.1", "203.0.113.7=", "gateway=10.0.0.1", "10.0.0.1=a=b", "203.0.113.7=fd00::7"]
)
def test_half_a_pair_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="ice_hosts"):
        read_addresses(text)


@pytest.mark.parametrize("text", ["-", "5-", "40000", "50000-40000", "80-90", "60000-70000"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="ice_ports"):
        read_ports(text)


@contextmanager
def taken(count: int) -> Iterator[range]:
    """So many neighbouring ports of the loopback address, all but the last in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_port:
        any_port.bind((PRIVATE, 0))
        first = any_port.getsockname()[1] - count
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count - 1)]
    try:
        for number, one in enumerate(sockets):
            one.bind((PRIVATE, first + number))
        yield range(first, first + count)
    finally:
        for one in sockets:
            one.close()


async def test_the_one_free_port_of_a_range_is_found_and_then_there_is_none() -> None:
    with taken(5) as ports, await bind(PRIVATE, ports) as found:
        assert found.getsockname() == (PRIVATE, ports[-1])
        with pytest.raises(OSError, match="in use"):
            await bind(PRIVATE, ports)
        peer = PeerTransport(new_certificate(), lambda *_: None, lambda *_: None, lambda: None)
        with pytest.raises(Unavailable, match="no UDP socket"):
            await peer.listen([PRIVATE], ports)
        await peer.close()


async def test_the_answer_has_the_public_address_alone() -> None:
    peer = PeerTransport(new_certificate(), lambda *_: None, lambda *_: None, lambda: None)
    ports = range(20_000, 30_000)
    end = await peer.listen([f"{PUBLIC}={PRIVATE}"], ports)
    assert end.address == PUBLIC
    assert end.port in ports
    assert [candidate.split()[4:6] for candidate in end.candidates] == [[PUBLIC, str(end.port)]]
    assert [candidate.ip for candidate in peer._gatherer.getLocalCandidates()] == [PRIVATE]
    await peer.close()


async def test_a_recorder_reaches_us_through_nat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay stands for the NAT: it is what is behind the public address, and the only way that either side has."""
    loopback_only(monkeypatch)
    ingest = MemoryIngest()
    ingest.register("cam-1")
    options = WhipOptions(hosts=[f"{PUBLIC}={PRIVATE}"], ports=range(20_000, 30_000))
    service = WhipService(ingest, SystemClock(), options)
    app = Starlette()
    app.routes.extend(whip_router(ingest, service).routes)
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://liuhen.test") as http,
        WhipClient(http, Coded(Samples().get("opus").path)) as client,
    ):
        offer = re.sub(r"a=candidate:.*\r\n", "", await client.offer())  # the recorder's own addresses are private too
        headers = {**TOKEN, "Content-Type": "application/sdp"}
        answer = (await http.post("/whip/cam-1", content=offer, headers=headers)).text
        assert PRIVATE not in answer
        ((address, port),) = set(re.findall(r"candidate:\S+ 1 udp \d+ (\S+) (\d+)", answer))
        assert address == PUBLIC
        async with LossyPath((PRIVATE, int(port))) as nat:
            answer = answer.replace(f"{PUBLIC} {port}", f"{PRIVATE} {nat.port}")
            await client.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: len(ingest.feeds[0].of(0)) > 20)
            assert nat.passed > 20
    await service.close()
