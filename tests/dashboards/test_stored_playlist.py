"""Stored footage watched: a playlist over real segments in a real store."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from dashboards.hls.mp4 import take_apart
from domain.clock import Instant
from tests.dashboards.feeds import moving_picture
from tests.dashboards.serving import Served, served

START = Instant.parse("2026-05-06T09:00:00.000+08:00")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    """Seconds 0 to 4 and 8 to 12 are stored; 4 to 8 are missing. The sound is G.711."""
    async with served(tmp_path) as running:
        cut = moving_picture("320x240", seconds=4, audio="pcm_alaw")
        await running.keep("cam-1", cut, START, 0)
        await running.keep("cam-1", cut, START.plus(8000), 8)
        yield running


def path(start_s: float, end_s: float) -> str:
    span = [quote(START.plus(round(second * 1000)).rfc3339()) for second in (start_s, end_s)]
    return f"/hls/cam-1/playback.m3u8?from={span[0]}&to={span[1]}"


async def test_the_playlist_is_as_long_as_the_span_and_shows_what_is_missing(site: Served) -> None:
    async with httpx.AsyncClient(base_url=site.url) as http:
        text = (await http.get(path(0, 14))).text
        lines = text.splitlines()
        assert lines[-1] == "#EXT-X-ENDLIST"
        assert lines.count("#EXT-X-GAP") == 4 + 2
        assert sum(float(line[8:-1]) for line in lines if line.startswith("#EXTINF:")) == pytest.approx(14)
        uris = [line for line in lines if line.startswith("playback/") and "gap" not in line]
        inits = [line.split('"')[1] for line in lines if line.startswith("#EXT-X-MAP")]
        init = (await http.get(f"/hls/cam-1/{inits[0]}")).content
        times = []
        for uri in uris:
            media = take_apart(init + (await http.get(f"/hls/cam-1/{uri}")).content)
            times.append(media.seconds(media.main, media.main.decode_time))
        assert times == [0, 1, 2, 3, 8, 9, 10, 11]
        # A part of it: from inside the second fragment to the end of the third.
        part = (await http.get(path(1.5, 3))).text
        assert part.count("#EXTINF") == 2


async def test_what_cannot_be_played_is_said(site: Served) -> None:
    async with httpx.AsyncClient(base_url=site.url) as http:
        for asked, field in {
            path(5, 5): "to",
            path(0, 7201): "to",
            "/hls/cam-1/playback.m3u8": "from",
            "/hls/cam-1/playback.m3u8?from=2026-05-06T09:00:00Z&to=later": "to",
            "/hls/cam-1/playback.m3u8?from=2026-05-06T09:00:00Z&til=2026-05-06T09:00:00Z": "til",
        }.items():
            answer = await http.get(asked)
            assert (answer.status_code, answer.json()["field"]) == (422, field)
        uri = next(line for line in (await http.get(path(0, 4))).text.splitlines() if line.endswith(".m4s"))
        token = uri.split("/")[1]
        for asked in (
            path(5, 7),
            f"/hls/cam-2/{uri}",
            "/hls/cam-1/playback/rubbish!/init.mp4",
            f"/hls/cam-1/playback/{token}/99-0.m4s",
            f"/hls/cam-1/playback/{token}/other",
        ):
            assert (await http.get(asked)).status_code == 404
