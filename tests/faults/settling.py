"""Waiting for a system to come to rest."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.evidence import Trace, read_trace
from tests.services.process import poll_until


def wait_until(
    ready: Callable[[], bool], what: str, timeout_s: float = 60, shown: Callable[[], str] = lambda: ""
) -> None:
    """Wait until `ready()`, which may fail to be asked for a while; TimeoutError names `what`, and what is `shown`."""

    def asked() -> bool:
        try:
            return ready()
        except OSError:
            return False

    try:
        poll_until(asked, what, timeout_s, interval_s=0.5)
    except TimeoutError as error:
        error.add_note(shown())
        raise


async def drained(address: str, check: Callable[[Trace], int], within_s: float = 120) -> Trace:
    """Wait until what the log has is in the store, and return what the log has."""
    deadline = time.monotonic() + within_s
    while True:
        trace = await read_trace(address)
        try:
            assert check(trace) > 0
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(2)
        else:
            return trace
