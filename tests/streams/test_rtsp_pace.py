"""The kernel gathers a camera's media for a moment before it wakes us, and never keeps a rest or an answer back."""

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from typing import NamedTuple

import pytest

from domain.clock import SystemClock
from streams.ingest.rtsp.message import Request, Response
from streams.ingest.rtsp.protocol import RtspProtocol
from streams.ingest.rtsp.receiver import FeedReceiver
from tests.streams.memory_ingest import MemoryFeed

_STRAY = b"$\x09" + (996).to_bytes(2, "big") + bytes(996)  # a frame on a channel that nobody asked for


class Line(NamedTuple):
    protocol: RtspProtocol
    receiver: FeedReceiver
    camera: asyncio.StreamWriter


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    receiver = FeedReceiver(MemoryFeed("feed", "cam-1", "session"))
    _, protocol = await asyncio.get_running_loop().create_connection(
        lambda: RtspProtocol("camera", receiver, SystemClock(), 2.0), host, port
    )
    camera = await accepted
    yield Line(protocol, receiver, camera)
    protocol.close()
    camera.close()
    server.close()


def _least_bytes(protocol: RtspProtocol) -> int:
    assert protocol._transport is not None
    connection = protocol._transport.get_extra_info("socket")
    return int(connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))


async def _until_frames(receiver: FeedReceiver, count: int) -> None:
    async with asyncio.timeout(5):
        while receiver.stray_frames < count:  # noqa: ASYNC110 - the receiver has no event to wait for
            await asyncio.sleep(0.005)


async def _paced(line: Line) -> None:
    """After 100 kB in half a second, the kernel gathers."""
    line.protocol.pace(100.0)
    line.camera.write(_STRAY * 100)
    await _until_frames(line.receiver, 100)
    line.protocol.pace(100.5)


async def test_as_much_is_gathered_as_comes_in_a_moment(line: Line) -> None:
    assert _least_bytes(line.protocol) == 1
    await _paced(line)
    assert 10_000 <= _least_bytes(line.protocol) <= 14_000


async def test_a_rest_is_taken_when_the_camera_falls_silent(line: Line) -> None:
    await _paced(line)
    line.camera.write(_STRAY)
    await line.camera.drain()
    line.protocol.pace(101.0)  # nothing came: the kernel gives what it has
    await _until_frames(line.receiver, 101)
    assert _least_bytes(line.protocol) == 1


async def test_an_answer_is_not_kept_back(line: Line) -> None:
    await _paced(line)

    def dialogue() -> Generator[Request, Response, Response]:
        return (yield Request("OPTIONS", "rtsp://camera/", {}))

    asking = asyncio.create_task(line.protocol.converse(dialogue()))
    await asyncio.sleep(0)
    line.protocol.pace(100.6)  # does not gather anew while an answer is awaited
    line.camera.write(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
    assert (await asking).status == 200


async def test_a_thin_stream_is_taken_as_it_comes(line: Line) -> None:
    line.protocol.pace(100.0)
    line.camera.write(_STRAY * 8)
    await _until_frames(line.receiver, 8)
    line.protocol.pace(100.5)
    assert _least_bytes(line.protocol) == 1
