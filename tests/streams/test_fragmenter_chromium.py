"""Segments in Chromium: they play, by themselves, pictures and sound."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.ingest.fragmenter import fragments_of
from streams.ingest.limits import Limits
from tests.services.browser import Browser
from tests.services.samples import Samples
from tests.streams.units import read_units, segments

PLAY = """
    const done = arguments[1], video = document.createElement('video');
    video.muted = true;
    video.ontimeupdate = () => { if (video.currentTime > 0.3) done([video.videoWidth, video.currentTime]); };
    video.onerror = () => done(video.error.message);
    document.body.appendChild(video);
    video.src = arguments[0];
    video.play().catch(error => done(String(error)));
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Serves `tmp_path`."""
    (tmp_path / "index.html").write_text("<!doctype html><body>")
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["small", "bframes", "alaw", "opus"])
def test_chromium_plays_a_segment_from_the_middle(
    name: str, samples: Samples, browser: Browser, site: str, tmp_path: Path
) -> None:
    units = read_units(samples.get(name).path)
    gathered = segments(fragments_of(units, Limits(segment_ms=4_000)))
    (tmp_path / "segment.mp4").write_bytes(gathered[1])
    browser.driver.get(site)
    browser.driver.set_script_timeout(20)
    answer = browser.driver.execute_async_script(PLAY, f"{site}/segment.mp4")
    assert isinstance(answer, list), answer
    assert answer[0] == 640
