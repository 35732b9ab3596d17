"""Some roles in one process, as `liuhen up` runs them all.

python -m benchmarks.roles CONFIG ROLE …
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

import uvloop

from house.running import running
from liuhen import load_settings


async def serve(config: str, roles: Sequence[str]) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running(load_settings(config), roles):
        await stop.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    uvloop.run(serve(sys.argv[1], sys.argv[2:]))
