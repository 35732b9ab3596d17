"""What runs in a process, from its start to its end. `liuhen.py` is its only user."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from domain.errors import InvalidSettings, Unavailable
from domain.settings import Settings
from house.custody import custody
from house.desk import console
from house.house import House
from house.notifying import notify
from house.recording import analyse, detect, ingest, store, tick
from house.watching import watch

_log = logging.getLogger(__name__)

ROLES: dict[str, Callable[[House], Awaitable[None]]] = {
    "ingest": ingest,
    "store": store,
    "detect": detect,
    "analyse": analyse,
    "tick": tick,
    "custody": custody,
    "console": console,
    "notify": notify,
    "watch": watch,
}

EMBEDDED = tuple(role for role in ROLES if role != "watch")
"""What runs in one process: whoever watches it must be another one."""


@contextlib.asynccontextmanager
async def running(settings: Settings, roles: Sequence[str]) -> AsyncIterator[House]:
    """Open a house with these roles and serve it until the block is left."""
    listener = listen(settings.http)
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        house = House(settings, stack, listener)
        house.not_ready.append(lambda: "" if started else "starting")
        started = False
        jobs: list[asyncio.Task[None]] = []
        try:
            for role in roles:
                await ROLES[role](house)
            house.serve()
            jobs += [asyncio.create_task(_keep_running(name, job), name=name) for name, job in house.jobs.items()]
            started = True
            _spare_the_collector()
            yield house
        finally:
            await house.close_doors(jobs)


def _spare_the_collector() -> None:
    """Keep the garbage collector from walking everything that was loaded, again and again, for as long as it runs.

    What stands now stays until the end. What comes later is nearly all freed by reference counts: coded pictures are
    in no cycle, and would be walked several times in the seconds they wait for their fragment.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _keep_running(name: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a job again when it breaks, so that a broken store or detector never ends the recording beside it."""
    from streams.ingest.backoff import Backoff

    backoff = Backoff(random.random)
    loop = asyncio.get_running_loop()
    while True:
        began_s = loop.time()
        try:
            await job()
        except Exception:
            wait_s = backoff.after_failure(loop.time() - began_s)
            _log.exception("%s broke; again in %.1f s", name, wait_s)
            await asyncio.sleep(wait_s)
        else:
            return


def listen(address: str) -> socket.socket:
    """Listen on `host:port`.

    Raises:
        InvalidSettings: It is no such address.
        Unavailable: It is taken, or not ours.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        msg = f"http: {address!r} is not host:port"
        raise InvalidSettings(msg, "http")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        msg = f"http: cannot listen on {address}: {error}"
        raise Unavailable(msg) from error


def stop_event() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def first_of(*jobs: Coroutine[Any, Any, object]) -> None:
    """Run until one is over; the others are cancelled and end in their own time."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
