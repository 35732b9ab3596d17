"""Cameras that behave badly on the wire, in threads of the test: mute ones, and a proxy that spoils a good one."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable
from typing import Self

Spoil = Callable[[bytes], bytes]


class RudeCamera:
    """Listens on a free port; what a connection gets is up to `serve`, called in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            _hang_up(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._run, args=[connection], daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        try:
            self._serve(connection)
        except OSError:
            pass  # hung up on; the next connection is another
        finally:
            self._open.discard(connection)
            connection.close()


def says_nothing(connection: socket.socket) -> None:
    """Read whatever comes and never answer."""
    while connection.recv(65_536):
        pass


def spoiled(port: int, new_spoiler: Callable[[], Spoil]) -> Callable[[socket.socket], None]:
    """Return what passes on between a client and the camera at `port`, spoiling what the camera says."""

    def serve(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as camera:
            back = threading.Thread(target=_pass_on, args=[client, camera, lambda data: data], daemon=True)
            back.start()
            _pass_on(camera, client, new_spoiler())
            _hang_up(client)
            back.join()

    return serve


def mutations(seed: int, one_in: int) -> Callable[[], Spoil]:
    """Make spoilers that change, drop or double a byte or a run, once in so many bytes; seeded."""
    chance = random.Random(seed)

    def spoil(data: bytes) -> bytes:
        spoiled = bytearray(data)
        for _ in range(max(1, len(data) // one_in)):
            at = chance.randrange(len(spoiled)) if spoiled else 0
            kind = chance.randrange(3)
            if kind == 0 and spoiled:
                spoiled[at] ^= 1 << chance.randrange(8)
            elif kind == 1:
                del spoiled[at : at + chance.randrange(1, 40)]
            else:
                spoiled[at:at] = chance.randbytes(chance.randrange(1, 40))
        return bytes(spoiled)

    return lambda: spoil


class TimesGoBack:
    """Moves the RTP times of each channel back by `back_ticks` after every `every` packets, in whole frames of `$`."""

    def __init__(self, every: int, back_ticks: int) -> None:
        self._every, self._back_ticks = every, back_ticks
        self._buffer = bytearray()
        self._packets = 0

    def __call__(self, data: bytes) -> bytes:
        self._buffer += data
        passed = bytearray()
        while self._buffer:
            if self._buffer[0] != ord("$"):
                end = self._buffer.find(b"$")
                passed += self._take(len(self._buffer) if end < 0 else end)
                continue
            if len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[2:4], "big"):
                break
            passed += self._back(self._take(4 + int.from_bytes(self._buffer[2:4], "big")))
        return bytes(passed)

    def _take(self, count: int) -> bytearray:
        taken = self._buffer[:count]
        del self._buffer[:count]
        return taken

    def _back(self, frame: bytearray) -> bytearray:
        if frame[1] % 2 == 0 and len(frame) >= 16:
            self._packets += 1
            back = self._packets // self._every * self._back_ticks
            time = (int.from_bytes(frame[8:12], "big") - back) % 2**32
            frame[8:12] = time.to_bytes(4, "big")
        return frame


def _pass_on(source: socket.socket, target: socket.socket, spoil: Spoil) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(spoil(data))
    except OSError:
        pass  # one side has hung up
    finally:
        _hang_up(target)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # gone already
        connection.shutdown(socket.SHUT_RDWR)
