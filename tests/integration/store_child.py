"""A store worker on an embedded log, in a process of its own that kills itself after a step.

    python store_child.py FOLDER STORE_ADDRESS STEP NTH

Ends with exit code 0 once everything on the log is committed; STEP 0 never kills.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.streams.store_media import end_feed, site


def killer(step: int, nth: int) -> Callable[[int], None]:
    left = nth

    def step_done(done: int) -> None:
        nonlocal left
        if done == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return step_done


async def main(folder: str, store: str, step: str, nth: str) -> None:
    secret = os.environ.get("LIUHEN_STORE_SECRET", "")
    async with site(Path(folder), store=store, store_secret=secret) as here:
        # Something to commit even where the life before has committed all.
        await end_feed(here.bus, "cam-1", "none")
        hook = killer(int(step), int(nth))
        async with here.worker(step_done=hook) as worker:
            await here.until_committed(worker, timeout_s=60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
