"""The role `notify` on an embedded log, in a process that publishes what it reads from standard input.

    python notify_child.py FOLDER

A line is `TOPIC KEY JSON`; once it is on the log, its number goes to standard output.
"""

from __future__ import annotations

import asyncio
import sys

from domain.settings import Settings
from house.running import running


async def main(folder: str) -> None:
    settings = Settings(
        bus=f"embedded:{folder}/log", office=f"sqlite:///{folder}/office.db", http="127.0.0.1:0", partitions=4
    )
    async with running(settings, ["notify"]) as house:
        bus = await house.bus()
        sys.stdout.write(f"ready {house.address}\n")
        sys.stdout.flush()
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        number = 0
        while line := await reader.readline():
            topic, key, value = line.decode().rstrip("\n").split(" ", 2)
            await bus.publish(topic, key, value.encode())
            number += 1
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
