"""A real server as a child process: started, awaited, killed, paused, restarted, and never left behind."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

# Below the kernel's ephemeral range (from 32768), so that no outgoing connection takes the port of a
# server that is down for a moment.
_PORTS = range(18000, 32000)

_REAPER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    sign, group = line[0], int(line[1:])
    groups.add(group) if sign == "+" else groups.discard(group)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class _Reaper:
    """A child that outlives us by a moment: when our end of its pipe closes, it kills the groups still listed.

    PR_SET_PDEATHSIG would end a server with the *thread* that started it, so it does not serve here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def tell(self, sign: str, group: int) -> None:
        with self._lock:
            if self._child is None:
                self._child = subprocess.Popen(
                    [sys.executable, "-I", "-c", _REAPER], stdin=subprocess.PIPE, text=True, start_new_session=True
                )
            assert self._child.stdin is not None
            self._child.stdin.write(f"{sign}{group}\n")
            self._child.stdin.flush()


_reaper = _Reaper()


def free_port() -> int:
    """A loopback TCP port that nobody listens on now and that the kernel gives to no outgoing connection."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free loopback port among 200 tried")


def accepts(port: int) -> bool:
    """Does anything listen on this loopback port?"""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def poll_until(ready: Callable[[], bool], what: str, timeout_s: float = 30, interval_s: float = 0.05) -> None:
    """Waits until `ready()`; raises TimeoutError naming `what`."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain until {what}")
        time.sleep(interval_s)


class Server:
    """One server process in its own process group. Subclasses say how to start it and when it is ready.

    `start`, `stop`, `kill` (SIGKILL) and `restart` may be called in any order; ports and data stay the same.
    Used as a context manager it starts on entry and is gone on exit.
    """

    name = "server"
    ready_s = 60.0
    stop_s = 15.0

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.log_path = directory / f"{self.name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """The argument vector."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is started")

    def is_ready(self) -> bool:
        """Asked repeatedly after the start; True once the server answers."""
        raise NotImplementedError(f"{type(self).__name__} does not say when it is ready")

    def environment(self) -> Mapping[str, str]:
        """What is added to our own environment."""
        return {}

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._child.pid

    def log_tail(self, lines: int = 40) -> str:
        """The end of what the server printed, for error messages."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def start(self) -> Self:
        """Starts the server and returns when it answers."""
        if self.alive:
            return self
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, **self.environment()},
                start_new_session=True,
            )
        _reaper.tell("+", self._child.pid)
        try:
            poll_until(self._ready_or_dead, f"{self.name} answers", self.ready_s)
        except BaseException as failure:
            self.kill()
            failure.add_note(self.log_tail())
            raise
        return self

    def stop(self) -> None:
        """Asks the server to end (SIGTERM), and kills it if it does not within `stop_s`."""
        if self._child is not None and self.alive:
            self.resume()
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(self.stop_s)
        self.kill()

    def kill(self) -> None:
        """kill -9 to the whole group, and waits until it is gone."""
        if self._child is None:
            return
        self._signal(signal.SIGKILL)
        self._child.wait()
        _reaper.tell("-", self._child.pid)
        self._child = None

    def pause(self) -> None:
        """SIGSTOP: connections stay up and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Paused inside the `with`, going on after it."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def restart(self) -> None:
        """Stops in order, then starts on the same ports and data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ready_or_dead(self) -> bool:
        if not self.alive:
            assert self._child is not None
            raise RuntimeError(f"{self.name} ended with exit code {self._child.returncode} while starting")
        return self.is_ready()

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)
