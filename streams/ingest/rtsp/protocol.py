"""One RTSP connection: the byte stream cut into interleaved RTP frames and messages, requests matched with answers.

Bytes are read into one buffer and RTP is taken apart in place, inside the event loop's callback: no task, no queue
and no copy a packet.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from mmap import mmap
from typing import Final, TypeVar, cast

from domain.clock import Clock, Instant
from domain.errors import InvalidMedia, LiuhenError, Unavailable
from streams.ingest.rtp.track import TrackReceiver
from streams.ingest.rtsp.message import MAX_HEAD_BYTES, Request, Response, ServerRequest, parse_head, reply
from streams.ingest.rtsp.receiver import FeedReceiver

BUFFER_BYTES: Final = 256 * 1024
"""More than the largest head, body and frame together; large reads keep the cost of a packet low."""
GATHER_S: Final = 0.06
"""How much media the kernel gathers before it wakes us. A wake-up costs more than what it then does."""
_GATHER_LEAST_BYTES: Final = 2048
_GATHER_MOST_BYTES: Final = BUFFER_BYTES // 4
_DOLLAR: Final = 0x24
_FRAME_HEAD_BYTES: Final = 4
_ANSWERED: Final = frozenset({"OPTIONS", "ANNOUNCE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN"})

T = TypeVar("T")


class RtspProtocol(asyncio.BufferedProtocol):
    """Client side of one connection.

    Args:
        name: What to call the server in errors; without credentials.
        receiver: Takes the packets.
        clock: Wall and monotonic time.
        response_timeout_s: Longest wait for an answer.

    Attributes:
        failed: Done with the reason when the connection is over or unusable.
    """

    def __init__(self, name: str, receiver: FeedReceiver, clock: Clock, response_timeout_s: float) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._name = name
        self._receiver = receiver
        self._clock = clock
        self._response_timeout_s = response_timeout_s
        self._buffer = mmap(-1, BUFFER_BYTES)  # only what is used of it becomes memory
        self._view = memoryview(self._buffer)
        self._read = 0
        self._write = 0
        self._received_bytes = 0  # since `pace`
        self._paced_s = 0.0
        self._gathered_bytes = 1
        self._rtp: dict[int, TrackReceiver] = {}
        self._rtcp: dict[int, TrackReceiver] = {}
        self._transport: asyncio.Transport | None = None
        self._cseq = 0
        self._awaited: asyncio.Future[Response] | None = None
        self._lock = asyncio.Lock()

    def route(self, channels: tuple[int, int], track: TrackReceiver) -> None:
        """Give RTP and RTCP of these channels to a track."""
        self._rtp[channels[0]] = track
        self._rtcp[channels[1]] = track

    def local_address(self) -> tuple[str, socket.AddressFamily]:
        """Return our end of the connection, where UDP should be received too."""
        address = self._transport.get_extra_info("sockname") if self._transport else ("", 0)
        return address[0], socket.AF_INET6 if len(address) == 4 else socket.AF_INET

    def peer_address(self) -> str:
        """Return the server's address."""
        return str(self._transport.get_extra_info("peername")[0]) if self._transport else ""

    def send_frame(self, channel: int, data: bytes) -> None:
        """Send an interleaved frame."""
        self._send(bytes((_DOLLAR, channel)) + len(data).to_bytes(2, "big") + data)

    def send_unanswered(self, request: Request) -> None:
        """Send a request of which the answer is of no interest."""
        self._cseq += 1
        self._send(request.encode(self._cseq))

    def pace(self, now_s: float) -> None:
        """Let the kernel gather so many bytes before it wakes us as came in `GATHER_S` lately; call every now and then.

        Between two calls is the longest that a rest may lie there when a sender falls silent. While an answer is
        awaited nothing is gathered.
        """
        rate = self._received_bytes / (now_s - self._paced_s) if self._paced_s else 0.0
        self._received_bytes, self._paced_s = 0, now_s
        wanted = min(int(rate * GATHER_S), _GATHER_MOST_BYTES)
        self._gather(wanted if wanted >= _GATHER_LEAST_BYTES and self._awaited is None else 1)

    def _gather(self, size_bytes: int) -> None:
        """Set how many bytes make the socket readable (socket(7), SO_RCVLOWAT); not where TLS has its own buffers."""
        if size_bytes == self._gathered_bytes or self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_extra_info("ssl_object") is None:
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)
            self._gathered_bytes = size_bytes

    async def converse(self, dialogue: Generator[Request, Response, T]) -> T:
        """Carry a dialogue out.

        Raises:
            Unavailable: No answer in time, or the connection is gone.
            LiuhenError: Whatever the dialogue raises.
        """
        async with self._lock:
            try:
                request = next(dialogue)
                while True:
                    request = dialogue.send(await self._ask(request))
            except StopIteration as stop:
                value: T = stop.value
                return value

    async def _ask(self, request: Request) -> Response:
        if self.failed.done():
            self.failed.result()
        self._cseq += 1
        self._gather(1)
        self._awaited = asyncio.get_running_loop().create_future()
        self._send(request.encode(self._cseq))
        try:
            async with asyncio.timeout(self._response_timeout_s):
                return await self._awaited
        except TimeoutError as error:
            msg = f"{self._name} did not answer {request.method} within {self._response_timeout_s:g} s"
            raise Unavailable(msg) from error
        finally:
            self._awaited = None

    def fail(self, error: BaseException) -> None:
        """End with this reason; the first one counts."""
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # seen, whether anybody awaits it or not
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close after what is written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BaseProtocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BaseProtocol."""
        if exc is None or isinstance(exc, OSError):
            why = f": {exc.strerror or type(exc).__name__}" if isinstance(exc, OSError) else ""
            self.fail(Unavailable(f"{self._name} closed the connection{why}"))
        else:
            self.fail(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol. Moves a rest to the front: small, and the memory stays warm in the cache."""
        del sizehint
        if self._read:
            rest = bytes(self._view[self._read : self._write])
            self._view[: len(rest)] = rest
            self._read, self._write = 0, len(rest)
        return self._view[self._write :]

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        self._write += nbytes
        self._received_bytes += nbytes
        try:
            self._consume(self._clock.monotonic(), self._clock.now())
        except LiuhenError as error:
            self.fail(error)
            return
        if self._read == self._write:
            self._read = self._write = 0

    def _consume(self, now_s: float, now: Instant) -> None:
        buffer, view, rtp = self._buffer, self._view, self._rtp
        read, write = self._read, self._write
        while read < write:
            if buffer[read] != _DOLLAR:
                self._read = read
                if not self._consume_message():
                    return
                read = self._read
                continue
            if write - read < _FRAME_HEAD_BYTES:
                break
            start = read + _FRAME_HEAD_BYTES
            end = start + ((buffer[read + 2] << 8) | buffer[read + 3])
            if end > write:
                break
            track = rtp.get(buffer[read + 1])
            if track is not None:
                units = track.push(view, now_s, now, start, end)
                if units:
                    self._receiver.give(track, units, now_s)
                read = track.skim(view, end, write, _DOLLAR << 8 | buffer[read + 1])
            else:
                self._on_other_frame(buffer[read + 1], start, end, now_s)
                read = end
        self._read = read

    def _on_other_frame(self, channel: int, start: int, end: int, now_s: float) -> None:
        track = self._rtcp.get(channel)
        if track is None:
            self._receiver.stray_frames += 1
        else:
            track.on_rtcp(bytes(self._view[start:end]), now_s)

    def _consume_message(self) -> bool:
        """Take one message; False while it is not whole yet."""
        buffer, read, write = self._buffer, self._read, self._write
        while read < write and buffer[read] in b"\r\n":  # some servers end a body with an empty line too many
            read += 1
        self._read = read
        if read == write:
            return False
        if buffer[read] == _DOLLAR:
            return True
        end = _head_end(buffer, read, write)
        if end < 0:
            if write - read > MAX_HEAD_BYTES or not 65 <= buffer[read] & 0xDF <= 90:
                msg = f"{self._name} sent something that is neither RTSP nor RTP"
                raise InvalidMedia(msg, "rtsp")
            return False
        message, length = parse_head(bytes(self._view[read : min(end, read + MAX_HEAD_BYTES)]))
        if write - end < length:
            return False
        self._read = end + length
        self._on_message(message, bytes(self._view[end : end + length]))
        return True

    def _on_message(self, message: Response | ServerRequest, body: bytes) -> None:
        if isinstance(message, ServerRequest):
            self._on_request(message)
            return
        cseq = message.headers.get("cseq")
        if self._awaited is None or self._awaited.done() or cseq not in {"", str(self._cseq)}:
            return  # an answer to nothing we are waiting for
        self._awaited.set_result(Response(message.status, message.reason, message.headers, body))

    def _on_request(self, request: ServerRequest) -> None:
        if request.method not in _ANSWERED:
            self._send(reply(501, "Not Implemented", request, {}))
            return
        self._send(reply(200, "OK", request, {"Public": ", ".join(sorted(_ANSWERED))}))
        if request.method == "TEARDOWN":
            msg = f"{self._name} ended the session"
            raise Unavailable(msg)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _head_end(buffer: mmap, read: int, write: int) -> int:
    """Return where the body begins; -1 while the empty line has not come. Bare line feeds are taken too."""
    limit = min(write, read + MAX_HEAD_BYTES + 4)
    end = buffer.find(b"\r\n\r\n", read, limit)
    if end >= 0:
        return end + 4
    end = buffer.find(b"\n\n", read, limit)
    return end + 2 if end >= 0 else -1
