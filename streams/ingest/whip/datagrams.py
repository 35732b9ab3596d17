"""UDP sockets that are read many datagrams at a time: `recvmmsg(2)` into memory that is used again and again.

A wake-up of the process costs more than all else a datagram does, and an event loop has one for each. Whoever owns
these sockets reads them when it suits it; the kernel keeps the datagrams, and notes when each came.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final

BATCH: Final = 64
"""Datagrams taken by one system call."""
MAX_DATAGRAM_BYTES: Final = 2048
"""Longer than any path carries unfragmented; of a longer one so much is kept and one byte, so that it shows."""
STRIDE_BYTES: Final = 2112
"""From one datagram in a batch to the next; whole cache lines."""
RECEIVE_BUFFER_BYTES: Final = 4 << 20
"""Asked of the kernel; it gives at most `net.core.rmem_max`, and counts it double."""
_BURST_BYTES_S: Final = 24e6
"""How fast a keyframe fills it: 100 Mb/s in packets of 1,200 bytes, for each of which the kernel counts 2,304."""
_NAME_BYTES: Final = 28
_CONTROL_BYTES: Final = 32
_SO_TIMESTAMPNS: Final = 35
_SO_MEMINFO: Final = 55
_MEMINFO_DROPS: Final = 8
_LATEST_S: Final = 10.0
"""Nothing has waited for longer: a greater age is a wall clock that was set meanwhile."""


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("size", ctypes.c_uint))


_MESSAGE_BYTES: Final = ctypes.sizeof(_Message)
_SIZE_WORD: Final = _Message.size.offset // 4

_recvmmsg = ctypes.PyDLL(None, use_errno=True).recvmmsg  # never blocks, so it keeps the interpreter's lock
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)


class Batch:
    """What one system call brought. One a thread is enough for all sockets: each batch is done with before the next.

    Attributes:
        memory: Datagram `n` begins at `n * STRIDE_BYTES`.
        count: How many there are.
        sizes: Bytes of each; above `MAX_DATAGRAM_BYTES` where it was cut.
        ages_s: How long each had waited when the batch was taken.
    """

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(BATCH * STRIDE_BYTES))
        self.count = 0
        self.sizes: list[int] = []
        self.ages_s: list[float] = []
        self._names = bytearray(BATCH * _NAME_BYTES)
        self._controls = bytearray(BATCH * _CONTROL_BYTES)
        self._vectors = (_Vector * BATCH)()
        self._messages = (_Message * BATCH)()
        self._describe()
        self._headers = memoryview(self._messages).cast("B")
        self._words = self._headers.cast("I")
        self._unused = bytes(self._headers)
        self._stamps = memoryview(self._controls).cast("q")

    def receive(self, fd: int) -> int:
        """Take what waits in a socket, at most `BATCH`, and return how many; never blocks.

        Raises:
            OSError: The socket has one to tell.
        """
        used = self.count * _MESSAGE_BYTES
        self._headers[:used] = self._unused[:used]  # the kernel wrote lengths over the room there is
        count = _recvmmsg(fd, self._messages, BATCH, socket.MSG_DONTWAIT, None)
        self.count = max(count, 0)
        if count < 0 and (number := ctypes.get_errno()) not in {errno.EAGAIN, errno.EINTR}:
            raise OSError(number, os.strerror(number))
        self.sizes = self._words[_SIZE_WORD : self.count * _MESSAGE_BYTES // 4 : _MESSAGE_BYTES // 4].tolist()
        self.ages_s = self._waited_s()
        return self.count

    def address(self, number: int) -> tuple[str, int]:
        """Return from where a datagram came, host and port."""
        name = self._names[number * _NAME_BYTES : (number + 1) * _NAME_BYTES]
        family = int.from_bytes(name[:2], sys.byteorder)
        packed = bytes(name[8:24] if family == socket.AF_INET6 else name[4:8])
        return socket.inet_ntop(family, packed), int.from_bytes(name[2:4], "big")

    def _describe(self) -> None:
        names, controls, memory = (_address(each) for each in (self._names, self._controls, self.memory))
        for number, (vector, message) in enumerate(zip(self._vectors, self._messages, strict=True)):
            vector.base, vector.length = memory + number * STRIDE_BYTES, MAX_DATAGRAM_BYTES + 1
            header = message.header
            header.name, header.name_length = names + number * _NAME_BYTES, _NAME_BYTES
            header.vectors, header.vector_count = ctypes.addressof(vector), 1
            header.control, header.control_length = controls + number * _CONTROL_BYTES, _CONTROL_BYTES

    def _waited_s(self) -> list[float]:
        now_s = time.time()
        words = 4 * self.count
        stamps = zip(self._stamps[2:words:4].tolist(), self._stamps[3:words:4].tolist(), strict=True)
        ages_s = [now_s - seconds - 1e-9 * nanoseconds for seconds, nanoseconds in stamps]
        return [age_s if 0.0 <= age_s < _LATEST_S else 0.0 for age_s in ages_s]


class UdpSocket(asyncio.DatagramTransport):
    """A socket in the place of the event loop's own datagram transport: a protocol sends through it, its owner reads.

    Args:
        bound: Bound and not blocking.
        protocol: Told of the connection made and lost, and of errors.
    """

    def __init__(self, bound: socket.socket, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__({"socket": bound, "sockname": bound.getsockname()})
        self.fd = bound.fileno()
        self._socket = bound
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._watched = False
        self._closing = False
        protocol.connection_made(self)

    def watch(self, callback: Callable[[], None]) -> None:
        """Call back whenever something can be read."""
        self._watched = True
        self._loop.add_reader(self.fd, callback)

    def unwatch(self) -> None:
        """Call back no more: the owner reads by the clock."""
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self.fd)

    def receive(self, batch: Batch) -> int:
        """Take what waits; the number of datagrams, 0 where there is none or the socket is closed."""
        if self._closing:
            return 0
        try:
            return batch.receive(self.fd)
        except OSError as error:
            self._protocol.error_received(error)
            return 0

    @property
    def room_s(self) -> float:
        """How long a burst may last before the kernel has no room."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) / _BURST_BYTES_S

    @property
    def overrun(self) -> int:
        """Datagrams that the kernel had no room for, since the beginning."""
        if self._closing:
            return 0
        words = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        return int.from_bytes(words[4 * _MEMINFO_DROPS : 4 * _MEMINFO_DROPS + 4], sys.byteorder)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send now or never: what the kernel does not take is lost, as on the way."""
        if self._closing:
            return
        try:
            self._socket.sendto(data, addr)
        except BlockingIOError:
            return
        except OSError as error:
            self._protocol.error_received(error)

    def close(self) -> None:
        """Close at once; the protocol is told from the loop."""
        if self._closing:
            return
        self.unwatch()
        self._closing = True
        self._socket.close()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Close; nothing is ever buffered."""
        self.close()

    def is_closing(self) -> bool:
        """Tell whether it is closed."""
        return self._closing


async def bind(host: str, ports: range | None = None) -> socket.socket:
    """Bind a socket on a free port of an address.

    Args:
        host: The address.
        ports: To choose from; any where None.

    Raises:
        OSError: The address is none of ours, or none of the ports is free.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        _bind_one(made, address, ports or range(1))
    except OSError:
        made.close()
        raise
    return made


def _bind_one(made: socket.socket, address: tuple[Any, ...], ports: range) -> None:
    """Bind the first free port behind a random one, so that many peers do not all begin with those in use."""
    first = secrets.randbelow(len(ports))
    for number in range(len(ports)):
        port = ports[(first + number) % len(ports)]
        try:
            made.bind((address[0], port, *address[2:]))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or number == len(ports) - 1:
                raise
        else:
            return


def _address(memory: bytearray | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
