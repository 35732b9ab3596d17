"""Real footage of every codec through the fragmenter, the log and the store: what comes out plays by itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from domain.events import Fragment
from storage import manifest
from storage.catalog.rows import SegmentRow
from streams.ingest.fragmenter import fragments_of
from streams.ingest.limits import Limits
from tests.services.browser import Browser
from tests.services.samples import Samples
from tests.streams.store_media import end_feed, publish, site
from tests.streams.units import read_units

CODECS = ["small", "silent", "bframes", "irregular", "h265", "alaw", "mulaw", "opus"]


def play(path: Path) -> str:
    """Decode all of a file, stopping at the first error; returns what FFmpeg complained of."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stderr or ("" if done.returncode == 0 else f"exit code {done.returncode}")


def seconds(path: Path) -> float:
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


async def store_sample(folder: Path, sample: Path) -> list[SegmentRow]:
    """Fragment a recording as ingest does, and store it in segments of 4 s."""
    limits = Limits(segment_ms=4000)
    fragments = fragments_of(read_units(sample), limits)
    async with site(folder, partitions=1) as here:
        for one in fragments:
            event = Fragment(
                at=one.learnt_at,
                recorder_id="cam-1",
                session_id="s1",
                feed_id="f1",
                seq=one.seq,
                captured_at=one.captured_at,
                duration_s=one.duration_ms / 1000,
                bytes=len(one.data),
                sha256=one.sha256,
                codec=one.codecs,
            )
            await publish(here.bus, event, one.data, starts=one.starts_segment)
        await end_feed(here.bus, "cam-1", "f1")
        starts = sum(one.starts_segment for one in fragments)
        assert starts >= 2
        async with here.worker():
            await here.until_stored(starts)
        return (await here.catalog.list_segments()).items


@pytest.mark.parametrize("name", CODECS)
async def test_every_segment_plays_by_itself(tmp_path: Path, samples: Samples, name: str) -> None:
    rows = await store_sample(tmp_path, samples.get(name).path)
    total = 0.0
    for row in rows:
        path = tmp_path / "store/objects" / row.key
        with path.open("rb") as data:
            manifest.check(data)
        assert play(path) == ""
        assert abs(seconds(path) - (row.to_at - row.from_at) / 1000) < 0.25
        total += seconds(path)
    assert abs(total - 10) < 0.5


@pytest.mark.browser
async def test_every_segment_plays_in_a_browser(tmp_path: Path, samples: Samples, browser: Browser) -> None:
    rows = await store_sample(tmp_path, samples.get("small").path)
    for row in rows:
        browser.driver.get(f"file://{tmp_path}/store/objects/{row.key}")
        ended = browser.driver.execute_async_script(PLAY)
        assert ended == {"error": None, "pictures": True}


PLAY = """
const done = arguments[arguments.length - 1], video = document.querySelector("video");
const tell = () => done({error: video.error && video.error.message, pictures: video.videoWidth > 0});
video.muted = true; video.loop = false; video.playbackRate = 4;
video.addEventListener("ended", tell); video.addEventListener("error", tell);
video.play();
"""
