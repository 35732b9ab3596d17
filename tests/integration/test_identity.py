"""What a camera or a recorder sends is what is kept: FFmpeg's framehash of the source and of the stored segments agree.

GStreamer's RTSP server, which nobody here wrote, plays a file of each codec to a running `liuhen up`; a WHIP client
made of aiortc publishes pictures and sound that were coded before. What stands in the store afterwards is compared
unit for unit, and played by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from domain.clock import Instant
from domain.registry import hash_token
from storage import manifest
from tests.integration.framehash import Track, framehash, play, samples
from tests.services.access import reading
from tests.services.browser import Browser
from tests.services.gstreamer import GstRtspServer
from tests.services.liuhen import Liuhen
from tests.services.process import poll_until
from tests.services.samples import Sample, Samples
from tests.streams.whip_client import (
    TOKEN,
    Coded,
    CodedTrack,
    WhipClient,
    loopback_only,
    nals_of_annexb,
    nals_of_lengths,
    until,
)

CODECS = ["silent", "small", "bframes", "long-gop", "irregular", "h265", "alaw", "mulaw", "opus"]
WITHOUT_FRAMES = {"alaw", "mulaw"}
SEGMENT_S = 10
ROUNDING_MS = Fraction(1, 48)
"""One tick of a sound's clock: GStreamer counts in nanoseconds on the way from the file's ticks to those of RTP."""
EARLY_FRAMES = 3
"""A server may send that much sound before the first packet of the first picture; a feed begins with a picture, and
what was captured before it is counted as lost instead."""
CAPTURE_MS = 100
"""How far apart the clock and the media may be between two segments; not at the first of a feed, which the server sends
in a burst when it was late to start."""


class Site:
    """A running `liuhen up` and where its footage is.

    Args:
        program: The process.
        sources: What each camera plays.
    """

    def __init__(self, program: Liuhen, sources: dict[str, Path]) -> None:
        self.program = program
        self.sources = sources
        self.objects = program.directory / "data/store/objects"
        self.http = reading(program.url, program.directory)  # the port is open before the console answers
        self._first: dict[str, list[dict[str, Any]]] = {}
        self._counted: dict[Path, int] = {}

    def segments(self, recorder: str) -> list[dict[str, Any]]:
        """Rows of the recorder's segments as the console gives them, in order."""
        sessions = self.http.get("/api/v1/sessions", params={"recorder": recorder}).json()["items"]
        rows: list[dict[str, Any]] = []
        for session in sessions:
            path = f"/api/v1/sessions/{session['session_id']}/timeline"
            items = self.http.get(path, params={"recorder": recorder, "limit": 1000}).json()["items"]
            rows += [item["segment"] for item in items if item["type"] == "segment"]
        return sorted(rows, key=lambda row: (row["from_at"], row["first_seq"]))

    def whole_feed(self, recorder: str) -> list[Path]:
        """Objects of a camera's first feed that played its source to the end, once all of it is stored.

        Where the machine is so busy that server or client lost the connection half-way, the camera plays it anew.
        """
        if recorder not in self._first:
            looks: list[list[dict[str, Any]]] = [[]]

            def is_settled() -> bool:  # what sound came after the last picture may be stored a moment later
                looks.append(self._whole(recorder))
                return looks[-1] != [] and looks[-1] == looks[-2]

            poll_until(is_settled, f"a feed of {recorder} is over and stored", 90, 1.5)
            self._first[recorder] = looks[-1]
        return [self.objects / row["key"] for row in self._first[recorder]]

    def _whole(self, recorder: str) -> list[dict[str, Any]]:
        feeds: dict[str, list[dict[str, Any]]] = {}
        for row in self.segments(recorder):
            feeds.setdefault(row["feed_id"], []).append(row)
        wanted = self._pictures(self.sources[recorder])
        whole = (rows for rows in feeds.values() if self._counted_of(rows) >= wanted)
        return next(whole, [])

    def _counted_of(self, rows: list[dict[str, Any]]) -> int:
        return sum(self._pictures(self.objects / row["key"]) for row in rows)

    def _pictures(self, path: Path) -> int:
        if path not in self._counted:
            self._counted[path] = len(units_of(path))
        return self._counted[path]

    def pictures_of(self, recorder: str) -> list[bytes]:
        """All access units of pictures that are stored of a recorder."""
        return [unit for row in self.segments(recorder) for unit in units_of(self.objects / row["key"])]

    def begins(self, recorder: str) -> list[Instant]:
        """Capture time of each of those objects."""
        return [Instant.parse(row["from_at"]) for row in self._first[recorder]]


def units_of(path: Path) -> list[bytes]:
    """The access units of a file's pictures."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def quiet(sample: Sample) -> str:
    """The sample's pipeline, told to leave parameter sets where they are: out of band, as in the file."""
    return sample.pipeline().replace("config-interval=-1", "config-interval=0")


def sei_of(number: int) -> bytes:
    """A NAL unit of user data (H.264, D.1.7) that says which picture it stands before, and holds an escaped zero."""
    body = bytes(range(0xA0, 0xB0)) + b"device 0107, picture %05d " % number + b"\x00\x00\x03\x01"
    return bytes((6, 5, len(body) - 1)) + body + b"\x80"  # the escape is not counted


def with_sei(source: Path, target: Path) -> Path:
    """Write a copy of an H.264 file with user data before each picture."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for number, packet in enumerate(packet for packet in before.demux(video=0) if packet.size):
            sei = sei_of(number)
            made = av.Packet(len(sei).to_bytes(4, "big") + sei + bytes(packet))
            made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
            made.is_keyframe = packet.is_keyframe
            made.stream = stream
            after.mux(made)
    return target


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All cameras at once, into one process."""
    folder = tmp_path_factory.mktemp("identity")
    library = Samples()
    sources = {name: library.get(name).path for name in CODECS}
    pipelines = {name: quiet(library.get(name)) for name in CODECS}
    silent = library.get("silent")
    sources["in-band"], pipelines["in-band"] = silent.path, silent.pipeline()
    sliced = library.get("sliced")
    sources["sliced"], pipelines["sliced"] = sliced.path, sliced.pipeline()
    marked = Sample("sei", with_sei(silent.path, folder / "sei.mp4"), silent.recipe)
    sources["sei"], pipelines["sei"] = marked.path, quiet(marked)
    mounts = {f"/{name}": pipeline for name, pipeline in pipelines.items()}
    with GstRtspServer(folder / "camera", mounts) as server:
        cameras = [
            f'[[recorder]]\nrecorder_id = "{name}"\nkind = "premises_camera"\nurl = "{server.url(f"/{name}")}"\n'
            for name in sources
        ]
        token = hash_token(TOKEN["Authorization"].removeprefix("Bearer "))
        cameras.append(f'[[recorder]]\nrecorder_id = "rec-1"\nkind = "body_worn"\ntoken_sha256 = "{token}"\n')
        (folder / "recorders.toml").write_text("\n".join(cameras), encoding="utf-8")
        settings = {
            "LIUHEN_RECORDERS": str(folder / "recorders.toml"),
            "LIUHEN_SEGMENT_S": str(SEGMENT_S),
            "LIUHEN_ICE_HOSTS": "127.0.0.1",
        }
        with Liuhen(folder / "up", ["up"], settings) as program:
            here = Site(program, sources)
            yield here
            here.http.close()


def stored_hashes(segments: list[dict[str, Track]], kind: str) -> list[str]:
    return [digest for tracks in segments for digest in tracks[kind].hashes()]


def assert_times_are_the_sources(
    source: Track, segments: list[dict[str, Track]], begins: list[Instant], rounding_ms: Fraction = ROUNDING_MS
) -> None:
    """Inside a segment to the tick; between segments, each of which begins at 0, by the clock."""
    kind = source.kind
    at = source.hashes().index(segments[0][kind].units[0].hash)
    expected = source.times_ms()
    shown: list[Fraction] = []
    for tracks in segments:
        times = tracks[kind].times_ms()
        here = expected[at : at + len(times)]
        off = [abs(time - (want - here[0])) for time, want in zip(times, here, strict=True)]
        assert max(off) <= rounding_ms
        shown.append(min(here))
        at += len(times)
    on_the_clock = [begins[-1] - begin for begin in begins[1:]]
    assert on_the_clock == pytest.approx([float(shown[-1] - one) for one in shown[1:]], abs=CAPTURE_MS)


@pytest.mark.gstreamer
@pytest.mark.parametrize("name", CODECS)
def test_pictures_are_kept_unit_for_unit(site: Site, name: str) -> None:
    stored = [framehash(path) for path in site.whole_feed(name)]
    source = framehash(site.sources[name])["video"]
    assert len(stored) >= (2 if name == "long-gop" else 1)  # 30 s of it: it must go over a boundary
    assert {tracks["video"].codec for tracks in stored} == {source.codec}
    assert stored_hashes(stored, "video") == source.hashes()
    assert_times_are_the_sources(source, stored, site.begins(name))


@pytest.mark.gstreamer
@pytest.mark.parametrize("name", [name for name in CODECS if name != "silent"])
def test_sound_is_kept_unit_for_unit(site: Site, name: str) -> None:
    paths = site.whole_feed(name)
    if name in WITHOUT_FRAMES:  # samples; how many of them make a packet is each sender's own choice
        assert b"".join(samples(path) for path in paths) == samples(site.sources[name])
        return
    stored = [framehash(path) for path in paths]
    source = framehash(site.sources[name])["audio"]
    # GStreamer leaves out what the edit list of an MP4 file hides: AAC's priming frame, and the last one, which pads.
    # Matroska has no edit list.
    hidden = 0 if name == "opus" else 1
    sent = source.hashes()[hidden : len(source.units) - hidden]
    kept = stored_hashes(stored, "audio")
    assert kept == sent[len(sent) - len(kept) :]
    assert len(sent) - len(kept) <= EARLY_FRAMES
    # Matroska counts in milliseconds, and takes Opus's pre-skip of 6.5 ms off the first frame alone.
    assert_times_are_the_sources(source, stored, site.begins(name), Fraction(8) if name == "opus" else ROUNDING_MS)


@pytest.mark.gstreamer
def test_parameter_sets_that_come_in_band_are_kept_in_band(site: Site) -> None:
    stored = [unit for path in site.whole_feed("in-band") for unit in units_of(path)]
    source = units_of(site.sources["in-band"])
    assert len(stored) == len(source)
    with_sets = 0
    for kept, sent in zip(stored, source, strict=True):
        nals = nals_of_lengths(kept)
        sets = [nal for nal in nals if nal[0] & 31 in {7, 8}]
        assert [nal for nal in nals if nal not in sets] == nals_of_lengths(sent)
        assert [nal[0] & 31 for nal in nals if nal[0] & 31 != 6] == ([7, 8, 5] if sets else [1])
        with_sets += bool(sets)
    assert with_sets == 10  # before each keyframe


@pytest.mark.gstreamer
def test_a_picture_in_slices_is_one_unit_though_each_slice_has_its_parameter_sets(site: Site) -> None:
    paths = site.whole_feed("sliced")
    stored = [nals_of_lengths(unit) for path in paths for unit in units_of(path)]
    sent = [nals_of_lengths(unit) for unit in units_of(site.sources["sliced"])]
    assert [[nal for nal in nals if nal[0] & 31 not in {7, 8}] for nals in stored] == sent
    kinds = [[nal[0] & 31 for nal in nals if nal[0] & 31 != 6] for nals in stored]
    assert kinds == [[7, 8, 5] * 4 if 5 in nals else [1] * 4 for nals in kinds]
    assert sum(5 in nals for nals in kinds) == 10
    assert [play(path) for path in paths] == [""] * len(paths)


@pytest.mark.gstreamer
def test_user_data_of_a_device_is_kept_byte_for_byte(site: Site) -> None:
    paths = site.whole_feed("sei")
    stored = [nals_of_lengths(unit) for path in paths for unit in units_of(path)]
    assert [[nal for nal in nals if nal[:2] == b"\x06\x05" and b"device" in nal] for nals in stored] == [
        [sei_of(number)] for number in range(250)
    ]
    assert [digest for path in paths for digest in framehash(path)["video"].hashes()] == framehash(site.sources["sei"])[
        "video"
    ].hashes()


@pytest.mark.gstreamer
async def test_what_a_recorder_publishes_is_kept_unit_for_unit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback_only(monkeypatch)
    coded = Coded(site.sources["opus"])
    pictures, frames = 125, 250
    async with httpx.AsyncClient(base_url=site.program.url) as http, WhipClient(http, coded, "rec-1", fps=25) as client:
        client.audio = CodedTrack("audio", coded.sounds, 50, 48_000, 960)
        client.video.limit, client.audio.limit = pictures, frames
        await client.publish()
        await until(lambda: client.video.done.is_set() and client.audio is not None and client.audio.done.is_set())
        assert (await client.delete()).status_code == 200
        await until(lambda: len(site.pictures_of("rec-1")) == pictures)
    paths = [site.objects / row["key"] for row in site.segments("rec-1")]
    sent = [nals_of_annexb(data) for data in client.video.sent]
    kept = [nals_of_lengths(unit) for path in paths for unit in units_of(path)]
    assert kept == sent
    # The sets that WHIP sends in band left out of both, FFmpeg's own hashes agree too.
    bare = "filter_units=remove_types=7-8"
    stored = [framehash(path, "-bsf:v", bare) for path in paths]
    source = framehash(site.sources["opus"], "-bsf:v", bare)
    assert stored_hashes(stored, "video") == source["video"].hashes()[:pictures]
    sound = source["audio"].hashes()[:frames]
    got = stored_hashes(stored, "audio")
    # Sound from before the first picture is left out: aiortc starts the two tracks one after the other.
    assert got == sound[len(sound) - len(got) :]
    assert len(got) >= frames - EARLY_FRAMES


@pytest.mark.gstreamer
@pytest.mark.parametrize("name", CODECS)
def test_every_segment_plays_by_itself_without_a_complaint(site: Site, name: str) -> None:
    for path in site.whole_feed(name):
        with path.open("rb") as data:
            manifest.check(data)
        assert play(path) == ""
        with av.open(str(path)) as container:
            assert next(container.demux(video=0)).is_keyframe


PLAY = """
const done = arguments[arguments.length - 1], video = document.createElement("video");
const tell = () => done({error: video.error && video.error.message, width: video.videoWidth,
                         played: video.ended, seconds: video.duration, sound: video.webkitAudioDecodedByteCount > 0});
video.muted = true; video.defaultPlaybackRate = 16;
video.addEventListener("ended", tell); video.addEventListener("error", tell);
video.src = arguments[0]; video.play().catch(() => {});
"""


@pytest.fixture(scope="module")
def objects_url(site: Site) -> Iterator[str]:
    """The store's objects over HTTP, on a page of the same origin."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site.objects))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.gstreamer
@pytest.mark.parametrize("name", [name for name in CODECS if name != "h265"])
def test_every_segment_plays_by_itself_in_a_browser(site: Site, browser: Browser, objects_url: str, name: str) -> None:
    browser.driver.get(objects_url)
    browser.driver.set_script_timeout(30)
    for path in site.whole_feed(name):
        shown = browser.driver.execute_async_script(PLAY, f"{objects_url}/{path.relative_to(site.objects)}")
        assert (shown["error"], shown["played"], shown["width"]) == (None, True, 640)
        assert shown["sound"] == (name != "silent")
