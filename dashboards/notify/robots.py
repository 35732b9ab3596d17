"""Letters by Apprise: DingTalk, WeCom, Feishu, mail, gateways of SMS. The one module of this package that imports it.

Apprise sends synchronously and says yes or no. It runs in a few threads; a try that has not ended in time is given up,
and its thread with it until its own timeouts end it, so that a robot that hangs holds up nobody else.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import apprise
from apprise.exception import AppriseException

from dashboards.notify.way import Undelivered, Written

THREADS = 8
GIVE_UP_S = 30.0
"""Apprise's own timeouts are 4 s for connecting and 4 s for each answer; some services take several."""
WAIT_S = 20.0
"""For a free thread."""
_STATUS = re.compile(r"error=(\d{3})")
_KINDS = {
    "critical": apprise.NotifyType.FAILURE,
    "warning": apprise.NotifyType.WARNING,
    "info": apprise.NotifyType.INFO,
}


class _Heard(logging.Handler):
    """Picks the status out of what Apprise logs on this thread; its lines may hold addresses, and go nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the last status."""
        found = _STATUS.search(record.getMessage())
        if found:
            self._local.status = found[1]

    def begin(self) -> None:
        """Forget what was heard on this thread."""
        self._local.status = ""

    @property
    def status(self) -> str:
        """The last status heard on this thread; empty where none was."""
        return getattr(self._local, "status", "")


_heard = _Heard()
_log = logging.getLogger("apprise")
_log.addHandler(_heard)
_log.propagate = False


class Robots:
    """See the module."""

    tells_repetitions = False

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "apprise")
        self._free = asyncio.Semaphore(THREADS)

    async def send(self, address: str, letter: Written) -> None:
        """Send it, once a thread is free.

        Raises:
            Undelivered: Refused, no answer, or no address that Apprise knows.
        """
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError as error:
            raise Undelivered("all threads wait for services that do not answer") from error
        work = asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(_send, address, letter))
        work.add_done_callback(lambda _: self._free.release())
        done, _ = await asyncio.wait({work}, timeout=GIVE_UP_S)
        if not done:
            raise Undelivered(f"no answer within {GIVE_UP_S:g} s", is_doubtful=True)
        work.result()

    async def close(self) -> None:
        """Let go of the threads; one that hangs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _send(address: str, letter: Written) -> None:
    _heard.begin()
    # The plugin itself: the library's own way round it would send on threads that all of a process share.
    service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if service is None:
        raise Undelivered("no address that Apprise knows", is_final=True)
    body = f"{letter.body}\n{letter.link}" if letter.link else letter.body
    kind = _KINDS.get(letter.severity, apprise.NotifyType.INFO)
    try:
        done = service.notify(body=body, title=letter.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    except (TypeError, ValueError, AppriseException) as error:
        raise Undelivered(f"not sent: {type(error).__name__}", is_final=True) from error
    if done:
        return
    status = _heard.status
    raise Undelivered(f"answered {status}" if status else "not accepted, or no answer", is_doubtful=not status)
