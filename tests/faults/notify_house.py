"""The notifier as a process of its own, on an embedded log, killed and started again as a test likes."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Self

from domain.findings import Finding
from domain.registry import Registration
from domain.wire import encode
from tests.services.process import poll_until

_ROOT = Path(__file__).resolve().parents[2]


class NotifyHouse:
    """See the module.

    Args:
        folder: Where its log and its office are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kills = 0
        self.address = ""
        self._child: subprocess.Popen[str] | None = None
        self._unacknowledged: deque[str] = deque()

    @property
    def office(self) -> str:
        return f"sqlite:///{self.folder}/office.db"

    @property
    def pid(self) -> int:
        return self._running.pid

    def start(self) -> Self:
        """Start it; what the log has not acknowledged is published again."""
        with (self.folder / "notify.log").open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.notify_child", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=_ROOT,
            )
        self.address = self._read().split()[1]
        waiting, self._unacknowledged = list(self._unacknowledged), deque()
        for line in waiting:
            self._publish(line)
        return self

    def publish(self, *said: Finding | Registration) -> None:
        """Put these on the log, durably."""
        for each in said:
            topic = "findings" if isinstance(each, Finding) else "registry"
            self._publish(f"{topic} {each.recorder_id} {encode(each).decode()}\n")

    def kill(self) -> None:
        """SIGKILL."""
        self._end(self._running.kill)
        self.kills += 1

    def stop(self) -> None:
        """SIGTERM, as a service manager would."""
        self._end(self._running.terminate)

    def log(self) -> str:
        return (self.folder / "notify.log").read_text(errors="replace")[-4000:]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._child is not None and self._child.poll() is None:
            self.kill()

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._child is not None
        return self._child

    def _end(self, how: object) -> None:
        assert callable(how)
        how()
        child = self._running
        poll_until(lambda: child.poll() is not None, "the notifier ended", 30)
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # what was not flushed is published again

    def _publish(self, line: str) -> None:
        self._unacknowledged.append(line)
        stdin = self._running.stdin
        assert stdin is not None
        stdin.write(line)
        stdin.flush()
        self._read()
        self._unacknowledged.popleft()

    def _read(self) -> str:
        stdout = self._running.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the notifier ended by itself:\n{self.log()}")
        return line
