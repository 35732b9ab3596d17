"""Sockets that are read many datagrams at a time: nothing lost, cut, mixed up or dated wrongly; errors told."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from streams.ingest.whip.datagrams import BATCH, MAX_DATAGRAM_BYTES, STRIDE_BYTES, Batch, UdpSocket, bind
from tests.streams.whip_client import until


class Watched(asyncio.DatagramProtocol):
    """Notes what a transport tells."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.errors: list[Exception] = []
        self.lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None
        self.lost += 1


@pytest.fixture(params=["127.0.0.1", "::1"])
async def udp(request: pytest.FixtureRequest) -> AsyncIterator[UdpSocket]:
    made = UdpSocket(await bind(request.param), Watched())
    yield made
    made.close()


@pytest.fixture
def sender(udp: UdpSocket) -> socket.socket:
    far = udp.get_extra_info("sockname")
    made = socket.socket(socket.AF_INET6 if ":" in far[0] else socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(far)
    return made


def _taken(batch: Batch) -> list[bytes]:
    begins = range(0, batch.count * STRIDE_BYTES, STRIDE_BYTES)
    return [bytes(batch.memory[at : at + size]) for at, size in zip(begins, batch.sizes, strict=True)]


async def test_all_come_in_order_whole_and_with_their_sender(udp: UdpSocket, sender: socket.socket) -> None:
    batch = Batch()
    sent = [number.to_bytes(2, "big") * (number + 1) for number in range(BATCH + 36)] + [b""]
    for datagram in sent:
        sender.send(datagram)
    taken = []
    counts = []
    while udp.receive(batch):
        counts.append(batch.count)
        taken += _taken(batch)
        assert {batch.address(number) for number in range(batch.count)} == {sender.getsockname()[:2]}
    assert taken == sent
    assert counts == [BATCH, 37]
    assert (batch.count, batch.sizes, batch.ages_s) == (0, [], [])


async def test_one_that_is_too_long_shows_and_spoils_no_other(udp: UdpSocket, sender: socket.socket) -> None:
    batch = Batch()
    longest = bytes(range(256)) * (MAX_DATAGRAM_BYTES // 256)
    for datagram in (b"before", longest, longest + b"and more", b"behind"):
        sender.send(datagram)
    assert udp.receive(batch) == 4
    assert batch.sizes == [6, MAX_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES + 1, 6]
    assert [_taken(batch)[number] for number in (0, 1, 3)] == [b"before", longest, b"behind"]


async def test_each_knows_how_long_it_has_waited(udp: UdpSocket, sender: socket.socket) -> None:
    batch = Batch()

    async def is_dated() -> bool:  # the kernel begins to date datagrams a moment after it was asked to
        sender.send(b"to warm up")
        await asyncio.sleep(0.02)
        return udp.receive(batch) == 1 and batch.ages_s[0] > 0.01

    async with asyncio.timeout(10):
        while not await is_dated():
            pass
    before_s = time.monotonic()
    sender.send(b"first")
    between_s = time.monotonic()
    await until(lambda: time.monotonic() > between_s + 0.05)
    sender.send(b"second")
    assert udp.receive(batch) == 2
    now_s = time.monotonic()
    slack_s = 0.005  # the wall clock, by which the kernel dates them, is steered
    assert before_s - slack_s <= now_s - batch.ages_s[0] <= between_s + slack_s + 0.05
    assert batch.ages_s[0] - batch.ages_s[1] >= 0.05 - slack_s
    sender.send(b"third")
    assert udp.receive(batch) == 1
    assert batch.ages_s[0] < 0.05 + slack_s or time.monotonic() - now_s > 0.05


async def test_watched_it_wakes_the_loop_and_unwatched_it_does_not(udp: UdpSocket, sender: socket.socket) -> None:
    batch = Batch()
    seen: list[int] = []
    udp.watch(lambda: seen.append(udp.receive(batch)))
    sender.send(b"one")
    await until(lambda: seen == [1])
    udp.unwatch()
    sender.send(b"two")
    for _ in range(10):
        await asyncio.sleep(0)
    assert seen == [1]
    assert udp.receive(batch) == 1


async def test_what_the_kernel_has_no_room_for_is_counted(udp: UdpSocket, sender: socket.socket) -> None:
    room_s = udp.room_s
    udp.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert udp.room_s < room_s
    assert udp.overrun == 0
    for _ in range(50):
        sender.send(bytes(1000))
    batch = Batch()
    kept = udp.receive(batch)
    assert 0 < kept < 50
    assert udp.overrun == 50 - kept


async def test_it_sends_tells_errors_and_closes_once() -> None:
    protocol = Watched()
    udp = UdpSocket(await bind("127.0.0.1"), protocol)
    assert protocol.transport is udp
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        udp.sendto(b"hello", far.getsockname())
        assert far.recvfrom(100) == (b"hello", udp.get_extra_info("sockname"))
    udp.sendto(bytes(70_000), ("127.0.0.1", 9))
    assert len(protocol.errors) == 1
    udp.close()
    udp.abort()
    assert udp.is_closing()
    await until(lambda: protocol.lost == 1)
    assert udp.receive(Batch()) == 0
    udp.sendto(b"nothing", ("127.0.0.1", 9))
    assert (udp.overrun, protocol.lost, len(protocol.errors)) == (0, 1, 1)


async def test_an_address_that_is_not_ours_cannot_be_bound() -> None:
    with pytest.raises(OSError, match="assign"):
        await bind("192.0.2.1")
