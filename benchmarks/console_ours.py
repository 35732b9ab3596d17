"""The console under `benchmarks.console_feed`, served on a free port, which it prints.

python -m benchmarks.console_ours RECORDERS
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.console_feed import Story
from tests.dashboards.serving import served


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as folder:
        async with served(Path(folder)) as site:
            story = Story(site.console.fleet, site.console.hub.publish, int(sys.argv[1]))
            story.begin()
            sys.stdout.write(json.dumps({"url": site.url}) + "\n")
            sys.stdout.flush()
            await story.run()


if __name__ == "__main__":
    asyncio.run(main())
