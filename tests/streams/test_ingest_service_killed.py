"""kill -9 of the ingest role while it records: what was open comes back, nothing is doubled with other contents."""

import hashlib
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import pytest

from domain import wire
from domain.clock import Instant
from domain.events import Fragment
from domain.registry import Registration
from domain.topics import EVENTS, MEDIA, REGISTRY
from tests.services.gstreamer import GstRtspServer
from tests.streams.flaky_bus import everything, flaky

CHILD = """
    import asyncio, sys
    from pathlib import Path
    from domain.clock import SystemClock
    from domain.settings import Settings
    from streams.bus.embedded import EmbeddedBus
    from streams.ingest.service import IngestService

    async def main():
        root = Path(sys.argv[1])
        bus = EmbeddedBus(root / "log", partitions=2)
        await bus.start()
        await IngestService(bus, Settings(spool=str(root / "spool"), worker_id="w"), SystemClock()).start()
        print("up", flush=True)
        await asyncio.sleep(3600)

    asyncio.run(main())
"""
LOST_MS = 2_000
BACK_MS = 5_000


def record_and_kill(root: Path, seconds: float) -> tuple[Instant, Instant]:
    """Run the role so long, kill it, and return when it was started and killed."""
    started = Instant(time.time_ns() // 1_000_000)
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), str(root)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        time.sleep(seconds)  # the recording itself: what is waited for is time passing
        child.kill()
    return started, Instant(time.time_ns() // 1_000_000)


@pytest.mark.gstreamer
async def test_a_kill_costs_less_than_two_seconds(tmp_path: Path, gst_rtsp: GstRtspServer) -> None:
    bus = flaky(tmp_path / "log")
    await bus.start()
    camera = Registration(
        recorder_id="cam-1", kind="premises_camera", policy="wucheng", url=gst_rtsp.url("/long-gop"), continuous=True
    )
    await bus.publish(REGISTRY.name, "cam-1", wire.encode(camera))
    await bus.close()
    lives = [record_and_kill(tmp_path, seconds) for seconds in (3.3, 2.6, 3.0)]
    record_and_kill(tmp_path, 1.0)  # recovers what the last one left

    bus = flaky(tmp_path / "log")
    await bus.start()
    media = [record for record in await everything(bus, MEDIA.name) if record.value]
    events = [wire.decode_event(record.value or b"") for record in await everything(bus, EVENTS.name)]
    await bus.close()
    fragments = {(one.feed_id, one.seq): one for one in events if isinstance(one, Fragment)}
    contents: dict[tuple[str, int], str] = {}
    for record in media:
        event = wire.decode_event(record.headers["event"])
        assert isinstance(event, Fragment)
        digest = hashlib.sha256(record.value or b"").hexdigest()
        assert event.sha256 == digest
        assert contents.setdefault((event.feed_id, event.seq), digest) == digest
    assert set(fragments) <= set(contents)
    spans = sorted((one.captured_at, one.captured_at.plus(round(one.duration_s * 1000))) for one in fragments.values())
    for started, killed in lives:
        mine = [span for span in spans if started <= span[0] <= killed]
        assert mine[0][0] - started <= BACK_MS
        assert killed - mine[-1][1] <= LOST_MS
    assert all(later[0] - earlier[1] <= LOST_MS + BACK_MS for earlier, later in pairwise(spans))
