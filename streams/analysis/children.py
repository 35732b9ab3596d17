"""A child process that decodes, as the worker sees it: asked one job at a time, killed when it hangs, replaced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final

import msgspec

from domain.errors import LiuhenError, Unavailable
from streams.analysis.wire import LENGTH, MAX_ANSWER_BYTES, Job, Seen, pack, unpack_seen

COMMAND: Final = (sys.executable, "-I", "-m", "streams.analysis.child")
JOB_S: Final = 30.0
"""Wall clock; the child's own limit of processor time is shorter, but it stands behind everything else."""
MAX_JOBS: Final = 20_000
"""Then it is replaced: whatever leaks in a decoder is given back."""
START_S: Final = 60.0


class ChildDied(LiuhenError):
    """The child crashed, hung or answered nonsense over a job; the next job starts another."""


class Child:
    """One child at a time, started when it is needed.

    Args:
        command: What to run.
        job_s: How long a job may take.
        max_jobs: After so many it is replaced.
    """

    def __init__(self, command: tuple[str, ...] = COMMAND, job_s: float = JOB_S, max_jobs: int = MAX_JOBS) -> None:
        self._command = command
        self._job_s = job_s
        self._max_jobs = max_jobs
        self._process: Process | None = None
        self._jobs = 0

    @property
    def pid(self) -> int | None:
        """Process id, while one runs."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            Unavailable: It does not run at all.
        """
        if self._process is not None:
            return
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=_environment(), cwd="/"
            )
            self._jobs = 0
            await self._ask(self._process, Job(b"", look=False, hear=False, listen=False), START_S)
        except (OSError, ChildDied) as error:
            await self.close()
            msg = f"the process that decodes does not start: {error}"
            raise Unavailable(msg) from error

    async def ask(self, job: Job) -> Seen:
        """Have a fragment looked at.

        Raises:
            ChildDied: It did not survive that. It is gone.
            Unavailable: No child can be started.
        """
        if self._jobs >= self._max_jobs:
            await self.close()
        await self.start()
        assert self._process is not None  # noqa: S101 - started
        self._jobs += 1
        try:
            return await self._ask(self._process, job, self._job_s)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Kill it."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()

    async def _ask(self, process: Process, job: Job, within_s: float) -> Seen:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            async with asyncio.timeout(within_s):
                process.stdin.write(pack(job))
                await process.stdin.drain()
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                if length > MAX_ANSWER_BYTES:
                    msg = f"an answer of {length} bytes"
                    raise ChildDied(msg)
                return unpack_seen(await process.stdout.readexactly(length))
        except TimeoutError as error:
            msg = f"no answer within {within_s:g} s"
            raise ChildDied(msg) from error
        except (asyncio.IncompleteReadError, OSError) as error:
            msg = f"died: {type(error).__name__}"
            raise ChildDied(msg) from error
        except (msgspec.DecodeError, ValueError) as error:
            msg = f"answered nonsense: {error}"
            raise ChildDied(msg) from error


def _environment() -> dict[str, str]:
    """Nothing of ours: no keys, no addresses. One thread for each library."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
