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
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

# Below the kernel's ephemeral range (from 32768), so that no outgoing connection takes the port of a
# server that is down for a moment.
_PORTS = range(18000, 32000)

_REAPER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sessions = set()
for line in sys.stdin:
    sign, session = line[0], int(line[1:])
    sessions.add(session) if sign == "+" else sessions.discard(session)
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    try:
        if os.getsid(pid) in sessions:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class _Reaper:
    """A child that outlives us by a moment: when our end of its pipe closes, it kills the sessions still listed.

    PR_SET_PDEATHSIG would end a server with the *thread* that started it, so it does not serve here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def tell(self, sign: str, session: int) -> None:
        with self._lock:
            if self._child is None:
                self._child = subprocess.Popen(
                    [sys.executable, "-I", "-c", _REAPER], stdin=subprocess.PIPE, text=True, start_new_session=True
                )
            assert self._child.stdin is not None
            self._child.stdin.write(f"{sign}{session}\n")
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


class Server(ABC):
    """One server process in a session of its own. Subclasses say how to start it and when it is ready.

    `start`, `stop`, `kill` (SIGKILL) and `restart` may be called in any order; ports and data stay the same.
    Used as a context manager it starts on entry and is gone on exit.
    """

    name = "server"
    ready_s = 60.0
    stop_s = 15.0
    stop_signal = signal.SIGTERM
    user: str | None = None  # another user than ours, for a server that root may not run

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.log_path = directory / f"{self.name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The argument vector."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Asked repeatedly after the start; True once the server answers."""

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
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
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
        """Asks the server to end, and kills it if it does not within `stop_s`."""
        if self._child is not None and self.alive:
            self.resume()
            self._child.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(self.stop_s)
        self.kill()

    def kill(self) -> None:
        """kill -9 to the server and all its children, and waits until they are gone."""
        if self._child is None:
            return
        members = self._members()
        self._signal(signal.SIGKILL, members)
        self._child.wait()
        psutil.wait_procs(members, timeout=10)
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

    def _members(self) -> list[psutil.Process]:
        """The server first, its descendants and whatever else is in its session (children may found their own)."""
        if self._child is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(self._child.pid)
            family = [server, *server.children(recursive=True)]
            return family + [other for other in psutil.process_iter() if self._adopted(other.pid, family)]
        return []

    def _adopted(self, pid: int, family: list[psutil.Process]) -> bool:
        with contextlib.suppress(ProcessLookupError):
            return os.getsid(pid) == self.pid and all(pid != known.pid for known in family)
        return False

    def _signal(self, number: signal.Signals, members: Sequence[psutil.Process] | None = None) -> None:
        for member in self._members() if members is None else members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(number)
