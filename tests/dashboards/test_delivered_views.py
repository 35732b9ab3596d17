"""Files that were delivered later, shown where live footage is missing: by a view, the original untouched."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dashboards.hls.playback import Recordings
from dashboards.hls.views import Views
from dashboards.problem import Missing
from domain.clock import Instant, ManualClock, SystemClock
from domain.errors import IntegrityError, InvalidMedia, Unavailable
from policies.local import default
from storage.backfill import Backfill, Delivery
from storage.catalog.catalog import Catalog
from storage.catalog.rows import UploadRow
from storage.catalog.uploads import Uploads
from storage.views.remux import remux
from tests.storage.verify_case import FRAGMENT_MS, HOUR_MS, Case, case

SECONDS = 6
_PICTURE = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "2", "-pix_fmt", "yuv420p")
FORMS = {"mp4": (*_PICTURE, "-c:a", "aac"), "ts": (*_PICTURE, "-c:a", "aac"), "avi": (*_PICTURE, "-c:a", "pcm_alaw")}


def recorded(folder: Path, media: str, *more: str) -> bytes:
    """What a body-worn recorder writes: a running picture and a tone."""
    path = folder / f"recorded.{media}"
    sources = [f"testsrc2=size=320x240:rate=25:duration={SECONDS}", f"sine=frequency=440:duration={SECONDS}"]
    inputs = [part for source in sources for part in ("-f", "lavfi", "-i", source)]
    command = [
        "ffmpeg",
        "-nostdin",
        "-y",
        "-loglevel",
        "error",
        *inputs,
        *FORMS[media],
        "-ar",
        "8000",
        *more,
        str(path),
    ]
    subprocess.run(command, check=True, timeout=60)
    return path.read_bytes()


def pictures(path: Path) -> list[str]:
    """Hash of each decoded picture, in order."""
    command = ["ffmpeg", "-loglevel", "error", "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough"]
    done = subprocess.run([*command, "-f", "framehash", "-"], check=True, capture_output=True, text=True, timeout=60)
    return [line.rpartition(",")[2].strip() for line in done.stdout.splitlines() if not line.startswith("#")]


class Watching:
    """A viewer of one site."""

    def __init__(self, one: Case, catalog: Catalog) -> None:
        self.case, self.catalog = one, catalog
        self.told: list[tuple[str, str]] = []
        self.folder = one.folder / "views"
        self.start = one.clock.now().plus(-HOUR_MS)
        self.begin()

    def begin(self, **limits: float) -> None:
        """Another life of the console."""
        self.views = Views(self.case.store, self.folder, **limits)  # type: ignore[arg-type]
        self.recordings = Recordings(self.catalog, self.case.store, self.tell, self.views)

    async def tell(self, _recorder_id: str, key: str, fault: str) -> None:
        self.told.append((key, fault))

    async def deliver(self, data: bytes, media: str = "mp4", at_s: float = 0, seconds: float = SECONDS) -> UploadRow:
        path = self.case.folder / "delivered"
        path.write_bytes(data)
        begin = self.start.plus(round(at_s * 1000))
        one = Delivery(
            path=path,
            recorder_id="cam-1",
            session_id="s1",
            from_at=begin,
            to_at=begin.plus(round(seconds * 1000)),
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            media=media,
            via="tus",
            delivered_at=self.case.clock.now(),
        )
        uploads = Uploads(self.catalog)
        return await Backfill(self.case.store, uploads, self.case.ledger, self.case.clock, default()).run(
            one, "wucheng"
        )

    async def live(self, seqs: range) -> None:
        await self.catalog.add_segment(await self.case.segment(seqs=seqs))

    async def playlist(self, seconds: float = 20) -> str:
        return await self.recordings.playlist("cam-1", self.start, self.start.plus(round(1000 * seconds)))

    async def watched(self, text: str, path: Path) -> list[str]:
        """Fetch what a playlist names, as a player does, and return the hash of each picture."""
        parts = re.findall(r"playback/([^/]+)/(\d+)-(\d+)\.m4s", text)
        row = await self.recordings.segment("cam-1", parts[0][0])
        data = await self.recordings.init(row)
        for _, seq, shift in parts:
            data += await self.recordings.fragment(row, int(seq), int(shift))
        await asyncio.to_thread(path.write_bytes, data)
        return pictures(path)


@pytest.fixture
async def watching(tmp_path: Path) -> AsyncIterator[Watching]:
    async with case(tmp_path, clock=ManualClock(SystemClock().now())) as one:
        catalog = await Catalog.connect(f"sqlite:///{tmp_path}/catalog.db")
        opened = Watching(one, catalog)
        yield opened
        await opened.views.close()
        await catalog.close()


def shown(text: str) -> list[tuple[str, bool, float]]:
    """Of each entry of a playlist: what it is of, whether anew, and how long it lasts."""
    found, anew, length = [], False, 0.0
    for line in text.splitlines():
        anew = anew or line == "#EXT-X-DISCONTINUITY"
        if line.startswith("#EXTINF:"):
            length = float(line.removeprefix("#EXTINF:").rstrip(","))
        if line.startswith("playback/"):
            token = line.split("/")[1]
            key = "gap" if token.startswith("gap-") else base64.urlsafe_b64decode(token).decode().split("/")[0]
            found.append((key, anew, length))
            anew = False
    return found


@pytest.mark.parametrize("media", FORMS)
async def test_each_container_plays_and_every_picture_is_there(watching: Watching, tmp_path: Path, media: str) -> None:
    data = recorded(tmp_path, media)
    row = await watching.deliver(data, media)
    text = await watching.playlist(SECONDS)
    assert [name for name, _, _ in shown(text)] == ["uploads"] * SECONDS
    assert await watching.watched(text, tmp_path / "watched.mp4") == pictures(tmp_path / f"recorded.{media}")
    assert await watching.case.store.get(row.key, row.version_id) == data, "the original is as it came"
    assert [one.suffix for one in sorted(watching.folder.iterdir())] == [".json", ".view"]


async def test_it_is_shown_where_live_footage_is_missing_and_only_there(watching: Watching, tmp_path: Path) -> None:
    await watching.live(range(2))  # 0 to 4 s
    await watching.live(range(5, 6))  # 10 to 12 s
    row = await watching.deliver(recorded(tmp_path, "mp4"), at_s=3)  # 3 to 9 s
    text = await watching.playlist(12)
    assert shown(text) == [
        ("segments", False, 2.0),
        ("segments", False, 2.0),
        *[("uploads", number == 0, 1.0) for number in range(5)],
        ("segments", True, 2.0),
    ]
    times = [Instant.parse(one) for one in re.findall(r"PROGRAM-DATE-TIME:(\S+)", text)]
    assert times[2] == row.from_at.plus(1000), "what live footage shows is not shown twice"
    assert times[-1] == watching.start.plus(5 * FRAGMENT_MS)


async def test_no_view_is_made_of_what_live_footage_shows_whole(watching: Watching, tmp_path: Path) -> None:
    await watching.live(range(5))
    await watching.deliver(recorded(tmp_path, "mp4"), at_s=2)
    assert {name for name, _, _ in shown(await watching.playlist(10))} == {"segments"}
    assert not watching.folder.exists()


@pytest.mark.parametrize("media", ["mp4", "ts", "avi", "bin"])
async def test_what_cannot_be_shown_is_a_gap_and_is_tried_once(watching: Watching, media: str) -> None:
    await watching.live(range(1))
    row = await watching.deliver(b"#EXTM3U\nfile:///etc/passwd\n" * 100, media, at_s=2)
    for _ in range(2):
        assert {name for name, _, _ in shown(await watching.playlist(8))} == {"segments", "gap"}
    with pytest.raises(Missing, match="cannot be shown"):
        await watching.recordings.init(row)
    assert watching.told == []
    assert not watching.folder.exists() or list(watching.folder.iterdir()) == []


async def test_a_file_that_is_not_what_was_delivered_is_told_of_and_not_shown(
    watching: Watching, tmp_path: Path
) -> None:
    row = await watching.deliver(recorded(tmp_path, "mp4"))
    stored = watching.case.folder / "store" / "objects" / row.key
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    for _ in range(2):
        with pytest.raises(Missing):
            await watching.playlist(SECONDS)
    with pytest.raises(IntegrityError):
        await watching.recordings.init(row)
    assert watching.told == [(row.key, "altered")]


async def test_who_cannot_wait_is_told_to_come_again(watching: Watching, tmp_path: Path) -> None:
    await watching.deliver(recorded(tmp_path, "mp4"))
    watching.begin(wait_s=0.0)
    with pytest.raises(Unavailable, match="being prepared"):
        await watching.playlist(SECONDS)
    watching.views._wait_s = 60.0
    assert len(shown(await watching.playlist(SECONDS))) == SECONDS


async def test_views_take_bounded_room_and_are_made_again(watching: Watching, tmp_path: Path) -> None:
    first = await watching.deliver(recorded(tmp_path, "mp4"))
    second = await watching.deliver(recorded(tmp_path, "mp4", "-metadata", "title=other"), at_s=SECONDS)
    watching.begin(max_bytes=first.bytes + second.bytes // 2)
    assert len(shown(await watching.playlist(2 * SECONDS))) == 2 * SECONDS
    assert [one.stem for one in watching.folder.glob("*.view")] == [second.sha256]
    assert await watching.recordings.init(first)
    assert [one.stem for one in watching.folder.glob("*.view")] == [first.sha256]


async def test_a_view_that_nobody_looks_at_goes_so_that_none_outlives_its_original(
    watching: Watching, tmp_path: Path
) -> None:
    row = await watching.deliver(recorded(tmp_path, "mp4"))
    await watching.playlist(SECONDS)
    (view,) = watching.folder.glob("*.view")
    (watching.folder / "left.part").write_bytes(b"of a life before")
    for path in (view, watching.folder / "left.part"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert await watching.recordings.fragment(row, 0, 0), "it is looked at"
    watching.views._sweep()
    assert sorted(path.suffix for path in watching.folder.iterdir()) == [".json", ".view"]
    os.utime(view, (time.time() - 7200, time.time() - 7200))
    running = asyncio.create_task(watching.views.run())
    async with asyncio.timeout(20):
        while any(watching.folder.iterdir()):  # noqa: ASYNC110 - files go, nobody rings a bell
            await asyncio.sleep(0.01)
    running.cancel()
    assert await watching.recordings.fragment(row, 0, 0), "it is made again"


async def test_a_view_outlives_the_console_and_is_not_trusted(watching: Watching, tmp_path: Path) -> None:
    row = await watching.deliver(recorded(tmp_path, "mp4"))
    text = await watching.playlist(SECONDS)
    (view,) = watching.folder.glob("*.view")
    made = view.stat().st_mtime_ns, view.read_bytes()
    watching.begin()
    assert await watching.playlist(SECONDS) == text
    assert view.stat().st_ctime_ns > made[0], "its use is noted"
    data, last = bytearray(made[1]), (await watching.views.of(row)).shots[-1]
    data[last.offset + last.bytes - 9] ^= 1
    view.write_bytes(data)
    with pytest.raises(Unavailable, match="made again"):
        await watching.recordings.fragment(row, SECONDS - 1, 0)
    assert await watching.recordings.fragment(row, SECONDS - 1, 0)
    assert view.read_bytes() == made[1]


async def test_a_file_that_is_cut_off_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = recorded(tmp_path, "ts")
    (tmp_path / "cut.ts").write_bytes(whole[: len(whole) // 2])
    await remux(tmp_path / "cut.ts", tmp_path / "cut.mp4", "ts")
    found = pictures(tmp_path / "cut.mp4")
    assert len(found) > 25
    assert found[:-3] == pictures(tmp_path / "recorded.ts")[: len(found) - 3]


async def test_pictures_of_a_coding_that_is_not_on_the_list_are_left_out(tmp_path: Path) -> None:
    recorded(tmp_path, "avi", "-c:v", "mpeg4", "-an")
    with pytest.raises(InvalidMedia, match="nothing in it can be shown: mpeg4"):
        await remux(tmp_path / "recorded.avi", tmp_path / "view.mp4", "avi")
    assert not (tmp_path / "view.mp4").exists()
